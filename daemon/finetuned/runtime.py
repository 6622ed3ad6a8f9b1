"""Clocks, waiting, randomness, ids and threads behind one interface, so that a test can make a day pass in a moment."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeVar

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from finetuned import clock

P = ParamSpec("P")
T = TypeVar("T")
#: the alphabet of ids: easy to read aloud, lower case only
ID_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
#: how often is looked whether a thread is free, in seconds
_PAUSE: Final = 0.01


class Wake:
    """An event that says "look again"; set any number of times before it is cleared, it counts once."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def set(self) -> None:
        """Wake the task that waits, or the next one that will."""
        self._event.set()

    def clear(self) -> bool:
        """Clear the event; tell whether it was set."""
        was_set = self._event.is_set()
        if was_set:
            self._event = anyio.Event()
        return was_set

    async def wait(self) -> None:
        """Return once the event is set, at once if it is already."""
        await self._event.wait()


class Runtime(Protocol):
    """What the daemon asks of its surroundings that is neither file, server nor ledger."""

    def now(self) -> float:
        """Read the wall clock: seconds since 1970 UTC. It may jump."""

    def steady(self) -> float:
        """Read a clock in seconds that only goes forward, from any start; from any thread."""

    async def wait(self, wake: Wake, seconds: float) -> None:
        """Wait until `wake` is set, `seconds` at most."""

    def chance(self) -> float:
        """Draw a number from 0 up to, but not, 1."""

    def fresh_id(self, length: int) -> str:
        """Draw `length` letters of a–z and 2–7."""

    async def in_thread(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Run blocking work in a worker thread, so that the loop goes on. Raises what `work` raises."""


class SystemRuntime:
    """The system's clocks, random numbers and threads."""

    now = staticmethod(clock.now)
    steady = staticmethod(clock.steady)  # it is asked a dozen times a file

    async def wait(self, wake: Wake, seconds: float) -> None:
        with anyio.move_on_after(max(0.0, seconds)):
            await wake.wait()

    def chance(self) -> float:
        return random.random()  # noqa: S311 - jitter, no secret

    def fresh_id(self, length: int) -> str:
        return "".join(secrets.choice(ID_LETTERS) for _ in range(length))

    async def in_thread(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        return await anyio.to_thread.run_sync(partial(work, *args, **words))


def own_loop() -> AbstractContextManager[BlockingPortal]:
    """Run another loop in a thread of its own: what is started there goes on while the caller's loop stands still."""
    return start_blocking_portal("asyncio")


class Aside:
    """Blocking work that may hang, one piece after the other, in a thread beside the loop that asks."""

    def __init__(self) -> None:
        self._is_busy = False  # a limiter of the library's lets go of a thread that is not waited for any more

    async def run(self, work: Callable[[], T], *, within: float) -> T:
        """Run `work`, and wait for it for so many seconds; what takes longer holds up the next. Raises TimeoutError."""
        with anyio.fail_after(within):
            while self._is_busy:
                await SystemRuntime().wait(Wake(), _PAUSE)
            self._is_busy = True
            return await anyio.to_thread.run_sync(self._done, work, abandon_on_cancel=True)

    def _done(self, work: Callable[[], T]) -> T:
        try:
            return work()
        finally:
            self._is_busy = False
