"""A backup of the ledger: a whole copy under a new name, or nothing.

1. It is written under a name of its own (`.NAME.….part`), brought to disk and checked there. Its name is a step of its
   own, which replaces nothing. A kill leaves no backup, and perhaps that part: the next backup of that name removes it.
   Who writes a part has it locked, so that it is not taken for one that was left. The lock is that of a descriptor, on
   a byte that SQLite has none on: on network file systems a lock of the whole file would keep SQLite out.
2. The ledger is only read: who may read it may back it up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from finetuned.errors import LedgerError
from finetuned.ledger.copies import Contents, copy_whole, files_of, remove_part, sync_folder
from finetuned.ledger.queries import Reader
from finetuned.ledger.trouble import of_the_disk

_FAILED: Final = "the backup {} cannot be written"
#: a part's name: that of the backup, shortened, between a dot and what makes it unique
_PART: Final = re.compile(r"(\..*\.)[0-9a-f]{12}\.part", re.DOTALL)
_NAME_LENGTH: Final = 100
#: a byte far behind every lock of SQLite's
_LOCK_BYTE: Final = 1 << 62


def parts_left(folder: str) -> list[str]:
    """List the parts that killed backups have left in a folder; none of one that cannot be looked into."""
    try:
        with os.scandir(folder) as entries:
            parts = [entry.path for entry in entries if _PART.fullmatch(entry.name)]
    except OSError:
        return []
    return sorted(part for part in parts if _is_left(part))


def _is_left(part: str) -> bool:
    """Tell whether a part is surely written by no backup any more."""
    try:
        fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _lock(fd, fcntl.F_RDLCK)
    finally:
        os.close(fd)


def _lock(fd: int, kind: int) -> bool:
    """Lock an open part; tell whether that could be done: another one has it, or its disk knows no locks."""
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqi", kind, os.SEEK_SET, _LOCK_BYTE, 1, 0))
    except OSError:
        return False
    return True


def make_backup(path: str, target: str) -> Contents:
    """Copy the ledger at `path` into the new file `target`; tell what is in it. Raises LedgerError."""
    with Reader.open(path) as reader:
        _check_target(path, target)
        with _part_of(target, stat.S_IMODE(os.stat(path).st_mode)) as (part, fd):
            contents = copy_whole(reader.connection, path, part, fd, failed=_FAILED.format(target))
            try:
                _name(part, target)
                sync_folder(target)
            except FileExistsError:
                raise _exists(target) from None
            except OSError as error:
                raise _not_written(target, error) from error
    return contents


def _check_target(path: str, target: str) -> None:
    """Raise LedgerError for a place that is taken, or that is the ledger's own."""
    if os.path.realpath(target) in set(map(os.path.realpath, files_of(path))):
        raise LedgerError(f"{target} is a file of the ledger itself", remedy="name a new file")
    if os.path.isdir(target):
        raise LedgerError(f"{target} is a folder", remedy=f"name a new file in it: {os.path.join(target, 'ledger.db')}")
    if os.path.lexists(target):
        raise _exists(target)


def _exists(target: str) -> LedgerError:
    return LedgerError(f"{target} is there already, and a backup replaces nothing", remedy="name a new file")


def _not_written(target: str, error: OSError) -> LedgerError:
    told = of_the_disk(error, _FAILED.format(target))
    folder = os.path.dirname(target) or "."
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        told.remedy = f"make the folder {folder} first"
    elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        told.remedy = "name a file in a folder in which you may write"
    return told


@contextmanager
def _part_of(target: str, mode: int) -> Iterator[tuple[str, int]]:
    """Yield a new file beside `target`, and its descriptor; what is left of it at the end is removed."""
    folder, name = os.path.split(target)
    start = f".{name[:_NAME_LENGTH]}."
    for left in parts_left(folder or "."):
        found = _PART.fullmatch(os.path.basename(left))
        if found is not None and found[1] == start:
            with suppress(OSError):
                remove_part(left)
    part = os.path.join(folder, f"{start}{os.urandom(6).hex()}.part")
    try:
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_written(target, error) from error
    try:
        _lock(fd, fcntl.F_WRLCK)
        os.fchmod(fd, mode)
        yield part, fd
    finally:
        os.close(fd)
        remove_part(part)


def _name(part: str, target: str) -> None:
    """Give the copy its name. Raises FileExistsError, OSError."""
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
            raise
        if os.path.lexists(target):  # no links there: the best that can be done
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(part, target)
