"""Renaming without ever replacing what lies at the target; and exchanging what lies at two places, in one step.

renameat2(RENAME_NOREPLACE) where the system and the file system have it; else a hard link and an unlink; else a look
and a rename, the only way with a gap, which is left to file systems that know neither. A kill between the link and
the unlink leaves a file under both names: the same rename, tried again, finishes that.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from finetuned.folders import libc

_NOREPLACE: Final = 1
_EXCHANGE: Final = 2
_AT_FDCWD: Final = -100
_UNKNOWN: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
#: what file systems without hard links answer; EIO is rclone's word for it, and a disk that is ill says it again
_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES, errno.EIO})


def rename_new(old: str, new: str, old_dir: int, new_dir: int) -> None:
    """Rename `old` in `old_dir` to `new` in `new_dir`; OSError, FileExistsError if something lies there."""
    try:
        for way in (_by_kernel, _by_link):
            if way(old, new, old_dir, new_dir):
                return
        _by_look(old, new, old_dir, new_dir)
    except FileExistsError:
        if not is_half_done(old, new, old_dir, new_dir):
            raise
        os.unlink(old, dir_fd=old_dir)


def exchange(path: str, other: str) -> bool:
    """Exchange what lies at two paths; False where the system or the file system cannot. Raises OSError."""
    return _by_kernel(path, other, _AT_FDCWD, _AT_FDCWD, _EXCHANGE)


def is_half_done(old: str, new: str, old_dir: int, new_dir: int) -> bool:
    """Tell whether the very file that lies at `old` lies at `new`, too, and these are two names."""
    if old == new and os.path.samestat(os.fstat(old_dir), os.fstat(new_dir)):
        return False
    try:
        here = os.stat(old, dir_fd=old_dir, follow_symlinks=False)
        there = os.stat(new, dir_fd=new_dir, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return here.st_nlink > 1 and os.path.samestat(here, there)


def _by_kernel(old: str, new: str, old_dir: int, new_dir: int, how: int = _NOREPLACE) -> bool:
    rename = libc.call("renameat2", "c_int", "c_char_p", "c_int", "c_char_p", "c_uint")
    if rename is None:
        return False
    if rename(old_dir, os.fsencode(old), new_dir, os.fsencode(new), how) != 0:
        error = libc.failure(old)
        if error.errno in _UNKNOWN:
            return False
        raise error
    return True


def _by_link(old: str, new: str, old_dir: int, new_dir: int) -> bool:
    try:
        os.link(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        raise
    if not stat.S_ISREG(os.lstat(new, dir_fd=new_dir).st_mode):  # mergerfs may be told to make a symbolic link instead
        os.unlink(new, dir_fd=new_dir)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), old)
    os.unlink(old, dir_fd=old_dir)
    return True


def _by_look(old: str, new: str, old_dir: int, new_dir: int) -> None:
    try:
        os.lstat(new, dir_fd=new_dir)
    except FileNotFoundError:
        os.rename(old, new, src_dir_fd=old_dir, dst_dir_fd=new_dir)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
