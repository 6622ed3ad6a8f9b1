"""One list of sessions in the place of many polls, where that is sound.

1. A session whose list mark is what it was at the last poll stands still. One without a mark is polled singly.
2. Whatever the list leaves open (a mark that changed, or is not there) is polled. So is what a step of recovery may be
   due for: the poll that decides comes right before it.
3. A list is believed for as long as the shortest pause, and has a few rows more than sessions that it stands for: a
   long history costs nothing.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

import anyio

from finetuned.backend import Observation
from finetuned.daemon.context import Context
from finetuned.model import Value

#: rows that a list has for each session it stands for; others' sessions lie between ours
ROWS_EACH: Final = 2
#: sessions with a mark from which on a list is worth its bytes
SEVERAL: Final = 2


class Marked(Value, frozen=True):
    """A session's list mark at its last poll, and until when an unchanged one is enough."""

    mark: str
    enough_until: float


class BatchPoll:
    """Tells which sessions have not moved since their last poll."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = anyio.Lock()
        self._marked: dict[str, Marked] = {}
        self._listed: Mapping[str, str] = {}
        self._listed_at = float("-inf")

    def note(self, seen: Observation, *, enough_until: float) -> bool:
        """Note a poll; tell whether lists may stand for the session's next polls."""
        if seen.list_mark is None:
            self.forget(seen.id)
            return False
        self._marked[seen.id] = Marked(mark=seen.list_mark, enough_until=enough_until)
        return True

    def forget(self, session_id: str) -> None:
        """Have the session polled singly from now on."""
        self._marked.pop(session_id, None)

    def keep(self, session_ids: Container[str | None]) -> None:
        """Forget every session but these."""
        self._marked = {session_id: one for session_id, one in self._marked.items() if session_id in session_ids}

    async def unmoved(self, session_id: str) -> bool:
        """Tell whether a list shows, without a poll, that the session stands still. Raises ServerError."""
        context = self._context
        marked = self._marked.get(session_id)
        if marked is None or len(self._marked) < SEVERAL or context.runtime.now() >= marked.enough_until:
            return False
        async with self._lock:  # a task that comes while a list is asked for uses that one
            if context.runtime.steady() - self._listed_at >= context.settings.poll.fastest:
                self._listed = {}
                self._listed = await context.backend.list_marks(ROWS_EACH * len(self._marked))
                self._listed_at = context.runtime.steady()
        return self._listed.get(session_id) == marked.mark
