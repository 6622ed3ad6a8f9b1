"""The memory that our own code holds, told apart from what else happens in the process of a test."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import finetuned

OURS = f"{Path(finetuned.__file__).parent}/*"
#: frames of each allocation that are looked at: a library that our code called may be two deep
DEEP = 3


@dataclass(frozen=True)
class Held:
    """What our code has taken since counting began and has not given back, and the lines that took most of it."""

    bytes: int
    places: tuple[str, ...]


@contextmanager
def counted_memory() -> Iterator[None]:
    """Count what is taken within the block; one at a time, as there is one count in a process."""
    gc.collect()
    tracemalloc.start(DEEP)
    try:
        yield
    finally:
        tracemalloc.stop()


def held() -> Held:
    """Return what our code holds, in a block of `counted_memory`: not what a worker of pytest, a count of lines or a
    thread of another test does meanwhile."""
    gc.collect()
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, OURS, all_frames=True)])
    lines = ours.statistics("lineno")
    return Held(sum(line.size for line in lines), tuple(str(line) for line in lines[:5]))
