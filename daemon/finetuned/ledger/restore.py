"""A backup laid in the ledger's place, and what was there before kept whole.

1. The lock is held for as long as it takes, as by a daemon: none begins meanwhile, and beside one nothing is done.
2. The backup is copied to `<ledger>.restored` and checked there; the ledger's place is taken by one rename at the end.
   Until then the old one lies there and can be used, from then on the new one. A kill leaves the one or the other, and
   `<ledger>.restored` where the old one is still in use: the same command does it all anew.
3. The old one is kept by a second name, `<ledger>.before-DATE`, that its log gets, too: nothing of it is written anew.
4. Its log is first folded in, as at a clean stop, so that none lies there when the new one comes. One that cannot be
   folded in (the file is corrupt, somebody reads it, or it is not its own) is noted to be that of another file: should
   a kill leave it beside the new one, it is never mixed with that, and every command says what to do.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from glob import escape, glob
from typing import Final

from finetuned.errors import LedgerError
from finetuned.ledger.checkpoint import accuse_log, check_log, forget_log
from finetuned.ledger.copies import SIDES, Contents, copy_whole, remove_part, sync_folder
from finetuned.ledger.lock import READABLE_BY_GROUP, hold
from finetuned.ledger.opening import connect_to_read
from finetuned.ledger.schema import APPLICATION_ID, SCHEMA_VERSION
from finetuned.ledger.trouble import is_corrupt, newer, of_the_disk
from finetuned.model import Value

#: what the copy that is not yet in its place is called, behind the ledger's name
UNFINISHED: Final = ".restored"
_BEFORE: Final = ".before-"
_FAILED: Final = "the ledger {} cannot be replaced"
_ANOTHER: Final = "name a file that `finetuned backup` made"


class Restored(Value, frozen=True):
    """What the ledger holds now, and where the former one lies (null: there was none)."""

    contents: Contents
    kept: str | None


def restore(path: str, backup: str, now: float) -> Restored:
    """Lay the file `backup` in the place of the ledger at `path`. Raises Held, LedgerNewer, LedgerError."""
    with _source(path, backup) as source:
        folder = os.path.dirname(path) or "."
        try:
            os.makedirs(folder, mode=0o750, exist_ok=True)
        except OSError as error:
            raise of_the_disk(error, f"the folder of the ledger {path} cannot be made") from error
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise LedgerError(f"the ledger {path} may not be replaced by you", remedy="ask as the daemon's user")
        lock = hold(path)
        try:
            _belongs_like(lock, folder)
            return _laid(source, path, backup, lock, now)
        except OSError as error:
            raise of_the_disk(error, _FAILED.format(path)) from error
        finally:
            os.close(lock)


@contextmanager
def _source(path: str, backup: str) -> Iterator[sqlite3.Connection]:
    """Yield the backup, opened for reading and checked. Raises LedgerNewer, LedgerError."""
    try:
        fd = os.open(backup, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        found = os.fstat(fd)
        os.close(fd)
    except OSError as error:
        told = of_the_disk(error, f"the backup {backup} cannot be read")
        told.remedy = _ANOTHER
        raise told from error
    if not stat.S_ISREG(found.st_mode):
        raise LedgerError(f"the backup {backup} is no file", remedy=_ANOTHER)
    if os.path.exists(path) and os.path.samefile(path, backup):
        raise LedgerError(f"{backup} is the ledger itself", remedy=_ANOTHER)
    if not found.st_size:
        raise LedgerError(f"the backup {backup} is empty", remedy=_ANOTHER)
    try:
        with closing(connect_to_read(backup)) as source:
            _check(source, backup)
            yield source
    except sqlite3.Error as error:
        if is_corrupt(error):
            raise LedgerError(f"the backup {backup} is corrupt, or no ledger: {error}", remedy=_ANOTHER) from error
        raise LedgerError(f"the backup {backup} cannot be read: {error}", remedy=_ANOTHER) from error


def _check(source: sqlite3.Connection, backup: str) -> None:
    if source.execute("pragma application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerError(f"the backup {backup} is no ledger of finetuned", remedy=_ANOTHER)
    if source.execute("pragma user_version").fetchone()[0] > SCHEMA_VERSION:
        raise newer(backup)
    (said,) = source.execute("pragma quick_check(1)").fetchone()
    if said != "ok":
        raise LedgerError(f"the backup {backup} is corrupt, its check says: {said}", remedy=_ANOTHER)


def _laid(source: sqlite3.Connection, path: str, backup: str, lock: int, now: float) -> Restored:
    part = f"{path}{UNFINISHED}"
    remove_part(part)
    try:
        contents = _copied(source, path, backup, part)
        owner = _folded(path)
        kept = _keep(path, now)
        accuse_log(path, lock, owner)
        with suppress(FileNotFoundError):
            os.unlink(f"{path}-journal")
        os.rename(part, path)
    except BaseException:
        remove_part(part)
        raise
    sync_folder(path)
    for side in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(path + side)
    sync_folder(path)
    forget_log(path, lock)
    return Restored(contents=contents, kept=kept)


def _copied(source: sqlite3.Connection, path: str, backup: str, part: str) -> Contents:
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, READABLE_BY_GROUP)
    try:
        there = os.path.exists(path)
        _belongs_like(fd, path if there else os.path.dirname(path) or ".")
        os.fchmod(fd, stat.S_IMODE(os.stat(path).st_mode) if there else READABLE_BY_GROUP)
        return copy_whole(source, backup, part, fd, failed=_FAILED.format(path))
    finally:
        os.close(fd)


def _belongs_like(fd: int, like: str) -> None:
    """Give a file that root made to whom the daemon's files belong."""
    if os.geteuid() == 0:
        owner = os.stat(like)
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _folded(path: str) -> int:
    """Fold the log of the former ledger into its file; the inode whose log it is (0: it is of another file)."""
    try:
        check_log(path)
        inode = os.stat(path).st_ino
    except (LedgerError, FileNotFoundError):
        return 0
    with suppress(sqlite3.Error):
        with closing(connect_to_read(path)) as db:  # of a broken file SQLite would throw the log away
            sound = db.execute("pragma quick_check(1)").fetchone()[0] == "ok"
        if sound:
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
                db.execute("pragma synchronous = full")
                db.execute("pragma wal_checkpoint(truncate)").fetchall()  # also where a reader forbids what follows
                db.execute("pragma journal_mode = delete")
    return inode


def _keep(path: str, now: float) -> str | None:
    """Give the former ledger, with what lies beside it, a second name; null if nothing was there."""
    there = [side for side in ("", *SIDES) if os.path.lexists(path + side)]
    if not there:
        return None
    kept = _second_name(path) or _free_name(path, now)
    for side in there:
        _link(path + side, kept + side)
    sync_folder(path)
    return kept


def _second_name(path: str) -> str | None:
    """Find the name that a restore gave it which was killed after that."""
    names = (name for name in glob(f"{escape(path)}{_BEFORE}*") if os.path.exists(path))
    return next((name for name in names if os.path.samefile(name, path)), None)


def _free_name(path: str, now: float) -> str:
    name = f"{path}{_BEFORE}{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}"
    number = 1
    while glob(f"{escape(name if number == 1 else f'{name}.{number}')}*"):
        number += 1
    return name if number == 1 else f"{name}.{number}"


def _link(path: str, kept: str) -> None:
    """Give a file a second name; where there are no links, a copy is made. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(kept)
    try:
        os.link(path, kept, follow_symlinks=False)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
            raise
        shutil.copy2(path, kept)
        with open(kept, "rb") as file:
            _belongs_like(file.fileno(), path)
            os.fsync(file.fileno())
