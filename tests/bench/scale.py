"""Scale: a start, a sweep and an idle hour where 100,000 files lie and the ledger has a million rows of files.

1. What lies in the folders is known: once files that wait in a paused folder, once files that stay where they were
   dropped (`after = "keep"`). The ledger's other rows are of files that were archived; their events are a million, too.
2. A start after a clean stop is given the time after which a file's times prove that it lies as it was left.
3. A sweep is measured in this process, warm; its baseline is `find` over the same folders, in turns with it.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from served import a_place
from startstop import AT, COLUMNS, once, write_archived
from table import Row
from workshop import BARE_WATCH, MIB, Options, Place, Process, ran, say, started

from finetuned.folders.folder import DropFolder
from finetuned.folders.kept import drop_folder
from finetuned.settings import FolderSettings

#: so many rows of the ledger stand for each file that lies there
ROWS_A_FILE = 10
FILES_A_FOLDER = 1000
#: so long nothing may have happened until a folder's times, or the ledger's, prove that nothing has, in seconds
PROVES = 3.0
REST = 6.0
READY_BOUND = 1500.0
SWEEP_TIMES = {"proven": 1.0, "listed": 2.0, "keep": 2.0}
IDLE_BOUND = 0.6
#: where no file lies, whatever happened before
EMPTY_BOUND = 0.3
#: 55 MB
RSS_BOUND = 55e6 / MIB
LYING = f"{COLUMNS} values ('notes', ?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?3, ?3, ?8, ?9, ?10, ?11, ?11, ?12)"
EVENTS = (
    "with recursive n (i) as (select 1 union all select i + 1 from n where i < :count) "
    "insert into events (at, subject, subject_id, was, became, cause, job_id) "
    "select :at, 'file', i % :files + 1, 'packed', 'learned', 'trained', 'notes-1' from n"
)
PAUSED = "update folders set paused_at = :at"


def measure(options: Options) -> Iterator[Row]:
    """READY, the sweeps, and what a daemon costs that is idle."""
    for after in ("move", "keep"):
        with a_place(options, folder=f'after = "{after}"') as (_, place):
            once(place)
            _fill(place, options.files, after)
            time.sleep(PROVES)
            yield from _ready(place, options, after)
            yield from _sweeps(place, options, after)
            yield from _idle(place, options, f"{options.files:,} files lie there ({after})", IDLE_BOUND)
    with a_place(options) as (_, place):
        once(place)
        yield from _idle(place, options, "no file, and an empty ledger", EMPTY_BOUND)
        with closing(sqlite3.connect(place.ledger)) as db, db:
            db.execute(EVENTS, {"count": options.files * ROWS_A_FILE, "files": options.files, "at": AT})
        yield from _idle(place, options, f"{options.files * ROWS_A_FILE:,} event rows, no file", EMPTY_BOUND)


def _fill(place: Place, count: int, after: str) -> None:
    """Lay so many files into the folder, and write rows of them and of ten times as many into the ledger."""
    for number in range(0, count, FILES_A_FOLDER):
        place.drop_many(min(FILES_A_FOLDER, count - number))
    rows = count * ROWS_A_FILE
    with closing(sqlite3.connect(place.ledger)) as db, db:
        db.execute("pragma cache_size = -400000")
        write_archived(db, place, rows - count, rows)
        db.executemany(LYING, _lying(place.notes, after))
        db.execute(EVENTS, {"count": rows, "files": rows, "at": AT})
        db.execute(PAUSED, {"at": AT})
    say(f"a ledger of {rows:,} files and as many events has {place.ledger.stat().st_size / 1e6:.0f} MB")


def _lying(notes: Path, after: str) -> Iterator[tuple[object, ...]]:
    for folder in os.scandir(notes):
        for number, entry in enumerate(os.scandir(folder)):
            seen = entry.stat()
            times = seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, f"{seen.st_ino:064x}"
            taught = ("notes-1", f"{folder.name}-{number}.txt", 2, AT, AT) if after == "keep" else (None, None, None)
            state = "learned" if after == "keep" else "waiting"
            yield (entry.path, state, *times, *(taught if after == "keep" else (None, None, None, AT, None)))


def _ready(place: Place, options: Options, after: str) -> Iterator[Row]:
    """READY after a clean stop, and after a kill."""
    for end, is_killed in (("a clean stop", False), ("a kill", True)):
        once(place, kill=is_killed)
        times = []
        for _ in range(options.runs):
            time.sleep(PROVES)
            times.append(once(place, kill=is_killed)[0] * 1000)
        what = f"start after {end}, {options.files * ROWS_A_FILE:,} rows, {options.files:,} files lie there ({after})"
        yield Row(what=f"{what}: READY", measured=times, unit="ms", bound=READY_BOUND)


def _sweeps(place: Place, options: Options, after: str) -> Iterator[Row]:
    """What a sweep takes that finds nothing new, by CPU, as a multiple of what find takes."""
    folder = drop_folder(FolderSettings(name="notes", path=str(place.notes), after=after), beside=f"{place.root}/kept")  # type: ignore[arg-type]
    folder.hold()
    steady, more = 0.0, True
    while more:  # they begin to settle bit by bit
        appeared = folder.sweeper.sweep(steady).appeared
        for one in appeared:
            folder.sweeper.known.remember(one.path, one.signature, settled=True)
        steady, more = steady + PROVES, bool(appeared) or folder.sweeper.has_more
    kinds = ("keep",) if after == "keep" else ("proven", "listed")
    printed = "%p %s %T@ %C@ %i\n" if after == "keep" else "%p\n"
    find = ["find", str(place.notes), "-type", "f", "-printf", printed]
    gc.freeze()
    _nothing(folder, steady + 50.0)
    for kind in kinds:
        measured, against = [], []
        for number in range(1, options.runs + 1):
            if kind == "listed":
                for entry in os.scandir(place.notes):
                    os.utime(entry)
            before = time.process_time()
            _nothing(folder, steady + 100.0 * number)
            measured.append((time.process_time() - before) * 1000)
            against.append(ran(find).cpu * 1000)
        yield Row(
            what=f"a sweep of {options.files:,} files, nothing changed ({kind}): CPU",
            measured=measured,
            unit="ms",
            baseline=f"`find -printf '{printed.strip()}'`",
            against=against,
            times=SWEEP_TIMES[kind],
            size=options.files,
        )
    folder.close()


def _nothing(folder: DropFolder, steady: float) -> None:
    found = folder.sweeper.sweep(steady)
    if found.appeared or found.changed or found.vanished:
        raise RuntimeError("the sweep found what was not there")


def _idle(place: Place, options: Options, what: str, bound: float) -> Iterator[Row]:
    """What it costs, and what it holds."""
    words = [sys.executable, "-c", BARE_WATCH, str(place.notes)]
    with place.daemon() as daemon, started(words, place.root / "log") as bare:
        time.sleep(REST)
        watched = [daemon, Process(bare.pid)]
        before, begin = [one.cpu() for one in watched], time.monotonic()
        time.sleep(options.seconds)
        took = time.monotonic() - begin
        cpu = [(one.cpu() - then) / took * 100 for one, then in zip(watched, before, strict=True)]
        memory = [one.memory("VmRSS") for one in watched]
        say(f"idle, {what}: {daemon.memory('VmHWM'):.0f} MiB at most")
    for name, (ours, theirs), unit, most in (("CPU", cpu, "% of a core", bound), ("memory", memory, "MiB", RSS_BOUND)):
        yield Row(
            what=f"idle, {what}: {name}",
            measured=[ours],
            unit=unit,
            baseline="bare watchfiles",
            against=[theirs],
            bound=most,
        )
