"""Idle: what a daemon costs that has nothing to do, with thousands of files done already.

The baseline is a bare watchfiles process on the same folder, in the same minute.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import count

from tiny_helix import TinyHelix
from workshop import MIB, Options, Pile, Place, Process, Row, say, scratch, started

BIG_JOBS = 'settle = "500ms"\nmax_files = 500\nmax_chunks = 100000'
BARE = "import sys\nfrom watchfiles import watch\nfor _ in watch(sys.argv[1]): pass\n"
CPU_BOUND = 1.0
#: 80 MB
RSS_BOUND = 80e6 / MIB
REST = 6.0


def measure(options: Options) -> Iterator[Row]:
    """CPU and memory: right after the files were done, and after a new start."""
    with scratch(options) as root, TinyHelix() as helix:
        place = Place(root, helix.url, folder=BIG_JOBS)
        for phase in ("done", "done, daemon restarted"):
            what = f"idle, {options.files:,} files {phase}"
            with place.daemon() as daemon:
                if phase == "done":
                    begin = time.monotonic()
                    Pile(root).drop_many(place.notes, options.files)
                    place.wait_learned(options.files)
                    say(f"{options.files} files done after {time.monotonic() - begin:.0f} s")
                bare_words = [sys.executable, "-c", BARE, str(place.notes)]
                with started(bare_words, root / "bare.log") as process:
                    time.sleep(REST)
                    yield from _watch(what, daemon, Process(process.pid), options.seconds)


def _watch(what: str, daemon: Process, bare: Process, seconds: float) -> Iterator[Row]:
    before, bare_before, most = daemon.cpu(), bare.cpu(), 0.0
    begin = time.monotonic()
    for _ in count():
        most = max(most, daemon.memory("VmRSS"))
        left = begin + seconds - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(5.0, left))
    took = time.monotonic() - begin
    cpu, bare_cpu = ((now - then) / took * 100 for now, then in ((daemon.cpu(), before), (bare.cpu(), bare_before)))
    name = "bare watchfiles"
    yield Row(
        what=f"{what}: CPU in {took:.0f} s",
        measured=[cpu],
        unit="% of a core",
        baseline=name,
        against=[bare_cpu],
        bound=CPU_BOUND,
    )
    yield Row(
        what=f"{what}: memory",
        measured=[most],
        unit="MiB",
        baseline=name,
        against=[bare.memory("VmRSS")],
        bound=RSS_BOUND,
    )
