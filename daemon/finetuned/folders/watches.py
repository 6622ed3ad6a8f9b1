"""How many watches are in use, and how many a user may have: read in /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from finetuned.model import Value

#: the limit of a user, on this machine and in this container
_LIMITS: Final = ("sys/fs/inotify/max_user_watches", "sys/user/max_inotify_watches")


class Watches(Value, frozen=True):
    """The watches of a process, of all processes of its user, and the most that the user may have."""

    own: int
    user: int
    most: int


def watches_in_use(pid: int, proc: str = "/proc") -> Watches | None:
    """The watches of a process and of its user; None if this cannot be seen from here, or the process is gone."""
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
