"""When a round sweeps, when the next one is due, and who is sent meanwhile."""

from __future__ import annotations

import anyio
import pytest
import trio.testing
from anyio.abc import TaskStatus

from finetuned.daemon.rounds import Rounds, abreast
from finetuned.daemon.turns import Turns
from finetuned.plan import Archive, Claim, Plan, Poll, Queue, Seal, Submit
from finetuned.runtime import Wake
from support.virtual import VirtualRuntime

NOTHING = Plan(actions=(), wake_at=None)


@pytest.fixture
def anyio_backend():
    """A clock that jumps."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def test_a_slow_sweep_does_not_put_off_the_next_one():
    """What a sweep wants to see again is due so long after it began, however long it took."""
    runtime = VirtualRuntime()
    rounds = Rounds(runtime, 5.0)
    assert rounds.begin()
    await runtime.wait(Wake(), 1.5)  # the folder is slow
    rounds.sweep_by(2.0)
    assert rounds.wait(NOTHING) == pytest.approx(0.5)
    assert not rounds.begin()
    await runtime.wait(Wake(), 0.5)
    assert rounds.begin()


def seal(files: int) -> Seal:
    """Make a job of so many files."""
    return Seal(folder="notes", group="", file_ids=tuple(range(files)))


def test_what_waits_for_the_disk_waits_together():
    """Small jobs go six at a time, of large ones few enough that the first is sent soon; all polls go in one list."""
    small, polls = [seal(1)] * 8, [Poll(job_id=f"job-{number}") for number in range(100)]
    large = [seal(100), seal(100), seal(100), seal(500), seal(1)]
    others = [
        Submit(job_id="a"),
        Submit(job_id="b"),
        Claim(job_id="c"),
        Archive(job_id="d"),
        Archive(job_id="e"),
        Archive(job_id="f", files=255),
    ]
    assert [len(some) for some in abreast(small)] == [6, 2]
    assert [len(some) for some in abreast(large)] == [2, 1, 1, 1]
    assert [*abreast(polls)] == [polls]
    assert [*abreast(others)] == [others[:2], [others[2]], others[3:5], [others[5]]]
    assert [*abreast([])] == []


async def test_a_plan_that_takes_long_is_not_made_all_the_time():
    """Twice as long as it took nobody plans again because a request ended; for a free slot at once."""
    runtime = VirtualRuntime()
    rounds = Rounds(runtime, 5.0)
    rounds.plans()
    await runtime.wait(Wake(), 0.1)
    rounds.planned()
    rounds.request_ended()
    assert rounds.rest(NOTHING) == pytest.approx(0.2)
    assert not rounds.makes_way(Archive(job_id="a"), NOTHING)
    assert rounds.rest(Plan(actions=(), wake_at=None, slot_waits=True)) == 0.0
    await runtime.wait(Wake(), 0.2)
    assert rounds.makes_way(Archive(job_id="a"), NOTHING)


async def test_a_slot_that_is_given_away_to_nobody_ends_the_rest():
    """A job may just be made for it: the plan does not wait. One more slot where some are free is no news."""
    runtime, turns = VirtualRuntime(), Turns()
    rounds = Rounds(runtime, 5.0)
    turns.send, turns.left = lambda _: None, rounds.a_slot_is_left
    rounds.plans()
    await runtime.wait(Wake(), 0.1)
    rounds.planned()
    turns.planned(Queue(slots=2, there=frozenset({"a", "b"}), next=("c",)))
    turns.ended("a")  # passed on
    assert rounds.rest(NOTHING) == pytest.approx(0.2)
    turns.ended("b")
    assert rounds.rest(NOTHING) == 0.0
    assert rounds.makes_way(Archive(job_id="x"), NOTHING)
    begun = runtime.steady()
    await runtime.wait(rounds.slot_left, 0.2)
    assert runtime.steady() == begun
    rounds.plans()
    await runtime.wait(Wake(), 0.1)
    rounds.planned()
    turns.ended("c")
    assert rounds.rest(NOTHING) == pytest.approx(0.2)


def test_a_slot_is_passed_on_while_facts_are_read():
    """The plan is told who was sent, and a slot that one has in it who ended is passed on once, not twice."""
    sent: list[str] = []
    turns = Turns()
    turns.send = sent.append
    turns.planned(Queue(slots=2, there=frozenset({"a", "b"}), next=("c", "d", "e")))
    turns.facts_are_read()
    turns.ended("a")
    assert sent == ["c"]
    assert turns.begun == {"c"}
    turns.planned(Queue(slots=2, there=frozenset({"a", "b", "c"}), sending=frozenset({"c"}), next=("d", "e")))
    assert sent == ["c"]
    turns.ended("b")
    assert sent == ["c", "d"]


async def test_other_work_lets_a_slot_pass():
    """From the verdict over a job to the next one's request nothing else is begun; but it is not put off for ever."""
    runtime, turns = VirtualRuntime(), Turns()
    rounds = Rounds(runtime, 5.0)
    turns.send = lambda _: None
    turns.planned(Queue(slots=1, there=frozenset({"first"}), sending=frozenset(), next=("second", "third")))
    async with rounds.in_between([turns]):
        await runtime.wait(Wake(), 0.1)
    begun = runtime.steady()
    async with anyio.create_task_group() as tasks:
        await tasks.start(ends, turns, "first", runtime, 0.05)
        async with rounds.in_between([turns]):
            assert runtime.steady() - begun == pytest.approx(0.05)
            await runtime.wait(Wake(), 0.1)
    turns.ended("first")
    begun = runtime.steady()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(goes_out, turns, "second", runtime, 0.03)
        async with rounds.in_between([turns]):
            assert runtime.steady() - begun == pytest.approx(0.03)
            await runtime.wait(Wake(), 0.1)
    turns.ended("second")  # the third is held up
    begun = runtime.steady()
    async with rounds.in_between([turns]):
        assert runtime.steady() - begun == pytest.approx(0.2)
    with turns.ending("third"):  # nobody is next
        async with rounds.in_between([turns]):
            pass
    assert runtime.steady() - begun == pytest.approx(0.2)


async def test_where_slots_are_free_nothing_waits_for_sends():
    """Many jobs that all may go are sent a few at a time; meanwhile the next ones are made."""
    runtime, turns = VirtualRuntime(), Turns()
    rounds = Rounds(runtime, 5.0)
    turns.send = lambda _: None
    sending = frozenset({"first"})
    turns.planned(Queue(slots=9, there=sending, sending=sending, next=("second", "third")))
    async with rounds.in_between([turns]):
        await runtime.wait(Wake(), 0.1)
    turns.was_sent("first")
    assert turns.begun == {"second", "third"}
    begun = runtime.steady()
    async with rounds.in_between([turns]):
        assert runtime.steady() == begun
    turns.planned(Queue(slots=9, there=sending, next=("fourth",)))
    with turns.ending("first"):
        async with rounds.in_between([turns]):
            assert runtime.steady() == begun


async def ends(
    turns: Turns, job_id: str, runtime: VirtualRuntime, seconds: float, *, task_status: TaskStatus[None]
) -> None:
    """Let the end of a job be written in so many seconds."""
    with turns.ending(job_id):
        task_status.started()
        await runtime.wait(Wake(), seconds)


async def goes_out(turns: Turns, job_id: str, runtime: VirtualRuntime, seconds: float) -> None:
    """Let a job be on the wire after so many seconds."""
    await runtime.wait(Wake(), seconds)
    turns.goes_out(job_id)
