"""The table of files: what was seen, what is ready, what became of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Final, TypedDict, Unpack

from finetuned.ledger.events import Event, tell_all, tell_of
from finetuned.ledger.rows import AT_PLACE, at, insert_all, place, update, update_alike, update_all, value_of
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, FileState, check_move
from finetuned.model import Content, File, Signature, UnarchivedFile, Value, WaitingFile
from finetuned.paths import path_of, utf8_text
from finetuned.readymade import is_ready_made
from finetuned.settings import MOST_FILES
from finetuned.times import instant, iso

#: the oldest so many waiting files of a folder are planned at a time: a round must stay short however long its queue
WINDOW: Final = MOST_FILES


#: the files that could not be read so far, of some folders
_UNREAD: Final = (
    "indexed by unread_files where state = 'waiting' and sha256 is null "
    "and folder in (select value from json_each(:folders))"
)


class FileColumns(TypedDict, total=False):
    """What may be changed of a file."""

    location: str | None
    location_b64: str | None
    reason: str | None
    batch_group: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str | None
    text_sha256: str | None
    bytes: int | None
    sent_bytes: int | None
    sketch: None
    job_id: str | None
    upload_name: str | None
    document_id: str | None
    pairs: int | None
    ready_at: str | None
    finished_at: str | None
    due_at: str | None
    tries: int
    archived: int


#: what is known of a content that is to be read anew
UNREAD: Final[FileColumns] = {"sha256": None, "text_sha256": None, "bytes": None, "sent_bytes": None, "sketch": None}


class Move(Value, frozen=True):
    """A file's way into another state, the columns that change with it, and what the event tells beside the cause."""

    file: File
    became: FileState
    columns: FileColumns
    detail: str | None = None


