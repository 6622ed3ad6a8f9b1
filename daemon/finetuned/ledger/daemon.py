"""The table of the daemon, which has one row, and what is told of it."""

from __future__ import annotations

from typing import Final

from finetuned.ledger.events import METRICS, WATCH, tell
from finetuned.ledger.rows import clean
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause
from finetuned.times import iso

#: whether a server can be used is found out anew, by one probe
_TRY_SERVERS: Final = """
update servers set next_try_at = null, reachable = iif(paused_because is null, null, reachable)
"""


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
            db.execute(_TRY_SERVERS)
            tell(db, now, "daemon", str(pid), "started", cause=Cause.START, detail=version)

    def reloaded(self, *, pid: int, now: float, configuration: str) -> None:
        """Note that the daemon goes on with another configuration; servers are tried as after a start."""
        with self._store.transaction() as db:
            db.execute("update daemon set configuration = ?, reload_refused_because = null", (configuration,))
            db.execute(_TRY_SERVERS)
            tell(db, now, "daemon", str(pid), "reloaded", was="started", cause=Cause.RELOAD)

    def reload_refused(self, *, pid: int, words: str, now: float) -> None:
        """Note why the daemon goes on with the configuration that it had; until a reload works."""
        with self._store.transaction() as db:
            db.execute("update daemon set reload_refused_because = ?", (clean(words),))
            tell(db, now, "daemon", str(pid), "reload_refused", was="started", cause=Cause.RELOAD, detail=words)

    def stopped(self, *, pid: int, now: float) -> None:
        """Note that a daemon stops, in order."""
        with self._store.transaction() as db:
            tell(db, now, "daemon", str(pid), "stopped", was="started", cause=Cause.STOP)

    def watching(self, lacks: str | None, now: float) -> None:
        """Note why some folders cannot be watched; null: all are again."""
        became = "watching" if lacks is None else "sweeping"
        with self._store.transaction() as db:
            tell(db, now, "daemon", WATCH, became, cause=Cause.WATCH, detail=lacks)

    def serving(self, lacks: str | None, now: float) -> None:
        """Note why no metrics are served; null: they are."""
        became = "served" if lacks is None else "unserved"
        with self._store.transaction() as db:
            tell(db, now, "daemon", METRICS, became, cause=Cause.METRICS, detail=lacks)

    def usable_again(self, *, pid: int, words: str, now: float) -> None:
        """Tell that the ledger, which could not be written for a while, can be: this commit proves it."""
        with self._store.transaction() as db:
            tell(db, now, "daemon", str(pid), "going_on", was="held_up", cause=Cause.LEDGER, detail=words)
