"""When the ledger's log is folded into its file, beside the rounds: so that a plain copy of it holds what was done.

A moment after the last write, and while writes go on now and then all the same: the log is emptied then, and with it
goes what was forgotten. And whenever it has become long, as whoever writes would have to do it himself; it is written
over then.
"""

from __future__ import annotations

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

    def see(self, beside: TaskGroup) -> float:
        """Begin to fold the log in if that is due; the seconds until it will be. The loop is woken at the end."""
        context, now = self._context, self._context.runtime.steady()
        changes = context.ledger.changes
        if changes != self._changes:
            self._changes = changes
            if self._due_at is None:
                self._latest_at = now + LATEST
            self._due_at = min(now + QUIET, self._latest_at)
        if self._due_at is None or self._is_folding:
            return float("inf")
        is_due = now >= self._due_at
        if not (is_due or context.ledger.has_a_long_log):
            return self._due_at - now
        if is_due:
            self._due_at = None
        self._is_folding = True
        beside.start_soon(self._fold, is_due)
        return float("inf")

    async def _fold(self, empties: bool) -> None:
        context = self._context
        try:
            await context.in_thread(context.ledger.fold, empties=empties)
            if empties:
                await context.in_thread(context.ledger.give_back)
                await context.in_thread(give_back)
        finally:
            self._is_folding = False
            context.wake.set()
