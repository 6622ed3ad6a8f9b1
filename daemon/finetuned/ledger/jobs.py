"""The jobs' book: sealed, claimed, given up, archived, tried again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from finetuned.ledger.files import UNREAD
from finetuned.ledger.rows import (
    JOB,
    change_attempt,
    end_attempt,
    file_of,
    job_of,
    move_file,
    move_job,
    place,
    read_job,
    tell,
    text_at,
    update,
)
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, FileState, JobState, SessionState
from finetuned.model import PROCESSING, File, Job, Value, iso, path_of


class Left(Value, frozen=True):
    """A file that leaves its job before it is sent, what it becomes, and why."""

    file: File
    became: FileState
    reason: str
    location: str | None
    due_at: float | None = None


class JobBook:
    """Commands and questions about jobs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def seal(self, job_id: str, folder: str, group: str, file_ids: Sequence[int], now: float) -> bool:
        """Make the job `job_id` of these waiting files; False if the id is taken."""
        with self._store.transaction() as db:
            if db.execute("select 1 from jobs where id = ?", (job_id,)).fetchone():
                return False
            marks = ", ".join("?" * len(file_ids))
            rows = db.execute(f"select * from files where id in ({marks})", tuple(file_ids))
            files = [file_of(row) for row in rows]
            size = sum(f.content.bytes for f in files if f.content)
            db.execute(
                "insert into jobs (id, folder, state, batch_group, files, bytes, created_at) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                (job_id, folder, str(JobState.QUEUED), group, len(files), size, iso(now)),
            )
            tell(db, now, "job", job_id, JobState.QUEUED, cause=Cause.SEALED, job_id=job_id)
            for file in files:
                move_file(db, now, file, FileState.PACKED, cause=Cause.SEALED, job_id=job_id, reason=None)
            db.execute(
                "delete from relearn where folder = ? and sha256 in (select sha256 from files where job_id = ?)",
                (folder, job_id),
            )
        return True

    def claimed(self, job: Job, laid: Iterable[tuple[File, str]], left: Iterable[Left], now: float) -> None:
        """The claim is over: where each file lies now, and which left the job. An empty job is cancelled."""
        with self._store.transaction() as db:
            for file, location in laid:
                text, b64 = place(location)
                update(db, "files", file.id, file.version, location=text, location_b64=b64)
            for leaver in left:
                _leave(db, leaver, now)
            count, size = db.execute(
                "select count(*), coalesce(sum(bytes), 0) from files where job_id = ? and state = 'packed'",
                (job.id,),
            ).fetchone()
            if count:
                update(db, "jobs", job.id, job.version, claimed_at=iso(now), files=count, bytes=size)
                tell(db, now, "job", job.id, job.state, was=job.state, cause=Cause.CLAIMED, job_id=job.id)
                return
            reason = "no file was left in it"
            end_job(db, now, job, JobState.CANCELLED, reason, cause=Cause.EMPTIED, files=0, bytes=0)

    def request(self, job: Job, action: str, now: float) -> None:
        """Remember that a person wants the job given up (`cancel`), and its session gone too (`delete`).

        That is no change of state: it neither needs nor moves the version, so that no request under way gets lost.
        """
        with self._store.transaction() as db:
            row = db.execute("update jobs set requested = ? where id = ? returning state", (action, job.id)).fetchone()
            tell(db, now, "job", job.id, row["state"], was=row["state"], cause=Cause(action), job_id=job.id)

    def cancelled(self, job: Job, reason: str, now: float) -> None:
        """Give the job up: its files failed, its session is to be removed from the server."""
        with self._store.transaction() as db:
            end_attempt(
                db, now, job, SessionState.ENDED, cause=Cause.CANCEL, reason=reason, discard=True, progress_stays=True
            )
            fail_files(db, now, job, f"its job was cancelled: {reason}")
            end_job(db, now, job, JobState.CANCELLED, reason, cause=Cause.CANCEL)

    def awaits_review(self, job: Job, due_at: float, now: float) -> None:
        """The job's pairs are made, and wait for a person."""
        with self._store.transaction() as db:
            move_job(db, now, job, JobState.REVIEW, cause=Cause.PAIRS_MADE)
            change_attempt(db, job.under_way, due_at=iso(due_at), tries=0, missing_since=None, misses=0)

    def accepted(self, job: Job, now: float) -> None:
        """A person wants the training of a reviewed job to begin: now."""
        with self._store.transaction() as db:
            update(db, "jobs", job.id, job.version, requested="accept")
            change_attempt(db, job.under_way, due_at=None, tries=0)
            tell(db, now, "job", job.id, job.state, was=job.state, cause=Cause.ACCEPT, job_id=job.id)

    def review_over(self, job: Job, *, cause: Cause, now: float) -> None:
        """The session does not rest any more: it trains, or is gone."""
        with self._store.transaction() as db:
            move_job(db, now, job, JobState.RUNNING, cause=cause)
            change_attempt(db, job.under_way, due_at=None, tries=0, moved_at=iso(now))
            db.execute("update jobs set requested = null where id = ? and requested = 'accept'", (job.id,))

    def discard_ended(self, job: Job, now: float) -> bool:
        """An ended job's session and tuned model are to go from the server; False if there is none."""
        with self._store.transaction() as db:
            done = db.execute(
                "update sessions set discard = 1, due_at = null, version = version + 1 "
                "where job_id = ? and session_id is not null and not read_only",
                (job.id,),
            )
            if done.rowcount:
                db.execute("update jobs set requested = 'delete' where id = ?", (job.id,))
                tell(db, now, "job", job.id, job.state, was=job.state, cause=Cause.DELETE, job_id=job.id)
            return done.rowcount > 0

    def queued_again(self, job: Job, now: float) -> None:
        """A failed or cancelled job is tried again, by a person's wish: its files are claimed anew."""
        with self._store.transaction() as db:
            for file in files_of(db, job.id, "failed", "barren"):
                columns: dict[str, Any] = {"reason": None, "finished_at": None, "pairs": None, "archived": 1}
                if file.location is None:  # the claim finds out whether it lies anywhere again
                    columns["location"], columns["location_b64"] = place(file.path)
                move_file(db, now, file, FileState.PACKED, cause=Cause.RETRY, **columns)
            count = db.execute(
                "select count(*) from files where job_id = ? and state = 'packed'", (job.id,)
            ).fetchone()[0]
            db.execute("update sessions set current = 0 where job_id = ?", (job.id,))
            move_job(
                db,
                now,
                job,
                JobState.QUEUED,
                cause=Cause.RETRY,
                reason=None,
                finished_at=None,
                claimed_at=None,
                due_at=None,
                tries=0,
                unanswered=0,
                unheard=0,
                requested=None,
                archived=1,
                files=count,
                attempts_before=job.attempts,
            )

    def laid(self, job: Job, places: Iterable[tuple[File, str | None, str | None]], now: float) -> None:
        """Where the files of an ended job lie now, or why nowhere; its papers are still to be written."""
        with self._store.transaction() as db:
            moved = False
            for file, location, lost in places:
                text, b64 = place(location)
                update(db, "files", file.id, file.version, location=text, location_b64=b64, archived=1)
                if lost:
                    told = {"was": file.state, "cause": Cause.LOST, "detail": lost, "job_id": file.job_id}
                    tell(db, now, "file", str(file.id), file.state, **told)
                moved = True
            if moved:  # told before the papers are written, which hold every event of the job
                tell(db, now, "job", job.id, job.state, was=job.state, cause=Cause.PUT_AWAY, job_id=job.id)

    def archived(self, job: Job) -> None:
        """All is where it belongs."""
        with self._store.transaction() as db:
            update(db, "jobs", job.id, job.version, archived=1, due_at=None, tries=0)

    def try_later(self, job: Job, due_at: float, words: str | None, now: float) -> Job:
        """What was due failed for a passing reason; it is due again later, in the same state.

        A session that was missing before is looked for anew: only polls in a row tell that it is gone.
        """
        with self._store.transaction() as db:
            later = {"due_at": iso(due_at), "tries": job.in_vain + 1}
            if job.open is None:
                update(db, "jobs", job.id, job.version, **later)
            else:
                change_attempt(db, job.open, missing_since=None, misses=0, **later)
            if words and job.in_vain == 0:
                told = {"was": job.state, "cause": Cause.HELD_UP, "detail": words, "job_id": job.id}
                tell(db, now, "job", job.id, job.state, **told)
            return read_job(db, job.id)

    def successors(self, job: Job) -> list[str]:
        """The jobs that the files of one went on in, which was too much for the server, or not ours."""
        with self._store.reading() as db:
            rows = db.execute("select id from jobs where split_of = ? order by rowid", (job.id,))
            return [row["id"] for row in rows]

    def get(self, job_id: str) -> Job | None:
        """One job by its id."""
        with self._store.reading() as db:
            row = db.execute(f"{JOB} where j.id = ?", (job_id,)).fetchone()
        return None if row is None else job_of(row)

    def open(self) -> list[Job]:
        """Every job that is not at its end, and every ended one that is not archived, oldest first."""
        with self._store.reading() as db:
            rows = db.execute(
                f"{JOB} where j.finished_at is null or j.archived = 0 order by j.created_at, j.rowid"
            ).fetchall()
        return [job_of(row) for row in rows]

    def files(self, job_id: str) -> list[File]:
        """Every file of a job, in the order of the upload."""
        with self._store.reading() as db:
            return files_of(db, job_id)

    def packed(self, job_id: str) -> list[File]:
        """Those of a job's files that share its fate, in the order of the upload: none has left it or is at its end."""
        with self._store.reading() as db:
            return files_of(db, job_id, "packed")

    def claimed_in(self, folder: str, root: str) -> set[str]:
        """The jobs whose files lie claimed below `root`: under way, or at their end and not archived yet."""
        query = (
            "select distinct j.id, f.location, f.location_b64 from jobs j join files f on f.job_id = j.id "
            "where j.folder = ? and f.location is not null and (f.archived = 0 or "
            "(j.finished_at is null and j.claimed_at is not null and f.state = 'packed'))"
        )
        with self._store.reading() as db:
            rows = db.execute(query, (folder,)).fetchall()
        below = f"{root.rstrip('/')}/{PROCESSING}/"
        return {row["id"] for row in rows if path_of(row["location"], row["location_b64"]).startswith(below)}

    def failed_since(self, moment: float) -> bool:
        """Whether a job failed at or after `moment`."""
        with self._store.reading() as db:
            query = "select 1 from jobs where state = 'failed' and finished_at >= ? limit 1"
            return db.execute(query, (iso(moment),)).fetchone() is not None


