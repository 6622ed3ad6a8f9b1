"""What is sent: the intent, then the session that came of it, or that none did; each command is one transaction."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import json

from finetuned.backend import Observation
from finetuned.ledger.attempts import change_attempt, end_attempt, intend
from finetuned.ledger.events import tell
from finetuned.ledger.interactions import write_interactions
from finetuned.ledger.jobs import JobColumns, move_job, read_job
from finetuned.ledger.rows import text_at
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, JobState, SessionState, check_move
from finetuned.model import Job
from finetuned.times import iso


class Sends:
    """Commands about jobs and the attempts that are being sent."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin_attempt(self, job: Job, *, url: str, variant: str, names: Mapping[int, str], now: float) -> Job:
        """Write the intent to send, attempt and upload names (by file id), before the request."""
        with self._store.transaction() as db:
            db.execute(
                "update files set upload_name = value ->> 1, version = version + 1 from json_each(?) "
                "where files.id = value ->> 0 and +files.job_id = ?",
                (json.encode([*names.items()]).decode(), job.id),
            )
            intend(db, now, job.id, job.attempts + 1, url=url, dialect=variant, stage="uploading", progress=0)
            db.execute("update folders set sent_at = ? where name = ?", (iso(now), job.folder))
            move_job(db, now, job, JobState.SUBMITTING, cause=Cause.INTENT, reason=None, due_at=None)
            return read_job(db, job.id)

    def adopt(self, job: Job, seen: Observation, *, due_at: float, cause: Cause, now: float) -> None:
        """Note the session that the server has, and let its job run. One found for a noted job is only read."""
        with self._store.transaction() as db:
            attempt = job.under_way
            check_move(attempt.state, cause, SessionState.LIVE)
            change_attempt(
                db,
                attempt,
                state=str(SessionState.LIVE),
                session_id=seen.id,
                name=seen.name,
                read_only=int(job.noted and cause is Cause.FOUND),
                stage=seen.stage,
                progress=0,
                known_at=iso(now),
                moved_at=iso(now),
                due_at=iso(due_at),
                tries=0,
            )
            tell(db, now, "session", seen.id, "live", was=attempt.state, cause=cause, job_id=job.id)
            write_interactions(db, seen, now)
            fresh: JobColumns = {"reason": None, "tries": 0, "unanswered": 0, "unheard": 0}
            move_job(db, now, job, JobState.RUNNING, cause=cause, detail=seen.id, **fresh)

    def reply_lost(self, job: Job, reason: str, *, answered: bool, due_at: float, now: float) -> None:
        """Make a job doubtful whose request may have taken effect. `answered`: a 5xx, or something odd, came back."""
        with self._store.transaction() as db:
            counted: JobColumns = {"unanswered": job.unanswered + 1} if answered else {"unheard": job.unheard + 1}
            counted |= {"reason": reason, "tries": 0}
            move_job(db, now, job, JobState.DOUBTFUL, cause=Cause.REPLY_LOST, detail=reason, **counted)
            change_attempt(db, job.under_way, stage=None, due_at=iso(due_at), tries=0)

    def unsent(
        self,
        job: Job,
        reason: str,
        *,
        cause: Cause,
        due_at: float | None,
        now: float,
        claim_again: bool = False,
        broke_off: bool = False,
        recheck_at: float | None = None,
    ) -> None:
        """Queue a job again of whose attempt surely no session came; the attempt cost nothing.

        `claim_again`: its files are no longer what they were; the claim finds out which leave the job. `broke_off`: the
        request was on its way, which counts. `recheck_at`: when the server is searched again for a session that it may
        list late.
        """
        with self._store.transaction() as db:
            end_attempt(db, now, job, cause=cause, reason=reason, counts=False, recheck_at=recheck_at)
            columns: JobColumns = {"reason": reason, "due_at": text_at(due_at), "tries": job.tries + 1}
            columns["unheard"] = job.unheard + broke_off
            if claim_again:
                columns["claimed_at"] = None
                void = "update sessions set upload_id = null where job_id = ? and attempt = ?"
                db.execute(void, (job.id, job.under_way.number))
            move_job(db, now, job, JobState.QUEUED, cause=cause, detail=reason, **columns)
