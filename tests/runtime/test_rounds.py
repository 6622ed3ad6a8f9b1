"""When a round sweeps, and when the next sweep is due."""

from __future__ import annotations

import pytest
import trio.testing

from finetuned.daemon.rounds import Rounds
from finetuned.plan import Plan
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
