"""The system's clocks, waiting, randomness, ids and threads; and the wake event."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest

from finetuned.runtime import ID_LETTERS, Aside, SystemRuntime, Wake

#: long enough that a test which waits for it would be noticed
LONG = 600.0


async def test_a_ring_is_heard_by_who_comes_later():
    """An event that was set before a task waits does not let it wait."""
    wake = Wake()
    wake.set()
    with anyio.fail_after(5):
        await wake.wait()
        await wake.wait()


async def test_many_rings_are_one():
    """However often it was set: once cleared, it is not set."""
    wake = Wake()
    assert not wake.clear()
    wake.set()
    wake.set()
    assert wake.clear()
    assert not wake.clear()
    with anyio.move_on_after(0.01) as silence:
        await wake.wait()
    assert silence.cancelled_caught


async def test_a_ring_wakes_everybody_who_waits():
    """Each of the tasks that wait goes on when it is set once."""
    wake = Wake()
    woken: list[int] = []

    async def waits(number: int) -> None:
        await wake.wait()
        woken.append(number)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(waits, number)
            await anyio.lowlevel.checkpoint()
            wake.set()
    assert sorted(woken) == [0, 1, 2]


async def test_clearing_holds_up_no_task_that_waits_already():
    """A task that waited when it was set goes on, even if it is cleared before the task gets to run."""
    wake = Wake()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wake.wait)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            wake.set()
            assert wake.clear()


async def test_wait_ends_at_once_when_it_rang():
    """No time passes if there is news already."""
    runtime, wake = SystemRuntime(), Wake()
    wake.set()
    with anyio.fail_after(5):
        await runtime.wait(wake, LONG)


async def test_wait_ends_with_the_ring():
    """A long wait ends when the event is set."""
    runtime, wake = SystemRuntime(), Wake()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(runtime.wait, wake, LONG)
            await anyio.lowlevel.checkpoint()
            wake.set()


@pytest.mark.parametrize("seconds", [0.02, 0.0, -5.0])
async def test_wait_ends_with_the_time(seconds: float):
    """Without a ring it waits as long as it was told, and not at all for a time that is over."""
    runtime = SystemRuntime()
    begin = runtime.steady()
    with anyio.fail_after(5):
        await runtime.wait(Wake(), seconds)
    assert runtime.steady() - begin >= max(0.0, seconds) - 0.001


async def test_wait_can_be_cancelled():
    """Whoever cancels the one who waits is obeyed: only its own time-out is swallowed."""
    with anyio.move_on_after(0.01) as scope:
        await SystemRuntime().wait(Wake(), LONG)
    assert scope.cancelled_caught


async def test_clocks():
    """The steady clock never goes back, the wall's clock is somewhere after this was written."""
    runtime = SystemRuntime()
    ticks = [runtime.steady() for _ in range(100)]
    assert ticks == sorted(ticks)
    assert runtime.now() > 1_700_000_000


async def test_ids_are_of_the_alphabet_and_differ():
    """Letters that are easy to read aloud, as many as asked for, and not the same twice."""
    runtime = SystemRuntime()
    ids = [runtime.fresh_id(20) for _ in range(200)]
    assert {len(one) for one in ids} == {20}
    assert set("".join(ids)) == set(ID_LETTERS)
    assert len(set(ids)) == len(ids)
    assert runtime.fresh_id(0) == ""
    assert len(set(ID_LETTERS)) == 32


async def test_chance_is_a_fraction():
    """From 0 up to, but not, 1; and not always the same."""
    drawn = [SystemRuntime().chance() for _ in range(200)]
    assert all(0 <= number < 1 for number in drawn)
    assert len(set(drawn)) > 1


async def test_in_thread_runs_beside_the_loop():
    """Work runs in another thread, its outcome comes back."""
    runtime = SystemRuntime()
    assert await runtime.in_thread(threading.get_ident) != threading.get_ident()
    assert await runtime.in_thread(divmod, 7, 3) == (2, 1)


async def test_what_work_in_a_thread_raises_is_raised_here():
    """An error in the other thread is the caller's."""

    def breaks() -> None:
        raise LookupError("no such row")

    with pytest.raises(LookupError, match="no such row"):
        await SystemRuntime().in_thread(breaks)


async def test_the_loop_goes_on_while_work_is_done():
    """An event that the loop sets reaches the work that blocks in its thread."""
    news = threading.Event()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(SystemRuntime().in_thread, news.wait, 5.0)
            await anyio.lowlevel.checkpoint()
            news.set()
    assert news.is_set()


async def test_work_that_hangs_is_not_waited_for():
    """Nor is what comes after it, until it is over."""
    aside, over = Aside(), threading.Event()
    with pytest.raises(TimeoutError):
        await aside.run(over.wait, within=0.05)
    with pytest.raises(TimeoutError):
        await aside.run(lambda: 1, within=0.05)
    over.set()
    assert await aside.run(lambda: 2, within=10) == 2
