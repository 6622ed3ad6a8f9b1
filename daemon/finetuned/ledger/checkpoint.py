"""The log beside the ledger (`-wal`): folded into the file now and then, and whether it is this file's log.

1. What is committed lies in the log until it is folded in. That is done once the schema is made, when little is written
   for a moment, and whenever the log has grown by GROWN_BYTES: a plain copy of the file lacks the last seconds at most.
   Readers do not hold it up, nor it them: what they still read of the log stays there. Nor does it hold up who writes,
   but for what was added to the log meanwhile: the most of it is folded in over a connection of its own.
   In a burst the file of the log stays as large as it is, and is written over: where a file grows, the file system has
   to bring its own journal to disk with each commit, and whatever else has changed goes along.
2. After a kill the log stays, and SQLite would play it over whatever lies at the ledger's path then, a restored copy
   too. So the lock file holds a note: which file the log belongs to, and how that file was left (size and mtime).
   Only a folding changes the file; while one is under way the note says so, and nothing but the file's inode tells.
3. On a clean stop there is no log any more, and the note tells how the file was left then: one that lies so still, and
   has for a while, need not be checked page by page at the next start, which takes seconds for a large one. Nor need
   one whose daemon was killed, with its own log: a kill tears no page. When the machine stops that may happen, so the
   note of a log tells in which boot it was written.
4. The note never outruns the file: the file is brought to disk before it is noted, and a folding is noted before it
   begins. A note that is missing, torn or about another log (all was moved or copied together) accuses nobody.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import struct
import threading
from contextlib import AbstractContextManager, closing, suppress
from typing import Final

import msgspec

from finetuned.errors import LedgerError, LedgerStuck
from finetuned.ledger.trouble import PUT_BACK, of_the_disk
from finetuned.model import Value

#: who writes folds the log in when it has grown by so much, unless somebody is at it
GROWN_BYTES: Final = 8 * 1024 * 1024
#: a note is padded to this, so that it is written whole, over the one before
_NOTE_BYTES: Final = 256
_BOOT: Final = "/proc/sys/kernel/random/boot_id"
#: how the index of the log (`-shm`) begins: the size of a page (but of 64 KiB, which ours never have), how many pages
#: were added, and how many of these are folded in. Source: SQLite's page walformat
_INDEX: Final = struct.Struct("=14xHI76xI")
#: the inode of a log that is not there
_NO_LOG: Final = 0
#: times that differ by less may belong to two writes, in nanoseconds
_SURE_NS: Final = 2_000_000_000


class Note(Value, frozen=True):
    """Which file the log belongs to, and how it was left (null while that changes), in which boot of the machine."""

    inode: int
    log: int
    left: tuple[int, int] | None = None
    boot: str | None = None


class Checkpoint:
    """The log of one open ledger: `db` writes it, `file` is the ledger's descriptor, `lock` that of its lock file.

    `index` is the descriptor of the log's index, if there is one.
    """

    def __init__(self, db: sqlite3.Connection, path: str, *, file: int, lock: int, index: int | None) -> None:
        self._db = db
        self._path = path
        self._file = file
        self._opened = os.fstat(file)
        self._lock = lock
        self._left: tuple[int, int] | None = None
        self._due_at_bytes = 0
        self._one_at_a_time = threading.Lock()
        self._index = index

    @property
    def is_long(self) -> bool:
        """Whether the log is half as long as it may become, so that it should be folded in beside those who write."""
        return self._unfolded_bytes() >= self._due_at_bytes - GROWN_BYTES // 2

    def fold(self, alone: AbstractContextManager[object], *, empties: bool = True) -> None:
        """Fold the log in, as far as readers allow; what cannot be folded now is as safe in the log.

        Nobody else writes within `alone`, which is entered for the last bit. It `empties` the log, or leaves it to the
        next commit to begin it anew.
        """
        with self._one_at_a_time:
            with suppress(OSError):
                self._write(None)
                self._fold_beside()
                with alone:
                    is_folded = self._fold_rest("truncate" if empties else "full")
                if is_folded:
                    self._note_as_it_is()
            self._due_at_bytes = self._unfolded_bytes() + GROWN_BYTES

    def _fold_beside(self) -> None:
        """Fold in the most of the log over a connection of its own; what that cannot do is left to ours.

        It makes no file: an empty one would be in the way of who puts a ledger back that was moved away.
        """
        with suppress(sqlite3.Error), closing(sqlite3.connect(address_of(self._path, mode="rw"), uri=True)) as db:
            if self._is_there():  # not another file, over which our log would be played
                db.execute("pragma wal_checkpoint(passive)").fetchall()

    def fold_if_grown(self) -> None:
        """Fold the log in if it has become long, and nobody is at it; nobody else may write meanwhile."""
        if self._unfolded_bytes() < self._due_at_bytes or not self._one_at_a_time.acquire(blocking=False):
            return
        try:
            with suppress(OSError):
                self._write(None)
                if self._fold_rest("full"):
                    self._note_as_it_is()
            self._due_at_bytes = self._unfolded_bytes() + GROWN_BYTES
        finally:
            self._one_at_a_time.release()

    def _fold_rest(self, mode: str) -> bool:
        """Fold in all that is in the log; tell whether the file is sound to be noted."""
        try:
            patience = self._db.execute("pragma busy_timeout").fetchone()[0]
            self._db.execute("pragma busy_timeout(0)")  # nobody waits for a reader
            try:
                self._db.execute(f"pragma wal_checkpoint({mode})").fetchall()
            finally:
                self._db.execute(f"pragma busy_timeout({patience})")
        except sqlite3.Error:
            return False
        return True

    def _note_as_it_is(self) -> None:
        os.fsync(self._file)  # SQLite brings its content to disk, but not its mtime
        self._write(_left(os.fstat(self._file)))

    def check(self) -> None:
        """See the file as it lies before a commit: another program may have folded the log in.

        Raises LedgerStuck if it was moved: nothing is written into a file that will not be found.
        """
        found = self._is_there()
        if found is None:
            raise LedgerStuck(f"the ledger {self._path} was moved or removed while a daemon uses it", remedy=PUT_BACK)
        is_another = self._left is not None and self._left != _left(found)
        if is_another and self._one_at_a_time.acquire(blocking=False):  # not while we fold it in
            try:
                with suppress(OSError):
                    self._note_as_it_is()
            finally:
                self._one_at_a_time.release()

    def _is_there(self) -> os.stat_result | None:
        """See the file as it lies; null if it is not there any more, or is another one."""
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found if os.path.samestat(found, self._opened) else None

    def _unfolded_bytes(self) -> int:
        """Count what is in the log and not in the file."""
        if self._index is None:
            return 0
        index = os.pread(self._index, _INDEX.size, 0)
        if len(index) < _INDEX.size:  # it is not made yet
            return 0
        page_bytes, added, folded = map(int, _INDEX.unpack(index))
        return max(0, added - folded) * page_bytes

    def _write(self, left: tuple[int, int] | None) -> None:
        log = os.stat(f"{self._path}-wal").st_ino
        self._left = left
        note = Note(inode=os.fstat(self._file).st_ino, log=log, left=left, boot=_boot())
        _write_note(self._lock, msgspec.json.encode(note))


def open_index(path: str) -> int | None:
    """Open the index of the log; null where there is none, as a file system may not allow it. Raises LedgerError."""
    try:
        return os.open(f"{path}-shm", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise of_the_disk(error, f"the index of the ledger's log, {path}-shm, cannot be opened") from error


def close_index(index: int | None) -> None:
    """Let go of the index, unless a connection of this process is open still: that would take SQLite's locks with it.

    SQLite removes the index with the last connection.
    """
    if index is not None and os.fstat(index).st_nlink == 0:
        os.close(index)


def address_of(path: str, *, mode: str) -> str:
    """Write a path as SQLite's address, by which no file is made; urllib would do it, and takes 2 ms to load."""
    name = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file:{name}?mode={mode}"


