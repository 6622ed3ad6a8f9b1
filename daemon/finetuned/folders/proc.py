"""What `/proc` tells of other processes: who has a drop folder locked, and how many watches are in use."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import Final

from finetuned.model import Value

_LOCKS: Final = "/proc/locks"
#: the limit of a user, on this machine and in this container
_LIMITS: Final = ("sys/fs/inotify/max_user_watches", "sys/user/max_inotify_watches")


def holder_of(path: str) -> int | None:
    """Return the pid of the process that has the folder locked; 0: it is not told which; None: it is not locked."""
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
    """Find a lock by its inode alone: some file systems show another device there than `stat` does."""
    with suppress(OSError), open(_LOCKS, encoding="ascii") as lines:
        for line in lines:  # `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`
            words = line.split()
            if words[1] == "FLOCK" and words[3] == "WRITE" and words[5].rpartition(":")[2] == str(inode):
                return int(words[4])
    return 0


class Watches(Value, frozen=True):
    """The watches of a process, of all processes of its user, and the most that the user may have."""

    own: int
    user: int
    most: int


def watches_in_use(pid: int, proc: str = "/proc") -> Watches | None:
    """Count the watches of a process and of its user; None if they cannot be seen, or the process is gone."""
    try:
        uid = os.stat(f"{proc}/{pid}").st_uid
        own = _watches_of(f"{proc}/{pid}")
        most = min(_number(f"{proc}/{limit}") for limit in _LIMITS)
    except OSError:
        return None
    user = 0
    for name in os.listdir(proc):
        with suppress(OSError):  # processes come and go
            if name.isdigit() and os.stat(f"{proc}/{name}").st_uid == uid:
                user += _watches_of(f"{proc}/{name}")
    return Watches(own=own, user=user, most=most)


def _watches_of(process: str) -> int:
    found = 0
    for name in os.listdir(f"{process}/fdinfo"):
        with suppress(OSError), open(f"{process}/fdinfo/{name}", "rb") as info:
            found += sum(line.startswith(b"inotify") for line in info)
    return found


def _number(path: str) -> int:
    with open(path, encoding="ascii") as file:
        return int(file.read())
