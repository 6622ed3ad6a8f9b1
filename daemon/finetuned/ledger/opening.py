"""How the ledger is opened by those who only read: the one place that tells apart what may lie at its path.

Nothing is there, it is no file, it may not be read, it is corrupt, a newer finetuned wrote it, it is none, or the log
beside it is not its own. A reader needs no right to write; where there is no journal beside the file, it may be opened
as immutable, so that a copy on a read-only disk is readable too.
"""

from __future__ import annotations

import os
import sqlite3

from finetuned.errors import LedgerError, LedgerMissing
from finetuned.ledger.checkpoint import address_of, check_log
from finetuned.ledger.lock import is_held
from finetuned.ledger.rows import text_of
from finetuned.ledger.schema import APPLICATION_ID, SCHEMA_VERSION
from finetuned.ledger.trouble import ASK_AS, BUSY_MS, PUT_BACK, check_file, is_busy, newer, unreadable


def open_for_reading(path: str, *, patience_ms: int = BUSY_MS) -> sqlite3.Connection:
    """Open the ledger at `path` for reading; a lock of others is waited for. Raises LedgerMissing, LedgerError."""
    missing = LedgerMissing(
        f"there is no ledger at {path} yet", remedy="start the daemon with `finetuned run`; it makes one"
    )
    try:
        check_file(path, os.stat(path).st_mode)
    except PermissionError as error:
        raise LedgerError(f"the ledger {path} may not be read by you", remedy=ASK_AS) from error
    except OSError:
        if is_held(path):
            gone = f"the ledger {path} was moved or removed while a daemon uses it"
            raise LedgerMissing(gone, remedy=PUT_BACK) from None
        raise missing from None
    try:
        check_log(path)
    except LedgerError:
        if not is_held(path):  # a daemon that is at work may just fold it in
            raise
    try:
        db = connect_to_read(path, patience_ms=patience_ms)
        version = db.execute("pragma user_version").fetchone()[0]
        application = db.execute("pragma application_id").fetchone()[0]
        tables = {row[0] for row in db.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.Error as error:
        raise unreadable(error, path) from None
    if application != APPLICATION_ID:
        db.close()
        if application == 0 and (not tables or "_sqlite_migrations" in tables):  # a daemon was stopped as it made it
            raise missing
        raise LedgerError(f"{path} is no ledger of finetuned", remedy="name the right file in [ledger] path")
    if version > SCHEMA_VERSION:
        db.close()
        raise newer(path)
    return db


def connect_to_read(path: str, *, patience_ms: int = BUSY_MS) -> sqlite3.Connection:
    """Open whatever database lies at `path`, for reading alone. Raises sqlite3.Error."""
    address = address_of(path, mode="ro")
    try:
        db = _opened(address, patience_ms)
    except sqlite3.OperationalError as error:
        if os.path.exists(f"{path}-wal") or is_busy(error):  # somebody writes to it
            raise
        db = _opened(f"{address}&immutable=1", patience_ms)
    db.row_factory = sqlite3.Row
    db.text_factory = text_of
    db.execute("pragma trusted_schema = off")
    return db


def _opened(address: str, patience_ms: int) -> sqlite3.Connection:
    db = sqlite3.connect(address, uri=True, timeout=patience_ms / 1000)
    try:
        db.execute("select 1 from sqlite_master").fetchone()
    except sqlite3.Error:
        db.close()
        raise
    return db
