"""Flight: many jobs of one file at a time, all of them in training, some of which move now and then.

The baseline makes the requests that are needed with nothing around them, eight at a time (`bare.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bare import requests
from served import a_place
from table import Row
from workshop import Options, say, wait_for

TIMES = 3.0
GROWTH = 1.05
CPU_BOUND = 10.0
REQUESTS_BOUND = 3.0
MOVES_EVERY = 1800.0
WATCHED = 60.0
ALONE = 'settle = "200ms"\nmax_files = 1'


def measure(options: Options) -> Iterator[Row]:
    """The time until all are sent, and what it costs to follow them from then on."""
    jobs = options.jobs
    bare = requests(jobs)
    under_way = f"{jobs:,} trainings under way, each moves every {MOVES_EVERY / 60:.0f} min"
    in_flight = f"max_in_flight = {max(5000, jobs)}"
    with a_place(options, folder=ALONE, helix=in_flight, poll="1s", slowest="5s") as (helix, place):
        helix.trains, helix.moves = True, MOVES_EVERY
        with place.daemon() as daemon:
            cpu, begin = daemon.cpu(), place.drop_many(jobs)
            wait_for(lambda: len(helix.jobs) == jobs, f"{jobs} sessions", every=0.05)
            took, used = time.monotonic() - begin, daemon.cpu() - cpu
            for what, figure, against in (
                ("drop → all sent", took, bare.seconds),
                ("CPU until all are sent", used, bare.cpu),
            ):
                yield Row(
                    what=f"{jobs:,} jobs of one file: {what}",
                    measured=[figure],
                    unit="s",
                    baseline="bare httpx, the requests that are needed",
                    against=[against],
                    times=TIMES,
                    size=jobs,
                    growth=GROWTH,
                )
            time.sleep(WATCHED)
            say(f"{len(helix.requests)} requests, {bare.requests} of the bare loop")
            cpu, asked = daemon.cpu(), len(helix.requests)
            time.sleep(WATCHED)
            for what, figure, unit, bound in (
                ("CPU", (daemon.cpu() - cpu) / WATCHED * 100, "% of a core", CPU_BOUND),
                ("requests", (len(helix.requests) - asked) / WATCHED, "a second", REQUESTS_BOUND),
            ):
                yield Row(what=f"{under_way}: {what}", measured=[figure], unit=unit, bound=bound, size=jobs)
