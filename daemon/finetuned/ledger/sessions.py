"""The sessions' book: each attempt at a job, from the intent to the verdict."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from finetuned.backend import Observation
from finetuned.ledger.jobs import end_job, fail_files, files_of
from finetuned.ledger.pairs import all_here
from finetuned.ledger.rows import (
    attempt_of,
    change_attempt,
    end_attempt,
    move_file,
    move_job,
    read_job,
    tell,
    text_at,
    update,
)
from finetuned.ledger.seen import write_look
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, JobState, SessionState, check_move
from finetuned.model import Attempt, File, Job, iso
from finetuned.verdict import JobVerdict


class SessionBook:
    """Commands and questions about attempts, looks and pairs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin_attempt(
        self, job: Job, *, url: str, dialect: str, names: Mapping[int, str], now: float
    ) -> tuple[Job, list[File]]:
        """The intent to send: attempt and upload names (by file id) are in the ledger before the request."""
        with self._store.transaction() as db:
            for file_id, name in names.items():
                db.execute(
                    "update files set upload_name = ?, version = version + 1 where id = ? and job_id = ?",
                    (name, file_id, job.id),
                )
            db.execute(
                "insert into sessions (job_id, attempt, current, state, url, dialect, stage, progress, intent_at) "
                "values (?, ?, 1, 'intended', ?, ?, 'uploading', 0, ?)",
                (job.id, job.attempts + 1, url, dialect, iso(now)),
            )
            db.execute("update folders set sent_at = ? where name = ?", (iso(now), job.folder))
            move_job(db, now, job, JobState.SUBMITTING, cause=Cause.INTENT, reason=None, due_at=None)
            return read_job(db, job.id), files_of(db, job.id, "packed")

    def adopt(self, job: Job, seen: Observation, *, due_at: float, cause: Cause, now: float) -> None:
        """The server has it: the session is known, its job runs. One that was found for a noted job is only read."""
        with self._store.transaction() as db:
            attempt = job.under_way
            check_move(attempt.state, cause, SessionState.LIVE)
            change_attempt(
                db,
                attempt,
                state=str(SessionState.LIVE),
                session_id=seen.id,
                name=seen.name,
                read_only=int(job.noted and cause == "found"),
                stage=seen.stage,
                progress=0,
                known_at=iso(now),
                moved_at=iso(now),
                due_at=iso(due_at),
                tries=0,
            )
            tell(db, now, "session", seen.id, "live", was=attempt.state, cause=cause, job_id=job.id)
            write_look(db, seen, now)
            counted = {"tries": 0, "unanswered": 0, "unheard": 0}
            move_job(db, now, job, JobState.RUNNING, cause=cause, detail=seen.id, reason=None, **counted)

    def named(self, session_id: str, name: str) -> bool:
        """The session is to have this name on the server; False if that was so already."""
        with self._store.transaction() as db:
            query = "update sessions set name = :name where session_id = :id and name is not :name"
            return db.execute(query, {"name": name, "id": session_id}).rowcount > 0

    def reply_lost(self, job: Job, reason: str, *, answered: bool, due_at: float, now: float) -> None:
        """The request may have taken effect: the job is doubtful. `answered`: a 5xx, or something odd, came back."""
        with self._store.transaction() as db:
            counted: dict[str, Any] = {"unanswered": job.unanswered + 1} if answered else {"unheard": job.unheard + 1}
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
        """No session came of the attempt, surely: the job is queued again and the attempt cost nothing.

        `claim_again`: its files are no longer what they were; the claim finds out which leave the job. `broke_off`: the
        request was on its way, which counts. `recheck_at`: when the server is searched again for a session that it may
        list late.
        """
        with self._store.transaction() as db:
            state = SessionState.UNSENT
            end_attempt(db, now, job, state, cause=cause, reason=reason, counts=False, recheck_at=recheck_at)
            columns: dict[str, Any] = {"reason": reason, "due_at": text_at(due_at), "tries": job.tries + 1}
            columns["unheard"] = job.unheard + broke_off
            if claim_again:
                columns["claimed_at"] = None
                void = "update sessions set upload_id = null where job_id = ? and attempt = ?"
                db.execute(void, (job.id, job.under_way.number))
            move_job(db, now, job, JobState.QUEUED, cause=cause, detail=reason, **columns)

    def failed(
        self, job: Job, reason: str, *, cause: Cause, now: float, recheck_at: float | None = None, discard: bool = False
    ) -> None:
        """The attempt ended, and no other is allowed: the job failed, its files with it.

        `recheck_at`: see `unsent`. `discard`: the session is unfinished, and is to go from the server.
        """
        with self._store.transaction() as db:
            state = SessionState.UNSENT if job.session_id is None else SessionState.ENDED
            end_attempt(
                db,
                now,
                job,
                state,
                cause=cause,
                reason=reason,
                discard=discard or _is_to_go(db, job.id),
                progress_stays=True,
                recheck_at=recheck_at,
            )
            fail_files(db, now, job, f"its job failed: {reason}")
            end_job(db, now, job, JobState.FAILED, reason, cause=cause)

    def next_attempt(self, job: Job, reason: str, *, cause: Cause, discard: bool, now: float) -> None:
        """The session is given up; the job is queued for another one. `discard`: it is to go from the server."""
        with self._store.transaction() as db:
            state = SessionState.ENDED
            end_attempt(db, now, job, state, cause=cause, reason=reason, counts=False, discard=discard)
            move_job(db, now, job, JobState.QUEUED, cause=cause, detail=reason, reason=reason, due_at=None, tries=0)

    def looked(self, job: Job, seen: Observation, *, stage: str, due_at: float, moved: bool, now: float) -> Job:
        """A look: the interactions are updated in place; progress is no event, a new stage is told."""
        with self._store.transaction() as db:
            write_look(db, seen, now)
            attempt = job.under_way
            looked = change_attempt(
                db,
                attempt,
                stage=stage,
                progress=seen.progress,
                due_at=iso(due_at),
                moved_at=iso(now) if moved else text_at(attempt.moved_at),
                tries=0,
                missing_since=None,
                misses=0,
            )
            if stage != attempt.stage:
                told = {"was": job.state, "cause": Cause.STAGE, "detail": stage, "job_id": job.id}
                tell(db, now, "job", job.id, job.state, **told)
            return replace(job, attempt=looked)

    def unmoved(self, job: Job, due_at: float) -> None:
        """The job's session is what it was: its next poll is due later."""
        with self._store.transaction() as db:
            change_attempt(db, job.under_way, due_at=iso(due_at), tries=0, missing_since=None, misses=0)

    def uploading(self, job: Job, percent: int) -> None:
        """How far an upload is: for those who watch; neither an event nor guarded."""
        with self._store.transaction() as db:
            query = "update sessions set progress = ? where id = ? and state = 'intended'"
            db.execute(query, (percent, job.under_way.id))

    def missing(self, job: Job, *, due_at: float, now: float) -> None:
        """The server did not find the session: it is counted, and looked for again."""
        with self._store.transaction() as db:
            attempt = job.under_way
            since = iso(attempt.missing_since or now)
            change_attempt(db, attempt, missing_since=since, misses=attempt.misses + 1, tries=0, due_at=iso(due_at))
            if attempt.missing_since is None:
                tell(db, now, "job", job.id, job.state, was=job.state, cause=Cause.SESSION_MISSING, job_id=job.id)

    def recovering(
        self, job: Job, seen: Observation, counted: Attempt, reason: str, *, cause: Cause, due_at: float, now: float
    ) -> Job:
        """Something is done on the server about the session, which was like `seen`; `counted`: how often by now."""
        with self._store.transaction() as db:
            write_look(db, seen, now)
            update(db, "jobs", job.id, job.version, reason=reason)
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
            tell(
                db,
                now,
                "job",
                job.id,
                job.state,
                was=job.state,
                cause=cause,
                detail=reason,
                job_id=job.id,
            )
            return read_job(db, job.id)

    def finish(
        self,
        job: Job,
        seen: Observation,
        pairs: int,
        files: Sequence[File],
        verdict: JobVerdict,
        now: float,
    ) -> None:
        """The verdict, over `pairs` that are all here: files, session and job in one commit, still to be archived."""
        with self._store.transaction() as db:
            write_look(db, seen, now)
            all_here(db, seen.id, pairs, seen.model)
            by_id = {file.id: file for file in files}
            for said in verdict.files:
                columns = {"pairs": said.pairs, "document_id": said.document, "reason": said.reason}
                ended = {"finished_at": iso(now), "archived": 0}
                file = by_id[said.file_id]
                move_file(db, now, file, said.state, cause=Cause.JOB_ENDED, detail=said.reason, **columns, **ended)
            gone = _is_to_go(db, job.id)
            end_attempt(db, now, job, SessionState.TRAINED, cause=Cause.TRAINED, discard=gone)
            end_job(db, now, job, verdict.state, verdict.reason, cause=Cause.TRAINED)

    def keep_pairs(self, seen: Observation, pairs: int, now: float) -> None:
        """The pairs of a session that did not train are all here: the server made them, so they are kept."""
        with self._store.transaction() as db:
            write_look(db, seen, now)
            all_here(db, seen.id, pairs)

    def discarded(self, session: Attempt, now: float) -> None:
        """The session is gone from the server, and its model with it; the job it trained for says so from now on."""
        with self._store.transaction() as db:
            db.execute(
                "update sessions set discard = 0, due_at = null, removed_at = ?, version = version + 1 "
                "where session_id = ?",
                (iso(now), session.session_id),
            )
            if session.state is SessionState.TRAINED:
                words = f"its session and its model were removed from the server ({iso(now)})"
                db.execute(
                    "update jobs set reason = coalesce(reason || '; ', '') || ? || "
                    "case when requested = 'delete' then ', as a person asked' else '' end where id = ?",
                    (words, session.job_id),
                )
            name = session.session_id or session.marker
            tell(db, now, "session", name, "removed", was=session.state, cause=Cause.DISCARD, job_id=session.job_id)

    def discard_later(self, session: Attempt, due_at: float) -> None:
        """The session could not be removed now."""
        with self._store.transaction() as db:
            db.execute(
                "update sessions set due_at = ?, tries = tries + 1, version = version + 1 where session_id = ?",
                (iso(due_at), session.session_id),
            )

    def is_as_written(self, seen: Observation) -> bool:
        """Whether the fine-tune of `seen` is, by its own times, what it was at the last look."""
        turn = seen.turn
        if turn is None:
            return False
        key = (seen.id, turn.id, turn.updated, turn.completed)
        query = "select 1 from interactions where session_id = ? and id = ? and updated = ? and completed = ?"
        with self._store.reading() as db:
            return db.execute(query, key).fetchone() is not None

    def to_discard(self) -> list[Attempt]:
        """Sessions that are to go from the server."""
        with self._store.reading() as db:
            return [attempt_of(row) for row in db.execute("select * from sessions where discard = 1 order by id")]

    def known_ids(self) -> frozenset[str]:
        """Every session id the ledger knows."""
        with self._store.reading() as db:
            rows = db.execute("select session_id from sessions where session_id is not null")
            return frozenset(row["session_id"] for row in rows)


def _is_to_go(db: sqlite3.Connection, job_id: str) -> bool:
    """Whether a person wants the job's session gone, who asked too late to have the job given up."""
    row = db.execute("select requested from jobs where id = ?", (job_id,)).fetchone()
    return row is not None and row["requested"] == "delete"