class Files:
    """Commands and questions about files."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def appeared(self, folder: str, seen: Collection[tuple[str, Signature, str]], now: float) -> dict[str, File]:
        """Record paths that were never seen (path, signature, group) as `settling`.

        Return by path what settles or waits there already: the sweeps forget a path when another file leaves it.
        """
        with self._store.transaction() as db:
            there = self.open_at(folder, [path for path, _, _ in seen])
            found = (
                (path, lies_at(path) | signed(signature) | {"batch_group": utf8_text(group)})
                for path, signature, group in seen
                if path not in there
            )
            add_files(db, now, folder, found, FileState.SETTLING, cause=Cause.APPEARED, seen_at=now)
        return there

    def settled(
        self,
        found: Iterable[tuple[File, Signature, Content]],
        now: float,
        sketches: Mapping[int, bytes] = MappingProxyType({}),
    ) -> None:
        """Let files that were read wait; the event tells what a person should know of them.

        `sketches` of their texts are by the files' ids, of those that have one already.
        """
        ready: FileColumns = {"ready_at": iso(now), "reason": None}
        with self._store.transaction() as db:
            moves = [
                Move(
                    file=file,
                    became=FileState.WAITING,
                    columns=({} if signature == file.signature else signed(signature)) | columns_of(content) | ready,
                    detail=content.note,
                )
                for file, signature, content in found
            ]
            move_files(db, now, moves, cause=Cause.SETTLED)
            write_sketches(db, sketches)

    def unreadable(
        self, file: File, reason: str, due_at: float, now: float, *, signature: Signature | None = None
    ) -> None:
        """Let a settled file wait that cannot be read for now, with the reason; it is tried again.

        `signature` is how it looked when that was tried.
        """
        with self._store.transaction() as db:
            later: FileColumns = signed(signature) if signature else {}
            later |= {"reason": reason, "due_at": iso(due_at), "tries": file.tries + 1}
            later["ready_at"] = iso(now)
            move_file(db, now, file, FileState.WAITING, cause=Cause.UNREADABLE, detail=reason, **later)

    def readable(self, file: File, content: Content, now: float) -> None:
        """Note the content of a file that could not be read before."""
        with self._store.transaction() as db:
            known = columns_of(content) | {"reason": None, "due_at": None, "tries": 0, "ready_at": iso(now)}
            change_file(db, file, **known)
            tell_of(db, now, file, Cause.READABLE, content.note)

    def unfinished(self, file: File, reason: str | None, now: float) -> None:
        """Note why a settling file waits for a name beside it to go; null: not any more."""
        with self._store.transaction() as db:
            change_file(db, file, reason=reason)
            cause = Cause.HELD_UP if reason else Cause.FREE
            tell_of(db, now, file, cause, reason)

    def unsettled(self, file: File, signature: Signature | None, reason: str, now: float) -> None:
        """Let a waiting file that changed settle again."""
        with self._store.transaction() as db:
            columns = UNREAD | (signed(signature) if signature else {})
            columns |= {"ready_at": None, "reason": reason}
            move_file(db, now, file, FileState.SETTLING, cause=Cause.CHANGED, detail=reason, **columns)

    def vanished(self, files: Iterable[tuple[File, str]], now: float) -> None:
        """Note files that are gone before they were taken, each with the reason."""
        gone = lies_at(None) | {"finished_at": iso(now), "archived": 1}
        with self._store.transaction() as db:
            moves = [Move(file=f, became=FileState.VANISHED, columns=gone | {"reason": why}) for f, why in files]
            move_files(db, now, moves, cause=Cause.GONE)

    def refused(self, file: File, reason: str, now: float, *, signature: Signature | None = None) -> None:
        """Refuse a file that can never be sent as it is; it is still to be archived.

        `signature` is how it looked when it was read, if not as the ledger has it: it grew since it was seen.
        """
        known: FileColumns = signed(signature) | {"bytes": signature.size} if signature else {}
        with self._store.transaction() as db:
            move_files(db, now, [end_of(file, FileState.REFUSED, reason, now, **known)], cause=Cause.REFUSED)

    def held_up(self, file: File, reason: str, due_at: float, now: float) -> None:
        """Put off a file that cannot be read or moved for now: it keeps its state, and gets a reason."""
        with self._store.transaction() as db:
            change_file(db, file, reason=reason, due_at=iso(due_at), tries=file.tries + 1)
            if file.reason != reason:
                tell_of(db, now, file, Cause.HELD_UP, reason)

    def archive_later(self, file: File, why: str, due_at: float, now: float) -> None:
        """Put off the archiving of a file, which could not be moved; its reason stays what it was."""
        with self._store.transaction() as db:
            change_file(db, file, due_at=iso(due_at), tries=file.tries + 1)
            if file.tries == 0:
                detail = f"it cannot be moved: {why}"
                tell_of(db, now, file, Cause.HELD_UP, detail)

    def duplicate(self, file_id: int, of: str, now: float) -> None:
        """End a waiting file whose content this folder has learned; it is still to be archived."""
        with self._store.transaction() as db:
            reason = f"the same content was learned already, from {of}"
            end = end_of(_get(db, file_id), FileState.DUPLICATE, reason, now)
            move_files(db, now, [end], cause=Cause.DUPLICATE)

    def laid(self, file: File, location: str | None, now: float, *, lost: str | None = None) -> None:
        """Note that a file was archived and lies at `location`; null: nowhere any more, and `lost` says why."""
        lies = lies_at(location)
        with self._store.transaction() as db:
            change_file(db, file, **(lies | {"archived": 1, "due_at": None, "tries": 0}))
            tell_of(db, now, file, Cause.LOST if lost else Cause.PUT_AWAY, lost or lies["location"])

    def retried(self, file: File, location: str, now: float) -> None:
        """Let a refused or duplicate file at `location` settle anew, as a person asked; it is to be given back."""
        with self._store.transaction() as db:
            fresh = lies_at(location) | UNREAD
            fresh |= {"reason": None, "finished_at": None, "ready_at": None, "due_at": None, "tries": 0, "archived": 0}
            move_file(db, now, file, FileState.SETTLING, cause=Cause.RETRY, **fresh)

    def given_back(self, file: File, location: str) -> None:
        """Note that a retried file lies in its folder again, at `location`."""
        with self._store.transaction() as db:
            change_file(db, file, **(lies_at(location) | {"archived": 1, "due_at": None, "tries": 0}))

    def wanted_again(self, folder: str, sha256: str) -> None:
        """Let this content be learned once more, although the folder knows it."""
        with self._store.transaction() as db:
            db.execute("insert or ignore into relearn (folder, sha256) values (?, ?)", (folder, sha256))

    def waits_again(self, file: File, location: str, now: float) -> None:
        """Let a file at `location` that failed or taught nothing wait for another job, as a person asked."""
        with self._store.transaction() as db:
            fresh = lies_at(location) | {"job_id": None, "pairs": None, "ready_at": iso(now)}
            fresh |= {"reason": None, "finished_at": None, "archived": 1}
            move_file(db, now, file, FileState.WAITING, cause=Cause.RETRY, **fresh)

    def get(self, file_id: int) -> File:
        """Look up a file by its id. Raises LookupError."""
        with self._store.reading() as db:
            return _get(db, file_id)

    def these(self, file_ids: Sequence[int]) -> list[File]:
        """List the files with these ids, by id."""
        marks = ", ".join("?" * len(file_ids))
        return self._all(f"{FILE} where id in ({marks}) order by id", *file_ids)

    def to_give_back(self, folder: str) -> list[File]:
        """List the retried files of the folder that do not lie there yet."""
        return self._all(f"{FILE} where archived = 0 and state = 'settling' and folder = ?", folder)

    def lying(self, folder: str) -> Generator[tuple[str, Signature, bool], None, None]:
        """Yield where the files lie that the sweeps of the folder meet, how they look, and whether they have settled.

        The newest of a place comes last. These are all that settle or wait, and those that stayed where they were
        dropped (`keep`). Nobody else is let to the ledger until it ends, or is closed by the thread that began it.
        """
        with self._store.reading() as db:
            for query in _LYING:
                for location, b64, settled, size, mtime_ns, ctime_ns, inode in db.execute(query, (folder,)):
                    signature = Signature(size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=inode)
                    yield path_of(location, b64), signature, bool(settled)

    def at_place(self, path: str) -> list[File]:
        """List every file that was dropped at `path`, or lies there now, newest first."""
        text, b64 = place(path)
        with self._store.reading() as db:
            rows = db.execute(f"{FILE} where {AT_PLACE} order by id desc", {"path": text, "b64": b64})
            return [file_of(row) for row in rows]

    def open_at(self, folder: str, paths: Iterable[str]) -> dict[str, File]:
        """Look up by path the file that settles or waits there."""
        wanted = {path: utf8_text(path) for path in paths}
        query = (
            f"{FILE} where location in (select value from json_each(?)) "  # by that, and by nothing else
            "and +folder = ? and +state in ('settling', 'waiting')"
        )
        found = self._all(query, json.dumps([*wanted.values()]), folder)
        return {file.location: file for file in found if file.location and file.location in wanted}

    def unread(self, folders: Collection[str], now: float, until: float, most: int) -> list[File]:
        """List `most` waiting files of these folders that could not be read and are to be tried again, by their times.

        A time after `until` is none: the clock was put back.
        """
        query = (
            f"{FILE} {_UNREAD} and (due_at is null or due_at <= :now or due_at > :until) "
            "order by iif(due_at > :until, null, due_at), id limit :most"
        )
        known = _when(folders, now, until) | {"most": most}
        with self._store.reading() as db:
            return [file_of(row) for row in db.execute(query, known)]

    def unread_next(self, folders: Collection[str], now: float, until: float) -> tuple[float | None, int | None]:
        """Tell when the next of them is to be tried, `now` at the earliest, and their fewest tries; null: of none."""
        query = f"select min(iif(due_at > :until, :now, coalesce(due_at, :now))), min(tries) from files {_UNREAD}"
        with self._store.reading() as db:
            next_at, tries = db.execute(query, _when(folders, now, until)).fetchone()
        return None if next_at is None else max(now, instant(next_at)), tries

    def unsketched(self, job_id: str) -> set[int]:
        """List a job's files of whose texts there is no sketch yet, by their ids."""
        return {
            number for (number,) in self._store.ask("select id from files where job_id = ? and sketch is null", job_id)
        }

    def unarchived(self) -> list[UnarchivedFile]:
        """List the files without a job that are still to be archived, or given back."""
        query = (
            "select id, folder, due_at from files indexed by files_to_archive "  # not by state: thousands may settle
            "where archived = 0 and state in ('refused', 'duplicate', 'settling')"
        )
        return [value_of(UnarchivedFile, row) for row in self._store.ask(query)]

    def waiting(
        self, urls: Mapping[str, str] | None = None, most: Mapping[str, int] | None = None
    ) -> list[WaitingFile]:
        """List the oldest waiting files of each folder, with what the plan must know of their content.

        `most` counts by folder how many are listed, and as many that are held up; null: `WINDOW` of each folder.
        Learned is what a model on the folder's server has learned, of which `urls` tells (null, or not there: on any),
        and that was not removed from it.
        """
        with self._store.reading() as db:
            if most is None:
                names = db.execute("select distinct folder from files where state = 'waiting'")
                most = {name: WINDOW for (name,) in names}
            at = urls or {}
            rows = [r for name in most for ask in _WAITING for r in db.execute(ask, (at.get(name), name, most[name]))]
        return [_waiting_of(row) for row in rows]

    def _all(self, query: str, *values: object) -> list[File]:
        return [file_of(row) for row in self._store.ask(query, *values)]