def files_of(db: sqlite3.Connection, job_id: str, *states: str) -> list[File]:
    """A job's files, in the order of the upload; of `states` alone, if any are named."""
    rows = db.execute("select * from files where job_id = ? order by id", (job_id,)).fetchall()
    return [file_of(row) for row in rows if not states or row["state"] in states]


def fail_files(db: sqlite3.Connection, now: float, job: Job, reason: str) -> None:
    """Every packed file of the job failed, for this reason; it is still to be archived."""
    for file in files_of(db, job.id, "packed"):
        columns = {"reason": reason, "finished_at": iso(now), "archived": 0}
        move_file(db, now, file, FileState.FAILED, cause=Cause.JOB_ENDED, detail=reason, **columns)


def end_job(
    db: sqlite3.Connection,
    now: float,
    job: Job,
    became: JobState,
    reason: str | None,
    *,
    cause: Cause,
    detail: str | None = None,
    **columns: object,
) -> None:
    """A job is at its end, and its files are to be archived; the event tells `detail`, or else the reason."""
    ended = {"reason": reason, "finished_at": iso(now), "due_at": None, "tries": 0, "archived": 0}
    move_job(db, now, job, became, cause=cause, detail=detail or reason, **ended, **columns)


def _leave(db: sqlite3.Connection, leaver: Left, now: float) -> None:
    text, b64 = place(leaver.location)
    ended = leaver.became is FileState.VANISHED
    move_file(
        db,
        now,
        leaver.file,
        leaver.became,
        cause=Cause.LEFT_JOB,
        detail=leaver.reason,
        job_id=None,
        upload_name=None,
        location=text,
        location_b64=b64,
        reason=leaver.reason,
        due_at=text_at(leaver.due_at),
        tries=leaver.file.tries + 1,
        **(UNREAD if leaver.became is FileState.SETTLING else {}),
        finished_at=iso(now) if ended else None,
    )
