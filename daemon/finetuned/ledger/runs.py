"""What is found of the jobs that run, and when their next step is due; each command is one transaction."""

from __future__ import annotations

from msgspec.structs import replace

from finetuned.backend import Observation
from finetuned.ledger.attempts import change_attempt, read_attempt
from finetuned.ledger.events import tell_of
from finetuned.ledger.interactions import write_interactions
from finetuned.ledger.jobs import change_job, move_job, read_job
from finetuned.ledger.rows import text_at
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, JobState, Requested
from finetuned.model import Attempt, Job
from finetuned.times import iso


class Runs:
    """Commands about jobs whose session is on the server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def polled(
        self,
        job: Job,
        seen: Observation,
        *,
        stage: str,
        due_at: float,
        moved: bool,
        now: float,
        name: str | None = None,
    ) -> Job:
        """Write a poll: interactions are updated in place; progress is no event, a new stage is told.

        `name`: what the session is to be called from now on; null: it keeps its name.
        """
        with self._store.transaction() as db:
            write_interactions(db, seen, now)
            attempt = job.under_way
            change_attempt(
                db,
                attempt,
                name=name or attempt.name,
                stage=stage,
                progress=seen.progress,
                due_at=iso(due_at),
                moved_at=iso(now) if moved else text_at(attempt.moved_at),
                tries=0,
                missing_since=None,
                misses=0,
            )
            if stage != attempt.stage:
                tell_of(db, now, job, Cause.STAGE, stage)
            return replace(job, attempt=read_attempt(db, attempt.id))

    def recovering(
        self, job: Job, seen: Observation, counted: Attempt, reason: str, *, cause: Cause, due_at: float, now: float
    ) -> Job:
        """Write what is done about the session, which was like `seen`; `counted`: how often by now."""
        with self._store.transaction() as db:
            write_interactions(db, seen, now)
            change_job(db, job, reason=reason)
            change_attempt(
                db,
                job.under_way,
                restarts=counted.restarts,
                retrained=counted.retrained,
                requeued=counted.requeued,
                kicks=counted.kicks,
                due_at=iso(due_at),
                moved_at=iso(now),
                tries=0,
                missing_since=None,
                misses=0,
            )
            tell_of(db, now, job, cause, reason)
            return read_job(db, job.id)

    def try_later(self, job: Job, due_at: float, words: str | None, now: float) -> Job:
        """Put off what was due and failed for a passing reason, in the same state.

        A session that was missing before is looked for anew: only polls in a row tell that it is gone.
        """
        with self._store.transaction() as db:
            tries = job.in_vain + 1
            if job.open is None:
                change_job(db, job, due_at=iso(due_at), tries=tries)
            else:
                change_attempt(db, job.open, due_at=iso(due_at), tries=tries, missing_since=None, misses=0)
            if words and job.in_vain == 0:
                tell_of(db, now, job, Cause.HELD_UP, words)
            return read_job(db, job.id)

    def awaits_review(self, job: Job, stage: str, due_at: float, now: float) -> None:
        """Let the job, whose pairs are made, wait for a person."""
        with self._store.transaction() as db:
            move_job(db, now, job, JobState.REVIEW, cause=Cause.PAIRS_MADE)
            change_attempt(db, job.under_way, stage=stage, due_at=iso(due_at), tries=0, missing_since=None, misses=0)

    def review_over(self, job: Job, *, cause: Cause, now: float) -> None:
        """End the review of a job: its session trains, or is gone."""
        with self._store.transaction() as db:
            move_job(db, now, job, JobState.RUNNING, cause=cause)
            change_attempt(db, job.under_way, due_at=None, tries=0, moved_at=iso(now))
            db.execute("update jobs set requested = null where id = ? and requested = ?", (job.id, Requested.ACCEPT))