#: whether a file holds the same text as w; files that were read before `text_sha256` was known hold `sha256` in it
_SAME: Final = "{0}.text_sha256 in (w.text_sha256, w.sha256)"


#: those that may go, oldest first; and those that are held up, whose number must not keep the others from going
_WAITING: Final = tuple(
    f"""
select w.id, w.path, w.folder, w.batch_group, w.sha256, w.text_sha256, w.sent_bytes, w.ready_at, w.due_at,
  case when exists (select 1 from relearn a where a.folder = w.folder and a.sha256 = w.sha256) then null else
    (select l.path from files l where l.folder = w.folder and {_SAME.format("l")} and l.state = 'learned'
      and not exists (select 1 from sessions s where s.job_id = l.job_id and s.current = 1 and s.session_id is not null
        and (s.discard = 1 or s.removed_at is not null or s.url != ?)) limit 1)
  end as learned_by,
  (select p.job_id from files p where p.folder = w.folder and {_SAME.format("p")} and p.state = 'packed' limit 1)
    as same_content_in
from files w indexed by {index} where w.folder = ? and w.state = 'waiting' and w.sha256 is not null
  and {held_up}, w.id limit ?
"""
    for index, held_up in (
        ("waiting_by_age", "w.due_at is null order by w.ready_at"),
        ("held_up_by_time", "w.due_at is not null order by w.due_at"),
    )
)


