"""Polling: what it costs to follow trainings that stand still, in requests and bytes, beside a poll of each.

Each session is shown as the server shows one of fifty files; only one is sent for it, as it is the answers that count.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from served import a_place
from table import Row
from tiny_helix import TinyHelix
from workshop import Options, wait_for

ALONE = 'settle = "200ms"\nmax_files = 1'
TRAINING = "select count(*) from all_jobs where state = 'running' and stage = 'finetune'"
SIZES = (1, 100, 2000)
FILES = 50
FASTEST, SLOWEST = 0.5, 20.0
#: pauses grow to a quarter of the time that nothing moved
CALM = 5 * SLOWEST
ROUNDS = 3


def measure(options: Options) -> Iterator[Row]:
    """The same daemon and sessions, first with lists that show them, then with lists that do not."""
    for size in SIZES:
        pace = {"poll": f"{FASTEST * 1000:.0f}ms", "slowest": f"{SLOWEST:.0f}s"}
        with a_place(options, folder=ALONE, helix=f"max_in_flight = {size}", **pace) as (helix, place):
            helix.trains, helix.shows = True, FILES
            with place.daemon():
                place.drop_many(size)
                wait_for(lambda p=place, s=size: p.ask(TRAINING) == s, f"{size} trainings")
                time.sleep(CALM)
                with_lists = _watched(helix, size)
                helix.lists = False
                time.sleep(SLOWEST)  # what rested on a list is looked at now
                looks = _watched(helix, size, looks_only=True)
        for figure, unit, index in (("requests", "requests", 0), ("bytes of answers", "bytes", 1)):
            yield Row(
                what=f"{figure} a job and {SLOWEST:.0f} s, {size:,} trainings of {FILES} files",
                measured=[with_lists[index]],
                unit=unit,
                baseline="a poll of each",
                against=[looks[index]],
                size=size,
            )


def _watched(helix: TinyHelix, size: int, *, looks_only: bool = False) -> tuple[float, float]:
    """Requests and bytes of answers for each job in one longest pause."""
    begin = len(helix.requests)
    time.sleep(ROUNDS * SLOWEST)
    seen = [one for one in helix.requests[begin:] if not looks_only or "/sessions/" in one.path]
    return len(seen) / size / ROUNDS, sum(request.answer_bytes for request in seen) / size / ROUNDS
