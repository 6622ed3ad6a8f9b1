"""Who has a drop folder locked, for those who do not want to hold it."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import Final

_LOCKS: Final = "/proc/locks"


def holder_of(path: str) -> int | None:
    """The pid of the process that has the folder locked; 0: it is not told which; None: nobody has."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_at(os.fstat(fd).st_ino)
    except OSError:  # no locks there
        return None
    finally:
        os.close(fd)
    return None


def _pid_at(inode: int) -> int:
    """By its inode alone: some file systems show another device there than `stat` does."""
    with suppress(OSError), open(_LOCKS, encoding="ascii") as lines:
        for line in lines:  # `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`
            words = line.split()
            if words[1] == "FLOCK" and words[3] == "WRITE" and words[5].rpartition(":")[2] == str(inode):
                return int(words[4])
    return 0