_LYING: Final = tuple(
    "select location, location_b64, state <> 'settling', size, mtime_ns, ctime_ns, inode from files "
    f"where folder = ? and ctime_ns is not null and {which}"
    for which in (
        "location = path and location_b64 is path_b64 and state not in ('settling', 'waiting') order by id",
        "location is not null and archived = 1 and state in ('settling', 'waiting')",
    )
)


#: how a file is read
FILE: Final = (
    "select id, folder, path, path_b64, location, location_b64, state, version, reason, size, mtime_ns, ctime_ns, "
    "inode, sha256, text_sha256, bytes, sent_bytes, job_id, upload_name, ready_at, finished_at, due_at, pairs, "
    "archived, tries from files"
)


#: a round may read thousands, and to call the enumeration for each takes long
_STATES: Final = {str(state): state for state in FileState}


def file_of(row: sqlite3.Row) -> File:
    """Make a value of a row of `FILE`; by place, as a round may read thousands, and to ask for each name takes long."""
    number, folder, path, path_b64, location, location_b64, state, version, reason, *more = row
    size, mtime_ns, ctime_ns, inode, sha256, text_sha256, sent_from, sent_bytes, *more = more
    job_id, upload_name, ready_at, finished_at, due_at, pairs, archived, tries = more
    signature = content = None
    if ctime_ns is not None:
        signature = Signature(size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns, inode=inode)
    if sha256 is not None:
        read = sent_from or size or 0  # of a file that was refused later only the second is known
        content = Content(sha256=sha256, text_sha256=text_sha256, bytes=read, sent_bytes=sent_bytes)
    return File(
        id=number,
        folder=folder,
        path=path_of(path, path_b64),
        location=None if location is None else path_of(location, location_b64),
        state=_STATES[state],
        signature=signature,
        version=version,
        reason=reason,
        content=content,
        job_id=job_id,
        upload_name=upload_name,
        ready_at=at(ready_at),
        finished_at=at(finished_at),
        due_at=at(due_at),
        pairs=pairs,
        archived=bool(archived),
        tries=tries,
    )


def _waiting_of(row: sqlite3.Row) -> WaitingFile:
    """Make a value of a row of `_WAITING`; by hand, and by place: there may be thousands, in every round."""
    number, path, folder, group, sha256, text_sha256, sent_bytes, ready_at, due_at, learned_by, same_content_in = row
    return WaitingFile(
        id=number,
        folder=folder,
        group=group,
        sha256=sha256,
        sent_bytes=sent_bytes,
        ready_at=at(ready_at) or 0.0,
        text_sha256=text_sha256,
        ready_made=is_ready_made(path),
        learned_by=learned_by,
        same_content_in=same_content_in,
        due_at=at(due_at),
    )


def add_files(
    db: sqlite3.Connection,
    now: float,
    folder: str,
    found: Iterable[tuple[str, FileColumns]],
    state: FileState,
    *,
    cause: Cause,
    seen_at: float,
) -> None:
    """Record files that were dropped at these paths, each with what else is known of it, and tell."""
    rows: list[dict[str, object]] = []
    (last,) = db.execute("select coalesce(max(id), 0) from files").fetchone()
    for number, (path, columns) in enumerate(found, last + 1):
        text, b64 = place(path)
        known = {"id": number, "folder": folder, "state": state, "seen_at": iso(seen_at), "path": text, "path_b64": b64}
        rows.append(known | columns)
    insert_all(db, "files", rows)
    events = [
        (
            Event(subject="file", became=state, cause=cause, job_id=job_id),
            [str(row["id"]) for row in alike],
        )
        for job_id, alike in groupby(rows, key=lambda row: row.get("job_id"))
    ]
    tell_all(db, now, events)


