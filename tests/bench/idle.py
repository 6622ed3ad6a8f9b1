"""Idle: what a daemon costs that has nothing to do, with thousands of files done already; and what scrapes add.

The baseline is a bare watchfiles process on the same folder, in the same minutes; for the scrapes it is the same daemon
without them.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple
from urllib.request import urlopen

from served import a_place
from table import Row
from workshop import BARE_WATCH, BIG_JOBS, MIB, Options, Place, Process, say, started

FOLDER = f'settle = "500ms"\n{BIG_JOBS}'
CPU_BOUND = 0.5
#: 55 MB
RSS_BOUND = 55e6 / MIB
REST = 6.0
SCRAPE_EVERY = 5.0
#: right after the files were done, after a new start, and scraped every few seconds
PHASES = ("worked", "restarted", "scraped")


class Cost(NamedTuple):
    """Percent of a core, and the most MiB."""

    cpu: float
    memory: float


def measure(options: Options) -> Iterator[Row]:
    """CPU and memory in each phase, or in the one that was asked for."""
    with a_place(options, folder=FOLDER) as (_, place):
        place.make_ledger()
        with place.daemon() as daemon:
            begin = time.monotonic()
            place.drop_many(options.files)
            place.wait_learned(options.files)
            say(f"{options.files} files done after {time.monotonic() - begin:.0f} s")
            if options.phase in {None, "worked"}:
                yield from _rows(options, "done", *_watch(place, daemon, options.seconds), "bare watchfiles")
        unscraped = None
        if options.phase in {None, "restarted", "scraped"}:
            with place.daemon() as daemon:
                unscraped, bare = _watch(place, daemon, options.seconds)
        if unscraped and options.phase != "scraped":
            yield from _rows(options, "done, daemon restarted", unscraped, bare, "bare watchfiles")
        if unscraped and options.phase != "restarted":
            url = listen(place)
            with place.daemon() as daemon:
                scraped, _ = _watch(place, daemon, options.seconds, url)
            yield from _rows(options, "done, scraped every 5 s", scraped, unscraped, "unscraped")
            yield Row(
                what=f"idle, {options.files:,} files done, scraped every 5 s: CPU that this adds",
                measured=[max(0.0, scraped.cpu - unscraped.cpu)],
                unit="% of a core",
                baseline="unscraped",
                against=[unscraped.cpu],
                bound=CPU_BOUND,
            )


def _rows(options: Options, phase: str, cost: Cost, beside: Cost, baseline: str) -> Iterator[Row]:
    what = f"idle, {options.files:,} files {phase}"
    for name, index, unit, bound in (("CPU", 0, "% of a core", CPU_BOUND), ("memory", 1, "MiB", RSS_BOUND)):
        yield Row(
            what=f"{what}: {name}",
            measured=[cost[index]],
            unit=unit,
            baseline=baseline,
            against=[beside[index]],
            bound=bound,
        )


def listen(place: Place) -> str:
    """Have the next daemon serve metrics; their address."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    place.config.write_text(f'[metrics]\nlisten = "127.0.0.1:{port}"\n{place.config.read_text()}')
    return f"http://127.0.0.1:{port}/metrics"


def _watch(place: Place, daemon: Process, seconds: float, scraped: str | None = None) -> tuple[Cost, Cost]:
    """What the daemon costs, and a bare process beside it."""
    with started([sys.executable, "-c", BARE_WATCH, str(place.notes)], place.root / "bare.log") as process:
        time.sleep(REST)
        bare = Process(process.pid)
        before, bare_before, most = daemon.cpu(), bare.cpu(), 0.0
        begin = time.monotonic()
        while (left := begin + seconds - time.monotonic()) > 0:
            most = max(most, daemon.memory("VmRSS"))
            if scraped:
                with urlopen(scraped, timeout=20) as page:  # noqa: S310 - our own address
                    page.read()
            time.sleep(min(SCRAPE_EVERY, left))
        took = time.monotonic() - begin
        cpu, bare_cpu = ((now - then) / took * 100 for now, then in ((daemon.cpu(), before), (bare.cpu(), bare_before)))
        return Cost(cpu, max(most, daemon.memory("VmRSS"))), Cost(bare_cpu, bare.memory("VmRSS"))
