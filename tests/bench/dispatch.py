"""Dispatch: how soon the next job is on the wire once a file is ready and a slot is free.

1. A file is ready `settle` after it was renamed into the folder; a thousand are renamed there with their folder.
2. A slot is free once the server wrote the last answer about the job before: its pairs.
3. The baseline is curl with the same form: from its start to its first byte.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from table import Row
from tiny_helix import TinyHelix
from workshop import Curl, Options, Pile, a_place, environment, say, scratch, wait_for

SETTLE = 1.0
BOUND_MS = 100.0
MANY = 1000
READY = "select count(*) from files where state != 'settling'"
FOLDER = f'settle = "{SETTLE:g}s"'


def measure(options: Options) -> Iterator[Row]:
    """One waiting file and a thousand, waiting for themselves and for a slot."""
    for what, figures, files in (
        ("dispatch, 1 file: ready → request", _ready(options, 1, options.runs), 1),
        ("dispatch, 1,000 files: ready → request", _ready(options, MANY, max(3, options.runs // 2)), 11),
        ("dispatch, 1 file waits: slot free → request", _slot(options, 2, options.runs), 1),
        ("dispatch, 1,000 files wait: slot free → request", _slot(options, MANY, 1), 11),
        ("dispatch, 1,000 files wait, one a job: slot free → request", _slot(options, MANY, 1, "max_files = 1"), 1),
    ):
        yield Row(
            what=what,
            measured=figures,
            unit="ms",
            baseline="curl",
            against=_curl(options, files),
            bound=BOUND_MS,
        )


def _ready(options: Options, count: int, runs: int) -> list[float]:
    """Milliseconds from the instant at which `count` files are ready to the first byte of the first request."""
    figures = []
    with a_place(options, folder=FOLDER) as (helix, place), place.daemon():
        for run in range(1, runs + 1):
            before = len(helix.jobs)
            at = place.drop_one() if count == 1 else place.drop_many(count)
            wait_for(lambda n=before: len(helix.jobs) > n, "request")
            figures.append((helix.jobs[before].began - at - SETTLE) * 1000)
            place.wait_learned(run * count)
            time.sleep(0.3 + 0.137 * run)  # not always at the same distance from the regular sweep
    say(f"{count} ready: {' '.join(f'{figure:.0f}' for figure in figures)}")
    return figures


def _slot(options: Options, count: int, runs: int, more: str = "") -> list[float]:
    """Milliseconds from each free slot to the next job's first byte, `count` files in all, one slot."""
    figures = []
    one_slot = "max_in_flight = 1"
    with (
        a_place(options, folder=f"{FOLDER}\n{more}", helix=one_slot, poll="50ms") as (helix, place),
        place.daemon(),
    ):
        for run in range(1, runs + 1):
            before = len(helix.jobs)
            helix.held = True
            if count == 2:
                place.drop_one()
                wait_for(lambda n=before: len(helix.jobs) > n, "first request")
                place.drop_one()
                time.sleep(SETTLE + 0.5)
            else:
                place.drop_many(count)
                wait_for(lambda n=run: place.ask(READY) == n * count, f"{count} ready files")
            helix.held = False
            place.wait_learned(run * count)
            figures += _gaps(helix)
            helix.requests.clear()
    say(f"{count} wait: {' '.join(f'{figure:.0f}' for figure in figures[:100])}")
    return figures


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
