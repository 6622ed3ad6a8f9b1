"""The table of jobs: each with the attempt that counts, read in one query."""

from __future__ import annotations

import sqlite3
from typing import Final, TypedDict, Unpack

from finetuned.ledger.attempts import SUSPECT, attempt_of
from finetuned.ledger.events import tell
from finetuned.ledger.files import files_of
from finetuned.ledger.rows import update, value_of
from finetuned.ledger.schema import ATTEMPTS
from finetuned.ledger.store import Store
from finetuned.lifecycle import JOB_ENDS, Cause, JobState, Requested, check_move
from finetuned.model import PROCESSING, Attempt, File, Job
from finetuned.paths import path_of
from finetuned.times import iso

#: the columns of an attempt, which calls its number `attempt`
_ATTEMPT: Final = (*(field for field in Attempt.__struct_fields__ if field != "number"), "attempt")
#: how a job is read: with the attempt that counts
JOB: Final = f"""
select j.*, j.rowid as ordinal, {ATTEMPTS} as attempts, {", ".join(f"a.{name} as a_{name}" for name in _ATTEMPT)},
  exists (select 1 from sessions s where s.job_id = j.id and s.read_only) as noted
from jobs j left join sessions a on a.job_id = j.id and a.current = 1"""

#: a job that is not at its end, or whose files are still to be archived
OPEN: Final = "(j.finished_at is null or j.archived = 0)"


class JobColumns(TypedDict, total=False):
    """What may be changed of a job."""

    reason: str | None
    files: int
    bytes: int
    attempts_before: int
    unanswered: int
    unheard: int
    requested: Requested | None
    claimed_at: str | None
    finished_at: str | None
    due_at: str | None
    tries: int
    archived: int


class Jobs:
    """Commands and questions about jobs alone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def archived(self, job: Job) -> None:
        """Note that all of the job lies where it belongs."""
        with self._store.transaction() as db:
            change_job(db, job, archived=1, due_at=None, tries=0)

    def successors(self, job: Job) -> list[str]:
        """List the jobs in which the files of a split job went on."""
        rows = self._store.ask("select id from jobs where split_of = ? order by rowid", job.id)
        return [row["id"] for row in rows]

    def get(self, job_id: str) -> Job | None:
        """Look up a job by its id; null if there is none."""
        row = self._store.ask_one(f"{JOB} where j.id = ?", job_id)
        return None if row is None else job_of(row)

    def open(self) -> list[Job]:
        """List every job that is not at its end, and every ended one that is not archived, oldest first."""
        return [job_of(row) for row in self._store.ask(f"{JOB} where {OPEN} order by j.created_at, j.rowid")]

    def files(self, job_id: str) -> list[File]:
        """List every file of a job, in the order of the upload."""
        with self._store.reading() as db:
            return files_of(db, job_id)

    def packed(self, job_id: str) -> list[File]:
        """List a job's files that have neither left it nor ended, in the order of the upload."""
        with self._store.reading() as db:
            return files_of(db, job_id, "packed")

    def claimed_in(self, folder: str, root: str) -> set[str]:
        """List the jobs whose files lie claimed below `root`: under way, or ended and not archived yet."""
        query = (
            "select j.id, f.location, f.location_b64 from files f join jobs j on j.id = f.job_id "
            "where f.archived = 0 and +f.location is not null and +j.folder = :folder union "
            "select j.id, f.location, f.location_b64 from jobs j join files f on f.job_id = j.id "
            "where +j.folder = :folder and j.finished_at is null and j.claimed_at is not null and f.state = 'packed' "
            "and f.location is not null"
        )
        below = f"{root.rstrip('/')}/{PROCESSING}/"
        with self._store.reading() as db:
            rows = db.execute(query, {"folder": folder})
            return {row["id"] for row in rows if path_of(row["location"], row["location_b64"]).startswith(below)}

    def failed_since(self, moment: float) -> bool:
        """Tell whether a job failed at or after `moment`."""
        query = "select 1 from jobs where state = 'failed' and finished_at >= ? limit 1"
        return self._store.ask_one(query, iso(moment)) is not None

    def is_left(self, job: Job) -> bool:
        """Tell whether every file that went on without the job was taken from its folder."""
        # two questions, each by an index of what is under way: a folder may have had a million files
        query = "select 1 from files f where {} = ? and f.{} and f.job_id is not ? and instr(f.location, ?) > 0 limit 1"
        values = job.folder, job.id, f"/{PROCESSING}/{job.id}/"
        under_way = ("f.folder", "state = 'packed'"), ("+f.folder", "archived = 0")
        return all(self._store.ask_one(query.format(*which), *values) is None for which in under_way)


def job_of(row: sqlite3.Row) -> Job:
    """Make a value of a row of `JOB`."""
    return value_of(Job, row, attempt=None if row["a_id"] is None else attempt_of(row, "a_"))


def read_job(db: sqlite3.Connection, job_id: str) -> Job:
    """Read a job as it is now."""
    return job_of(db.execute(f"{JOB} where j.id = ?", (job_id,)).fetchone())


def change_job(db: sqlite3.Connection, job: Job, **columns: Unpack[JobColumns]) -> None:
    """Change a job in its state. Raises Stale."""
    update(db, "jobs", job.id, job.version, **columns)


def move_job(
    db: sqlite3.Connection,
    now: float,
    job: Job,
    became: JobState,
    *,
    cause: Cause,
    detail: str | None = None,
    **columns: Unpack[JobColumns],
) -> None:
    """Change a job's state by a way the lifecycle knows, and tell. At its end a doubt about its sessions is due."""
    check_move(job.state, cause, became)
    update(db, "jobs", job.id, job.version, state=str(became), **columns)
    if became in JOB_ENDS:
        db.execute(f"update sessions set due_at = ? where job_id = ? and {SUSPECT}", (iso(now), job.id))
    tell(db, now, "job", job.id, became, was=job.state, cause=cause, detail=detail, job_id=job.id)


def end_job(
    db: sqlite3.Connection,
    now: float,
    job: Job,
    became: JobState,
    reason: str | None,
    *,
    cause: Cause,
    detail: str | None = None,
    empty: bool = False,
) -> None:
    """End a job, whose files are to be archived; the event tells `detail`, or else the reason.

    `empty`: no file is in it any more.
    """
    ended: JobColumns = {"reason": reason, "finished_at": iso(now), "due_at": None, "tries": 0, "archived": 0}
    if empty:
        ended |= {"files": 0, "bytes": 0}
    move_job(db, now, job, became, cause=cause, detail=detail or reason, **ended)
