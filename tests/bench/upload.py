"""Upload: what a job of 64 MiB adds to the daemon's memory, and how fast it goes.

1. Added is the peak of resident memory since the file was dropped, less what was resident before.
2. The time is from the file's readiness to the request's last byte: read, claimed, proved and sent. The baseline
   hashes the file with sha256sum and sends it with curl.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tiny_helix import TinyHelix
from workshop import MIB, Curl, Options, Pile, Place, Process, Row, environment, say, scratch, timed, wait_for

SIZE = 64 * MIB
SETTLE = 1.0
FOLDER = f'settle = "{SETTLE:g}s"\nmax_bytes = "256MiB"\nmax_file_bytes = "256MiB"'
#: 20 MB
ADDED_BOUND = 20e6 / MIB
RUNS = 5


def measure(options: Options) -> Iterator[Row]:
    """Memory, then speed."""
    added, speed, curl_peak, plain = [], [], [], []
    runs = min(RUNS, options.runs)
    with scratch(options) as root, TinyHelix() as helix:
        pile = Pile(root)
        for run in range(runs):  # each time a fresh daemon, whose memory has not grown before
            (root / str(run)).mkdir()
            place = Place(root / str(run), helix.url, folder=FOLDER)
            big = pile.write(root / "big.part", bytes_at_least=SIZE)
            with place.daemon() as daemon:
                pile.drop_one(place.notes)
                place.wait_learned(1)
                more, rate = _one(place, helix, daemon, big)
                place.wait_learned(2)
            added.append(more)
            speed.append(rate)
            peak, rate = _curl(helix, next((place.notes / "done").glob("*/big.txt")))
            curl_peak.append(peak)
            plain.append(rate)
    yield Row(
        what="upload of 64 MiB: added memory",
        measured=added,
        unit="MiB",
        baseline="curl, all its memory",
        against=curl_peak,
        bound=ADDED_BOUND,
    )
    yield Row(
        what="upload of 64 MiB: ready → last byte",
        measured=speed,
        unit="MiB/s",
        baseline="sha256sum, then curl",
        against=plain,
    )


def _one(place: Place, helix: TinyHelix, daemon: Process, big: Path) -> tuple[float, float]:
    before, jobs = daemon.memory("VmRSS"), len(helix.jobs)
    daemon.forget_peak()
    os.rename(big, place.notes / "big.txt")
    ready = time.monotonic() + SETTLE
    wait_for(lambda: len(helix.jobs) > jobs, "request")
    sent = helix.jobs[jobs]
    say(f"ready → first byte {sent.began - ready:.2f} s → last byte {sent.whole - sent.began:.2f} s")
    return daemon.memory("VmHWM") - before, sent.bytes / MIB / (sent.whole - ready)


def _curl(helix: TinyHelix, big: Path) -> tuple[float, float]:
    begin = time.monotonic()
    timed(["sha256sum", str(big)])
    with subprocess.Popen(Curl(helix.url).command(big), env=environment()) as process:
        peak, look = 0.0, Process(process.pid)
        while process.poll() is None:  # VmHWM, for the rusage of a child begins with its parent's
            peak = max(peak, look.memory("VmHWM"))
            time.sleep(0.002)
    sent = helix.jobs[-1]
    return peak, sent.bytes / MIB / (sent.whole - begin)
