"""What this room asks of the machine that is no file, socket or process of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Machine(Protocol):
    """The wall clock, chance and threads. Waiting goes by the loop's own clock."""

    def now(self) -> float:
        """Read the wall clock: seconds since 1970 UTC. It may jump."""
        ...

    def chance(self) -> float:
        """Draw a number from 0 up to, but not, 1."""
        ...

    async def in_thread(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Run blocking work in a worker thread, so that the loop goes on. Raises what `work` raises."""
        ...
