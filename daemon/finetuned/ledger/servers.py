"""The table of servers: whether each can be used, and what it takes, as its own words told."""

from __future__ import annotations

import sqlite3

from finetuned.ledger.events import tell
from finetuned.ledger.rows import value_of
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause
from finetuned.model import ServerFacts
from finetuned.times import iso


class Servers:
    """Commands and questions about servers."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, url: str) -> ServerFacts:
        """Look up what is known of the server at `url`."""
        row = self._store.ask_one("select * from servers where url = ?", url)
        return ServerFacts() if row is None else value_of(ServerFacts, row, variant=row["dialect"])

    def paused(self, url: str, because: str, *, next_try_at: float, reachable: bool, now: float) -> None:
        """Pause a server that cannot be used: nothing is sent until a try at `next_try_at` goes well.

        What was under way when it was paused and fails, too, is no further try.
        """
        with self._store.transaction() as db:
            was = db.execute("select paused_because from servers where url = ?", (url,)).fetchone()
            db.execute(
                "insert into servers (url, paused_because, last_error, last_error_at, tries, next_try_at, reachable) "
                "values (:url, :why, :why, :now, 1, :next, :reachable) on conflict (url) do update set "
                "paused_because = :why, last_error = :why, last_error_at = :now, next_try_at = :next, "
                "reachable = :reachable, "
                "tries = tries + (paused_because is null or coalesce(next_try_at, '') <= :now)",
                {"url": url, "why": because, "next": iso(next_try_at), "reachable": int(reachable), "now": iso(now)},
            )
            if was is None or was["paused_because"] is None:
                tell(db, now, "server", url, "paused", was="usable", cause=Cause.SERVER_PAUSED, detail=because)

    def usable(self, url: str, variant: str, now: float) -> None:
        """Note that the server answered as it should."""
        with self._store.transaction() as db:
            was = db.execute("select * from servers where url = ?", (url,)).fetchone()
            if was and was["reachable"] and was["paused_because"] is None and was["dialect"] == variant:
                return
            db.execute(
                "insert into servers (url, dialect, reachable) values (?, ?, 1) on conflict (url) do update set "
                "dialect = excluded.dialect, reachable = 1, paused_because = null, tries = 0, next_try_at = null",
                (url, variant),
            )
            paused = was is not None and was["paused_because"] is not None
            was_it = "paused" if paused else None
            detail = None if variant == url else f"it speaks the {variant} dialect"
            tell(db, now, "server", url, "usable", was=was_it, cause=Cause.SERVER_ANSWERED, detail=detail)

    def chunks_allowed(self, url: str, most: int | None, now: float) -> None:
        """Note how many chunks the server's plan allows in one session; null: more than thought."""
        with self._store.transaction() as db:
            was = _row(db, url)
            if (was["max_chunks"] if was else None) == most:
                return
            db.execute(
                "insert into servers (url, max_chunks) values (?, ?) "
                "on conflict (url) do update set max_chunks = excluded.max_chunks",
                (url, most),
            )
            words = "more chunks in a session than thought" if most is None else f"{most} chunks in a session"
            _told(db, now, url, f"its plan allows {words}")

    def sessions_allowed(self, url: str, most: int, now: float) -> None:
        """Note how many sessions at a time the server's plan allows us, as far as it is known now."""
        with self._store.transaction() as db:
            was = _row(db, url)
            db.execute(
                "insert into servers (url, max_sessions, max_sessions_at) values (?, ?, ?) "
                "on conflict (url) do update set max_sessions = excluded.max_sessions, "
                "max_sessions_at = excluded.max_sessions_at",
                (url, most, iso(now)),
            )
            if was is None or was["max_sessions"] != most:
                _told(db, now, url, f"its plan allows {most} of our sessions at a time for now")

    def request_allowed(self, url: str, most: int, now: float) -> None:
        """Note how many bytes a request may have, as far as is known: a proxy does not say it."""
        with self._store.transaction() as db:
            db.execute(
                "insert into servers (url, max_request) values (?, ?) "
                "on conflict (url) do update set max_request = excluded.max_request",
                (url, most),
            )
            _told(db, now, url, f"requests of up to {most} bytes are tried")


def _row(db: sqlite3.Connection, url: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute("select * from servers where url = ?", (url,)).fetchone()
    return row


def _told(db: sqlite3.Connection, now: float, url: str, words: str) -> None:
    tell(db, now, "server", url, "usable", was="usable", cause=Cause.QUOTA, detail=words)
