"""The file itself: opened, migrated; and its transactions.

1. A ledger that fails its check, or that a newer finetuned wrote, is left as it is and named.
2. What passes (`ledger.trouble`) is LedgerStuck, and its transaction rolled back; all else is no ledger to go on with.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from finetuned.errors import LedgerError
from finetuned.ledger.checkpoint import Checkpoint
from finetuned.ledger.copies import remove_part, sync_folder
from finetuned.ledger.lock import READABLE_BY_GROUP
from finetuned.ledger.migrations import bring_up_to_date
from finetuned.ledger.schema import APPLICATION_ID, MERGED, SCHEMA_VERSION, TO_MERGE
from finetuned.ledger.trouble import BUSY_MS, check_file, corrupt, newer, of_the_disk, problem
from finetuned.words import searchable


class Store:
    """One connection and its transactions; a reader's has no `log`, and writes nothing."""

    def __init__(self, db: sqlite3.Connection, path: str, log: Checkpoint | None = None) -> None:
        self._db = db
        self._path = path
        self._log = log
        self._one_at_a_time = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction; it is committed at the end, rolled back on any error. Raises LedgerStuck, LedgerError.

        Within another one of the same thread it is a part of that: committed with it, rolled back alone.
        """
        with self._one_at_a_time:
            if self._db.in_transaction:
                with self._part():
                    yield self._db
                return
            if self._log is None:
                raise LedgerError(f"the ledger {self._path} is only read here")
            self._log.check()
            try:
                self._db.execute("begin immediate")
                yield self._db
                self._db.execute("commit")
                self._log.fold_if_grown()
            except sqlite3.Error as error:
                self._roll_back()
                raise problem(error, self._path, "could not be written") from error
            except BaseException:
                self._roll_back()
                raise

    @contextmanager
    def _part(self) -> Iterator[None]:
        try:
            self._db.execute("savepoint part")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # an error of the disk has rolled back everything already
                    self._db.execute("rollback to part")
                    self._db.execute("release part")
                raise
            self._db.execute("release part")
        except sqlite3.Error as error:
            raise problem(error, self._path, "could not be written") from error

    @property
    def changes(self) -> int:
        """A count that grows with what is written."""
        return self._db.total_changes

    def ask(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Return the rows of a query. Raises LedgerStuck, LedgerError."""
        with self.reading() as db:
            return db.execute(query, values).fetchall()

    def ask_one(self, query: str, *values: object) -> sqlite3.Row | None:
        """Return the first row of a query; null if there is none. Raises LedgerStuck, LedgerError."""
        return next(iter(self.ask(query, *values)), None)

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            with suppress(sqlite3.Error):  # on a disk that fails, what led here is the error to tell
                self._db.execute("rollback")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection for a query, with no transaction of its own. Raises LedgerStuck, LedgerError."""
        with self._one_at_a_time:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise problem(error, self._path, "could not be read") from error


def open_file(path: str) -> int:
    """Open the ledger's file, made if need be: the system's words for what is in the way are better than SQLite's.

    The descriptor is to be closed after the connection: that would take SQLite's locks with it. Raises LedgerError.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, READABLE_BY_GROUP)
    except OSError as error:
        raise of_the_disk(error, f"the ledger {path} cannot be opened") from error
    try:
        check_file(path, os.fstat(fd).st_mode)
    except LedgerError:
        os.close(fd)
        raise
    return fd


def connect(path: str, *, is_sound: bool = False) -> tuple[sqlite3.Connection, str | None]:
    """Open the ledger for writing and bring its schema up to date. Raises LedgerNewer, LedgerError.

    What `is_sound` for sure is not checked page by page.
    With it comes the copy that was kept of an older schema; None if it had this one, or is new.
    """
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise problem(error, path, "cannot be opened") from error
    try:
        db.row_factory = sqlite3.Row
        db.create_function("searchable", 1, searchable, deterministic=True)
        _check(db, path, is_sound=is_sound)
        for pragma in (
            "auto_vacuum = incremental",  # of a new file, or with the next vacuum: see `Retention.shrink`
            "temp_store = memory",  # what SQLite keeps for a statement is no file: nothing of ours lies elsewhere
            "journal_mode = wal",
            "wal_autocheckpoint = 0",  # see `checkpoint`
            "synchronous = full",
            "trusted_schema = off",
            "secure_delete = on",  # what is forgotten is overwritten
        ):
            db.execute(f"pragma {pragma}")
        kept = _migrate(db, path)
        _set_merging(db)
        db.execute("pragma foreign_keys = on")
    except sqlite3.Error as error:
        db.close()
        raise problem(error, path, "cannot be used") from error
    except BaseException:
        db.close()
        raise
    return db, kept


def _check(db: sqlite3.Connection, path: str, *, is_sound: bool) -> None:
    db.execute(f"pragma busy_timeout = {BUSY_MS}")
    if db.execute("pragma user_version").fetchone()[0] > SCHEMA_VERSION:
        raise newer(path)
    ours = db.execute("pragma application_id").fetchone()[0]
    named = {row[0] for row in db.execute("select name from sqlite_master where type = 'table'")}
    if ours not in (0, APPLICATION_ID) or (ours == 0 and named):
        raise LedgerError(f"{path} is the database of another program", remedy="name another file in [ledger] path")
    said = "ok" if is_sound else db.execute("pragma quick_check(1)").fetchone()[0]
    if said != "ok":
        raise corrupt(path, "cannot be used", f"its check says: {said}")


def _migrate(db: sqlite3.Connection, path: str) -> str | None:
    version = db.execute("pragma user_version").fetchone()[0]
    if version == SCHEMA_VERSION:
        return None
    if version == 0:
        db.execute("pragma temp_store = memory")  # to make tables where pages can be given back takes a temporary file
    copy = f"{path}.v{version}.backup" if version > 0 else None
    if copy is not None:
        _keep_copy(db, path, copy)
    bring_up_to_date(db, version)
    return copy


def _set_merging(db: sqlite3.Connection) -> None:
    """Have an index that is there already merged as a new one is, if it can be told so: only time hangs on it."""
    with suppress(sqlite3.DatabaseError):
        if not db.execute("select 1 from qa_pairs_fts_config where k = ? and v = ?", MERGED).fetchone():
            db.execute(TO_MERGE, MERGED)


def _keep_copy(db: sqlite3.Connection, path: str, copy_path: str) -> None:
    """Copy the ledger with what a crash left in its log, whole or not at all; the same people may read it.

    Raises LedgerError, sqlite3.Error.
    """
    part = f"{copy_path}.part"
    try:
        remove_part(part)  # a kill may have left it
        mode = stat.S_IMODE(os.stat(path).st_mode)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
        os.chmod(part, mode)  # whatever the umask is
        with closing(sqlite3.connect(part)) as copy:
            db.backup(copy)
        os.rename(part, copy_path)
        sync_folder(copy_path)
    except OSError as error:
        raise of_the_disk(error, f"the ledger {path} cannot be copied to {copy_path} before it is changed") from error
    finally:
        remove_part(part)
