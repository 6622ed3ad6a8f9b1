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
from pathlib import Path

from tiny_helix import TinyHelix
from workshop import Options, Place, Row, environment, say, scratch

FILES = 100_000
READY_BOUND = 1000.0
STOP_BOUND = 2000.0
#: by command: so many times what a Python takes that does nothing
COMMAND_BOUNDS = {"--help": 3.5, "status": 6.0}
#: a figure is the least of so many runs
TRIES = 5
#: how long it is idle before it is stopped, in seconds
REST = 2.0
JOB = (
    "insert into jobs (id, folder, state, files, bytes, created_at, claimed_at, finished_at) "
    "values ('notes-1', 'notes', 'done', :files, :files, :at, :at, :at)"
)
LEARNED = (
    "with recursive n (i) as (select 1 union all select i + 1 from n where i < :files) "
    "insert into files (folder, path, state, size, mtime_ns, ctime_ns, inode, sha256, text_sha256, bytes, sent_bytes, "
    "job_id, upload_name, pairs, seen_at, ready_at, finished_at) "
    "select 'notes', :root || '/note-' || i || '.txt', 'learned', 60, i, i, i, printf('%064d', i), printf('%064d', i), "
    "60, 60, 'notes-1', 'note-' || i || '.txt', 2, :at, :at, :at from n"
)


def measure(options: Options) -> Iterator[Row]:
    """READY, and the end, in milliseconds."""
    with scratch(options) as root, TinyHelix() as helix:
        places = [_place(root / name, helix.url) for name in ("large", "empty")]
        for place in places:
            once(place)
        large = places[0]
        with closing(sqlite3.connect(large.ledger)) as db, db:
            known = {"files": FILES, "at": "2026-11-23T05:23:11.000Z", "root": str(large.notes)}
            db.execute(JOB, known)
            db.execute(LEARNED, known)
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
    with scratch(options) as root, TinyHelix() as helix:
        place = _place(root / "asked", helix.url)
        once(place)
        nothing = [sys.executable, "-I", "-c", "pass"]
        for name, bound in COMMAND_BOUNDS.items():
            measured, against = [], []
            for _ in range(options.runs):
                pairs = [(_cpu(place.command(name)), _cpu(nothing)) for _ in range(TRIES)]
                command, least = (min(column) for column in zip(*pairs, strict=True))
                measured.append(command / least)
                against.append(least * 1000)
            yield Row(
                what=f"`finetuned {name}`, an empty ledger: CPU",
                measured=measured,
                unit="×",
                baseline="`python -I -c pass`",
                against=against,
                against_unit="ms",
                bound=bound,
            )


def _cpu(words: Sequence[str]) -> float:
    """Seconds of CPU that a command takes, of the user's and of the system's."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 3}:  # 3: no daemon runs
        raise RuntimeError(f"{words} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def _place(root: Path, url: str) -> Place:
    root.mkdir()
    return Place(root, url)


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
