"""A backup of the ledger: a whole copy under a new name, or nothing.

1. It is written under a name of its own (`.NAME.….part`), brought to disk and checked there. Its name is a step of its
   own, which replaces nothing. A kill leaves no backup, and perhaps that part, which may be removed.
2. The ledger is only read: who may read it may back it up.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from finetuned.errors import LedgerError
from finetuned.ledger.copies import SIDES, Contents, copy_whole, remove_part, sync_folder
from finetuned.ledger.queries import Reader
from finetuned.ledger.trouble import of_the_disk

_FAILED: Final = "the backup {} cannot be written"


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
    own = {path, f"{path}.lock", *(path + side for side in SIDES)}
    if os.path.realpath(target) in {os.path.realpath(one) for one in own}:
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
    part = os.path.join(folder, f".{name[:100]}.{os.urandom(6).hex()}.part")
    try:
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _not_written(target, error) from error
    try:
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
