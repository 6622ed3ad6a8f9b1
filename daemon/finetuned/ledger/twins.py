"""The twins' book: second sessions of a job, found or only feared.

1. A session whose answer was lost and that was not found is a suspect: a slow server may list it late, when its job
   has been sent again. Its `due_at` says when the server is searched once more; null, it is let go.
2. A twin is recorded once. It is to go from the server if it never trained, and stays there if it has.
"""

from __future__ import annotations

from finetuned.backend import Observation
from finetuned.ledger.rows import SUSPECT, attempt_of, tell, text_at
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause
from finetuned.model import Attempt, Job, iso


class TwinBook:
    """Commands and questions about sessions that should not be."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def found(self, job: Job, seen: Observation, *, attempt: int, url: str, dialect: str, now: float) -> None:
        """A second session of the job: recorded once, and removed from the server if it never trained.

        One of a job that only a note tells of stays as it is.
        """
        with self._store.transaction() as db:
            reason = "a second session of the same job turned up"
            columns = (job.id, attempt, seen.id, url, dialect, seen.name, seen.model, reason)
            done = db.execute(
                "insert into sessions (job_id, attempt, current, state, session_id, url, dialect, name, lora_dir, "
                "reason, intent_at, known_at, ended_at, discard, read_only) "
                "values (?, ?, 0, 'twin', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
                (*columns, *[iso(now)] * 3, int(seen.model is None and not job.noted), int(job.noted)),
            )
            if done.rowcount:
                tell(db, now, "session", seen.id, "twin", cause=Cause.FOUND, detail=reason, job_id=job.id)

    def kept(self, session: Attempt, lora_dir: str | None, now: float) -> None:
        """The session was to go, but it has trained: it stays on the server, as a record."""
        with self._store.transaction() as db:
            db.execute(
                "update sessions set discard = 0, due_at = null, lora_dir = ?, version = version + 1 "
                "where session_id = ?",
                (lora_dir, session.session_id),
            )
            name = session.session_id or session.marker
            tell(db, now, "session", name, session.state, was=session.state, cause=Cause.KEPT, job_id=session.job_id)

    def rechecked(self, job_id: str, *, due_at: float | None, counts: bool) -> None:
        """The server was searched again for a job's lost sessions (or could not be): until when they rest now."""
        with self._store.transaction() as db:
            db.execute(
                f"update sessions set due_at = ?, tries = tries + ?, version = version + 1 "
                f"where job_id = ? and {SUSPECT}",
                (text_at(due_at), int(counts), job_id),
            )

    def suspects(self) -> list[Attempt]:
        """Sessions whose answer was lost and that were not found, but may turn up later."""
        with self._store.reading() as db:
            return [attempt_of(row) for row in db.execute(f"select * from sessions where {SUSPECT} order by id")]
