"""`python doomed.py LEDGER QUERY PACE …`: finetuned as a person starts it, killed as soon as a query finds anything.

The ledger is asked at each seam (`support.seams`), so that the very commit after which it finds something is the last
one: states that pass in a moment are met as surely as those that last. Clocks go PACE times as fast.
"""

from __future__ import annotations

import os
import runpy
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from support import seams


class Trap:
    """Kills this process at the first seam at which the ledger at `path` answers `query` with a row."""

    def __init__(self, path: str, query: str) -> None:
        self._path = path
        self._query = query

    @contextmanager
    def at(self, kind: str, what: str) -> Iterator[None]:
        """A seam."""
        with suppress(sqlite3.OperationalError), closing(_reading(self._path)) as db:  # it is not made yet
            if db.execute(self._query).fetchone():
                os.kill(os.getpid(), signal.SIGKILL)
        yield


def _reading(path: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


if __name__ == "__main__":
    _, ledger, query, *words = sys.argv
    seams.watch(Trap(ledger, query))
    sys.argv = ["support.hasty", *words]
    runpy.run_module("support.hasty", run_name="__main__")
