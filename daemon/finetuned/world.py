"""The five doors to what no program can know by itself: time, waiting, chance, identity, threads.

Everything else asks here, so that a test can make a day pass in a millisecond.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")
#: the alphabet of ids: easy to read aloud, lower case only
ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"


class Bell:
    """Says "look again"; rung any number of times before somebody looks, it is one ring."""

    def __init__(self) -> None:
        self._rung = anyio.Event()

    def ring(self) -> None:
        """Wake who waits, or who waits next."""
        self._rung.set()

    def hush(self) -> bool:
        """Forget the ring; tell whether there was one."""
        rung = self._rung.is_set()
        if rung:
            self._rung = anyio.Event()
        return rung

    async def rung(self) -> None:
        """Return at the next ring, at once if it rang already."""
        await self._rung.wait()


class World(Protocol):
    """What the daemon asks of the outside that is neither file, server nor ledger."""

    def now(self) -> float:
        """The wall's clock: seconds since 1970 UTC. It may jump."""

    def steady(self) -> float:
        """A clock in seconds that only goes forward; it counts from anywhere, and is read in any thread."""

    async def wait(self, bell: Bell, seconds: float) -> None:
        """Wait until `bell` rings, `seconds` at most."""

    def chance(self) -> float:
        """A number from 0 up to, but not, 1."""

    def fresh_id(self, length: int) -> str:
        """`length` random letters of a–z and 2–7."""

    async def offload(self, work: Callable[..., T], *args: object) -> T:
        """Run blocking work without holding up the loop."""


class RealWorld:
    """The world as it is."""

    def now(self) -> float:
        return time.time()

    def steady(self) -> float:
        return time.monotonic()

    async def wait(self, bell: Bell, seconds: float) -> None:
        with anyio.move_on_after(max(0.0, seconds)):
            await bell.rung()

    def chance(self) -> float:
        return random.random()  # noqa: S311 - jitter, no secret

    def fresh_id(self, length: int) -> str:
        return "".join(secrets.choice(ID_LETTERS) for _ in range(length))

    async def offload(self, work: Callable[..., T], *args: object) -> T:
        return await anyio.to_thread.run_sync(partial(work, *args))
