"""The reader's side of the ledger: what commands show, and what `job.json` holds.

Every dictionary here is a JSON object of the page `docs/interface.md`: all its keys, always.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Self

from finetuned.errors import LedgerMissing
from finetuned.ledger.events import METRICS, WATCH
from finetuned.ledger.opening import open_for_reading
from finetuned.ledger.rows import AT_PLACE, place, text_at
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.ledger.trouble import PUT_BACK, problem
from finetuned.marker import marker
from finetuned.paths import utf8_text

Row = dict[str, Any]

_JOB: Final = (
    "id, folder, state, files, bytes, pairs, session_id, stage, progress, attempt, restarts, "
    "created_at, submitted_at, finished_at, reason, lora_dir"
)
_FILE: Final = (
    "id, path, path_b64, location, location_b64, folder, state, job_id, sha256, coalesce(bytes, size) as bytes, pairs, "
    "reason, seen_at, ready_at, finished_at, upload_name"
)
PAIR: Final = (
    "p.job_id, p.session_id, f.path as file, f.path_b64 as file_b64, p.ordinal, p.question, p.answer, "
    "p.raw_question, p.raw_answer, f.sha256"
)
#: what readers are told of the server
SERVER_FIELDS: Final = (
    *("dialect", "reachable", "paused_because", "last_error", "last_error_at"),
    *("max_chunks", "max_sessions", "max_request"),
)
#: the jobs of a schema before the sixth, as `all_jobs` shows them
_AS_IT_WAS: Final = "create temp view all_jobs as select *, put_away as archived, rowid as ordinal from jobs"
_EVENT: Final = "id, at, subject, subject_id, was, became, cause, detail"

_SESSION: Final = "state session_id url dialect name lora_dir reason intent_at known_at ended_at removed_at"

#: by whether the newest come first
_WAYS: Final = ("asc", "desc")


class Reader:
    """Questions to the ledger at `path` over a connection; safe beside a running daemon."""

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db = db
        self.path = path
        self._same = "text_sha256" if self.schema_version() > 3 else "sha256"  # what is equal for equal texts
        if self.schema_version() < SCHEMA_VERSION:  # no daemon of this version has opened it yet
            db.execute(_AS_IT_WAS)

    @classmethod
    def open(cls, path: str) -> Self:
        """Open the ledger at `path` for reading. Raises LedgerMissing, LedgerNewer, LedgerError."""
        return cls(open_for_reading(path), path)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for the audit."""
        return self._db

    def jobs(
        self,
        *,
        state: str | None = None,
        folder: str | None = None,
        since: float | None = None,
        newest_first: bool = False,
    ) -> Iterator[Row]:
        """List every job, oldest first."""
        way = _WAYS[newest_first]
        return self._rows(
            f"select {_JOB} from all_jobs where (:state is null or state = :state) "
            "and (:folder is null or folder = :folder) and (:since is null or created_at >= :since) "
            f"order by created_at {way}, ordinal {way}",
            state=state,
            folder=folder,
            since=text_at(since),
        )

    def brief(self, job_id: str) -> Row | None:
        """One job as `jobs` lists it; null if there is none."""
        return next(self._rows(f"select {_JOB} from all_jobs where id = ?", job_id), None)

    def unfinished(self) -> Iterator[Row]:
        """List the jobs that are not at their end, oldest first."""
        return self._rows(f"select {_JOB} from all_jobs where finished_at is null order by created_at, ordinal")

    def job(self, job_id: str) -> Row | None:
        """One job with everything about it; null if there is none."""
        job = self.brief(job_id)
        if job is None:
            return None
        # all columns, here and below: a ledger of an older version, which no daemon has opened since, may lack one
        sessions = self._rows("select * from sessions where job_id = ? order by id", job_id)
        turns = self._rows(
            "select i.session_id, i.id, i.creator, i.mode, i.state, i.stage, i.message, i.status, i.error, i.progress, "
            "i.finished, i.lora_dir, i.created, i.updated, i.completed, i.looked_at from interactions i "
            "join sessions s on s.session_id = i.session_id where s.job_id = ? order by s.id, i.ordinal",
            job_id,
        )
        return job | {
            "file_list": list(self.files(job=job_id)),
            "sessions": [
                {"attempt": session["attempt"], "marker": marker(job_id, session["attempt"])}
                | {key: session.get(key) for key in _SESSION.split()}
                | {"read_only": bool(session.get("read_only"))}
                for session in sessions
            ],
            "interactions": [turn | {"finished": bool(turn["finished"])} for turn in turns],
            "events": list(self.events(job=job_id)),
        }

    def files(
        self, *, state: str | None = None, job: str | None = None, folder: str | None = None, newest_first: bool = False
    ) -> Iterator[Row]:
        """List every file, in the order they were seen."""
        rows = self._rows(
            f"select {_FILE} from files where (:state is null or state = :state) and (:job is null or job_id = :job) "
            f"and (:folder is null or folder = :folder) order by id {_WAYS[newest_first]}",
            state=state,
            job=job,
            folder=folder,
        )
        return (_file(row) for row in rows)

    def file(self, file_id: str) -> Row | None:
        """One file as `files` lists it; null if there is none."""
        return next((_file(row) for row in self._rows(f"select {_FILE} from files where id = ?", file_id)), None)

    def unsealed(self, folder: str | None) -> list[Row]:
        """List the files that settle or wait in the folder (null: in any): `id`, `path`, `state`, in the order seen."""
        query = (
            "select id, path, state from files where state in ('settling', 'waiting') "
            "and (:folder is null or folder = :folder) order by id"
        )
        return list(self._rows(query, folder=folder))

    def become(self, file_ids: Sequence[int]) -> Iterator[Row]:
        """Tell what became of files, in the order seen: `id`, `path`, `state`, `job_id`."""
        query = "select id, path, state, job_id from files where id in (select value from json_each(?)) order by id"
        return self._rows(query, json.dumps(list(file_ids)))

    def at_place(self, path: str) -> list[Row]:
        """List the files that were dropped at `path`, or lie there now, newest first, with `id` and `due_at`."""
        text, b64 = place(path)
        return self._whole(f"where {AT_PLACE} order by id desc", path=text, b64=b64)

    def of_content(self, contents: Collection[str]) -> list[Row]:
        """List the files with one of these contents, or with the text of one, newest first, with `id` and `due_at`."""
        wanted = f"{self._same} in (select value from json_each(?))"
        return self._whole(f"where {wanted} order by id desc", json.dumps(list(contents)))

    def _whole(self, which: str, *values: object, **named: object) -> list[Row]:
        rows = self._rows(f"select {_FILE}, due_at from files {which}", *values, **named)
        return [{"id": row["id"], "due_at": row["due_at"]} | _file(row) for row in rows]

    def of_name(self, name: str) -> list[Row]:
        """List the files that were dropped under this name in any folder, newest first."""
        query = f"select {_FILE} from files where substr(path, -length(:end)) = :end order by id desc"
        return [_file(row) for row in self._rows(query, end=f"/{utf8_text(name)}")]

    def pairs(self, *, job: str | None = None, path: str | None = None, words: str | None = None) -> Iterator[Row]:
        """List the pairs by job and ordinal; of a job that trained, those of the session that did.

        Its `sha256` tells which version of the file it was made of, should several have lain at one path.
        `words` searches questions and answers, best first.
        """
        text, b64 = place(path)
        where = (
            f"(:job is null or p.job_id = :job) and (:path is null or {AT_PLACE}) "
            "and (j.state not in ('done', 'partial') or p.session_id = j.session_id)"
        )
        tables = "from qa_pairs p left join files f on f.id = p.file_id join all_jobs j on j.id = p.job_id"
        if words is None:
            query = f"select {PAIR} {tables} where {where} order by j.created_at, j.ordinal, p.ordinal"
            rows = self._rows(query, job=job, path=text, b64=b64)
        else:
            query = (
                f"select {PAIR} {tables} join qa_pairs_fts on qa_pairs_fts.rowid = p.id "
                f"where {where} and qa_pairs_fts match :words order by qa_pairs_fts.rank, p.id"
            )
            rows = self._rows(query, job=job, path=text, b64=b64, words=_terms(words))
        return (drop_null(row, "file_b64") for row in rows)

    def events(
        self, *, job: str | None = None, after: int = 0, since: float | None = None, newest_first: bool = False
    ) -> Iterator[Row]:
        """List what happened, oldest first; `after` an event's id, `since` an instant."""
        return self._rows(
            f"select {_EVENT} from events where id > :after and (:since is null or at >= :since) "
            "and (:job is null or job_id = :job or (subject = 'job' and subject_id = :job)) "
            f"order by id {_WAYS[newest_first]}",
            after=after,
            since=text_at(since),
            job=job,
        )

    def history(self, file_id: int) -> list[Row]:
        """List what happened to one file."""
        query = f"select {_EVENT} from events where subject = 'file' and subject_id = ? order by id"
        return list(self._rows(query, str(file_id)))

    def knows(self, job_id: str) -> bool:
        """Tell whether there is a job of this id."""
        return next(self._rows("select 1 from jobs where id = ?", job_id), None) is not None

    def jobs_like(self, part: str) -> list[str]:
        """List the ids of the jobs that have `part` in them, oldest first; all of them if it is empty."""
        rows = self._rows("select id from jobs where instr(id, ?) order by created_at, rowid", utf8_text(part))
        return [row["id"] for row in rows]

    def sessions_like(self, part: str) -> list[str]:
        """List the ids of the sessions that have `part` in them, oldest first."""
        rows = self._rows("select session_id from sessions where instr(session_id, ?) order by id", utf8_text(part))
        return [row["session_id"] for row in rows]

    def held_up(self, job_id: str) -> str | None:
        """Tell what keeps an ended job from being archived; null if nothing does."""
        query = (
            "select e.detail from all_jobs j join events e on e.subject = 'job' and e.subject_id = j.id "
            "and e.cause = 'held_up' and e.at >= j.finished_at where j.id = ? and j.archived = 0 "
            "order by e.id desc limit 1"
        )
        row = next(self._rows(query, job_id), None)
        return None if row is None else row["detail"]

    def name_of(self, file_id: str) -> str | None:
        """Tell where the file of an event was dropped, for people."""
        row = next(self._rows("select path from files where id = ?", file_id), None)
        return None if row is None else str(row["path"])

    def answer(self, request_id: str) -> Row | None:
        """Fetch the event that answers a request; null if there is none yet."""
        query = f"select {_EVENT} from events where subject = 'daemon' and subject_id = ?"
        return next(self._rows(query, request_id), None)

    def counts(self) -> dict[str, int]:
        """Count the jobs in each state that has any."""
        return {row["state"]: row["n"] for row in self._rows("select state, count(*) as n from jobs group by state")}

    def troubled(self) -> list[Row]:
        """List the unfinished jobs that have a reason: `id`, `state`, `reason`."""
        query = (
            "select id, state, reason from jobs where finished_at is null and reason is not null order by created_at"
        )
        return list(self._rows(query))

    def kept_back(self) -> list[Row]:
        """List the waiting files that cannot be read or moved for now: `folder`, `path`, `reason`."""
        kept = "state = 'waiting' and due_at is not null and reason is not null"
        return list(self._rows(f"select folder, path, reason from files where {kept} order by folder, due_at, id"))

    def folders(self) -> dict[str, Row]:
        """By folder: its state (`watched`, `paused`, `away`), since when it is paused, why it is away if it is.

        With it come how many files settle and wait, and since when the oldest does.

        `unfinished`: how many of those that settle are kept by a name beside them, `unfinished_because` the oldest's.
        `untaken`: by suffix, how many files no rule takes, and none leaves out.
        """
        unfinished = "from files f where f.folder = name and f.state = 'settling' and f.reason is not null"
        rows = self._rows(
            "select folders.*, case when state = 'away' then (select e.detail from events e where "
            "e.subject = 'folder' and e.subject_id = name and e.became = 'away' order by e.id desc limit 1) end "
            "as away_because, "
            "(select count(*) from files f where f.folder = name and f.state = 'settling') as settling, "
            f"(select count(*) {unfinished}) as unfinished, "
            f"(select f.path || ': ' || f.reason {unfinished} order by f.id limit 1) as unfinished_because, "
            "(select count(*) from files f where f.folder = name and f.state = 'waiting') as waiting, "
            "(select min(ready_at) from files f where f.folder = name and f.state = 'waiting') as oldest from folders"
        )
        return {row["name"]: row | _of_folder(row) for row in rows}

    def server(self, url: str) -> Row:
        """Look up what is known of the server at `url`."""
        # all columns: a ledger of an older version, which no daemon has opened since, may lack one
        row = next(self._rows("select * from servers where url = ?", url), {})
        told = {field: row.get(field) for field in SERVER_FIELDS}
        return told | {"reachable": None if told["reachable"] is None else bool(told["reachable"])}

    def daemon(self) -> Row | None:
        """Fetch what is known of the daemon that started last."""
        return next(self._rows("select * from daemon"), None)

    def unwatched(self) -> str | None:
        """Tell why the daemon cannot watch all folders, so that sweeps alone find changes; null if it can."""
        return self._trouble_with(WATCH)

    def unserved(self) -> str | None:
        """Tell why the daemon serves no metrics that it is to serve; null if it does."""
        return self._trouble_with(METRICS)

    def _trouble_with(self, what: str) -> str | None:
        query = (
            "select detail from events where subject = 'daemon' and subject_id = ? "
            "and at >= (select since from daemon) order by id desc limit 1"
        )
        return next(self._rows(query, what), {}).get("detail")

    def size(self) -> int:
        """Count the bytes on the disk, with the log, which holds what was written last. Raises LedgerMissing."""
        try:
            size = os.stat(self.path).st_size
            with suppress(FileNotFoundError):  # it comes and goes
                size += os.stat(f"{self.path}-wal").st_size
        except OSError as error:
            raise LedgerMissing(f"the ledger {self.path} went away while it was read", remedy=PUT_BACK) from error
        return size

    def schema_version(self) -> int:
        """Read the number of the schema."""
        number: int = self._db.execute("pragma user_version").fetchone()[0]
        return number

    def _rows(self, query: str, *values: object, **named: object) -> Iterator[Row]:
        try:
            for row in self._db.execute(query, named or values):
                yield dict(row)
        except sqlite3.Error as error:
            raise problem(error, self.path, "cannot be read") from error


def _file(row: Row) -> Row:
    row = {key: value for key, value in row.items() if key not in {"id", "due_at"}}
    return drop_null(drop_null(row, "path_b64"), "location_b64")


def _of_folder(row: Row) -> Row:
    """Make what is not in a folder's columns as it is told; a ledger of an older version lacks some of them."""
    paused = row.get("paused_at")
    state = "paused" if paused is not None and row["state"] == "watched" else row["state"]
    return {"state": state, "paused_since": paused, "untaken": json.loads(row.get("untaken") or "{}")}


def drop_null(row: Row, key: str) -> Row:
    """Leave the exact bytes of a path out of a row where they are null: the path is UTF-8."""
    if row.get(key) is None:
        row.pop(key, None)
    return row


def _terms(words: str) -> str:
    """Words that people type, as a full-text query: each one quoted, all of them wanted."""
    return " ".join('"' + word.replace('"', '""') + '"' for word in words.split()) or '""'
