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

from tiny_helix import TinyHelix
from workshop import Options, Pile, Place, Row, environment, say, scratch, wait_for

FILES = 50_000
BOUND_SECONDS = 60.0
CLAIMED = "select coalesce(sum(files), 0) from jobs where claimed_at is not null"
BIG_JOBS = 'settle = "1s"\nmax_files = 500\nmax_chunks = 100000'
BARE = """
import sys
from watchfiles import Change, watch
heard = set()
for changes in watch(sys.argv[1], watch_filter=None, rust_timeout=1000, yield_on_timeout=True):
    heard.update(path for change, path in changes if change is Change.added)
    print(len(heard), flush=True)
"""


def measure(options: Options) -> Iterator[Row]:
    """One burst, heard by both."""
    with scratch(options) as root, TinyHelix() as helix:
        place, pile = Place(root, helix.url, folder=BIG_JOBS), Pile(root)
        words = [sys.executable, "-c", BARE, str(place.notes)]
        with place.daemon() as daemon, subprocess.Popen(words, stdout=subprocess.PIPE, env=environment()) as bare:
            assert bare.stdout is not None
            bare.stdout.readline()
            with _paused(daemon.pid, bare.pid):
                for number in range(FILES):
                    pile.write(place.notes / f"{number:05d}.txt")
            begin = time.monotonic()
            heard = [int(bare.stdout.readline()) for _ in range(15)][-1]
            bare.kill()
            wait_for(lambda: place.ask(CLAIMED) == FILES, "claim of all", every=0.1)
            took = time.monotonic() - begin
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
