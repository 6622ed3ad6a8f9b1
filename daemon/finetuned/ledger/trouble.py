"""What SQLite's and the system's refusals mean for the ledger: what passes, in sentences that name the way out.

A disk that is full, fails or is read-only, and a lock that somebody else holds, say nothing against the file: what was
to be written was rolled back, and may be tried again. All else (a torn page, a broken rule) will not pass by itself.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from types import MappingProxyType
from typing import Final

from finetuned.errors import LedgerError, LedgerStuck

SPACE: Final = "free some space on its disk"
_LOG: Final = "look at the system's log; the disk may be failing"
_RIGHTS: Final = "give the user that finetuned runs as the right to write it and its folder"
_WRITABLE: Final = "mount its disk writable, or name another place in [ledger] path"
_LOCKED: Final = "end the program that writes to it; finetuned alone may"
#: for a ledger that is not where the daemon that uses it opened it
PUT_BACK: Final = "put the very file back; else stop finetuned, put the right one there, and start it"
#: by SQLite's primary result code: what passes, and the way out
_PASSING: Final = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: SPACE,
        sqlite3.SQLITE_IOERR: _LOG,
        sqlite3.SQLITE_BUSY: _LOCKED,
        sqlite3.SQLITE_LOCKED: _LOCKED,
        sqlite3.SQLITE_PROTOCOL: _LOCKED,
        sqlite3.SQLITE_READONLY: _WRITABLE,
        sqlite3.SQLITE_CANTOPEN: _RIGHTS,
        sqlite3.SQLITE_NOMEM: "free some memory",
    }
)
_OF_THE_SYSTEM: Final = MappingProxyType(
    {
        errno.ENOSPC: SPACE,
        errno.EDQUOT: SPACE,
        errno.EIO: _LOG,
        errno.EROFS: _WRITABLE,
        errno.EACCES: _RIGHTS,
        errno.EPERM: _RIGHTS,
        errno.EISDIR: "that is a folder; name a file in [ledger] path",
    }
)


#: less than this is left on the ledger's disk: it is as good as full, in bytes
AS_GOOD_AS_FULL: Final = 256 * 1024


def why_stuck(path: str) -> LedgerStuck | None:
    """Why a daemon cannot write the ledger at `path` now, as far as somebody else can know; None: nothing is seen."""
    try:
        disk = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return None
    if disk.f_flag & os.ST_RDONLY:
        return LedgerStuck(f"the ledger {path} cannot be written: its disk is read-only", remedy=_WRITABLE)
    if disk.f_bavail * disk.f_frsize < AS_GOOD_AS_FULL:
        return LedgerStuck(f"the ledger {path} cannot be written: its disk is full", remedy=SPACE)
    return None


def problem(error: sqlite3.Error, what: str) -> LedgerError:
    """What SQLite's error means; `what` begins the sentence."""
    code = getattr(error, "sqlite_errorcode", None)  # errors of Python's own module carry none
    remedy = _PASSING.get(code & 0xFF) if code is not None else None
    if remedy is None:
        return LedgerError(f"{what}: {error}", remedy="see `finetuned doctor`")
    return LedgerStuck(f"{what}: {error}", remedy=remedy)


def of_the_disk(error: OSError, what: str) -> LedgerError:
    """What the system's error means; `what` begins the sentence."""
    words = os.strerror(error.errno) if error.errno else str(error)
    return LedgerError(f"{what}: {words}", remedy=_OF_THE_SYSTEM.get(error.errno or 0, "see `finetuned doctor`"))
