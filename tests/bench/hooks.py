"""Hooks: whether a hook that is slower than what happens changes what the loop does.

A thousand files a minute are refused, and a hook that takes a second hears of each: for one that it hears, sixteen
wait. The baseline is the same daemon, in the same minutes, without the hook.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from served import a_place
from table import Row
from workshop import Options, Place, Process, wait_for

SETTLE = 1.0
EVENTS_A_MINUTE = 1000
BOUND_MS = 100.0
HOOK = '[[hook]]\ncommand = ["sleep", "1"]\n'
FOLDER = f'settle = "{SETTLE:g}s"\n'


def measure(options: Options) -> Iterator[Row]:
    """How soon a ready file is sent, what the daemon costs and holds, with the hook and without."""
    with ExitStack() as opened:
        ways = [_Way(opened, options, hook) for hook in (HOOK, "")]
        for way in ways:
            opened.enter_context(_refusals(way.place))
        for run in range(1, options.runs + 1):
            for way in ways:
                way.send_one(run)
        with_hook, without = ways
        what = f"{EVENTS_A_MINUTE:,} events a minute"
        yield Row(
            what=f"{what} to a hook that takes 1 s: ready → request",
            measured=with_hook.figures,
            unit="ms",
            baseline="no hook",
            against=without.figures,
            bound=BOUND_MS,
        )
        yield Row(
            what=f"{what} to a hook that takes 1 s: CPU",
            measured=[with_hook.cpu()],
            unit="% of a core",
            baseline="no hook",
            against=[without.cpu()],
        )
        yield Row(
            what=f"{what} to a hook that takes 1 s: memory",
            measured=[with_hook.daemon.memory("VmRSS")],
            unit="MiB",
            baseline="no hook",
            against=[without.daemon.memory("VmRSS")],
        )


class _Way:
    """A daemon with a hook or without, and what was measured of it."""

    def __init__(self, opened: ExitStack, options: Options, hook: str) -> None:
        self.helix, self.place = opened.enter_context(a_place(options, folder=FOLDER + hook))
        self.figures = list[float]()
        self.daemon: Process = opened.enter_context(self.place.daemon())
        self._begin, self._cpu = time.monotonic(), self.daemon.cpu()

    def send_one(self, run: int) -> None:
        """Measure the milliseconds from the instant at which a file is ready to the first byte of its request."""
        before = len(self.helix.jobs)
        at = self.place.drop_one()
        wait_for(lambda: len(self.helix.jobs) > before, "request")
        self.figures.append((self.helix.jobs[before].began - at - SETTLE) * 1000)
        self.place.wait_learned(run)

    def cpu(self) -> float:
        """Percent of a core since it began."""
        return (self.daemon.cpu() - self._cpu) / (time.monotonic() - self._begin) * 100


@contextmanager
def _refusals(place: Place) -> Iterator[None]:
    """Drop files that are refused, evenly over each minute."""
    ended = threading.Event()
    thread = threading.Thread(target=_drop, args=(place.notes, place.root / "bad.part", ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _drop(folder: Path, part: Path, ended: threading.Event) -> None:
    number = 0
    while not ended.wait(60 / EVENTS_A_MINUTE):
        number += 1
        part.write_bytes(b"\xff %d" % number)
        os.rename(part, folder / f"bad-{number:06d}.txt")
