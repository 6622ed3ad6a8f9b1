"""Which other program has the ledger locked, so that nothing can be written to it.

The kernel's table of locks tells, by inode: to open the ledger's files for that, and to close them, would let go of
the locks that SQLite holds on them for this process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

#: where the kernel lists every lock; a line is `1: POSIX ADVISORY WRITE <pid> <device>:<inode> <first> <last>`
_LOCKS: Final = "/proc/locks"
#: the byte that a program has locked which writes, by the end of the file's name; the latter without a log.
#: Sources: SQLite's pages walformat and lockingv3
_WRITE_BYTE: Final = {"-shm": 120, "": 0x4000_0001}


def locker(path: str) -> str | None:
    """Name the other program that writes to the ledger at `path` now, as `sqlite3, pid 12`; null: none is known."""
    pid = next(_pids(path), None)
    if pid is None:
        return None
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as name:
            return f"{name.read().strip()}, pid {pid}"
    except OSError:  # another user's, and hidden from this one
        return f"pid {pid}"


def _pids(path: str) -> Iterator[int]:
    bytes_of = {}
    for side, byte in _WRITE_BYTE.items():
        with suppress(OSError):
            bytes_of[os.stat(path + side).st_ino] = byte
    try:
        with open(_LOCKS, encoding="ascii") as table:
            locks = [line.split() for line in table]
    except OSError:
        return
    for _, kind, _, access, pid, place, first, last in (lock for lock in locks if len(lock) == 8):  # more: one waits
        byte = bytes_of.get(int(place.rpartition(":")[2]), -1)
        is_there = int(first) <= byte and (last == "EOF" or byte <= int(last))
        if is_there and (kind, access) == ("POSIX", "WRITE") and int(pid) not in {0, os.getpid()}:
            yield int(pid)
