"""Files: thousands of texts of half a kilobyte, from the drop until all are claimed, and done; and what each costs.

1. The baseline is `find … -exec sha256sum {} +` of the same folder, warm, right before it is dropped.
2. Waiting costs nothing, so a file costs the daemon's CPU: the exponent tells how that grows from a tenth of
   the files to all of them (1: as their number does).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator

from tiny_helix import TinyHelix
from workshop import Options, Pile, Place, Row, say, scratch, timed, wait_for

BYTES = 512
FOLDER = 'settle = "100ms"\nmax_files = 500\nmax_chunks = 100000'
CLAIMED = "select coalesce(sum(files), 0) from jobs where claimed_at is not null"
#: how often as long as the baseline it may take
DONE_TIMES = 30.0
CLAIMED_TIMES = 14.0
#: MB
MEMORY_BOUND = 100.0
EXPONENT_BOUND = 1.05
BASELINE = "find -exec sha256sum"


def measure(options: Options) -> Iterator[Row]:
    """First with a tenth of the files, then with all."""
    few, few_cpu = max(1, options.files // 10), 0.0
    for files in (few, options.files):
        what = f"{files:,} files of {BYTES} bytes, jobs of 500"
        claimed, done, cpu, peak, plain = _burst(options, files)
        for until, took, times in (("all claimed", claimed, CLAIMED_TIMES), ("all done", done, DONE_TIMES)):
            yield Row(
                what=f"{what}: drop → {until}",
                measured=[took],
                unit="s",
                baseline=BASELINE,
                against=[plain],
                bound=times * plain,
            )
        yield Row(what=f"{what}: most memory", measured=[peak], unit="MB", bound=MEMORY_BOUND)
        if files == few:
            few_cpu = cpu
    yield Row(
        what=f"CPU for {few:,} and for {options.files:,} files: exponent",
        measured=[math.log(cpu / few_cpu) / math.log(files / few)] if few_cpu and files > few else [1.0],
        unit="",
        bound=EXPONENT_BOUND,
    )


def _burst(options: Options, files: int) -> tuple[float, float, float, float, float]:
    """Seconds from the drop until all are claimed, and done; of CPU; the most MB; and the baseline's seconds."""
    with scratch(options) as root, TinyHelix() as helix:
        place = Place(root, helix.url, folder=FOLDER)
        made = Pile(root).folder(files, bytes_at_least=BYTES)
        plain = min(timed(["find", str(made), "-type", "f", "-exec", "sha256sum", "{}", "+"]) for _ in range(3))
        with place.daemon():
            pass  # it makes the ledger: once in a ledger's life, by a library that stays in memory
        with place.daemon() as daemon:
            cpu, begin = daemon.cpu(), time.monotonic()
            os.rename(made, place.notes / made.name)
            wait_for(lambda: place.ask(CLAIMED) == files, "claim of all", every=0.05)
            claimed = time.monotonic() - begin
            place.wait_learned(files)
            done = time.monotonic() - begin
            cpu = daemon.cpu() - cpu
            peak = daemon.memory("VmHWM") * 1.048576
    say(f"{files:,} files: claimed after {claimed:.1f} s, done after {done:.1f} s, {cpu:.1f} s of CPU, {peak:.0f} MB")
    return claimed, done, cpu, peak, plain
