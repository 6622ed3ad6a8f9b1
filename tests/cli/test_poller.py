"""How long a command waits between two polls, and for how long in all."""

from __future__ import annotations

import pytest

from finetuned.cli.poller import Poller, until
from support.cli import in_virtual_time
from support.virtual import VirtualRuntime


def test_pauses_grow_until_something_moves() -> None:
    """Who waits for long is asked less often; what moves is soon to move again."""
    runtime = VirtualRuntime(0)
    pauses = []

    async def work() -> None:
        poller = Poller(runtime, first=1.0, longest=1.5)
        for number in range(5):
            if number == 3:
                poller.moved()
            before = runtime.steady()
            assert await poller.pause()
            pauses.append(runtime.steady() - before)

    in_virtual_time(work)
    assert pauses == pytest.approx([1.0, 1.4, 1.5, 1.0, 1.4])


def test_what_stands_still_is_not_waited_for_for_ever() -> None:
    """The time counts from the last move; the last pause is no longer than what is left of it."""
    runtime = VirtualRuntime(0)

    async def work() -> tuple[bool, float]:
        poller = Poller(runtime, first=4.0, longest=4.0, within=6.0)
        assert await poller.pause()
        poller.moved()
        begin = runtime.steady()
        assert await poller.pause()
        assert await poller.pause()
        return await poller.pause(), runtime.steady() - begin

    assert in_virtual_time(work) == (False, pytest.approx(6.0))


@pytest.mark.parametrize(("after", "found"), [(0.0, True), (3.0, True), (7.0, False)])
def test_something_is_waited_for(after: float, found: bool) -> None:
    """It is found at once if it is so already, and not waited for any longer than was said."""
    runtime = VirtualRuntime(0)

    async def work() -> tuple[bool, float]:
        begin = runtime.steady()
        is_so = await until(lambda: runtime.steady() - begin >= after, runtime, 5.0)
        return is_so, runtime.steady() - begin

    is_so, took = in_virtual_time(work)
    assert is_so is found
    assert took == pytest.approx(min(after, 5.0), abs=0.5)
