"""One list of sessions in the place of many looks, where that is sound.

1. From stage `finetune` on the server moves `updated` with every progress and at the end, in its lists, too: a session
   whose row is what it was at the last look stands still. Before that stage rows say nothing, so that is looked singly.
2. Whatever the list leaves open (a row that moved, or is not there) is looked at. So is what a remedy may be due for:
   the look that decides comes right before it.
3. A list is believed for as long as the shortest pause, and has a few rows more than sessions that it stands for: a
   long history costs nothing.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

import anyio

from finetuned.daemon.context import Context
from finetuned.model import SessionView, Value

#: rows that a list has for each session it stands for; others' sessions lie between ours
ROWS_EACH: Final = 2
PAGE_ROWS: Final = 1000
#: sessions in training from which on a list is worth its bytes
SEVERAL: Final = 2


class Seen(Value, frozen=True):
    """A session in training at its last look: when the server moved it, and until when its rows are enough."""

    updated: str
    enough_until: float


class Glances:
    """Tells which sessions in training have not moved."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = anyio.Lock()
        self._seen: dict[str, Seen] = {}
        self._rows: dict[str, str] = {}
        self._listed_at = float("-inf")

    def note(self, view: SessionView, *, enough_until: float) -> bool:
        """After a look: whether the session is in training, so that rows of a list may stand for the next looks."""
        tuning = view.tuning
        if tuning is None or tuning.stage != "finetune" or not tuning.updated:
            self.forget(view.id)
            return False
        self._seen[view.id] = Seen(updated=tuning.updated, enough_until=enough_until)
        return True

    def forget(self, session_id: str) -> None:
        """The session is looked at singly from now on."""
        self._seen.pop(session_id, None)

    def keep(self, session_ids: Container[str | None]) -> None:
        """Only these are followed: whoever is not among them is listed for nobody."""
        self._seen = {session_id: seen for session_id, seen in self._seen.items() if session_id in session_ids}

    async def unmoved(self, session_id: str) -> bool:
        """Whether a list shows, without a look, that the session stands still. Raises ServerError."""
        context = self._context
        seen = self._seen.get(session_id)
        if seen is None or len(self._seen) < SEVERAL or context.runtime.now() >= seen.enough_until:
            return False
        async with self._lock:  # who comes while a list is asked for uses that one
            age = context.runtime.steady() - self._listed_at
            if age >= context.settings.poll.fastest:
                wanted = ROWS_EACH * len(self._seen)
                self._rows = {}
                for offset in range(0, wanted, PAGE_ROWS):
                    _, rows = await context.service.list(offset=offset, limit=min(PAGE_ROWS, wanted - offset))
                    self._rows |= {row.id: row.updated for row in rows}
                self._listed_at = context.runtime.steady()
        return self._rows.get(session_id) == seen.updated
