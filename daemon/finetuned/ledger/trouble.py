"""What SQLite's and the system's refusals mean for the ledger: what passes, in sentences that name the way out.

A disk that is full, fails or is read-only, and a lock that somebody else holds, say nothing against the file: what was
to be written was rolled back, and may be tried again. All else (a torn page, a broken rule) will not pass by itself.
"""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
import stat
from types import MappingProxyType
from typing import Final

from finetuned.errors import LedgerError, LedgerNewer, LedgerStuck
from finetuned.ledger.lockers import locker
from finetuned.ledger.schema import SCHEMA_VERSION

#: how long a lock of others is waited for ...
BUSY_MS: Final = 5000
#: ... and how long by one that is told to stop
HURRY_MS: Final = 500

SPACE: Final = "free some space on its disk"
_LOG: Final = "look at the system's log; the disk may be failing"
_RIGHTS: Final = "give the user that finetuned runs as the right to write it and its folder"
_WRITABLE: Final = (
    "mount its disk writable, or name another place in [ledger] path; a system service may write where its unit says: "
    "`finetuned init --system` and a restart let it write there (an instance: ReadWritePaths= by `systemctl edit`)"
)
_LOCKED: Final = "end the program that writes to it; finetuned alone may"
#: for a ledger that is not where the daemon that uses it opened it
PUT_BACK: Final = "put the very file back; else stop finetuned, put the right one there, and start it"
ASK_AS: Final = "ask as the user the daemon runs as, or join its group (finetuned)"
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


def check_file(path: str, mode: int) -> None:
    """Raise LedgerError if what lies there is no file: SQLite would call the disk faulty, or wait for ever."""
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise LedgerError(f"the ledger {path} is no file, but {what}", remedy="name a file in [ledger] path")


def trouble_of_its_disk(path: str) -> LedgerStuck | None:
    """Tell why the disk lets nobody write the ledger at `path`, as far as everybody can see; None: nothing is seen."""
    try:
        disk = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return None
    if disk.f_flag & os.ST_RDONLY:
        return LedgerStuck(f"the ledger {path} cannot be written: its disk is read-only", remedy=_WRITABLE)
    if disk.f_bavail * disk.f_frsize < AS_GOOD_AS_FULL:
        return LedgerStuck(f"the ledger {path} cannot be written: its disk is full", remedy=SPACE)
    return None


def problem(error: sqlite3.Error, path: str, done: str) -> LedgerError:
    """Make a LedgerError of what SQLite says of the ledger at `path`; `done` is what failed, as in `cannot be read`.

    It is a LedgerStuck if the trouble may pass by itself. Raises nothing.
    """
    if is_corrupt(error):
        return corrupt(path, done, str(error))
    code = _code(error)
    what = f"the ledger {path} {done}: {error}"
    if code == sqlite3.SQLITE_BUSY and (program := locker(path)) is not None:
        what += f" (by {program})"
    if code in _PASSING:
        stuck = (
            trouble_of_its_disk(path) if code == sqlite3.SQLITE_IOERR else None
        )  # so fails what SQLite maps, on a full disk
        return LedgerStuck(what, remedy=stuck.remedy if stuck else _PASSING[code])
    return LedgerError(what, remedy="see `finetuned doctor`")


def is_corrupt(error: sqlite3.Error) -> bool:
    """Tell whether SQLite says that the file is broken, or none of its own."""
    return _code(error) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another program has the file locked."""
    return _code(error) == sqlite3.SQLITE_BUSY


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # errors of Python's own module carry none


def unreadable(error: sqlite3.Error, path: str) -> LedgerError:
    """Make a LedgerError of what SQLite says, for one who may only read. Raises nothing."""
    if _code(error) in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
        return LedgerError(f"the ledger {path} cannot be read by you: {error}", remedy=ASK_AS)
    return problem(error, path, "cannot be read")


def newer(path: str) -> LedgerNewer:
    """Say that this version does not understand a ledger, and how to go back to the copy of what lay there before."""
    remedy = "install that version, or a newer one"
    copies = (f"{path}.v{version}.backup" for version in range(SCHEMA_VERSION, 0, -1))
    copy = next(filter(os.path.exists, copies), None)
    if copy is not None:
        remedy += (
            "; or go back to the copy that it made before it changed the ledger, which lacks what was done since "
            f"({_aside(path, 'newer')}; cp -p {shlex.quote(copy)} {shlex.quote(path)})"
        )
    return LedgerNewer(f"the ledger {path} was written by a newer finetuned", remedy=remedy)


def corrupt(path: str, done: str, why: str) -> LedgerError:
    """Make the LedgerError of a ledger that nobody can read any more; `done` is what failed, `why` what SQLite says."""
    return LedgerError(
        f"the ledger {path} {done}, it is corrupt: {why}",
        remedy=f"keep the file; move it aside with its log ({_aside(path, 'broken')}) "
        "and start again, or restore a copy",
    )


def _aside(path: str, name: str) -> str:
    """Give the commands that move a ledger aside with its log, as `<path>.<name>`."""
    file, log, shared = (shlex.quote(path + side) for side in ("", "-wal", "-shm"))
    return f"mv {file} {shlex.quote(f'{path}.{name}')}; mv {log} {shlex.quote(f'{path}.{name}-wal')}; rm -f {shared}"


def of_the_disk(error: OSError, what: str) -> LedgerError:
    """Make a LedgerError of a system's error; `what` begins the sentence."""
    words = os.strerror(error.errno) if error.errno else str(error)
    return LedgerError(f"{what}: {words}", remedy=_OF_THE_SYSTEM.get(error.errno or 0, "see `finetuned doctor`"))
