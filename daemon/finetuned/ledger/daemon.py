"""The table of the daemon, which has one row, and what is told of it."""

from __future__ import annotations

from finetuned.ledger.events import WATCH, tell
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause
from finetuned.times import iso


class Daemon:
    """Commands of the daemon about itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def started(self, *, pid: int, version: str, now: float, configuration: str | None = None) -> None:
        """Note that a daemon starts; whether the server can be used is found out anew, by one probe.

        `configuration` is what it runs with, as JSON, for readers that have the file before them.

        Why it was paused and how often it was tried stay: a daemon that is started again and again, by a person or by
        systemd, goes on with its long pauses instead of knocking as if nothing had happened; and a server that is
        still away is not told to people as news.
        """
        with self._store.transaction() as db:
            db.execute(
                "insert or replace into daemon (id, pid, since, version, configuration) values (1, ?, ?, ?, ?)",
                (pid, iso(now), version, configuration),
            )
            db.execute(
                "update servers set next_try_at = null, reachable = case when paused_because is null then null "
                "else reachable end"
            )
            tell(db, now, "daemon", str(pid), "started", cause=Cause.START, detail=version)

    def stopped(self, *, pid: int, now: float) -> None:
        """Note that a daemon stops, in order."""
        with self._store.transaction() as db:
            tell(db, now, "daemon", str(pid), "stopped", was="started", cause=Cause.STOP)

    def watching(self, lacks: str | None, now: float) -> None:
        """Note why some folders cannot be watched; null: all are again."""
        became = "watching" if lacks is None else "sweeping"
        with self._store.transaction() as db:
            tell(db, now, "daemon", WATCH, became, cause=Cause.WATCH, detail=lacks)

    def usable_again(self, *, pid: int, words: str, now: float) -> None:
        """Tell that the ledger, which could not be written for a while, can be: this commit proves it."""
        with self._store.transaction() as db:
            tell(db, now, "daemon", str(pid), "going_on", was="held_up", cause=Cause.LEDGER, detail=words)
