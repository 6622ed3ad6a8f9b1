"""How attempts end, and with them their jobs and files; each command is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import json

from finetuned.backend import Observation
from finetuned.ledger.attempts import all_here, discard_all, end_attempt
from finetuned.ledger.files import end_of, ended, move_alike, move_files, write_sketches
from finetuned.ledger.interactions import write_interactions
from finetuned.ledger.jobs import end_job, move_job
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, FileState, JobState, Requested, SessionState
from finetuned.model import File, Job
from finetuned.verdict import JobVerdict


class Ends:
    """Commands about jobs that have an end, or are to have another attempt."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def finish(
        self,
        job: Job,
        seen: Observation,
        pairs: int,
        files: Sequence[File],
        verdict: JobVerdict,
        now: float,
        sketches: Mapping[int, bytes] = MappingProxyType({}),
        *,
        name: str | None = None,
    ) -> None:
        """Write the verdict over `pairs` that are all here: files, session and job, still to be archived.

        `sketches` of their texts are by the files' ids, of those that had none before. `name`: see `Runs.polled`.
        """
        with self._store.transaction() as db:
            write_interactions(db, seen, now)
            all_here(db, seen.id, pairs, seen.model, name)
            by_id = {file.id: file for file in files}
            ends = [
                end_of(
                    by_id[said.file_id],
                    said.state,
                    said.reason,
                    now,
                    pairs=said.pairs,
                    document_id=said.document,
                )
                for said in verdict.files
            ]
            write_sketches(db, sketches)
            move_files(db, now, ends, cause=Cause.JOB_ENDED)
            _write_recalls(db, seen, files)
            end_attempt(db, now, job, cause=Cause.TRAINED, became=SessionState.TRAINED)
            _remove_as_asked(db, job.id)
            end_job(db, now, job, verdict.state, verdict.reason, cause=Cause.TRAINED)

    def keep_pairs(self, seen: Observation, pairs: int, now: float) -> None:
        """Keep the pairs of a session that did not train: the server made them, and they are all here."""
        with self._store.transaction() as db:
            write_interactions(db, seen, now)
            all_here(db, seen.id, pairs)

    def failed(
        self, job: Job, reason: str, *, cause: Cause, now: float, recheck_at: float | None = None, discard: bool = False
    ) -> None:
        """Fail a job whose attempt ended and that may have no other; its files fail with it.

        `recheck_at`: see `unsent`. `discard`: the session is unfinished, and is to go from the server.
        """
        with self._store.transaction() as db:
            end_attempt(
                db, now, job, cause=cause, reason=reason, discard=discard, progress_stays=True, recheck_at=recheck_at
            )
            _remove_as_asked(db, job.id)
            _fail_files(db, now, job, f"its job failed: {reason}")
            end_job(db, now, job, JobState.FAILED, reason, cause=cause)

    def cancelled(self, job: Job, reason: str, now: float) -> None:
        """Give the job up: its files failed, its session is to be removed from the server."""
        with self._store.transaction() as db:
            end = SessionState.ENDED  # also of one that was never seen
            end_attempt(db, now, job, cause=Cause.CANCEL, became=end, reason=reason, discard=True, progress_stays=True)
            _remove_as_asked(db, job.id)
            _fail_files(db, now, job, f"its job was cancelled: {reason}")
            end_job(db, now, job, JobState.CANCELLED, reason, cause=Cause.CANCEL)

    def next_attempt(self, job: Job, reason: str, *, cause: Cause, discard: bool, now: float) -> None:
        """Give up the session and queue the job for another. `discard`: it is to be removed from the server."""
        with self._store.transaction() as db:
            end_attempt(db, now, job, cause=cause, reason=reason, counts=False, discard=discard)
            move_job(db, now, job, JobState.QUEUED, cause=cause, detail=reason, reason=reason, due_at=None, tries=0)


def _fail_files(db: sqlite3.Connection, now: float, job: Job, reason: str) -> None:
    """Fail every packed file of the job, for this reason; it is still to be archived."""
    file_ids = [
        row["id"] for row in db.execute("select id from files where job_id = ? and +state = 'packed'", (job.id,))
    ]
    move_alike(
        db,
        now,
        file_ids,
        (FileState.PACKED, FileState.FAILED),
        cause=Cause.JOB_ENDED,
        job_id=job.id,
        columns=ended(reason, now),
        detail=reason,
    )


def _write_recalls(db: sqlite3.Connection, seen: Observation, files: Sequence[File]) -> None:
    """Write how much of each file is known after the training, in the place of what an earlier one came to."""
    known = json.encode([file.id for file in files]).decode()
    db.execute("delete from recalls where file_id in (select value from json_each(?))", (known,))
    taught = {file.id: seen.files[name] for file in files if (name := file.upload_name or "") in seen.files}
    db.executemany(
        "insert into recalls (file_id, held_out, questions, untuned, tuned) values (?, ?, ?, ?, ?)",
        [
            (file_id, one.held_out, one.questions, one.untuned, one.tuned)
            for file_id, told in taught.items()
            for one in told.recall
        ],
    )


def _remove_as_asked(db: sqlite3.Connection, job_id: str) -> None:
    """Have the sessions of all attempts removed if a person wants that, who may have asked too late to end the job."""
    row = db.execute("select requested from jobs where id = ?", (job_id,)).fetchone()
    if row is not None and row["requested"] == Requested.DELETE:
        discard_all(db, job_id)
