"""When the ledger's log is folded into its file, beside the rounds: so that a plain copy of it holds what was done.

A moment after the last write; while writes go on, now and then all the same, and whenever the log has become long: else
whoever writes would have to do it himself.
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
        self._quiet_at: float | None = None
        self._latest_at = 0.0
        self._is_folding = False

    def see(self, beside: TaskGroup) -> float:
        """Begin to fold the log in if that is due; the seconds until it will be. The loop is woken at the end."""
        context, now = self._context, self._context.runtime.steady()
        changes = context.ledger.changes
        if changes != self._changes:
            self._changes = changes
            if self._quiet_at is None:
                self._latest_at = now + LATEST
            self._quiet_at = now + QUIET
        if self._quiet_at is None or self._is_folding:
            return float("inf")
        is_quiet = now >= self._quiet_at
        if not (is_quiet or now >= self._latest_at or context.ledger.has_a_long_log):
            return min(self._quiet_at, self._latest_at) - now
        self._quiet_at, self._latest_at = None if is_quiet else self._quiet_at, now + LATEST
        self._is_folding = True
        beside.start_soon(self._fold, is_quiet)
        return float("inf")

    async def _fold(self, is_quiet: bool) -> None:
        context = self._context
        try:
            await context.in_thread(context.ledger.fold, empties=is_quiet)
            if is_quiet:
                await context.in_thread(context.ledger.give_back)
                await context.in_thread(give_back)
        finally:
            self._is_folding = False
            context.wake.set()
