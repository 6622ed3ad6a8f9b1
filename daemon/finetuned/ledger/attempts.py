"""The table of attempts (`sessions`): each row is the intent to send a job, and the session that came of it.

1. An upload is noted before it is learned, so that a search for its session can tell it. It serves every try of the
   same attempt on the same server: files and names are the same. Once the files are claimed anew it is void.
2. A session whose answer was lost and that was not found is a suspect: a slow server may list it late, when its job
   has been sent again. Its `due_at` says when the server is searched once more; null, it is let go.
3. A duplicate session of a job is recorded once. It is to go from the server if it never trained, and stays there if
   it has.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import Final, TypedDict, Unpack

from finetuned.backend import Observation
from finetuned.ledger.events import tell, tell_of
from finetuned.ledger.rows import insert, text_at, update, value_of
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, Requested, SessionState, check_move
from finetuned.model import Attempt, Job
from finetuned.times import iso

#: attempts whose answer was lost and that were not found, but may turn up later
SUSPECT: Final = "state = 'unsent' and due_at is not null"


class AttemptColumns(TypedDict, total=False):
    """What may be changed of an attempt."""

    state: str
    current: int
    session_id: str | None
    name: str | None
    read_only: int
    stage: str | None
    progress: int | None
    restarts: int
    retrained: int
    requeued: int
    kicks: int
    reason: str | None
    known_at: str | None
    moved_at: str | None
    missing_since: str | None
    misses: int
    ended_at: str | None
    discard: int
    due_at: str | None
    tries: int


class Attempts:
    """Commands and questions about attempts alone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def named(self, session_id: str, name: str) -> bool:
        """Note that the session is to have this name on the server; False if that was noted already."""
        with self._store.transaction() as db:
            query = "update sessions set name = :name where session_id = :id and name is not :name"
            return db.execute(query, {"name": name, "id": session_id}).rowcount > 0

    def uploading(self, job: Job, percent: int) -> None:
        """Note how far an upload is, in percent: for people who watch; neither an event nor guarded."""
        with self._store.transaction() as db:
            query = (
                "update sessions set progress = ? where id = ? and state = 'intended' "
                "and (select state from jobs where id = job_id) = 'submitting'"
            )
            db.execute(query, (percent, job.under_way.id))

    def unmoved(self, polled: Iterable[tuple[Attempt, float]]) -> None:
        """Put off the next poll of sessions that are what they were, each to its instant; not of one that moved on."""
        with self._store.transaction() as db:
            db.executemany(
                "update sessions set due_at = ?, tries = 0, missing_since = null, misses = 0, version = version + 1 "
                "where id = ? and version = ?",
                [(iso(due_at), attempt.id, attempt.version) for attempt, due_at in polled],
            )

    def look_now(self, session_ids: Collection[str], busy: Collection[str], now: float) -> frozenset[str]:
        """Make sessions due for a poll; return those whose job is `busy`, which are not."""
        later = set()
        with self._store.transaction() as db:
            for session_id in session_ids:
                query = "select id, job_id from sessions where session_id = ? and state = 'live' and current = 1"
                row = db.execute(query, (session_id,)).fetchone()
                if row is not None and row["job_id"] in busy:
                    later.add(session_id)
                elif row is not None:
                    query = "update sessions set due_at = ?, version = version + 1 where id = ?"
                    db.execute(query, (iso(now), row["id"]))
        return frozenset(later)

    def missing(self, job: Job, *, due_at: float, now: float) -> None:
        """Count that the server did not find the session, which is polled again."""
        with self._store.transaction() as db:
            attempt = job.under_way
            since = iso(attempt.missing_since or now)
            change_attempt(db, attempt, missing_since=since, misses=attempt.misses + 1, tries=0, due_at=iso(due_at))
            if attempt.missing_since is None:
                tell_of(db, now, job, Cause.SESSION_MISSING)

    def uploaded(self, job: Job, entity_id: str) -> None:
        """Note the id under which the open attempt's files are on the server; nothing learns them yet."""
        with self._store.transaction() as db:
            db.execute("update sessions set upload_id = ? where job_id = ? and state = 'intended'", (entity_id, job.id))

    def upload(self, job: Job) -> str | None:
        """Look up the upload that an earlier try of the same attempt made on the same server; null if none."""
        query = (
            "select o.upload_id from sessions o join sessions s using (job_id, attempt, url, dialect) "
            "where s.job_id = ? and s.state = 'intended' and o.upload_id is not null order by o.id desc limit 1"
        )
        row = self._store.ask_one(query, job.id)
        return None if row is None else str(row["upload_id"])

    def uploads(self, job_id: str) -> frozenset[str]:
        """List every upload of the job."""
        rows = self._store.ask("select upload_id from sessions where job_id = ? and upload_id is not null", job_id)
        return frozenset(row["upload_id"] for row in rows)

    def duplicate_found(self, job: Job, seen: Observation, *, attempt: int, url: str, variant: str, now: float) -> None:
        """Record a second session of the job, once; it is removed from the server if it never trained.

        One of a job that only a note tells of stays as it is.
        """
        with self._store.transaction() as db:
            reason = "a second session of the same job turned up"
            columns = (job.id, attempt, seen.id, url, variant, seen.name, seen.model, reason)
            done = db.execute(
                "insert into sessions (job_id, attempt, current, state, session_id, url, dialect, name, lora_dir, "
                "reason, intent_at, known_at, ended_at, discard, read_only) "
                "values (?, ?, 0, 'twin', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
                (*columns, *[iso(now)] * 3, int(seen.model is None and not job.noted), int(job.noted)),
            )
            if done.rowcount:
                tell(db, now, "session", seen.id, "twin", cause=Cause.FOUND, detail=reason, job_id=job.id)

    def kept(self, session: Attempt, lora_dir: str | None, now: float) -> None:
        """Keep a session that was to be removed from the server, but has trained."""
        with self._store.transaction() as db:
            db.execute(
                "update sessions set discard = 0, due_at = null, lora_dir = ?, version = version + 1 "
                "where session_id = ?",
                (lora_dir, session.session_id),
            )
            name = session.session_id or session.marker
            tell(db, now, "session", name, session.state, was=session.state, cause=Cause.KEPT, job_id=session.job_id)

    def rechecked(self, job_id: str, *, due_at: float | None, counts: bool) -> None:
        """Set when the server is searched next for a job's lost sessions; `counts`: it was searched now."""
        with self._store.transaction() as db:
            db.execute(
                f"update sessions set due_at = ?, tries = tries + ?, version = version + 1 "
                f"where job_id = ? and {SUSPECT}",
                (text_at(due_at), int(counts), job_id),
            )

    def suspects(self) -> list[Attempt]:
        """List the attempts whose answer was lost and that were not found, but may turn up later."""
        return [attempt_of(row) for row in self._store.ask(f"select * from sessions where {SUSPECT} order by +id")]

    def discarded(self, session: Attempt, now: float, *, where: str = "the server") -> None:
        """Note that the session was removed from `where` it was, its model with it; its job's reason says so."""
        with self._store.transaction() as db:
            db.execute(
                "update sessions set discard = 0, due_at = null, removed_at = ?, version = version + 1 "
                "where session_id = ?",
                (iso(now), session.session_id),
            )
            if session.state is SessionState.TRAINED:
                words = f"its session and its model were removed from {where} ({iso(now)})"
                db.execute(
                    "update jobs set reason = coalesce(reason || '; ', '') || ? || "
                    f"case when requested = '{Requested.DELETE}' then ', as a person asked' else '' end where id = ?",
                    (words, session.job_id),
                )
            name = session.session_id or session.marker
            tell(db, now, "session", name, "removed", was=session.state, cause=Cause.DISCARD, job_id=session.job_id)

    def discard_later(self, session: Attempt, due_at: float) -> None:
        """Put off the removal of a session."""
        with self._store.transaction() as db:
            db.execute(
                "update sessions set due_at = ?, tries = tries + 1, version = version + 1 where session_id = ?",
                (iso(due_at), session.session_id),
            )

    def to_discard(self) -> list[Attempt]:
        """List the sessions that are to be removed from the server."""
        return [attempt_of(row) for row in self._store.ask("select * from sessions where discard = 1 order by id")]

    def known_ids(self, job_id: str, since: float) -> frozenset[str]:
        """List the ids of a job's sessions, and of those of jobs that had not ended at this instant.

        No other moved since.
        """
        query = (
            "select session_id from sessions where session_id is not null and job_id in "
            "(select ? union all select id from jobs where finished_at is null or archived = 0 "
            "union all select id from jobs where finished_at >= ?)"
        )
        return frozenset(row["session_id"] for row in self._store.ask(query, job_id, iso(since)))

    def in_flight(self, job: Job) -> int:
        """Count the other jobs that have a session on the job's server."""
        query = (
            "select count(*) from sessions s join jobs j on j.id = s.job_id and j.state = 'running' "
            "where s.state = 'live' and s.job_id != ? and s.url is ?"
        )
        (number,) = self._store.ask(query, job.id, None if job.open is None else job.open.url)[0]
        return int(number)


