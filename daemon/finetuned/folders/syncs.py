"""Bringing to disk what was written or moved.

1. File systems that cannot do so for folders, or at all, are forgiven: nothing better can be done there.
2. A journal is committed for each file that is synced alone. Of several, the writing is begun for all first, so that
   one commit serves them; of many, the whole file system is brought to disk, which costs less than they one by one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Final

from finetuned.folders import libc

_CANNOT: Final = frozenset({errno.EINVAL, errno.EROFS, errno.ENOTSUP, errno.ENOSYS})
_BEGIN_WRITING: Final = 2  # SYNC_FILE_RANGE_WRITE


def sync(fd: int) -> None:
    """Bring a file or folder to disk. Raises OSError."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise


def sync_all(fds: Sequence[int]) -> None:
    """Bring several files and folders to disk. Raises OSError."""
    begin = libc.call("sync_file_range", "c_int", "c_int64", "c_int64", "c_uint")
    if begin is not None:
        for fd in fds:
            begin(fd, 0, 0, _BEGIN_WRITING)  # a hint: what it does not do, fsync does
    for fd in fds:
        sync(fd)


def sync_file_system(fd: int) -> None:
    """Bring all that lies on the file system of `fd` to disk. Raises OSError."""
    whole = libc.call("syncfs", "c_int")
    if whole is None:
        os.sync()
    elif whole(fd) != 0:
        error = libc.failure()
        if error.errno not in _CANNOT:
            raise error
