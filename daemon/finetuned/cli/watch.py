"""Whether a ledger may have news, without reading it: for a screen, or a command that follows it.

The disk is asked twice a second at most, however often somebody asks here, and the ledger itself is opened only after
somebody wrote to it: what is left running costs next to nothing, and never keeps a daemon from closing its ledger.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from finetuned.runtime import Runtime

#: the shortest time between two looks at the disk, in seconds
LOOK_AT_MOST_EVERY: Final = 0.5


class Watch:
    """A watch over the ledger at `path`."""

    def __init__(self, path: str, runtime: Runtime) -> None:
        self._path = path
        self._runtime = runtime
        self._seen: list[object] = []
        self._looked_at = -math.inf

    def has_news(self) -> bool:
        """Tell whether something may be new since the last time that this was so; the first time it is."""
        now = self._runtime.steady()
        if now - self._looked_at < LOOK_AT_MOST_EVERY:
            return False
        self._looked_at = now
        seen, self._seen = self._seen, self._traces()
        return seen != self._seen

    def _traces(self) -> list[object]:
        """Tell by what a change would show: the ledger's files, and who holds it."""
        from finetuned.ledger.lock import is_held

        traces: list[object] = [is_held(self._path)]
        for side in ("", "-wal"):
            try:
                found = os.stat(self._path + side)
                traces.append((found.st_ino, found.st_size, found.st_mtime_ns))
            except OSError as error:
                traces.append(error.errno)
        return traces
