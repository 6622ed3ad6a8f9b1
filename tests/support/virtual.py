"""A runtime whose time is the event loop's own, so that a mock clock makes a day pass in a millisecond."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import anyio

from finetuned.runtime import ID_LETTERS, Wake

P = ParamSpec("P")
T = TypeVar("T")
#: 2026-11-23T05:23:11Z, the moment at which a test begins
BEGIN: Final = 1795411391.0
#: the moment at which a test begins for which no file has changed for years: the kernel's clock is not ours
YEARS_LATER: Final = BEGIN + 10 * 365 * 86400


class VirtualRuntime:
    """The runtime, as the daemon sees it, with nothing in it that a test did not put there."""

    def __init__(self, seed: int = 0, begins: float = BEGIN) -> None:
        self._begins = begins
        self._random = random.Random(seed)
        self._jump = 0.0

    def now(self) -> float:
        return self._begins + anyio.current_time() + self._jump

    def steady(self) -> float:
        return anyio.current_time()

    def jump(self, seconds: float) -> None:
        """Set the wall's clock forward or back."""
        self._jump += seconds

    async def wait(self, wake: Wake, seconds: float) -> None:
        with anyio.move_on_after(max(0.0, seconds)):
            await wake.wait()

    def chance(self) -> float:
        return self._random.random()

    def fresh_id(self, length: int) -> str:
        return "".join(self._random.choice(ID_LETTERS) for _ in range(length))

    async def in_thread(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        return work(*args, **words)
