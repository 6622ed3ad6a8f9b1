"""The file itself: opened, locked, migrated; and its transactions.

1. The lock is a file of its own, `<ledger>.lock`: it outlives no process, and readers never touch it.
2. A ledger that fails its check, or that a newer finetuned wrote, is left as it is and named.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from finetuned.errors import Held, LedgerError, LedgerNewer
from finetuned.ledger.schema import APPLICATION_ID, SCHEMA_VERSION

BUSY_MS: Final = 5000
READABLE_BY_GROUP: Final = 0o640
LOCK_TRIES: Final = 10
LOCK_PAUSE: Final = 0.05


class Store:
    """One writing connection and its transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._one_at_a_time = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back on any error. Raises LedgerError."""
        with self._one_at_a_time:
            try:
                self._db.execute("begin immediate")
                yield self._db
                self._db.execute("commit")
            except sqlite3.Error as error:
                self._roll_back()
                raise LedgerError(
                    f"the ledger could not be written: {error}", remedy="see `finetuned doctor`"
                ) from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("rollback")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection for a query; no transaction of its own. Raises LedgerError."""
        with self._one_at_a_time:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise LedgerError(f"the ledger could not be read: {error}", remedy="see `finetuned doctor`") from error


def hold(path: str) -> int:
    """Take the lock beside the ledger; its descriptor. Raises Held, LedgerError."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, READABLE_BY_GROUP)
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be locked: {error.strerror}") from error
    for _ in range(LOCK_TRIES):  # a command that asks `is_held` has it for a moment
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Event().wait(LOCK_PAUSE)
        else:
            return lock
    os.close(lock)
    raise Held(f"another finetuned holds the ledger {path}", remedy="stop it first, or name another ledger")


def is_held(path: str) -> bool:
    """Whether a daemon holds the ledger at `path` now."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def connect(path: str) -> sqlite3.Connection:
    """Open the ledger for writing and bring its schema up to date. Raises LedgerNewer, LedgerError."""
    fresh = not os.path.exists(path)
    try:
        if fresh:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, READABLE_BY_GROUP))
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"the ledger {path} cannot be opened: {error}") from error
    try:
        db.row_factory = sqlite3.Row
        _check(db, path)
        for pragma in (
            "journal_mode = wal",
            "synchronous = full",
            "foreign_keys = on",
            "trusted_schema = off",
        ):
            db.execute(f"pragma {pragma}")
        _migrate(db, path)
    except sqlite3.Error as error:
        db.close()
        raise LedgerError(
            f"the ledger {path} cannot be used: {error}",
            remedy=f"keep the file; move it aside (mv {path} {path}.broken) and start again, or restore a backup",
        ) from error
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, path: str) -> None:
    db.execute(f"pragma busy_timeout = {BUSY_MS}")
    if db.execute("pragma user_version").fetchone()[0] > SCHEMA_VERSION:
        raise LedgerNewer(
            f"the ledger {path} was written by a newer finetuned",
            remedy="install that version, or a newer one",
        )
    ours = db.execute("pragma application_id").fetchone()[0]
    named = {row[0] for row in db.execute("select name from sqlite_master where type = 'table'")}
    if ours not in (0, APPLICATION_ID) or (ours == 0 and named and "_sqlite_migrations" not in named):
        raise LedgerError(f"{path} is the database of another program", remedy="name another file in [ledger] path")
    said = db.execute("pragma quick_check(1)").fetchone()[0]
    if said != "ok":
        raise sqlite3.DatabaseError(f"its check says: {said}")


def _migrate(db: sqlite3.Connection, path: str) -> None:
    version = db.execute("pragma user_version").fetchone()[0]
    if version == SCHEMA_VERSION:
        return
    from sqlite_utils import Database  # noqa: PLC0415 - 70 ms, and needed once in a ledger's life

    from finetuned.ledger.migrations import migrations  # noqa: PLC0415

    if version > 0:
        with closing(sqlite3.connect(f"{path}.v{version}.backup")) as copy:
            db.backup(copy)  # with what a crash left in the journal
    migrations.apply(Database(db))
    db.execute(f"pragma application_id = {APPLICATION_ID}")
    db.execute(f"pragma user_version = {SCHEMA_VERSION}")
