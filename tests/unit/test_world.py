"""The doors to time, waiting, chance, identity and threads, as they really are; and the bell."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest

from finetuned.world import ID_LETTERS, Bell, RealWorld

#: long enough that a test which waits for it would be noticed
LONG = 600.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops."""
    return request.param


async def test_a_ring_is_heard_by_who_comes_later():
    """A bell that rang before somebody waits does not let it wait."""
    bell = Bell()
    bell.ring()
    with anyio.fail_after(5):
        await bell.rung()
        await bell.rung()


async def test_many_rings_are_one():
    """However often it rang: once hushed, it is silent."""
    bell = Bell()
    assert not bell.hush()
    bell.ring()
    bell.ring()
    assert bell.hush()
    assert not bell.hush()
    with anyio.move_on_after(0.01) as silence:
        await bell.rung()
    assert silence.cancelled_caught


async def test_a_ring_wakes_everybody_who_waits():
    """Each of those who wait goes on at one ring."""
    bell = Bell()
    woken: list[int] = []

    async def waits(number: int) -> None:
        await bell.rung()
        woken.append(number)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(waits, number)
            await anyio.lowlevel.checkpoint()
            bell.ring()
    assert sorted(woken) == [0, 1, 2]


async def test_hushing_takes_no_ring_from_who_waits_already():
    """Who waited when it rang goes on, even if somebody hushes the bell before it gets to run."""
    bell = Bell()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bell.rung)
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            bell.ring()
            assert bell.hush()


async def test_wait_ends_at_once_when_it_rang():
    """No time passes if there is news already."""
    world, bell = RealWorld(), Bell()
    bell.ring()
    with anyio.fail_after(5):
        await world.wait(bell, LONG)


async def test_wait_ends_with_the_ring():
    """Who waits for a long time goes on when the bell rings."""
    world, bell = RealWorld(), Bell()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.wait, bell, LONG)
            await anyio.lowlevel.checkpoint()
            bell.ring()


@pytest.mark.parametrize("seconds", [0.02, 0.0, -5.0])
async def test_wait_ends_with_the_time(seconds: float):
    """Without a ring it waits as long as it was told, and not at all for a time that is over."""
    world = RealWorld()
    begin = world.steady()
    with anyio.fail_after(5):
        await world.wait(Bell(), seconds)
    assert world.steady() - begin >= max(0.0, seconds) - 0.001


async def test_wait_can_be_cancelled():
    """Whoever cancels the one who waits is obeyed: only its own time-out is swallowed."""
    with anyio.move_on_after(0.01) as scope:
        await RealWorld().wait(Bell(), LONG)
    assert scope.cancelled_caught


async def test_clocks():
    """The steady clock never goes back, the wall's clock is somewhere after this was written."""
    world = RealWorld()
    ticks = [world.steady() for _ in range(100)]
    assert ticks == sorted(ticks)
    assert world.now() > 1_700_000_000


async def test_ids_are_of_the_alphabet_and_differ():
    """Letters that are easy to read aloud, as many as asked for, and not the same twice."""
    world = RealWorld()
    ids = [world.fresh_id(20) for _ in range(200)]
    assert {len(one) for one in ids} == {20}
    assert set("".join(ids)) == set(ID_LETTERS)
    assert len(set(ids)) == len(ids)
    assert world.fresh_id(0) == ""
    assert len(set(ID_LETTERS)) == 32


async def test_chance_is_a_fraction():
    """From 0 up to, but not, 1; and not always the same."""
    drawn = [RealWorld().chance() for _ in range(200)]
    assert all(0 <= number < 1 for number in drawn)
    assert len(set(drawn)) > 1


async def test_offload_runs_beside_the_loop():
    """Work runs in another thread, its outcome comes back."""
    world = RealWorld()
    assert await world.offload(threading.get_ident) != threading.get_ident()
    assert await world.offload(divmod, 7, 3) == (2, 1)


async def test_what_offloaded_work_raises_is_raised_here():
    """An error in the other thread is the caller's."""

    def breaks() -> None:
        raise LookupError("no such row")

    with pytest.raises(LookupError, match="no such row"):
        await RealWorld().offload(breaks)


async def test_the_loop_goes_on_while_work_is_done():
    """A ring by the loop reaches the work that blocks in its thread."""
    news = threading.Event()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(RealWorld().offload, news.wait, 5.0)
            await anyio.lowlevel.checkpoint()
            news.set()
    assert news.is_set()
