"""Papers of ours beside people's files: `job.json`, `pairs.jsonl`, `.why.txt`, and the notes of claims.

1. A paper holds what its files hold: nobody may read it who may not read each of them, nor who may not read the folder.
2. Its mode is set before anything is in it, and it is whole when it gets its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from finetuned.folders.names import fitted
from finetuned.folders.renames import rename_new
from finetuned.folders.rights import readers
from finetuned.folders.syncs import sync

#: by the group of a paper: which of that group and all others may read what it tells of, as bits of a mode
Readers = Callable[[int], int]
#: how many bytes of a paper are written at a time
_AT_ONCE: Final = 64 * 1024
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def nobody(_gid: int) -> int:
    """Let nobody read a paper that is for us alone."""
    return 0


def write(
    folder: int,
    name: str,
    pieces: Iterable[bytes],
    allowed: Readers,
    *,
    top: int,
    replaced: Callable[[int], None] | None,
) -> None:
    """Write a whole paper or nothing; `top` is the drop folder.

    With `replaced` it takes the place of one that lies there, and that is called to bring its content to disk; without,
    FileExistsError if something lies there. Raises OSError.
    """
    part = fitted("." + name, ".part")
    with suppress(FileNotFoundError):  # left by a kill, it may be a second name of what it was renamed to
        os.unlink(part, dir_fd=folder)
    file = os.open(part, _MAKE, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb", _AT_ONCE) as out:
            _open_to_readers(file, allowed, top)
            out.writelines(pieces)
            out.flush()
            (replaced or sync)(file)
        if replaced:  # a cut leaves half of it at worst, and what is written again is replaced
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            rename_new(part, name, folder, folder)
    except BaseException:  # no space, say, or a stop: nothing half-written is left
        os.unlink(part, dir_fd=folder)
        raise


def _open_to_readers(file: int, allowed: Readers, top: int) -> None:
    """Let those read an empty paper who may. Where the file system knows no rights, it stays as it was made."""
    with suppress(OSError):
        if os.fstat(file).st_gid != os.fstat(top).st_gid:
            os.fchown(file, -1, os.fstat(top).st_gid)
    gid = os.fstat(file).st_gid
    bits = allowed(gid) & readers(top, gid)
    if bits:
        with suppress(OSError):
            os.fchmod(file, 0o600 | bits)
