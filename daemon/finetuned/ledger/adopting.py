"""What the ledger learns from the folders, when it was lost, restored from an older copy, or a folder got another name.

1. A job that the ledger does not know comes back as `doubtful`: an attempt at it may be on the server.
2. Who told so was a note, so what the server has under that name is only read (`sessions.read_only`), and so is
   whatever else a search for such a job finds: the attempts that are sent from here are ours.
3. A waiting file that turns out to lie in such a job is packed in it; any other file of it is recorded anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Sequence

from finetuned.ledger.files import columns_of
from finetuned.ledger.rows import file_of, move_file, place, tell
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, FileState, JobState, SessionState
from finetuned.model import Content, Signature, Value, iso

_WORDS = "the ledger did not know it; its files lay claimed, so the server is asked for it first"


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


class AdoptionBook:
    """Commands for what was found in the folders."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def adopted(self, job: FoundJob, *, url: str, dialect: str, now: float) -> None:
        """Record a job that the ledger does not know, as doubtful."""
        size = sum(file.content.bytes for file in job.files)
        with self._store.transaction() as db:
            db.execute(
                "insert into jobs (id, folder, state, reason, files, bytes, attempts_before, created_at, "
                "claimed_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(job.id, job.folder, str(JobState.DOUBTFUL), _WORDS, len(job.files), size, job.attempt - 1),
                    *(iso(job.created_at), iso(now)),
                ),
            )
            db.execute(
                "insert into sessions (job_id, attempt, current, state, url, dialect, intent_at, due_at, read_only) "
                "values (?, ?, 1, ?, ?, ?, ?, ?, 1)",
                (job.id, job.attempt, str(SessionState.INTENDED), url, dialect, iso(now), iso(now)),
            )
            tell(db, now, "job", job.id, JobState.DOUBTFUL, cause=Cause.ADOPTED, detail=_WORDS, job_id=job.id)
            for file in job.files:
                _pack(db, job, file, now)

    def renamed(self, name: str, root: str, configured: Container[str], now: float) -> None:
        """The folder at `root` is called `name` now: what was known of it under another name goes with it."""
        text, b64 = place(root)
        with self._store.transaction() as db:
            rows = db.execute("select name from folders where path = ? and path_b64 is ?", (text, b64)).fetchall()
            for old in {row["name"] for row in rows if row["name"] not in configured}:
                for table in ("files", "jobs"):
                    db.execute(f"update {table} set folder = ?, version = version + 1 where folder = ?", (name, old))
                db.execute("update or ignore relearn set folder = ? where folder = ?", (name, old))
                db.execute("delete from relearn where folder = ?", (old,))
                db.execute("delete from folders where name = ?", (old,))
                tell(db, now, "folder", name, "watched", cause=Cause.RENAMED, detail=f"it was called {old} before")


def _pack(db: sqlite3.Connection, job: FoundJob, file: FoundFile, now: float) -> None:
    path, location = place(file.path), place(file.location)
    known = db.execute(
        "select * from files where folder = ? and location = ? and location_b64 is ? and state = 'waiting' "
        "and sha256 = ?",
        (job.folder, *path, file.content.sha256),
    ).fetchone()
    if known is not None:
        lies = {"location": location[0], "location_b64": location[1], "upload_name": file.upload_name, "reason": None}
        move_file(db, now, file_of(known), FileState.PACKED, cause=Cause.ADOPTED, job_id=job.id, **lies)
        return
    sign, content = file.signature, file.content
    signs = columns_of(sign).values() if sign else (None,) * 4
    row = db.execute(
        "insert into files (folder, path, path_b64, location, location_b64, state, size, mtime_ns, ctime_ns, inode, "
        "sha256, text_sha256, bytes, sent_bytes, job_id, upload_name, seen_at, ready_at) "
        "values (?, ?, ?, ?, ?, 'packed', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning id",
        (
            *(job.folder, *path, *location, *signs, content.sha256, content.text_sha256 or content.sha256),
            *(content.bytes, content.sent_bytes, job.id, file.upload_name, iso(job.created_at), iso(job.created_at)),
        ),
    ).fetchone()
    tell(db, now, "file", str(row["id"]), FileState.PACKED, cause=Cause.ADOPTED, job_id=job.id)
