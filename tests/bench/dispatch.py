"""Dispatch: how soon the next job is on the wire once a file is ready and a slot is free.

1. A file is ready `settle` after it was renamed into the folder; of a thousand the last one.
2. A slot is free once the server wrote the last answer about the job before: its pairs. Of all slots one gets free, and
   in the others a thousand sessions train, each of which is due to be polled every second.
3. The baseline is curl with the same form: from its start to its first byte.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from served import a_place
from table import Row
from tiny_helix import TinyHelix
from workshop import Curl, Options, Pile, environment, say, scratch, wait_for

SETTLE = 1.0
BOUND_MS = 100.0
#: what the issue of one slot must take, in the middle and of a hundred times once
MIDDLE_MS = 15.0
RARE_MS = 60.0
MANY = 1000
UNDER_WAY = 1000
FILES_A_JOB = 11
WAITING = (1, 1000, 50_000)
SAMPLES = 100
READY = "select count(*) from files where state != 'settling'"
FOLDER = f'settle = "{SETTLE:g}s"'


def measure(options: Options) -> Iterator[Row]:
    """One waiting file and a thousand, waiting for themselves and for a slot."""
    for what, figures, files in (
        ("dispatch, 1 file: ready → request", _ready(options, 1, options.runs), 1),
        ("dispatch, 1,000 files: ready → request", _ready(options, MANY, max(3, options.runs // 2)), 11),
    ):
        yield Row(
            what=what,
            measured=figures,
            unit="ms",
            baseline="curl",
            against=_curl(options, files),
            bound=BOUND_MS,
        )
    for count in WAITING:
        figures = _slots(options, count)
        for which, figure, bound in (
            ("half of all", statistics.median(figures), MIDDLE_MS),
            ("99 of 100", statistics.quantiles(figures, n=100)[98], RARE_MS),
        ):
            yield Row(
                what=f"dispatch, {count:,} files wait, {UNDER_WAY:,} polls are due: slot free → request, {which}",
                measured=[figure],
                unit="ms",
                bound=bound,
                size=count,
            )


def _ready(options: Options, count: int, runs: int) -> list[float]:
    """Milliseconds from the instant at which `count` files are ready to the first byte of the first request."""
    figures = []
    with a_place(options, folder=FOLDER) as (helix, place), place.daemon():
        for run in range(1, runs + 1):
            before = len(helix.jobs)
            at = place.drop_each(count)
            wait_for(lambda n=before: len(helix.jobs) > n, "request")
            figures.append((helix.jobs[before].began - at - SETTLE) * 1000)
            place.wait_learned(run * count)
            time.sleep(0.3 + 0.137 * run)  # not always at the same distance from the regular sweep
    say(f"{count} ready: {' '.join(f'{figure:.0f}' for figure in figures)}")
    return figures


def _slots(options: Options, count: int) -> list[float]:
    """Milliseconds from each free slot to the next job's first byte, while about `count` files wait for one."""
    slots = f"max_in_flight = {UNDER_WAY + 1}"
    figures: list[float] = []
    samples = SAMPLES if count > 1 else 3 * options.runs
    with a_place(options, folder=FOLDER, helix=slots, poll="50ms", slowest="1s") as (helix, place), place.daemon():
        helix.trains = True
        place.drop_many(UNDER_WAY * FILES_A_JOB)
        wait_for(lambda: len(helix.jobs) == UNDER_WAY, f"{UNDER_WAY} sessions")
        helix.train_for_ever()
        helix.held = True
        place.drop_one()  # it holds the last slot
        wait_for(lambda: len(helix.jobs) > UNDER_WAY, "request")
        there = UNDER_WAY * FILES_A_JOB + 1
        while len(figures) < samples:
            place.drop_many(count) if count > 1 else place.drop_one()
            there += count
            wait_for(lambda all_=there: place.ask(READY) == all_, f"{count} ready files")
            helix.requests.clear()
            helix.held = False
            many = max(1, min(samples, count // FILES_A_JOB))
            wait_for(lambda n=many: len(_gaps(helix)) >= n, "free slots")
            figures += _gaps(helix)
            helix.held = True
    say(f"{count} wait: {' '.join(f'{figure:.0f}' for figure in figures[:samples])}")
    return figures[:samples]


def _gaps(helix: TinyHelix) -> list[float]:
    told = sorted((r for r in helix.requests if r.is_job or r.is_pairs), key=lambda r: r.began)
    return [(b.began - a.answered) * 1000 for a, b in pairwise(told) if a.is_pairs and b.is_job]


def _curl(options: Options, files: int) -> list[float]:
    """Milliseconds from curl's start to its first byte."""
    figures = []
    with scratch(options) as root, TinyHelix() as helix:
        words = Curl(helix.url).command(*sorted(Path(Pile(root).folder(files)).iterdir()))
        for _ in range(options.runs):
            begin = time.monotonic()
            subprocess.run(words, env=environment(), check=True)
            figures.append((helix.jobs[-1].began - begin) * 1000)
    return figures
