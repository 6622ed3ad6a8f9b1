"""The lock beside the ledger, a file of its own (`<ledger>.lock`), and what the daemon that holds it tells there.

1. The lock outlives no process. It holds two notes: on the log (`checkpoint`), and on the daemon's trouble.
2. A daemon that cannot write its ledger can still write its trouble into the lock: without SQLite, and into room that
   was taken when the lock was, as the disk may be full. Whoever reads the ledger reads it there.
3. That note counts only while the lock is held: a killed daemon leaves its own, and the next one clears it.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from typing import Final

import msgspec

from finetuned.errors import Held, LedgerStuck
from finetuned.ledger.trouble import of_the_disk, trouble_of_its_disk
from finetuned.model import Value

READABLE_BY_GROUP: Final = 0o640
LOCK_TRIES: Final = 10
LOCK_PAUSE: Final = 0.05
#: where the note on the daemon's trouble lies, behind that on the log, and its room, in bytes
_TROUBLE_AT: Final = 256
_TROUBLE_BYTES: Final = 16 * 1024 - _TROUBLE_AT
#: so much of each text is noted, in characters: all fit, whatever they hold
_NOTED: Final = 500


class Trouble(Value, frozen=True):
    """Why the daemon cannot write its ledger, with the remedy, and what else is not in there; null: nothing.

    `unwatched`, `unserved` and `reload_refused` are what the ledger tells of the daemon otherwise.
    """

    stuck: str
    remedy: str
    unwatched: str | None = None
    unserved: str | None = None
    reload_refused: str | None = None


def hold(path: str) -> int:
    """Take the lock beside the ledger, and return its descriptor. Raises Held, LedgerError."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, READABLE_BY_GROUP)
    except OSError as error:
        raise of_the_disk(error, f"the ledger {path} cannot be locked") from error
    for _ in range(LOCK_TRIES):  # a command that asks `is_held` has it for a moment
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Event().wait(LOCK_PAUSE)
        except OSError as error:  # not every file system has such locks
            os.close(lock)
            raise of_the_disk(error, f"the ledger {path} cannot be locked") from error
        else:
            note_trouble(lock, None)
            return lock
    os.close(lock)
    raise Held(f"another finetuned holds the ledger {path}", remedy="stop it first, or name another ledger")


def is_held(path: str) -> bool:
    """Tell whether a daemon holds the ledger at `path` now."""
    try:
        lock = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def note_trouble(lock: int, trouble: Trouble | None) -> None:
    """Tell others of the daemon's trouble by its lock; null: that it has none. What cannot be written is lost."""
    note = b""
    if trouble is not None:
        texts = msgspec.structs.asdict(trouble)
        note = msgspec.json.encode({key: text[:_NOTED] for key, text in texts.items() if text is not None})
    with suppress(OSError):
        os.pwrite(lock, note.ljust(_TROUBLE_BYTES), _TROUBLE_AT)


def trouble_of(path: str) -> Trouble | None:
    """Read what the daemon that holds the ledger at `path` tells of its trouble; null: none runs, or all is well."""
    if not is_held(path):
        return None
    try:
        with open(f"{path}.lock", "rb") as lock:
            return msgspec.json.decode(os.pread(lock.fileno(), _TROUBLE_BYTES, _TROUBLE_AT), type=Trouble)
    except (OSError, msgspec.MsgspecError):
        return None


def why_stuck(path: str) -> LedgerStuck | None:
    """Tell why a daemon cannot write the ledger at `path`, as its disk shows, or it tells; null: nothing is known."""
    if (stuck := trouble_of_its_disk(path)) is not None:
        return stuck
    trouble = trouble_of(path)
    return None if trouble is None else LedgerStuck(trouble.stuck, remedy=trouble.remedy)