def _left(found: os.stat_result) -> tuple[int, int]:
    return found.st_size, found.st_mtime_ns


def _write_note(lock: int, note: bytes) -> None:
    os.pwrite(lock, note.ljust(_NOTE_BYTES), 0)
    os.fsync(lock)


def note_closed(path: str, *, file: int, lock: int) -> None:
    """Note how the file was left by a clean stop, if its log is gone; nothing may write to it any more."""
    if os.path.exists(f"{path}-wal"):
        return
    with suppress(OSError):
        os.fsync(file)
        found = os.fstat(file)
        _write_note(lock, msgspec.json.encode(Note(inode=found.st_ino, log=_NO_LOG, left=_left(found))))


def left_by(lock: int) -> Note | None:
    """Read what was noted last; null if nothing was."""
    try:
        return msgspec.json.decode(os.pread(lock, _NOTE_BYTES, 0), type=Note)
    except (OSError, msgspec.MsgspecError):
        return None


def lies_as_left(note: Note | None, path: str, *, file: int, lock: int) -> bool:
    """Tell whether the file is what a clean stop or a kill left: the lock was written just now, and so tells the time.

    A change right after that may have left the same times.
    """
    found = os.fstat(file)
    is_old = os.fstat(lock).st_mtime_ns - found.st_mtime_ns > _SURE_NS
    if note is None or not is_old or note.inode != found.st_ino or note.left != _left(found):
        return False
    try:
        log = os.stat(f"{path}-wal").st_ino
    except OSError:
        log = _NO_LOG
    return note.log == log and (log == _NO_LOG or note.boot == _boot() is not None)


