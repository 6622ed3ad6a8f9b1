"""Some at a time of what may be many: a commit, or a step of the loop, must stay short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def slices(found: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Yield what was found, in its order, `most` at a time."""
    return (found[begin : begin + most] for begin in range(0, len(found), most))
