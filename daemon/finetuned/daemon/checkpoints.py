"""When the ledger's log is folded into its file: so that a plain copy of the file holds what was done.

A moment after the last write; while writes go on, now and then all the same, and beside the rounds whenever the log has
become long: else whoever writes would have to do it himself.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from anyio.abc import TaskGroup

from finetuned.daemon.context import Context
from finetuned.daemon.memory import give_back

#: seconds after the last write, and after the first one that was not folded in yet
QUIET: Final = 3.0
LATEST: Final = 30.0


class Checkpoints:
    """Sees after each round whether anything was written since."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._changes = context.ledger.changes
        self._due_at: float | None = None
        self._latest_at = 0.0
        self._is_folding = False

    async def run(self, beside: TaskGroup) -> float:
        """Fold the log in if that is due, a long one `beside` what goes on; the seconds until it will be."""
        context, now = self._context, self._context.runtime.steady()
        changes = context.ledger.changes
        if changes != self._changes:
            self._changes = changes
            if self._due_at is None:
                self._latest_at = now + LATEST
            self._due_at = min(now + QUIET, self._latest_at)
        if context.ledger.has_a_long_log and not self._is_folding:
            self._is_folding = True
            beside.start_soon(self._fold_long)
        if self._due_at is None:
            return float("inf")
        if now < self._due_at:
            return self._due_at - now
        self._due_at = None
        await context.in_thread(context.ledger.fold)
        await context.in_thread(context.ledger.give_back)
        await context.in_thread(give_back)
        return float("inf")

    async def _fold_long(self) -> None:
        try:
            await self._context.in_thread(partial(self._context.ledger.fold, goes_on=True))
        finally:
            self._is_folding = False
