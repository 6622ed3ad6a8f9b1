"""Rows to values and back; and the one way a state is changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from finetuned.errors import Stale
from finetuned.lifecycle import JOB_ENDS, FileState, JobState, SessionState, check_move
from finetuned.model import Content, File, Job, Session, Signature, instant, iso, path_b64, path_of, utf8_text


def at(text: str | None) -> float | None:
    """The instant a column holds."""
    return None if text is None else instant(text)


def text_at(moment: float | None) -> str | None:
    """What a column holds of an instant."""
    return None if moment is None else iso(moment)


def place(path: str | None) -> tuple[str | None, str | None]:
    """The two columns of a path: its text, and its bytes where the text is not exact."""
    return (None, None) if path is None else (utf8_text(path), path_b64(path))


#: the subject of events that tell whether the daemon watches, or sweeps alone
WATCH: Final = "watch"

#: a job has one session at most that is open: the intent to send it, or what came of it
OPEN: Final = "state in ('intended', 'live')"

#: how a job is read: with what is known of its open session
JOB: Final = f"""
select j.*,
  (select s.url from sessions s where s.job_id = j.id and s.{OPEN}) as url,
  (select s.read_only from sessions s where s.job_id = j.id and s.{OPEN}) as read_only,
  exists (select 1 from sessions s where s.job_id = j.id and s.read_only) as noted
from jobs j"""


#: sessions whose answer was lost and that were not found, but may turn up later
SUSPECT: Final = "state = 'unsent' and due_at is not null"


#: what a new attempt has not done yet
UNMENDED: Final[Mapping[str, Any]] = {"restarts": 0, "retrained": 0, "requeued": 0, "nudges": 0}


def job_of(row: sqlite3.Row) -> Job:
    """A row of `jobs` as a value."""
    return Job(
        id=row["id"],
        folder=row["folder"],
        state=JobState(row["state"]),
        files=row["files"],
        bytes=row["bytes"],
        attempt=row["attempt"],
        attempts_before=row["attempts_before"],
        restarts=row["restarts"],
        retrained=row["retrained"],
        requeued=row["requeued"],
        nudges=row["nudges"],
        created_at=instant(row["created_at"]),
        version=row["version"],
        group=row["group"],
        reason=row["reason"],
        stage=row["stage"],
        progress=row["progress"],
        pairs=row["pairs"],
        session_id=row["session_id"],
        claimed_at=at(row["claimed_at"]),
        submitted_at=at(row["submitted_at"]),
        finished_at=at(row["finished_at"]),
        due_at=at(row["due_at"]),
        moved_at=at(row["moved_at"]),
        missing_since=at(row["missing_since"]),
        tries=row["tries"],
        unanswered=row["unanswered"],
        unheard=row["unheard"],
        wish=row["wish"],
        archived=bool(row["put_away"]),
        url=row["url"],
        noted=bool(row["noted"]),
        read_only=bool(row["read_only"]),
    )


def file_of(row: sqlite3.Row) -> File:
    """A row of `files` as a value."""
    signature = None
    if row["ctime_ns"] is not None:
        signature = Signature(size=row["size"], mtime_ns=row["mtime_ns"], ctime_ns=row["ctime_ns"], inode=row["inode"])
    content = None
    if row["sha256"] is not None:
        text = row["text_sha256"]
        content = Content(sha256=row["sha256"], text_sha256=text, bytes=row["bytes"], sent_bytes=row["sent_bytes"])
    location = None if row["location"] is None else path_of(row["location"], row["location_b64"])
    return File(
        id=row["id"],
        folder=row["folder"],
        path=path_of(row["path"], row["path_b64"]),
        location=location,
        state=FileState(row["state"]),
        signature=signature,
        version=row["version"],
        group=row["group"],
        reason=row["reason"],
        content=content,
        job_id=row["job_id"],
        upload_name=row["upload_name"],
        ready_at=at(row["ready_at"]),
        finished_at=at(row["finished_at"]),
        due_at=at(row["due_at"]),
        pairs=row["pairs"],
        archived=bool(row["put_away"]),
        tries=row["tries"],
    )


def session_of(row: sqlite3.Row) -> Session:
    """A row of `sessions` as a value."""
    return Session(
        job_id=row["job_id"],
        attempt=row["attempt"],
        marker=row["marker"],
        state=SessionState(row["state"]),
        url=row["url"],
        session_id=row["session_id"],
        discard=bool(row["discard"]),
        due_at=at(row["due_at"]),
        tries=row["tries"],
    )


def tell(
    db: sqlite3.Connection,
    now: float,
    subject: str,
    subject_id: str,
    became: str,
    *,
    was: str | None = None,
    cause: str | None = None,
    detail: str | None = None,
    job_id: str | None = None,
) -> None:
    """Write one event, in the transaction of the change it tells."""
    db.execute(
        "insert into events (at, subject, subject_id, was, became, cause, detail, job_id) "
        "values (?, ?, ?, ?, ?, ?, ?, ?)",
        (iso(now), subject, subject_id, was, became, cause, _clean(detail), job_id),
    )


def _clean(words: str | None) -> str | None:
    return None if words is None else utf8_text(words)


def update(db: sqlite3.Connection, table: str, key: object, version: int | None, **columns: object) -> None:
    """One guarded update: Stale if the row moved on since `version` was read (null: whatever its version)."""
    names = ", ".join(f'"{name}" = ?' for name in columns)
    values = [_clean(v) if isinstance(v, str) and not isinstance(v, StrEnum) else v for v in columns.values()]
    guard, guarded = ("", []) if version is None else (" and version = ?", [version])
    done = db.execute(
        f"update {table} set {names}, version = version + 1 where id = ?{guard}",
        (*values, key, *guarded),
    )
    if done.rowcount != 1:
        raise Stale(f"{table} {key} moved on")


def move_job(
    db: sqlite3.Connection,
    now: float,
    job: Job,
    became: JobState,
    *,
    cause: str,
    detail: str | None = None,
    **columns: object,
) -> None:
    """Change a job's state by a way the lifecycle knows, and tell. At its end a doubt about its sessions is due."""
    check_move(job.state, became)
    update(db, "jobs", job.id, job.version, state=str(became), **columns)
    if became in JOB_ENDS:
        db.execute(f"update sessions set due_at = ? where job_id = ? and {SUSPECT}", (iso(now), job.id))
    tell(db, now, "job", job.id, became, was=job.state, cause=cause, detail=detail, job_id=job.id)


