"""How much of a text was taught: which of its bytes a kept pair cites, and which passages taught nothing, and why.

1. Bytes that two pairs cite count once. A pair without a place cites nothing.
2. A passage taught nothing if no kept pair cites a byte of its own part; why, tells what became of its drafts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from finetuned.making.notes import ChunkRow, ChunkState
from finetuned.making.values import DROPS, Draft, Drop
from finetuned.model import Value

_A_THOUSAND: Final = 1000


class Barren(Value, frozen=True):
    """A passage that taught nothing: its number, where it lies, and why in words."""

    number: int
    begins: int
    ends: int
    reason: str


class Coverage(Value, frozen=True):
    """What became of one text of `bytes`: `cited` of them are in the proof of one of its `pairs`.

    `spans` are these bytes, from each beginning to before its end, in their order. `dropped` drafts were not kept, by
    their reason.
    """

    bytes: int
    chunks: int
    pairs: int
    cited: int
    spans: tuple[tuple[int, int], ...] = ()
    barren: tuple[Barren, ...] = ()
    dropped: Mapping[Drop, int] = {}

    @property
    def share(self) -> float:
        """Which share of the text is cited, from 0 to 1; of an empty one all of it."""
        return self.cited / self.bytes if self.bytes else 1.0

    @property
    def pairs_per_1000(self) -> float:
        """How many pairs it has for each thousand bytes."""
        return self.pairs * _A_THOUSAND / self.bytes if self.bytes else 0.0


def cover(size: int, kept: Iterable[Draft], rows: Iterable[ChunkRow] = ()) -> Coverage:
    """Tell what became of a text of `size` bytes by its kept drafts, and its chunks as the store has them."""
    pairs = list(kept)
    spans = _merged((draft.begins, min(draft.ends, size)) for draft in pairs)
    chunks, barren, dropped = 0, [], Counter[Drop]()
    at = 0
    for row in sorted(rows, key=lambda row: row.span.number):
        chunks += 1
        dropped.update(row.dropped)
        while at < len(spans) and spans[at][1] <= row.span.own:
            at += 1
        if at == len(spans) or spans[at][0] >= row.span.ends:
            barren.append(_barren(row))
    return Coverage(
        bytes=size,
        chunks=chunks,
        pairs=len(pairs),
        cited=sum(end - begin for begin, end in spans),
        spans=tuple(spans),
        barren=tuple(barren),
        dropped=dict(dropped),
    )


def _merged(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(place for place in places if place[0] < place[1]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


def _barren(row: ChunkRow) -> Barren:
    return Barren(number=row.span.number, begins=row.span.own, ends=row.span.ends, reason=why_barren(row))


def why_barren(row: ChunkRow) -> str:
    """Say why a chunk taught nothing: what failed, or what became of most of its drafts."""
    if row.reason:
        return row.reason
    if row.state is not ChunkState.JUDGED:
        return "it was not asked about yet"
    if not row.dropped:
        return "no pair was made of it"
    drop, count = max(row.dropped.items(), key=lambda item: item[1])
    made = sum(row.dropped.values())
    if made == 1:
        return f"its only pair was not kept, because {DROPS[drop]}"
    return f"of {made} pairs none was kept, {'' if count == made else f'{count} of them '}because {DROPS[drop]}"
