"""Batches: two hundred jobs of fifty files, with a server that has trained each as soon as it is asked.

The baseline makes the requests that are needed with nothing around them, and stores the same pairs (`bare.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bare import ABREAST, requests
from served import a_place
from table import Row
from workshop import Options, say, wait_for

JOBS = 200
FILES = 50
TIMES = 3.0
FOLDER = f'settle = "200ms"\nmax_files = {FILES}\nmax_chunks = 100000'
LEARNED = "select count(*) from jobs where state = 'done'"


def measure(options: Options) -> Iterator[Row]:
    """The time until the pairs of all jobs are in the ledger, and until their files are archived, too."""
    bare = requests(JOBS, files=FILES, learn=True)
    with (
        a_place(options, folder=FOLDER, helix=f"max_in_flight = {ABREAST}") as (helix, place),
        place.daemon() as daemon,
    ):
        cpu, begin = daemon.cpu(), place.drop_many(JOBS * FILES)
        wait_for(lambda: place.ask(LEARNED) == JOBS, f"{JOBS} jobs", every=0.05)
        learned, cpu = time.monotonic() - begin, daemon.cpu() - cpu
        place.wait_learned(JOBS * FILES)
        archived = time.monotonic() - begin
    say(f"{len(helix.requests)} requests, {bare.requests} of the bare loop")
    for what, figure, against, times in (
        ("drop → all learned", learned, bare.seconds, TIMES),
        ("drop → all archived", archived, bare.seconds, None),
        ("CPU until all are learned", cpu, bare.cpu, TIMES),
    ):
        yield Row(
            what=f"{JOBS} jobs of {FILES} files, the server answers at once: {what}",
            measured=[figure],
            unit="s",
            baseline="bare httpx and executemany",
            against=[against],
            times=times,
        )
