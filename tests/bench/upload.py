"""Upload: what a job of one large file adds to the daemon's memory, and how fast it goes.

1. Added is the peak of resident memory since the file was dropped, less what was resident before.
2. The time is from the file's readiness to the request's last byte: read, claimed, proved and sent. The file lies on
   the disk when it is dropped, so that nobody waits for that. The baseline hashes the file with sha256sum and sends it
   with curl, to the same server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from served import a_place
from table import Row
from tiny_helix import TinyHelix
from workshop import MIB, Curl, Options, Place, Process, ran, say, wait_for

SIZE = 64
SETTLE = 2.0
#: 20 MB
ADDED_BOUND = 20e6 / MIB
#: 80 MB
MEMORY_BOUND = 80e6 / MIB
TIMES = 1.2
GROWTH = 1.05
RUNS = 5


def measure(options: Options) -> Iterator[Row]:
    """Memory, and speed, of a file of 64 MiB and of a large one."""
    for size in (SIZE, options.size):
        what = f"upload of {size:,} MiB"
        runs = [_run(options, size) for _ in range(min(RUNS, options.runs))]
        added, memory, took, cpu, curl_memory, plain, plain_cpu, hashed = zip(*runs, strict=True)
        for name, figures, bound in (("added memory", added, ADDED_BOUND), ("all memory", memory, MEMORY_BOUND)):
            yield Row(
                what=f"{what}: {name}",
                measured=figures,
                unit="MiB",
                baseline="curl, all its memory",
                against=curl_memory,
                bound=bound,
                size=size,
            )
        for name, figures, against in (("ready → last byte", took, plain), ("CPU", cpu, plain_cpu)):
            yield Row(
                what=f"{what}: {name}",
                measured=figures,
                unit="s",
                baseline="sha256sum, then curl",
                against=against,
                times=TIMES,
                size=size,
                growth=GROWTH,
                note=f"sha256sum alone: {median(hashed):.2g} s",
            )


def _run(options: Options, size: int) -> tuple[float, ...]:
    """Measure a fresh daemon, whose memory has not grown before: MiB added, and in all; seconds, of CPU; and curl's.

    The last is what sha256sum takes, which differs by processor and build far more than the rest.
    """
    folder = f'settle = "{SETTLE:g}s"\nmax_bytes = "{size + 1}MiB"\nmax_file_bytes = "{size + 1}MiB"'
    with a_place(options, folder=folder) as (helix, place):
        big = place.pile.write(place.root / "big.part", bytes_at_least=size * MIB)
        _bring_to_disk(big)
        with place.daemon() as daemon:
            place.drop_one()
            place.wait_learned(1)
            added, memory, took, cpu = _one(place, helix, daemon, big)
            place.wait_learned(2)
        big = next((place.notes / "done").glob("*/big.txt"))
        plain = ran(["sha256sum", str(big)])
        curl = ran(Curl(helix.url).command(big))
        say(f"sha256sum {plain.seconds:.2f} s, curl {curl.seconds:.2f} s")
        return added, memory, took, cpu, curl.memory, plain.seconds + curl.seconds, plain.cpu + curl.cpu, plain.seconds


def _one(place: Place, helix: TinyHelix, daemon: Process, big: Path) -> tuple[float, float, float, float]:
    before, jobs = daemon.memory("VmRSS"), len(helix.jobs)
    daemon.forget_peak()
    cpu = daemon.cpu()
    os.rename(big, place.notes / "big.txt")
    ready = time.monotonic() + SETTLE
    wait_for(lambda: len(helix.jobs) > jobs, "request")
    sent = helix.jobs[jobs]
    cpu = daemon.cpu() - cpu
    say(
        f"ready → first byte {sent.began - ready:.2f} s → last byte {sent.whole - sent.began:.2f} s, {cpu:.1f} s of CPU"
    )
    most = daemon.memory("VmHWM")
    return most - before, most, sent.whole - ready, cpu


def _bring_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