def attempt_of(row: sqlite3.Row, prefix: str = "") -> Attempt:
    """Make a value of a row of `sessions`."""
    return value_of(Attempt, row, prefix, number=row[f"{prefix}attempt"])


def intend(db: sqlite3.Connection, now: float, job_id: str, number: int, **columns: object) -> None:
    """Write the intent to send a job, as the attempt that counts."""
    known = {"job_id": job_id, "attempt": number, "current": 1, "state": SessionState.INTENDED, "intent_at": iso(now)}
    insert(db, "sessions", **known, **columns)


def change_attempt(db: sqlite3.Connection, attempt: Attempt, **columns: Unpack[AttemptColumns]) -> None:
    """Change an attempt. Raises Stale."""
    update(db, "sessions", attempt.id, attempt.version, **columns)


def read_attempt(db: sqlite3.Connection, attempt_id: int) -> Attempt:
    """Read an attempt as it is now."""
    return attempt_of(db.execute("select * from sessions where id = ?", (attempt_id,)).fetchone())


def end_attempt(
    db: sqlite3.Connection,
    now: float,
    job: Job,
    *,
    cause: Cause,
    became: SessionState | None = None,
    reason: str | None = None,
    counts: bool = True,
    discard: bool = False,
    progress_stays: bool = False,
    recheck_at: float | None = None,
) -> None:
    """End the job's open attempt, if it has one, and tell. It still `counts` for the job unless another one follows.

    `became`: not named, it is `ended` if it has a session, else `unsent`. `discard`: its session is to go from the
    server. `progress_stays`: it is shown how far it came. `recheck_at`: it may turn up on the server all the same.
    """
    attempt = job.open
    if attempt is None:
        return
    became = became or (SessionState.ENDED if attempt.session_id else SessionState.UNSENT)
    check_move(attempt.state, cause, became)
    ended: AttemptColumns = {
        "state": str(became),
        "current": int(counts),
        "ended_at": iso(now),
        "reason": reason,
        "discard": int(discard and attempt.session_id is not None and not attempt.read_only),
        "stage": None,
        "due_at": text_at(recheck_at),
        "tries": 0,
    }
    if not progress_stays:
        ended["progress"] = None
    change_attempt(db, attempt, **ended)
    name = attempt.session_id or attempt.marker
    tell(db, now, "session", name, became, was=attempt.state, cause=cause, detail=reason, job_id=job.id)


def discard_all(db: sqlite3.Connection, job_id: str) -> int:
    """Have the sessions of all the job's attempts removed from where they are, as far as they may be; count them."""
    return db.execute(
        "update sessions set discard = 1, due_at = null, version = version + 1 "
        "where job_id = ? and session_id is not null and removed_at is null and not read_only",
        (job_id,),
    ).rowcount


def all_here(
    db: sqlite3.Connection, session_id: str, pairs: int, model: str | None = None, name: str | None = None
) -> None:
    """Note that all pairs of the session are in the ledger, which `model` was trained with them, and its new `name`."""
    query = "update sessions set pairs = ?, lora_dir = ?, name = coalesce(?, name) where session_id = ?"
    db.execute(query, (pairs, model, name, session_id))
