"""Rows to values and back; and the one way a state is changed."""

from __future__ import annotations

import sqlite3
from enum import StrEnum
from typing import Final

from finetuned.errors import Stale
from finetuned.ledger.schema import ATTEMPTS
from finetuned.lifecycle import JOB_ENDS, Cause, FileState, JobState, SessionState, check_move
from finetuned.model import Attempt, Content, File, Job, Signature, instant, iso, path_b64, path_of, utf8_text


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

_ATTEMPT: Final = (
    *("id", "job_id", "attempt", "state", "url", "version", "session_id", "stage", "progress", "due_at", "tries"),
    *("moved_at", "missing_since", "misses", "restarts", "retrained", "requeued", "kicks", "read_only"),
)
#: how a job is read: with the attempt that counts
JOB: Final = f"""
select j.*, {ATTEMPTS} as attempts, {", ".join(f"a.{name} as a_{name}" for name in _ATTEMPT)},
  exists (select 1 from sessions s where s.job_id = j.id and s.read_only) as noted
from jobs j left join sessions a on a.job_id = j.id and a.current = 1"""


#: attempts whose answer was lost and that were not found, but may turn up later
SUSPECT: Final = "state = 'unsent' and due_at is not null"


def job_of(row: sqlite3.Row) -> Job:
    """A row of `JOB` as a value."""
    return Job(
        id=row["id"],
        folder=row["folder"],
        state=JobState(row["state"]),
        files=row["files"],
        bytes=row["bytes"],
        created_at=instant(row["created_at"]),
        version=row["version"],
        attempt=None if row["a_id"] is None else attempt_of(row, "a_"),
        attempts=row["attempts"],
        attempts_before=row["attempts_before"],
        reason=row["reason"],
        claimed_at=at(row["claimed_at"]),
        due_at=at(row["due_at"]),
        tries=row["tries"],
        unanswered=row["unanswered"],
        unheard=row["unheard"],
        requested=row["requested"],
        archived=bool(row["archived"]),
        noted=bool(row["noted"]),
    )


def attempt_of(row: sqlite3.Row, prefix: str = "") -> Attempt:
    """A row of `sessions` as a value."""
    known = {name: row[prefix + name] for name in _ATTEMPT}
    return Attempt(
        id=known["id"],
        job_id=known["job_id"],
        number=known["attempt"],
        state=SessionState(known["state"]),
        url=known["url"],
        version=known["version"],
        session_id=known["session_id"],
        stage=known["stage"],
        progress=known["progress"],
        due_at=at(known["due_at"]),
        tries=known["tries"],
        moved_at=at(known["moved_at"]),
        missing_since=at(known["missing_since"]),
        misses=known["misses"],
        restarts=known["restarts"],
        retrained=known["retrained"],
        requeued=known["requeued"],
        kicks=known["kicks"],
        read_only=bool(known["read_only"]),
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
        group=row["batch_group"],
        reason=row["reason"],
        content=content,
        job_id=row["job_id"],
        upload_name=row["upload_name"],
        ready_at=at(row["ready_at"]),
        finished_at=at(row["finished_at"]),
        due_at=at(row["due_at"]),
        pairs=row["pairs"],
        archived=bool(row["archived"]),
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


def update(db: sqlite3.Connection, table: str, key: object, version: int, **columns: object) -> sqlite3.Row:
    """One guarded update, and the row as it is then: Stale if the row moved on since `version` was read."""
    names = ", ".join(f"{name} = ?" for name in columns)
    values = [_clean(v) if isinstance(v, str) and not isinstance(v, StrEnum) else v for v in columns.values()]
    query = f"update {table} set {names}, version = version + 1 where id = ? and version = ? returning *"
    row: sqlite3.Row | None = db.execute(query, (*values, key, version)).fetchone()
    if row is None:
        raise Stale(f"{table} {key} moved on")
    return row


def change_attempt(db: sqlite3.Connection, attempt: Attempt, **columns: object) -> Attempt:
    """Change an attempt in its state."""
    return attempt_of(update(db, "sessions", attempt.id, attempt.version, **columns))


def move_job(
    db: sqlite3.Connection,
    now: float,
    job: Job,
    became: JobState,
    *,
    cause: Cause,
    detail: str | None = None,
    **columns: object,
) -> None:
    """Change a job's state by a way the lifecycle knows, and tell. At its end a doubt about its sessions is due."""
    check_move(job.state, cause, became)
    update(db, "jobs", job.id, job.version, state=str(became), **columns)
    if became in JOB_ENDS:
        db.execute(f"update sessions set due_at = ? where job_id = ? and {SUSPECT}", (iso(now), job.id))
    tell(db, now, "job", job.id, became, was=job.state, cause=cause, detail=detail, job_id=job.id)


def read_job(db: sqlite3.Connection, job_id: str) -> Job:
    """A job as it is now."""
    return job_of(db.execute(f"{JOB} where j.id = ?", (job_id,)).fetchone())


def move_file(
    db: sqlite3.Connection,
    now: float,
    file: File,
    became: FileState,
    *,
    cause: Cause,
    detail: str | None = None,
    **columns: object,
) -> None:
    """Change a file's state by a way the lifecycle knows, and tell."""
    check_move(file.state, cause, became)
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


def end_attempt(
    db: sqlite3.Connection,
    now: float,
    job: Job,
    became: SessionState,
    *,
    cause: Cause,
    reason: str | None = None,
    counts: bool = True,
    discard: bool = False,
    progress_stays: bool = False,
    recheck_at: float | None = None,
) -> None:
    """End the job's open attempt, if it has one, and tell. It still `counts` for the job unless another one follows.

    `discard`: its session is to go from the server. `progress_stays`: it is shown how far it came. `recheck_at`: it may
    turn up on the server all the same.
    """
    attempt = job.open
    if attempt is None:
        return
    check_move(attempt.state, cause, became)
    change_attempt(
        db,
        attempt,
        state=str(became),
        current=int(counts),
        ended_at=iso(now),
        reason=reason,
        discard=int(discard and attempt.session_id is not None and not attempt.read_only),
        stage=None,
        due_at=text_at(recheck_at),
        tries=0,
        **({} if progress_stays else {"progress": None}),
    )
    name = attempt.session_id or attempt.marker
    tell(db, now, "session", name, became, was=attempt.state, cause=cause, detail=reason, job_id=job.id)
