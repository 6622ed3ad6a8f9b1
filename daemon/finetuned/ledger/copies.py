"""A whole copy of a ledger in one file: page for page what it held at one moment, on disk, and checked.

What is in the log of the ledger is in the copy, too; a daemon may go on writing meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import Final

from finetuned.errors import LedgerError
from finetuned.ledger.audit import audit
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.ledger.trouble import corrupt, is_corrupt, of_the_disk, problem
from finetuned.model import Value

#: what SQLite puts beside a file
SIDES: Final = ("-wal", "-shm", "-journal")


def files_of(path: str) -> set[str]:
    """Tell which paths belong to the ledger at `path`: its own, its lock's, and what SQLite puts beside it."""
    return {path, f"{path}.lock", *(path + side for side in SIDES)}


class Contents(Value, frozen=True):
    """What a ledger's file holds: its size, the number of its schema, how many rows, and the rules that it breaks."""

    bytes: int
    schema_version: int
    jobs: int
    files: int
    pairs: int
    broken: tuple[str, ...] = ()


def copy_whole(source: sqlite3.Connection, path: str, target: str, fd: int, *, failed: str) -> Contents:
    """Copy the ledger at `path`, open as `source`, into the empty file `target`, open as `fd`; tell what is in it.

    Raises LedgerError: the ledger is corrupt, or the copy cannot be written, which is what `failed` says.
    """
    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("pragma synchronous = off")  # it is brought to disk once, when it is whole
            source.backup(copy)
            copy.execute("pragma journal_mode = delete")
            (said,) = copy.execute("pragma quick_check(1)").fetchone()
            contents = _contents(copy)
        os.fsync(fd)
    except sqlite3.Error as error:
        told = problem(error, path, "cannot be copied")
        if is_corrupt(error):
            raise told from error
        raise LedgerError(f"{failed}: {error}", remedy=told.remedy) from error
    except OSError as error:
        raise of_the_disk(error, failed) from error
    if said != "ok":
        raise corrupt(path, "cannot be copied", f"its check says: {said}")
    return contents


def _contents(db: sqlite3.Connection) -> Contents:
    (version,) = db.execute("pragma user_version").fetchone()
    size, jobs, files, pairs = db.execute(
        "select page_count * page_size, (select count(*) from jobs), (select count(*) from files), "
        "(select count(*) from qa_pairs) from pragma_page_count, pragma_page_size"
    ).fetchone()
    broken = tuple(finding.sentence for finding in audit(db)) if version == SCHEMA_VERSION else ()
    return Contents(bytes=size, schema_version=version, jobs=jobs, files=files, pairs=pairs, broken=broken)


def remove_part(part: str) -> None:
    """Remove what is left of a copy that has no name yet."""
    for side in ("", *SIDES):
        with suppress(FileNotFoundError):
            os.unlink(part + side)


def sync_folder(path: str) -> None:
    """Bring the names in the folder of `path` to disk. Raises OSError."""
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
