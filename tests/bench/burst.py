"""Burst: fifty thousand files written while the daemon stands still, until each is claimed, and then learned.

The baseline is a bare watchfiles process that stood still through the same burst: how many of the files it hears of.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from served import a_place
from table import Row
from workshop import BIG_JOBS, Options, environment, say

FILES = 50_000
BOUND_SECONDS = 60.0
FOLDER = f'settle = "1s"\n{BIG_JOBS}'
BARE = """
import sys
from watchfiles import Change, watch
heard = set()
for changes in watch(sys.argv[1], watch_filter=None, rust_timeout=1000, yield_on_timeout=True):
    heard.update(path for change, path in changes if change is Change.added)
    print(len(heard), flush=True)
"""
#: so often watchfiles tells what it heard, once a second
TOLD = 15


def measure(options: Options) -> Iterator[Row]:
    """One burst, heard by both."""
    with a_place(options, folder=FOLDER) as (_, place):
        words = [sys.executable, "-c", BARE, str(place.notes)]
        with place.daemon() as daemon, subprocess.Popen(words, stdout=subprocess.PIPE, env=environment()) as bare:
            assert bare.stdout is not None
            bare.stdout.readline()
            with _paused(daemon.pid, bare.pid):
                for number in range(FILES):
                    place.pile.write(place.notes / f"{number:05d}.txt")
            begin = time.monotonic()
            place.wait_claimed(FILES)
            took = time.monotonic() - begin
            heard = [int(bare.stdout.readline()) for _ in range(TOLD)][-1]
            bare.kill()
            place.wait_learned(FILES)
            learned = time.monotonic() - begin
    say(f"{FILES:,} files: claimed after {took:.1f} s, learned after {learned:.1f} s; events told of {heard:,}")
    yield Row(
        what=f"burst of {FILES:,} files, heard of, claimed and learned",
        measured=[FILES],
        unit="files",
        baseline="bare watchfiles hears of",
        against=[heard],
    )
    yield Row(what=f"burst of {FILES:,} files: going on → all claimed", measured=[took], unit="s", bound=BOUND_SECONDS)


@contextmanager
def _paused(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