def change_file(db: sqlite3.Connection, file: File, **columns: Unpack[FileColumns]) -> None:
    """Change a file in its state. Raises Stale."""
    update(db, "files", file.id, file.version, **columns)


def _when(folders: Collection[str], now: float, until: float) -> dict[str, object]:
    return {"folders": json.dumps([*folders]), "now": iso(now), "until": iso(until)}


def move_file(
    db: sqlite3.Connection,
    now: float,
    file: File,
    became: FileState,
    *,
    cause: Cause,
    detail: str | None = None,
    **columns: Unpack[FileColumns],
) -> None:
    """Change a file's state by a way the lifecycle knows, and tell. Raises Stale."""
    move_files(db, now, [Move(file=file, became=became, columns=columns, detail=detail)], cause=cause)


def move_alike(
    db: sqlite3.Connection,
    now: float,
    file_ids: Sequence[int],
    way: tuple[FileState, FileState],
    *,
    cause: Cause,
    job_id: str,
    columns: FileColumns,
    detail: str | None = None,
) -> None:
    """Change the state of a job's files, all from and to the same, with the same columns, and tell. Raises Stale."""
    was, became = way
    check_move(was, cause, became)
    update_alike(db, "files", file_ids, was, {"state": became, "job_id": job_id, **columns})
    event = Event(subject="file", became=became, was=was, cause=cause, detail=detail, job_id=job_id)
    tell_all(db, now, [(event, [*map(str, file_ids)])])


def move_files(db: sqlite3.Connection, now: float, moves: Collection[Move], *, cause: Cause) -> None:
    """Change files' states by ways the lifecycle knows, and tell of each. Raises Stale."""
    for was, became in {(move.file.state, move.became) for move in moves}:
        check_move(was, cause, became)

    def tells(move: Move) -> Event:
        job_id = move.columns.get("job_id", move.file.job_id)
        return Event(
            subject="file", became=move.became, was=move.file.state, cause=cause, detail=move.detail, job_id=job_id
        )

    update_all(
        db, "files", ((move.file.id, move.file.version, {"state": move.became, **move.columns}) for move in moves)
    )
    tell_all(db, now, ((told, [str(move.file.id) for move in alike]) for told, alike in groupby(moves, key=tells)))


def end_of(file: File, became: FileState, why: str | None, now: float, **columns: Unpack[FileColumns]) -> Move:
    """Make the way to its end of a file that is still to be archived; the event tells the reason."""
    return Move(file=file, became=became, columns=columns | ended(why, now), detail=why)


def ended(why: str | None, now: float) -> FileColumns:
    """Make columns of a file at its end, which is still to be archived."""
    return {"reason": why, "finished_at": iso(now), "archived": 0}


def write_sketches(db: sqlite3.Connection, sketches: Mapping[int, bytes]) -> None:
    """Write the sketches of files' texts, by the files' ids."""
    db.executemany(
        "update files set sketch = ? where id = ?", [(sketch, number) for number, sketch in sketches.items()]
    )


def files_of(db: sqlite3.Connection, job_id: str, *states: str) -> list[File]:
    """List a job's files, in the order of the upload; of `states` alone, if any are named."""
    rows = db.execute(f"{FILE} where job_id = ? order by id", (job_id,)).fetchall()
    return [file_of(row) for row in rows if not states or row["state"] in states]


def lies_at(location: str | None) -> FileColumns:
    """Make columns of where a file lies now (null: nowhere any more)."""
    text, b64 = place(location)
    return {"location": text, "location_b64": b64}


def signed(signature: Signature) -> FileColumns:
    """Make columns of a signature."""
    return {
        "size": signature.size,
        "mtime_ns": signature.mtime_ns,
        "ctime_ns": signature.ctime_ns,
        "inode": signature.inode,
    }


def columns_of(content: Content) -> FileColumns:
    """Make columns of a content."""
    return {
        "sha256": content.sha256,
        "text_sha256": content.text_sha256 or content.sha256,
        "bytes": content.bytes,
        "sent_bytes": content.sent_bytes,
    }


def _get(db: sqlite3.Connection, file_id: int) -> File:
    row = db.execute(f"{FILE} where id = ?", (file_id,)).fetchone()
    if row is None:
        raise LookupError(f"no file {file_id}")
    return file_of(row)
