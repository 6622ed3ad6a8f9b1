"""Commands and questions to the ledger, one after the other in one thread; those that wait together share a commit.

1. Who asks waits until what it wrote is committed: the intent is on the disk before the act.
2. If one of those that share a commit cannot be done, nothing of it stays, and each is done by itself: an error meets
   its own command alone.
3. If the ledger itself cannot be used, that is told to all of them at once: alone, each would wait as long in vain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from finetuned.errors import FinetunedError, LedgerStuck
from finetuned.ledger.writer import Ledger
from finetuned.runtime import Runtime

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Command:
    work: Callable[[], Any]
    value: Any = None
    trouble: LedgerStuck | None = None
    done: bool = False


class LedgerQueue:
    """Those who wait for the ledger, in the order in which they came."""

    def __init__(self, ledger: Ledger, runtime: Runtime) -> None:
        self._ledger = ledger
        self._runtime = runtime
        self._turn = anyio.Lock(fast_acquire=True)
        self._waiting: list[_Command] = []

    async def run(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Run a method of the ledger, and return once it is committed. Raises what it raises.

        It is done whole, also if the task that asks for it is cancelled meanwhile.
        """
        command = _Command(partial(work, *args, **words))
        await checkpoint_if_cancelled()
        with anyio.CancelScope(shield=True):
            self._waiting.append(command)
            async with self._turn:
                await self._serve(command)
        if command.trouble is not None:
            raise command.trouble
        value: T = command.value
        return value

    async def _serve(self, command: _Command) -> None:
        """Do what waits, if nobody did so since this command came."""
        if not command.done and len(self._waiting) > 1 and command in self._waiting:
            batch, self._waiting = self._waiting, []
            await self._runtime.in_thread(self._do_together, batch)
        if command in self._waiting:
            self._waiting.remove(command)
        if not command.done:
            command.value = await self._runtime.in_thread(command.work)

    def _do_together(self, batch: list[_Command]) -> None:
        try:
            with self._ledger.together():
                for command in batch:
                    command.value = command.work()
        except LedgerStuck as error:
            for command in batch:
                command.trouble = error
        except (FinetunedError, LookupError):
            return
        for command in batch:
            command.done = True
