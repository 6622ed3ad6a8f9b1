"""Floods: what answers of 60 MB cost in memory, in all, as the server's pairs of a job.

1. The peak is that of the whole daemon, `VmHWM`, from its start on.
2. Many pairs, a pair that nobody could show, and a dozen such answers at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from served import a_place
from table import Row
from workshop import MIB, Options, say

PAIRS = 700_000
SIZE = 60_000_000
ABREAST = 12
FOLDER = 'settle = "200ms"\nmax_files = 1'
HELIX = f"max_in_flight = {ABREAST}"
#: 120 MB
BOUND = 120e6 / MIB


def many(count: int) -> list[Any]:
    """So many small pairs: with 700,000 of them an answer has 60 MB."""
    return [
        {"conversations": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": "It is."}]}
        for n in range(count)
    ]


def one_long(size: int) -> list[Any]:
    """A pair that is longer than anybody could show, and one that is not."""
    return [{"question": "q", "answer": "x" * size}, {"question": "q", "answer": "a"}]


def peak(options: Options, flood: list[Any], *, jobs: int = 1) -> tuple[float, float]:
    """The daemon's peak in MiB, and the seconds from the drop to the last paper."""
    with a_place(options, folder=FOLDER, helix=HELIX) as (helix, place):
        helix.flood = flood
        with place.daemon() as daemon:
            begun = place.drop_many(jobs)
            place.wait_learned(jobs)
            took = time.monotonic() - begun
            most = daemon.memory("VmHWM")
        pairs = place.ask("select count(*) from qa_pairs")
        say(f"{most:.0f} MiB, {took:.1f} s, {pairs} pairs, a ledger of {place.ledger.stat().st_size / MIB:.0f} MiB")
    return most, took


def measure(options: Options) -> Iterator[Row]:
    """Each with a daemon of its own, whose memory has not grown before."""
    usual, _ = peak(options, many(200))
    floods = {
        f"{PAIRS:,} pairs in one answer": (many(PAIRS), 1),
        "one pair of 60 MB": (one_long(SIZE), 1),
        f"{ABREAST} jobs at once, a pair of 60 MB in each": (one_long(SIZE), ABREAST),
    }
    for what, (told, jobs) in floods.items():
        most, took = peak(options, told, jobs=jobs)
        yield Row(
            what=f"{what}: all memory",
            measured=[most],
            unit="MiB",
            baseline="200 pairs",
            against=[usual],
            bound=BOUND,
        )
        yield Row(what=f"{what}: drop → put away", measured=[took], unit="s")
