"""Which files are in which job: each command is one transaction over both tables.

1. A job that is too much for a server becomes two in one commit: it ends, and its files are packed in its successors,
   which claim them from where they lie. The claim is repeated until it holds, like that of any job.
2. A job that the ledger does not know, as it was lost or restored, comes back as `doubtful`: an attempt at it may be on
   the server. A note told so, and what the server has under that name is only read (`sessions.read_only`), and so is
   whatever else a search for such a job finds: the attempts that are sent from here are ours.
3. A waiting file that turns out to lie in such a job is packed in it; any other file of it is recorded anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from finetuned.ledger.attempts import end_attempt, intend
from finetuned.ledger.events import tell, tell_of
from finetuned.ledger.files import (
    FILE,
    UNREAD,
    FileColumns,
    add_files,
    change_file,
    columns_of,
    end_of,
    file_of,
    lies_at,
    move_alike,
    move_file,
    move_files,
    signed,
)
from finetuned.ledger.jobs import change_job, end_job
from finetuned.ledger.rows import insert, place, text_at, update_all
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, FileState, JobState
from finetuned.model import Content, File, Job, Signature, Value
from finetuned.times import iso

#: why a file leaves its job where another version of it settles or waits already
NEWER: Final = "it changed after it was read; what lies there now is taken as a new file"
_OPEN_THERE: Final = (
    "select 1 from files where location = ? and coalesce(location_b64, '') = coalesce(?, '') "
    "and state in ('settling', 'waiting')"
)
_WORDS = "the ledger did not know it; its files lay claimed, so the server is asked for it first"


class Left(Value, frozen=True):
    """A file that leaves its job before it is sent, what it becomes, and why."""

    file: File
    became: FileState
    reason: str
    location: str | None
    due_at: float | None = None


class FoundFile(Value, frozen=True):
    """A file of a job that was found: as `files` has it."""

    path: str
    location: str
    content: Content
    signature: Signature | None
    upload_name: str


class FoundJob(Value, frozen=True):
    """A job that was found, with the attempt that may be on the server."""

    id: str
    folder: str
    created_at: float
    attempt: int
    files: Sequence[FoundFile]


class Batches:
    """Commands about jobs and their files."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def seal(self, job_id: str, folder: str, group: str, file_ids: Sequence[int], now: float) -> bool:
        """Make the job `job_id` of these waiting files; False if the id is taken."""
        with self._store.transaction() as db:
            if db.execute("select 1 from jobs where id = ?", (job_id,)).fetchone():
                return False
            known = {"batch_group": group, "files": len(file_ids), "bytes": 0, "created_at": iso(now)}
            insert(db, "jobs", id=job_id, folder=folder, state=JobState.QUEUED, **known)
            tell(db, now, "job", job_id, JobState.QUEUED, cause=Cause.SEALED, job_id=job_id)
            way = FileState.WAITING, FileState.PACKED
            packed: FileColumns = {"reason": None, "due_at": None}  # `tries` go on: it may come back
            move_alike(db, now, file_ids, way, cause=Cause.SEALED, job_id=job_id, columns=packed)
            size = "select coalesce(sum(coalesce(bytes, size)), 0) from files where job_id = jobs.id"
            db.execute(f"update jobs set bytes = ({size}) where id = ?", (job_id,))
            db.execute(
                "delete from relearn where folder = ? and sha256 in (select sha256 from files where job_id = ?)",
                (folder, job_id),
            )
        return True

    def claimed(self, job: Job, laid: Iterable[tuple[File, str]], left: Iterable[Left], now: float) -> list[Left]:
        """Note where each claimed file lies now, and which left the job. An empty job is cancelled.

        Return what became of those that left: of one in whose place another version settles or waits there is no more.
        """
        with self._store.transaction() as db:
            update_all(db, "files", ((file.id, file.version, lies_at(location)) for file, location in laid))
            gone = [_leave(db, leaver, now) for leaver in left]
            count, size = db.execute(
                "select count(*), coalesce(sum(bytes), 0) from files where job_id = ? and +state = 'packed'", (job.id,)
            ).fetchone()
            if count:
                change_job(db, job, claimed_at=iso(now), files=count, bytes=size)
                tell_of(db, now, job, Cause.CLAIMED)
            else:
                end_job(db, now, job, JobState.CANCELLED, "no file was left in it", cause=Cause.EMPTIED, empty=True)
        return gone

    def laid(self, job: Job, places: Sequence[tuple[File, str | None, str | None]], now: float) -> None:
        """Note where the files of an ended job lie now, or why nowhere; its papers are still to be written."""
        with self._store.transaction() as db:
            archived: FileColumns = {"archived": 1}
            update_all(db, "files", ((file.id, file.version, lies_at(place) | archived) for file, place, _ in places))
            for file, _, lost in places:
                if lost:
                    tell_of(db, now, file, Cause.LOST, lost)
            if places:  # told before the papers are written, which hold every event of the job
                tell_of(db, now, job, Cause.PUT_AWAY)

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

        `recheck_at`: see `unsent`.
        """
        with self._store.transaction() as db:
            if any(db.execute("select 1 from jobs where id = ?", (new,)).fetchone() for new in parts):
                return False
            end_attempt(db, now, job, cause=cause, reason=words, recheck_at=recheck_at)
            for new, files in parts.items():
                _seal_part(db, now, job, new, files, words)
            reason = f"split into {', '.join(parts)}"
            end_job(db, now, job, JobState.CANCELLED, reason, cause=cause, detail=words, empty=True)
        return True

    def too_big(self, job: Job, file: File, words: str, now: float, *, cause: Cause) -> None:
        """Refuse the only file of a job, which is more than the server takes; the job is empty then."""
        with self._store.transaction() as db:
            end_attempt(db, now, job, cause=cause, reason=words)
            end = end_of(file, FileState.REFUSED, words, now, job_id=None, upload_name=None)
            move_files(db, now, [end], cause=Cause.TOO_BIG)
            reason = f"no file was left in it: {words}"
            end_job(db, now, job, JobState.CANCELLED, reason, cause=cause, detail=words, empty=True)

    def take_up(self, job: FoundJob, *, url: str, variant: str, now: float) -> None:
        """Record a job that the ledger does not know, as doubtful."""
        size = sum(file.content.bytes for file in job.files)
        with self._store.transaction() as db:
            known = {"files": len(job.files), "bytes": size, "attempts_before": job.attempt - 1, "reason": _WORDS}
            known |= {"created_at": iso(job.created_at), "claimed_at": iso(now)}
            insert(db, "jobs", id=job.id, folder=job.folder, state=JobState.DOUBTFUL, **known)
            intend(db, now, job.id, job.attempt, url=url, dialect=variant, due_at=iso(now), read_only=1)
            tell(db, now, "job", job.id, JobState.DOUBTFUL, cause=Cause.ADOPTED, detail=_WORDS, job_id=job.id)
            for file in job.files:
                _pack(db, job, file, now)


def _leave(db: sqlite3.Connection, leaver: Left, now: float) -> Left:
    if leaver.location is not None and db.execute(_OPEN_THERE, place(leaver.location)).fetchone():
        leaver = replace(leaver, became=FileState.VANISHED, reason=NEWER, location=None, due_at=None)
    columns = lies_at(leaver.location) | {"reason": leaver.reason}
    columns |= {"job_id": None, "upload_name": None, "due_at": text_at(leaver.due_at), "tries": leaver.file.tries + 1}
    if leaver.became is FileState.SETTLING:
        columns |= UNREAD
    if leaver.became is FileState.VANISHED:
        columns["finished_at"] = iso(now)
    move_file(db, now, leaver.file, leaver.became, cause=Cause.LEFT_JOB, detail=leaver.reason, **columns)
    return leaver


def _seal_part(db: sqlite3.Connection, now: float, job: Job, new: str, files: Sequence[File], words: str) -> None:
    """Make one of the jobs that go on in the place of `job`; they go on counting where it stopped."""
    size = sum(file.content.bytes for file in files if file.content)
    db.execute(
        "insert into jobs (id, folder, state, batch_group, split_of, files, bytes, created_at, unanswered, unheard) "
        "select ?, folder, ?, batch_group, id, ?, ?, ?, max(0, unanswered - 1), max(0, unheard - 1) "
        "from jobs where id = ?",
        (new, str(JobState.QUEUED), len(files), size, iso(now), job.id),
    )
    tell(db, now, "job", new, JobState.QUEUED, cause=Cause.SPLIT, detail=f"of {job.id}: {words}", job_id=new)
    for file in files:
        change_file(db, file, job_id=new, upload_name=None)
        tell_of(db, now, replace(file, job_id=new), Cause.SPLIT)


def _pack(db: sqlite3.Connection, job: FoundJob, file: FoundFile, now: float) -> None:
    columns = lies_at(file.location) | {"job_id": job.id, "upload_name": file.upload_name}
    known = db.execute(
        f"{FILE} where folder = ? and location = ? and location_b64 is ? and state = 'waiting' and sha256 = ?",
        (job.folder, *place(file.path), file.content.sha256),
    ).fetchone()
    if known is not None:
        move_file(db, now, file_of(known), FileState.PACKED, cause=Cause.ADOPTED, **(columns | {"reason": None}))
        return
    columns |= columns_of(file.content) | {"ready_at": iso(job.created_at)}
    if file.signature is not None:
        columns |= signed(file.signature)
    found = [(file.path, columns)]
    add_files(db, now, job.folder, found, FileState.PACKED, cause=Cause.ADOPTED, seen_at=job.created_at)
