"""What `doctor` finds out about the machine: room on disks, the clock, backups, what was left beside the ledger."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from finetuned import clock
from finetuned.amounts import counted, size, span
from finetuned.cli.findings import MOST_NAMED, ok, problem, warning
from finetuned.cli.output import Row, when
from finetuned.ledger.backup import parts_left
from finetuned.ledger.lock import why_stuck
from finetuned.times import instant

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader

#: less room than this on a disk will soon be none, in bytes, and in files
LITTLE_ROOM: Final = 256 * 1024 * 1024
FEW_FILES: Final = 1000
#: a newest event so far ahead of the clock says that it was set back, in seconds
AHEAD: Final = 5.0
#: a log of this size is not emptied any more, in bytes
LONG_LOG: Final = 64 * 1024 * 1024
#: where the timer of the system service puts its copies, beside the ledger
BACKUPS: Final = "backups"
#: a nightly backup is late after so long, in seconds
LATE: Final = 2 * 86400.0


def of_the_ledgers_place(path: str) -> Iterator[Row]:
    """Tell why the ledger cannot be written, and of a restore that was killed before it was done."""
    from finetuned.ledger.restore import UNFINISHED

    stuck = why_stuck(path)
    if stuck is not None:
        yield problem("ledger", str(stuck), stuck.remedy)
    part = f"{path}{UNFINISHED}"
    if os.path.exists(part):
        remedy = f"finetuned restore FILE once more; or go on with the old one: rm {shlex.quote(part)}"
        yield warning("ledger", "a restore was broken off; the ledger from before it is in use", remedy)


def examined(path: str, folders: list[str], reader: Reader | None) -> Iterator[Row]:
    """Yield every finding about the machine on which the ledger lies at `path`, and the drop `folders`."""
    now = clock.now()
    yield from _disks([os.path.dirname(path) or ".", *folders])
    if reader is not None:
        yield from _clock(reader, now)
    yield from _log(path)
    yield from _backups(os.path.join(os.path.dirname(path), BACKUPS), now)


def _disks(places: list[str]) -> Iterator[Row]:
    """Tell how much room is left on each disk, once, by the first place that lies on it."""
    told = set()
    for place in places:
        try:
            device, disk = os.stat(place).st_dev, os.statvfs(place)
        except OSError:  # a place that is not there is told elsewhere
            continue
        if device in told:
            continue
        told.add(device)
        room = disk.f_bavail * disk.f_frsize
        words = f"{size(room)} left where {place} lies"
        if disk.f_files and disk.f_favail < FEW_FILES:
            yield warning("disk", f"{disk.f_favail} more files can be made where {place} lies", "remove files there")
        elif room < LITTLE_ROOM:
            yield warning("disk", f"only {words}", "free some space there, before it is full")
        else:
            yield ok("disk", words)


def _clock(reader: Reader, now: float) -> Iterator[Row]:
    newest = next(reader.events(newest_first=True), None)
    ahead = 0.0 if newest is None else instant(newest["at"]) - now
    if newest is not None and ahead > AHEAD:
        words = f"the clock was set back: what happened last is from {when(newest['at'])}, which is {span(ahead)} ahead"
        yield warning("clock", words, "look whether it is right now (timedatectl)")


def _log(path: str) -> Iterator[Row]:
    try:
        length = os.stat(f"{path}-wal").st_size
    except OSError:
        return
    if length > LONG_LOG:
        words = f"its log has grown to {size(length)}: some program has been reading the ledger for long"
        yield warning("ledger", words, f"end that program (fuser {shlex.quote(path)}); the log is folded in then")


def _backups(folder: str, now: float) -> Iterator[Row]:
    """Tell how old the newest copy is where the nightly timer puts them; nothing where there is no such place.

    What killed backups have left there is named, too.
    """
    try:
        with os.scandir(folder) as entries:
            ages = {entry.name: now - entry.stat().st_mtime for entry in entries if entry.name.endswith(".db")}
    except OSError:
        return
    if left := parts_left(folder):
        words = f"{counted(len(left), 'backup')} in {folder} {'was' if len(left) == 1 else 'were'} broken off"
        remedy = " ".join(["rm", *(f"{shlex.quote(part)}*" for part in left[:MOST_NAMED])])
        yield warning("backups", f"{words}: what is left of them is of no use", remedy)
    remedy = "systemctl status finetuned-backup.timer finetuned-backup.service"
    newest = min(ages, key=lambda name: ages[name], default=None)
    if newest is None:
        yield warning("backups", f"there is none in {folder}", remedy)
        return
    words = f"the newest in {folder} is {newest}, {span(max(0.0, ages[newest]))} old"
    yield warning("backups", words, remedy) if ages[newest] > LATE else ok("backups", words)
