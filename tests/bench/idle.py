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
from urllib.request import urlopen

from tiny_helix import TinyHelix
from workshop import MIB, Options, Pile, Place, Process, Row, say, scratch, started

BIG_JOBS = 'settle = "500ms"\nmax_files = 500\nmax_chunks = 100000'
BARE = "import sys\nfrom watchfiles import watch\nfor _ in watch(sys.argv[1]): pass\n"
CPU_BOUND = 0.5
#: 55 MB
RSS_BOUND = 55e6 / MIB
REST = 6.0
SCRAPE_EVERY = 5.0


def measure(options: Options) -> Iterator[Row]:
    """CPU and memory: right after the files were done, after a new start, and scraped every few seconds."""
    with scratch(options) as root, TinyHelix() as helix:
        place = Place(root, helix.url, folder=BIG_JOBS)
        with place.daemon():
            pass  # it makes the ledger: once in a ledger's life, by a library that stays in memory
        usual = [0.0, 0.0]
        for phase in ("done", "done, daemon restarted", "done, scraped every 5 s"):
            what = f"idle, {options.files:,} files {phase}"
            scraped = listen(place) if "scraped" in phase else None
            with place.daemon() as daemon:
                if phase == "done":
                    begin = time.monotonic()
                    Pile(root).drop_many(place.notes, options.files)
                    place.wait_learned(options.files)
                    say(f"{options.files} files done after {time.monotonic() - begin:.0f} s")
                bare_words = [sys.executable, "-c", BARE, str(place.notes)]
                with started(bare_words, root / "bare.log") as process:
                    time.sleep(REST)
                    cpu, rss, bare = _watch(daemon, Process(process.pid), options.seconds, scraped)
            name, beside = ("unscraped", usual) if scraped else ("bare watchfiles", bare)
            yield _row(f"{what}: CPU in {options.seconds:.0f} s", cpu, "% of a core", name, beside[0], CPU_BOUND)
            yield _row(f"{what}: memory", rss, "MiB", name, beside[1], RSS_BOUND)
            if scraped:
                added = max(0.0, cpu - usual[0])
                yield _row(f"{what}: CPU that this adds", added, "% of a core", name, usual[0], CPU_BOUND)
            usual = [cpu, rss]


def listen(place: Place) -> str:
    """Have the next daemon serve metrics; their address."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    place.config.write_text(f'[metrics]\nlisten = "127.0.0.1:{port}"\n{place.config.read_text()}')
    return f"http://127.0.0.1:{port}/metrics"


def _row(what: str, figure: float, unit: str, baseline: str, against: float, bound: float) -> Row:
    return Row(what=what, measured=[figure], unit=unit, baseline=baseline, against=[against], bound=bound)


def _watch(daemon: Process, bare: Process, seconds: float, scraped: str | None) -> tuple[float, float, list[float]]:
    """The daemon's share of a core in percent and the most MiB it had, and those of the bare process."""
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
    return cpu, max(most, daemon.memory("VmRSS")), [bare_cpu, bare.memory("VmRSS")]