def move_file(
    db: sqlite3.Connection,
    now: float,
    file: File,
    became: FileState,
    *,
    cause: str,
    detail: str | None = None,
    **columns: object,
) -> None:
    """Change a file's state by a way the lifecycle knows, and tell."""
    check_move(file.state, became)
    update(db, "files", file.id, file.version, state=str(became), **columns)
    job_id = columns.get("job_id", file.job_id)
    tell(
        db,
        now,
        "file",
        str(file.id),
        became,
        was=file.state,
        cause=cause,
        detail=detail,
        job_id=job_id if isinstance(job_id, str) else None,
    )


def open_session(db: sqlite3.Connection, job_id: str) -> sqlite3.Row | None:
    """The job's session that is intended or live, if it has one."""
    row: sqlite3.Row | None = db.execute(f"select * from sessions where job_id = ? and {OPEN}", (job_id,)).fetchone()
    return row


def end_session(
    db: sqlite3.Connection,
    now: float,
    job_id: str,
    became: SessionState,
    *,
    cause: str,
    reason: str | None = None,
    discard: bool = False,
    lora_dir: str | None = None,
    recheck_at: float | None = None,
) -> None:
    """End the job's live session, if it has one, and tell. `recheck_at`: it may turn up on the server all the same."""
    row = open_session(db, job_id)
    if row is None:
        return
    check_move(SessionState(row["state"]), became)
    update(
        db,
        "sessions",
        row["id"],
        row["version"],
        state=str(became),
        ended_at=iso(now),
        reason=reason,
        discard=int(discard and row["session_id"] is not None and not row["read_only"]),
        lora_dir=lora_dir,
        due_at=text_at(recheck_at),
    )
    name = row["session_id"] or row["marker"]
    tell(db, now, "session", name, became, was=row["state"], cause=cause, detail=reason, job_id=job_id)
