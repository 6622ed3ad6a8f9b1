"""The house's book: the server's standing, the folders', the daemon's own, and what people asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from finetuned.ledger.rows import WATCH, at, place, tell
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause
from finetuned.model import FolderFacts, ServerFacts, iso


class HouseBook:
    """Commands and questions about everything that is neither file, job nor session."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def started(self, *, pid: int, version: str, now: float, configuration: str | None = None) -> None:
        """A daemon starts; whether the server can be used is found out anew, at once, by one probe.

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
        """A daemon stops, in order."""
        with self._store.transaction() as db:
            tell(db, now, "daemon", str(pid), "stopped", was="started", cause=Cause.STOP)

    def watching(self, lacks: str | None, now: float) -> None:
        """Some folders cannot be watched, and why; null: all are again."""
        became = "watching" if lacks is None else "sweeping"
        with self._store.transaction() as db:
            tell(db, now, "daemon", WATCH, became, cause=Cause.WATCH, detail=lacks)

    def usable_again(self, *, pid: int, words: str, now: float) -> None:
        """The ledger could not be written for a while: this commit proves that it can, and tells of it."""
        with self._store.transaction() as db:
            tell(db, now, "daemon", str(pid), "going_on", was="held_up", cause=Cause.LEDGER, detail=words)

    def server(self, url: str) -> ServerFacts:
        """What is known of the server at `url`."""
        with self._store.reading() as db:
            row = db.execute("select * from servers where url = ?", (url,)).fetchone()
        if row is None:
            return ServerFacts()
        return ServerFacts(
            paused_because=row["paused_because"],
            next_try_at=at(row["next_try_at"]),
            tries=row["tries"],
            reachable=None if row["reachable"] is None else bool(row["reachable"]),
            max_chunks=row["max_chunks"],
            max_sessions=row["max_sessions"],
            max_sessions_at=at(row["max_sessions_at"]),
            max_request=row["max_request"],
            dialect=row["dialect"],
        )

    def server_paused(self, url: str, because: str, *, next_try_at: float, reachable: bool, now: float) -> None:
        """The server cannot be used: nothing is sent until a try at `next_try_at` goes well.

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

    def server_usable(self, url: str, dialect: str, now: float) -> None:
        """The server answered as it should."""
        with self._store.transaction() as db:
            was = db.execute("select * from servers where url = ?", (url,)).fetchone()
            if was and was["reachable"] and was["paused_because"] is None and was["dialect"] == dialect:
                return
            db.execute(
                "insert into servers (url, dialect, reachable) values (?, ?, 1) on conflict (url) do update set "
                "dialect = excluded.dialect, reachable = 1, paused_because = null, tries = 0, next_try_at = null",
                (url, dialect),
            )
            paused = was is not None and was["paused_because"] is not None
            was_it = "paused" if paused else None
            detail = f"it speaks the {dialect} dialect"
            tell(db, now, "server", url, "usable", was=was_it, cause=Cause.SERVER_ANSWERED, detail=detail)

    def folder_is(self, name: str, path: str, state: str, now: float, *, detail: str | None = None) -> None:
        """The folder is `watched` or `away`; told only when it changes."""
        text, b64 = place(path)
        with self._store.transaction() as db:
            was = db.execute("select state, path from folders where name = ?", (name,)).fetchone()
            if was and was["state"] == state and was["path"] == text:
                return
            db.execute(
                "insert into folders (name, path, path_b64, state, since) values (?, ?, ?, ?, ?) "
                "on conflict (name) do update set path = excluded.path, path_b64 = excluded.path_b64, "
                "state = excluded.state, since = excluded.since",
                (name, text, b64, state, iso(now)),
            )
            tell(
                db,
                now,
                "folder",
                name,
                state,
                was=was["state"] if was else None,
                cause=Cause.FOLDER,
                detail=detail,
            )

    def untaken(self, folder: str, counts: Mapping[str, int]) -> None:
        """By suffix, how many files of the folder no rule takes: for who asks for the status; no event."""
        with self._store.transaction() as db:
            db.execute("update folders set untaken = ? where name = ?", (json.dumps(counts), folder))

    def flush(self, folder: str | None, now: float) -> None:
        """What waits in the folder (null: in any) now is sealed without waiting for more."""
        with self._store.transaction() as db:
            query = "update folders set flush_before = :now where :name is null or name = :name"
            db.execute(query, {"now": iso(now), "name": folder})

    def folders(self) -> dict[str, FolderFacts]:
        """The folders by name, as they were found last: also those of former configurations."""
        query = "select name, state, flush_before, sent_at from folders"
        with self._store.reading() as db:
            rows = db.execute(query).fetchall()
        return {
            row["name"]: FolderFacts(
                name=row["name"],
                usable=row["state"] == "watched",
                flush_before=at(row["flush_before"]),
                sent_at=at(row["sent_at"]),
            )
            for row in rows
        }

    def answered(self, request_id: str, *, verb: str, done: bool, words: str, now: float) -> None:
        """A request of a person was carried out or refused; the event is the answer."""
        with self._store.transaction() as db:
            tell(db, now, "daemon", request_id, "done" if done else "refused", cause=verb, detail=words)

    def is_answered(self, request_id: str) -> bool:
        """Whether a request was answered already (a crash may have left its file)."""
        with self._store.reading() as db:
            query = "select 1 from events where subject = 'daemon' and subject_id = ?"
            return db.execute(query, (request_id,)).fetchone() is not None

    def last_event(self) -> int:
        """The number of the newest event."""
        with self._store.reading() as db:
            number: int = db.execute("select coalesce(max(id), 0) from events").fetchone()[0]
        return number

    def events_since(self, number: int, *, most: int = -1) -> list[dict[str, Any]]:
        """The events after `number`, oldest first, each with the path of its file; all if `most` is negative."""
        with self._store.reading() as db:
            rows = db.execute(
                "select e.*, f.path, f.folder from events e "
                "left join files f on e.subject = 'file' and f.id = cast(e.subject_id as integer) "
                "where e.id > ? order by e.id limit ?",
                (number, most),
            ).fetchall()
        return [dict(row) for row in rows]
