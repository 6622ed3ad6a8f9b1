"""The quotas' book: what a server takes, as its own words told, and the jobs that were too much for it.

1. A limit is learned when it is overstepped, and kept with the server's address. It only makes us ask for less.
2. A job that is too much becomes two in one commit: it ends, and its files are packed in its successors, which claim
   them from where they lie. The claim is repeated until it holds, like that of any job.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from finetuned.ledger.jobs import end_job
from finetuned.ledger.rows import end_attempt, move_file, tell, update
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, FileState, JobState, SessionState
from finetuned.model import PROCESSING, File, Job, iso


class QuotaBook:
    """Commands and questions about quotas."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def chunks_allowed(self, url: str, most: int | None, now: float) -> None:
        """How many chunks the server's plan allows in one session; null: more than we thought."""
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
        """How many sessions at a time the server's plan allows us, as far as it is known now."""
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
        """How many bytes a request may have, as far as is known: a proxy in front of the server does not say it."""
        with self._store.transaction() as db:
            db.execute(
                "insert into servers (url, max_request) values (?, ?) "
                "on conflict (url) do update set max_request = excluded.max_request",
                (url, most),
            )
            _told(db, now, url, f"requests of up to {most} bytes are tried")

    def in_vain(self) -> int:
        """How many jobs were halved since a server took one the last time."""
        taken = "select id from events where +subject = 'session' and became = 'live' order by id desc limit 1"
        query = (
            f"select count(*) from events where id > coalesce(({taken}), 0) and +subject = 'job' "
            f"and became = 'cancelled' and cause in ('{Cause.TOO_LARGE}', '{Cause.REFUSED}', '{Cause.IN_VAIN}')"
        )
        with self._store.reading() as db:
            number: int = db.execute(query).fetchone()[0]
        return number

    def in_flight(self, job: Job) -> int:
        """How many other jobs hold a session on the job's server."""
        query = (
            "select count(*) from sessions s join jobs j on j.id = s.job_id and j.state = 'running' "
            "where s.state = 'live' and s.job_id != ? and s.url is ?"
        )
        with self._store.reading() as db:
            number: int = db.execute(query, (job.id, None if job.open is None else job.open.url)).fetchone()[0]
        return number

    def split(
        self,
        job: Job,
        parts: Mapping[str, Sequence[File]],
        words: str,
        now: float,
        *,
        cause: Cause,
        recheck_at: float | None = None,
    ) -> bool:
        """End the job; its files go on in new ones (by id). False if one of the ids is taken.

        `recheck_at`: see `SessionBook.unsent`.
        """
        with self._store.transaction() as db:
            if any(db.execute("select 1 from jobs where id = ?", (new,)).fetchone() for new in parts):
                return False
            _end_attempt(db, now, job, words, cause, recheck_at)
            for new, files in parts.items():
                _seal_part(db, now, job, new, files, words)
            _end_job(db, now, job, f"split into {', '.join(parts)}", words, cause)
        return True

    def too_big(self, job: Job, file: File, words: str, now: float, *, cause: Cause) -> None:
        """The only file of a job is more than the server takes: it is refused, and no file is left in the job."""
        with self._store.transaction() as db:
            _end_attempt(db, now, job, words, cause)
            columns = {"reason": words, "finished_at": iso(now), "archived": 0, "job_id": None, "upload_name": None}
            move_file(db, now, file, FileState.REFUSED, cause=Cause.TOO_BIG, detail=words, **columns)
            _end_job(db, now, job, f"no file was left in it: {words}", words, cause)

    def is_left(self, job: Job) -> bool:
        """Whether every file that went on without the job was taken from its folder."""
        query = (
            "select 1 from files f where (f.state = 'packed' or f.archived = 0) and f.folder = ? "
            "and f.job_id is not ? and instr(f.location, ?) > 0 limit 1"
        )
        with self._store.reading() as db:
            return db.execute(query, (job.folder, job.id, f"/{PROCESSING}/{job.id}/")).fetchone() is None


def _seal_part(db: sqlite3.Connection, now: float, job: Job, new: str, files: Sequence[File], words: str) -> None:
    """One of the jobs that go on in the place of `job`; they go on counting where it stopped."""
    size = sum(file.content.bytes for file in files if file.content)
    db.execute(
        "insert into jobs (id, folder, state, batch_group, split_of, files, bytes, created_at, unanswered, unheard) "
        "select ?, folder, ?, batch_group, id, ?, ?, ?, max(0, unanswered - 1), max(0, unheard - 1) "
        "from jobs where id = ?",
        (new, str(JobState.QUEUED), len(files), size, iso(now), job.id),
    )
    tell(db, now, "job", new, JobState.QUEUED, cause=Cause.SPLIT, detail=f"of {job.id}: {words}", job_id=new)
    for file in files:
        update(db, "files", file.id, file.version, job_id=new, upload_name=None)
        tell(db, now, "file", str(file.id), file.state, was=file.state, cause=Cause.SPLIT, job_id=new)


def _row(db: sqlite3.Connection, url: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute("select * from servers where url = ?", (url,)).fetchone()
    return row


def _told(db: sqlite3.Connection, now: float, url: str, words: str) -> None:
    tell(db, now, "server", url, "usable", was="usable", cause=Cause.QUOTA, detail=words)


def _end_attempt(
    db: sqlite3.Connection, now: float, job: Job, words: str, cause: Cause, recheck_at: float | None = None
) -> None:
    """A session that was made ended with an error, and stays as evidence; one that was refused was never there."""
    state = SessionState.UNSENT if job.session_id is None else SessionState.ENDED
    end_attempt(db, now, job, state, cause=cause, reason=words, recheck_at=recheck_at)


def _end_job(db: sqlite3.Connection, now: float, job: Job, reason: str, words: str, cause: Cause) -> None:
    end_job(db, now, job, JobState.CANCELLED, reason, cause=cause, detail=words, files=0, bytes=0)
