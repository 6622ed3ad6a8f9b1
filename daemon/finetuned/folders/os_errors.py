"""What the operating system's refusals mean for one file, in sentences that name the way out."""

from __future__ import annotations

import errno
from types import MappingProxyType
from typing import Final

from finetuned.errors import FileProblem, Gone, Stuck
from finetuned.folders.mounts import Mount
from finetuned.model import PROCESSING

_NO_RIGHT: Final = "permission denied; give the user that finetuned runs as the right to read and write here"
_WORDS: Final = MappingProxyType(
    {
        errno.EACCES: _NO_RIGHT,
        errno.EPERM: _NO_RIGHT,
        errno.EROFS: "the file system is read-only; a system service may write where its unit says: `finetuned init "
        "--system` and a restart let it write here (an instance: ReadWritePaths= by `systemctl edit`); without systemd "
        'mount it writable; or set after = "keep" for this folder',
        errno.EXDEV: "it lies on another file system than the folder's top, and files are only moved by rename; "
        "drop it where no other file system is mounted",
        errno.ENOSPC: "no space is left on the device; free some",
        errno.EDQUOT: "the disk quota is used up; free some space",
        errno.EIO: "the device answers with an input/output error; look at the system's log",
        errno.ENAMETOOLONG: "its name would be too long; shorten it",
        errno.EMFILE: "too many files are open; raise the limit of open files",
        errno.ENFILE: "too many files are open on this machine",
    }
)
#: seen with mergerfs 2.33: the policy it has by itself makes no folder on a branch that lacks it
_OTHER_BRANCH: Final = (
    f"it lies on another branch of the mergerfs pool than {PROCESSING}, and the pool renames nothing between branches; "
    'mount the pool with ignorepponrename=true or category.create=mfs, or set after = "keep" for this folder'
)
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})


def words(error: OSError, mount: Mount | None = None) -> str:
    """Say the cause, and the way out where we know one; `mount` is what the folder lies on."""
    if error.errno == errno.EXDEV and mount is not None and mount.kind == "fuse.mergerfs":
        return _OTHER_BRANCH
    return _WORDS.get(error.errno or 0) or error.strerror or str(error)


def problem(error: OSError, done: str, mount: Mount | None = None) -> FileProblem:
    """Make the problem of one file that was to be `done` (read, moved, …) in a folder that lies on `mount`."""
    if error.errno in _GONE:
        return Gone(f"cannot be {done}: it is not there any more")
    if error.errno == errno.ELOOP:
        return Gone(f"cannot be {done}: a symbolic link lies in its place, and links are never followed")
    return Stuck(f"cannot be {done}: {words(error, mount)}")
