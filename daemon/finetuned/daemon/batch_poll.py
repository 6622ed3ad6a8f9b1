"""One list of sessions in the place of many polls, where that is sound.

1. A session whose list mark is what it was at the last poll stands still. One without a mark is polled singly.
2. Whatever the list leaves open (a mark that changed, or is not there) is polled. So is what a step of recovery may be
   due for: the poll that decides comes right before it.
3. A list has a few rows more than sessions that it stands for: a long history costs nothing. It is believed for as long
   as the shortest pause, and a long one until its rows have paid off: of thousands of sessions some always move, and
   are to be looked at soon. Of those that came since, which are the newest, another list tells, a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

import anyio

from finetuned.daemon.context import Context

#: rows that a list has for each session it stands for; others' sessions lie between ours
ROWS_EACH: Final = 2
#: how many rows are listed in a second at most, but for those that came since: two requests, as a server gives a
#: thousand a page
ROWS_A_SECOND: Final = 2000
#: sessions with a mark from which on a list is worth its bytes, and at least one in so many of those that it must tell
SEVERAL: Final = 2
FEWEST: Final = 50


def is_worth_it(marked: int, sessions: int) -> bool:
    """Tell whether to list `sessions` costs less than to poll those that have a mark."""
    return marked >= max(SEVERAL, sessions // FEWEST)


class BatchPoll:
    """The newest list of the backend at `url`."""

    def __init__(self, context: Context, url: str) -> None:
        self._context = context
        self._url = url
        self._lock = anyio.Lock()
        #: by session; "" where no list told of it
        self._listed: dict[str, str] = {}
        #: when all were listed, for how long that is believed, and when any were
        self._listed_at, self._good_for = float("-inf"), 0.0
        self._asked_at = float("-inf")

    async def marks(self, asked: Collection[str], wanted: Callable[[], Collection[str]]) -> Mapping[str, str]:
        """List the marks of the newest sessions, to learn those of the `asked`. Raises ServerError.

        A list goes on until all that are `wanted` are in it. Which these are is asked before a list alone; where none
        is wanted there is no list.
        """
        poll, now = self._context.settings.poll, self._context.runtime.steady
        async with self._lock:  # a task that comes while a list is asked for uses that one
            if now() - self._listed_at >= self._good_for:
                self._listed = {}
                if sessions := wanted():
                    self._listed = await self._list(sessions)
                    self._listed_at = self._asked_at
                    self._good_for = min(poll.slowest, max(poll.fastest, len(self._listed) / ROWS_A_SECOND))
            elif now() - self._asked_at >= poll.fastest and not all(one in self._listed for one in asked):
                self._listed |= await self._list([one for one in wanted() if one not in self._listed])
        return self._listed

    async def _list(self, sessions: Collection[str]) -> dict[str, str]:
        if not sessions:
            return {}
        self._asked_at = self._context.runtime.steady()
        backend = self._context.backends[self._url]
        marks = await backend.list_marks(ROWS_EACH * len(sessions), wanted=sessions)
        return {**dict.fromkeys(sessions, ""), **marks}
