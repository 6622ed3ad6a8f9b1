"""When a round sweeps, and when the next sweep is due."""

from __future__ import annotations

import pytest
import trio.testing

from finetuned.daemon.rounds import Rounds, abreast
from finetuned.plan import Archive, Claim, Plan, Poll, Seal, Submit
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
    rounds.sweep_within(2.0)
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
    large = [seal(11), seal(11), seal(11), seal(500), seal(1)]
    others = [Submit(job_id="a"), Submit(job_id="b"), Claim(job_id="c"), Archive(job_id="d"), Archive(job_id="e")]
    assert [len(some) for some in abreast(small)] == [6, 2]
    assert [len(some) for some in abreast(large)] == [2, 1, 1, 1]
    assert [*abreast(polls)] == [polls]
    assert [*abreast(others)] == [others[:2], [others[2]], [others[3]], [others[4]]]
    assert [*abreast([])] == []
