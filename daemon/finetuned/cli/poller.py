"""How a command waits for what it polls: in pauses that grow, for so long at most."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from finetuned.runtime import Wake

if TYPE_CHECKING:
    from finetuned.runtime import Runtime

#: in seconds; to look into the ledger costs little
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5
_GROWTH: Final = 1.4


class Poller:
    """The pauses between polls, `first` to `longest` seconds, for `within` seconds at most while nothing moves."""

    def __init__(
        self, runtime: Runtime, *, within: float = math.inf, first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE
    ) -> None:
        self._runtime = runtime
        self._first, self._longest, self._within = first, longest, within
        self._wake = Wake()
        self.moved()

    def moved(self) -> None:
        """Begin anew with short pauses: what is polled has changed."""
        self._since, self._pause = self._runtime.steady(), self._first

    async def pause(self) -> bool:
        """Wait until the next poll is due; tell whether there is to be one, or the time was over already."""
        left = self._since + self._within - self._runtime.steady()
        if left > 0:
            await self._runtime.wait(self._wake, min(self._pause, left))
            self._pause = min(self._pause * _GROWTH, self._longest)
        return left > 0


async def until(is_so: Callable[[], bool], runtime: Runtime, within: float) -> bool:
    """Poll until something is so, for `within` seconds; tell whether it is."""
    poller = Poller(runtime, within=within)
    while not is_so():
        if not await poller.pause():
            return False
    return True
