"""The sessions' book: each attempt at a job, from the intent to the verdict."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from finetuned.backend import Observation
from finetuned.errors import Stale
from finetuned.ledger.jobs import fail_files, files_of
from finetuned.ledger.pairs import all_here
from finetuned.ledger.rows import (
    JOB,
    UNMENDED,
    end_session,
    job_of,
    move_file,
    move_job,
    open_session,
    session_of,
    tell,
    text_at,
    update,
)
from finetuned.ledger.seen import write_look
from finetuned.ledger.store import Store
from finetuned.lifecycle import JobState, SessionState
from finetuned.model import File, Job, Session, iso
from finetuned.verdict import JobVerdict


class SessionBook:
    """Commands and questions about attempts, looks and pairs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin_attempt(
        self, job: Job, *, url: str, dialect: str, names: Mapping[int, str], now: float
    ) -> tuple[Job, list[File]]:
        """The intent to send: attempt, marker and upload names (by file id) are in the ledger before the request."""
        with self._store.transaction() as db:
            attempt = job.attempt + 1
            for file_id, name in names.items():
                db.execute(
                    "update files set upload_name = ?, version = version + 1 where id = ? and job_id = ?",
                    (name, file_id, job.id),
                )
            db.execute(
                "insert into sessions (job_id, attempt, marker, state, url, dialect, intent_at) "
                "values (?, ?, ?, 'intended', ?, ?, ?)",
                (job.id, attempt, f"{job.id}.{attempt}", url, dialect, iso(now)),
            )
            fresh: dict[str, Any] = {"submitted_at": iso(now), "due_at": None, "stage": "uploading", "progress": 0}
            move_job(
                db,
                now,
                job,
                JobState.SUBMITTING,
                cause="intent",
                attempt=attempt,
                reason=None,
                **UNMENDED,
                **fresh,
            )
            return _read(db, job.id)

    def adopt(self, job: Job, seen: Observation, *, due_at: float, cause: str, now: float) -> None:
        """The server has it: the session is known, its job runs. One that was found for a noted job is only read."""
        with self._store.transaction() as db:
            row = open_session(db, job.id)
            if row is None:
                raise Stale(f"{job.id} has no attempt that is open")
            update(
                db,
                "sessions",
                row["id"],
                row["version"],
                state=str(SessionState.LIVE),
                session_id=seen.id,
                name=seen.name,
                read_only=int(job.noted and cause == "found"),
                known_at=iso(now),
            )
            tell(db, now, "session", seen.id, "live", was=row["state"], cause=cause, job_id=job.id)
            write_look(db, seen, now)
            fresh = {"stage": seen.stage, "progress": 0, "tries": 0}
            fresh |= {"unanswered": 0, "unheard": 0, "session_id": seen.id, "due_at": iso(due_at)}
            fresh |= {"moved_at": iso(now), "missing_since": None, "reason": None}
            move_job(db, now, job, JobState.RUNNING, cause=cause, detail=seen.id, **fresh)

    def named(self, session_id: str, name: str) -> bool:
        """The session is to have this name on the server; False if that was so already."""
        with self._store.transaction() as db:
            query = (
                "update sessions set name = :name, version = version + 1 where session_id = :id and name is not :name"
            )
            return db.execute(query, {"name": name, "id": session_id}).rowcount > 0

    def reply_lost(self, job: Job, reason: str, *, answered: bool, due_at: float, now: float) -> None:
        """The request may have taken effect: the job is doubtful. `answered`: a 5xx, or something odd, came back."""
        with self._store.transaction() as db:
            counted = {"unanswered": job.unanswered + 1} if answered else {"unheard": job.unheard + 1}
            columns = {"reason": reason, "due_at": iso(due_at), **counted}
            move_job(
                db,
                now,
                job,
                JobState.DOUBTFUL,
                cause="reply_lost",
                detail=reason,
                stage=None,
                tries=0,
                **columns,
            )

    def unsent(
        self,
        job: Job,
        reason: str,
        *,
        cause: str,
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
            end_session(db, now, job.id, SessionState.UNSENT, cause=cause, reason=reason, recheck_at=recheck_at)
            columns: dict[str, Any] = {"attempt": job.attempt - 1, "reason": reason, "due_at": text_at(due_at)}
            columns |= {"tries": job.tries + 1, "unheard": job.unheard + broke_off}
            if claim_again:
                columns["claimed_at"] = None
                db.execute("update sessions set entity_id = null where job_id = ? and marker = ?", (job.id, job.marker))
            move_job(
                db,
                now,
                job,
                JobState.QUEUED,
                cause=cause,
                detail=reason,
                stage=None,
                progress=None,
                **columns,
            )

    def failed(
        self, job: Job, reason: str, *, cause: str, now: float, recheck_at: float | None = None, discard: bool = False
    ) -> None:
        """The attempt ended, and no other is allowed: the job failed, its files with it.

        `recheck_at`: see `unsent`. `discard`: the session is unfinished, and is to go from the server.
        """
        with self._store.transaction() as db:
            state = SessionState.UNSENT if job.session_id is None else SessionState.ENDED
            discard = discard or _is_to_go(db, job.id)
            end_session(db, now, job.id, state, cause=cause, reason=reason, discard=discard, recheck_at=recheck_at)
            fail_files(db, now, job, f"its job failed: {reason}")
            columns = {"reason": reason, "finished_at": iso(now), "due_at": None, "tries": 0, "put_away": 0}
            move_job(db, now, job, JobState.FAILED, cause=cause, detail=reason, stage=None, **columns)

    def next_attempt(self, job: Job, reason: str, *, cause: str, discard: bool, now: float) -> None:
        """The session is given up; the job is queued for another one. `discard`: it is to go from the server."""
        with self._store.transaction() as db:
            end_session(db, now, job.id, SessionState.ENDED, cause=cause, reason=reason, discard=discard)
            fresh = {"session_id": None, "stage": None, "progress": None, "due_at": None, "tries": 0}
            columns = {"reason": reason, "missing_since": None, **UNMENDED}
            move_job(db, now, job, JobState.QUEUED, cause=cause, detail=reason, **columns, **fresh)

    def looked(self, job: Job, seen: Observation, *, stage: str, due_at: float, moved: bool, now: float) -> None:
        """A look: the interactions are updated in place; progress is no event, a new stage is told."""
        with self._store.transaction() as db:
            write_look(db, seen, now)
            columns = {"due_at": iso(due_at), "stage": stage, "progress": seen.progress}
            if moved:
                columns["moved_at"] = iso(now)
            update(db, "jobs", job.id, job.version, tries=0, missing_since=None, **columns)
            if stage != job.stage:
                tell(
                    db,
                    now,
                    "job",
                    job.id,
                    job.state,
                    was=job.state,
                    cause="stage",
                    detail=stage,
                    job_id=job.id,
                )

    def uploading(self, job: Job, percent: int) -> None:
        """How far an upload is: for those who watch; neither an event nor guarded."""
        with self._store.transaction() as db:
            db.execute(
                "update jobs set progress = ? where id = ? and state = 'submitting' and attempt = ?",
                (percent, job.id, job.attempt),
            )

    def missing(self, job: Job, *, due_at: float, now: float) -> None:
        """The server did not find the session: it is counted, and looked for again."""
        with self._store.transaction() as db:
            since = iso(job.missing_since or now)
            misses = 1 if job.missing_since is None else job.tries + 1
            update(db, "jobs", job.id, job.version, missing_since=since, tries=misses, due_at=iso(due_at))
            if job.missing_since is None:
                tell(db, now, "job", job.id, job.state, was=job.state, cause="session_missing", job_id=job.id)

    def mended(
        self, job: Job, seen: Observation, reason: str, *, cause: str, due_at: float, now: float, **done: int
    ) -> Job:
        """Something is done on the server about the session, which was like `seen`; `done`: how often by now."""
        with self._store.transaction() as db:
            write_look(db, seen, now)
            columns = {"reason": reason, "due_at": iso(due_at), "moved_at": iso(now)}
            update(db, "jobs", job.id, job.version, tries=0, missing_since=None, **columns, **done)
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
            return _read(db, job.id)[0]

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
            all_here(db, seen.id, pairs)
            by_id = {file.id: file for file in files}
            for said in verdict.files:
                columns = {"pairs": said.pairs, "document_id": said.document, "reason": said.reason}
                ended = {"finished_at": iso(now), "put_away": 0}
                file = by_id[said.file_id]
                move_file(db, now, file, said.state, cause="job_ended", detail=said.reason, **columns, **ended)
            lora, discard = seen.model, _is_to_go(db, job.id)
            end_session(db, now, job.id, SessionState.TRAINED, cause="trained", lora_dir=lora, discard=discard)
            known = {
                "pairs": pairs,
                "lora_dir": lora,
                "reason": verdict.reason,
                "stage": None,
                "progress": None,
            }
            ended = {"finished_at": iso(now), "put_away": 0}
            fresh = {"due_at": None, "tries": 0}
            move_job(db, now, job, verdict.state, cause="trained", detail=verdict.reason, **known, **ended, **fresh)

    def keep_pairs(self, seen: Observation, pairs: int, now: float) -> None:
        """The pairs of a session that did not train are all here: the server made them, so they are kept."""
        with self._store.transaction() as db:
            write_look(db, seen, now)
            all_here(db, seen.id, pairs)

    def discarded(self, session: Session, now: float) -> None:
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
                    "case when wish = 'delete' then ', as a person asked' else '' end where id = ?",
                    (words, session.job_id),
                )
            name = session.session_id or session.marker
            tell(db, now, "session", name, "removed", was=session.state, cause="discard", job_id=session.job_id)

    def discard_later(self, session: Session, due_at: float) -> None:
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

    def to_discard(self) -> list[Session]:
        """Sessions that are to go from the server."""
        with self._store.reading() as db:
            return [session_of(row) for row in db.execute("select * from sessions where discard = 1 order by id")]

    def known_ids(self) -> frozenset[str]:
        """Every session id the ledger knows."""
        with self._store.reading() as db:
            rows = db.execute("select session_id from sessions where session_id is not null")
            return frozenset(row["session_id"] for row in rows)


def _is_to_go(db: sqlite3.Connection, job_id: str) -> bool:
    """Whether a person wants the job's session gone, who asked too late to have the job given up."""
    row = db.execute("select wish from jobs where id = ?", (job_id,)).fetchone()
    return row is not None and row["wish"] == "delete"


def _read(db: sqlite3.Connection, job_id: str) -> tuple[Job, list[File]]:
    job = job_of(db.execute(f"{JOB} where j.id = ?", (job_id,)).fetchone())
    return job, files_of(db, job_id, "packed")
