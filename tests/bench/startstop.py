"""Starts and stops: how soon a daemon with a large ledger says that it is ready, and how soon an idle one has ended.

1. The baseline is a daemon whose ledger knows nothing, started and stopped in between.
2. That of a command is a Python that does nothing. What both take is CPU, not time: other programs do not count.
"""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from served import a_place
from table import Row
from tiny_helix import TinyHelix
from workshop import Options, Place, environment, ran, say, scratch

FILES = 100_000
READY_BOUND = 1000.0
STOP_BOUND = 2000.0
#: by command: so many times what a Python takes that does nothing
COMMAND_TIMES = {"--help": 3.5, "status": 6.0}
#: a figure is the least of so many runs
TRIES = 5
#: how long it is idle before it is stopped, in seconds
REST = 2.0
JOB = (
    "insert into jobs (id, folder, state, files, bytes, created_at, claimed_at, finished_at) "
    "values ('notes-1', 'notes', 'done', :files, :files, :at, :at, :at)"
)
COLUMNS = (
    "insert into files (folder, path, location, state, size, mtime_ns, ctime_ns, inode, sha256, text_sha256, bytes, "
    "sent_bytes, job_id, upload_name, pairs, seen_at, ready_at, finished_at) "
)
ARCHIVED = (
    f"{COLUMNS} with recursive n (i) as (select 1 union all select i + 1 from n where i < :count) "  # noqa: S608 - ours
    "select 'notes', :root || '/old/note-' || i || '.txt', :root || '/done/notes-1/note-' || i || '.txt', 'learned', "
    "60, i, i, i, printf('%064x', i), printf('%064x', i), 60, 60, 'notes-1', 'note-' || i || '.txt', 2, :at, :at, :at "
    "from n"
)
AT = "2026-11-23T05:23:11.000Z"


def measure(options: Options) -> Iterator[Row]:
    """READY, and the end, in milliseconds."""
    with scratch(options) as root, TinyHelix() as helix:
        places = [Place(root / name, helix.url) for name in ("large", "empty")]
        for place in places:
            once(place)
        large = places[0]
        with closing(sqlite3.connect(large.ledger)) as db, db:
            write_archived(db, large, FILES, FILES)
        say(f"a ledger of {FILES} files has {large.ledger.stat().st_size / 1e6:.0f} MB")
        taken: list[list[tuple[float, float]]] = [[], []]
        for _ in range(options.runs):
            for times, place in zip(taken, places, strict=True):
                times.append(once(place))
    names = (f"start, a ledger of {FILES:,} files: READY", READY_BOUND), ("stop when idle: end", STOP_BOUND)
    for number, (what, bound) in enumerate(names):
        measured, against = ([each[number] * 1000 for each in times] for times in taken)
        yield Row(what=what, measured=measured, unit="ms", baseline="an empty ledger", against=against, bound=bound)
    yield from _commands(options)


def _commands(options: Options) -> Iterator[Row]:
    """CPU of commands, as a multiple of the baseline's."""
    with a_place(options) as (_, place):
        once(place)
        nothing = [sys.executable, "-I", "-c", "pass"]
        for name, times in COMMAND_TIMES.items():
            measured, against = [], []
            for _ in range(options.runs):
                pairs = [(_cpu(place.command(name)), _cpu(nothing)) for _ in range(TRIES)]
                command, least = (min(column) for column in zip(*pairs, strict=True))
                measured.append(command)
                against.append(least)
            yield Row(
                what=f"`{name}`, an empty ledger: CPU",
                measured=measured,
                unit="ms",
                baseline="`python -I -c pass`",
                against=against,
                times=times,
            )


def _cpu(words: Sequence[str]) -> float:
    """Milliseconds of CPU that a command takes."""
    return ran(words, fine=(0, 3)).cpu * 1000  # 3: no daemon runs


def write_archived(db: sqlite3.Connection, place: Place, count: int, in_job: int) -> None:
    """Write rows of so many files that were learned and archived, and of their job, of `in_job` files."""
    known = {"files": in_job, "count": count, "root": str(place.notes), "at": AT}
    db.execute(JOB, known)
    db.execute(ARCHIVED, known)


def once(place: Place, *, kill: bool = False) -> tuple[float, float]:
    """Seconds from the start to READY, and from SIGTERM, or a kill, to the end."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as ear:
        address = place.root / "notify"
        address.unlink(missing_ok=True)
        ear.bind(str(address))
        ear.settimeout(60)
        begin = time.monotonic()
        words = environment() | {"NOTIFY_SOCKET": str(address)}
        with (place.root / "daemon.log").open("ab") as log:
            process = subprocess.Popen(place.command("run"), stdout=log, stderr=log, env=words, start_new_session=True)
        try:
            while b"READY=1" not in ear.recv(4096):
                pass
            ready = time.monotonic() - begin
            time.sleep(REST)
            begin = time.monotonic()
            os.kill(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
            process.wait(60)
            return ready, time.monotonic() - begin
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