def _boot() -> str | None:
    """Read by what the kernel tells its boots apart; null if it does not say."""
    try:
        with open(_BOOT, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def forget_log(path: str, lock: int) -> None:
    """Let the note say nothing, before the file and its log are opened or done with. Raises LedgerError."""
    try:
        _write_note(lock, b"")
    except OSError as error:
        raise of_the_disk(error, f"the lock of the ledger {path} cannot be written") from error


def accuse_log(path: str, lock: int, inode: int) -> None:
    """Note that the log beside the ledger, if one lies there, is that of the file `inode` and of no other.

    Raises OSError.
    """
    with suppress(FileNotFoundError):
        note = Note(inode=inode, log=os.stat(f"{path}-wal").st_ino)
        _write_note(lock, msgspec.json.encode(note))


def check_log(path: str) -> None:
    """Raise LedgerError if the log beside the ledger is surely that of another file; nobody may have it open.

    SQLite would remove a log beside an empty file, or beside none, and what was committed last with it.
    """
    try:
        log = os.stat(f"{path}-wal")
    except OSError:
        return
    if log.st_size and (not _size(path) or _is_of_another(path, log)):
        raise _replaced(path)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _is_of_another(path: str, log: os.stat_result) -> bool:
    try:
        with open(f"{path}.lock", "rb") as lock:
            note = msgspec.json.decode(lock.read(_NOTE_BYTES), type=Note)
        found = os.stat(path)
    except (OSError, msgspec.MsgspecError):
        return False
    if log.st_ino != note.log:
        return False
    return found.st_ino != note.inode or note.left not in {None, _left(found)}


def _replaced(path: str) -> LedgerError:
    sides = f"{path}-wal", f"{path}-shm"
    wal, shm = map(shlex.quote, sides)
    there = os.path.exists(path)
    what, way = ("was replaced", "use the file that is there now") if there else ("is gone", "begin a new one")
    return LedgerError(
        f"the ledger {path} {what}, and beside it lies the log of the file that was there before: "
        f"{' and '.join(sides)}",
        remedy=f"to {way}: mv {wal} {wal}.old; rm -f {shm} "
        "(else put the former file back: its log holds what was written last)",
    )
