"""It is told which bytes of a text were taught, and which passages taught nothing, and why."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetuned.making.coverage import Barren, Coverage, cover
from finetuned.making.notes import ChunkRow, ChunkState
from finetuned.making.values import DROPS, Draft, Drop, Span


def pair(begins: int, ends: int) -> Draft:
    """A kept pair that cites these bytes."""
    return Draft(question="?", answer="!", begins=begins, ends=ends)


NOTHING_PROVES = DROPS[Drop.NO_EVIDENCE]


def row(
    number: int,
    *,
    state: ChunkState = ChunkState.JUDGED,
    reason: str | None = None,
    dropped: dict[Drop, int] | None = None,
) -> ChunkRow:
    """The chunk whose own part is the `number`-th hundred bytes; it repeats ten before that."""
    span = Span(number=number, begins=number * 100 - 110, own=number * 100 - 100, ends=number * 100, sha256="")
    said = {"state": state, "reason": reason, "dropped": dropped or {}}
    return ChunkRow(id=number, run="r.1", document="a.txt", made_by="f", span=span, **said)


def test_bytes_count_once() -> None:
    """However many pairs cite them; one that cites nothing is a pair all the same."""
    seen = cover(1000, [pair(10, 30), pair(20, 40), pair(40, 50), pair(60, 70), pair(0, 0)])
    assert (seen.spans, seen.cited, seen.pairs) == (((10, 50), (60, 70)), 50, 5)
    assert (seen.share, seen.pairs_per_1000) == (0.05, 5)


def test_passages_that_taught_nothing_are_told_with_their_reason() -> None:
    """In their order, whatever was kept of others; an evidence may go over the end of a passage."""
    two = {Drop.NO_EVIDENCE: 2, Drop.ECHO: 1}
    rows = [
        row(7, reason="refused: too long"),
        row(1),
        row(2, dropped={Drop.ECHO: 3}),
        row(3),
        row(4),
        row(5, dropped=two),
        row(6, state=ChunkState.WAITING),
        row(8, dropped={Drop.ECHO: 1}),
    ]
    seen = cover(800, [pair(5, 10), pair(290, 310)], rows)
    assert seen.chunks == 8
    assert seen.dropped == {Drop.ECHO: 5, Drop.NO_EVIDENCE: 2}
    assert seen.barren == (
        Barren(number=2, begins=100, ends=200, reason=f"of 3 pairs none was kept, because {DROPS[Drop.ECHO]}"),
        Barren(number=5, begins=400, ends=500, reason=f"of 3 pairs none was kept, 2 of them because {NOTHING_PROVES}"),
        Barren(number=6, begins=500, ends=600, reason="it was not asked about yet"),
        Barren(number=7, begins=600, ends=700, reason="refused: too long"),
        Barren(number=8, begins=700, ends=800, reason=f"its only pair was not kept, because {DROPS[Drop.ECHO]}"),
    )


def test_an_empty_text_is_covered() -> None:
    """There is nothing in it that was not taught."""
    assert cover(0, []) == Coverage(bytes=0, chunks=0, pairs=0, cited=0)
    assert (cover(0, []).share, cover(0, []).pairs_per_1000) == (1, 0)
    assert cover(100, [], [row(1)]).barren[0].reason == "no pair was made of it"


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300))))
def test_what_is_cited_is_counted_byte_by_byte(places: list[tuple[int, int]]) -> None:
    """The sum over spans is the number of bytes that any pair cites."""
    seen = cover(300, [pair(*place) for place in places])
    assert seen.cited == len({byte for begin, end in places for byte in range(begin, end)})
    assert all(begin < end for begin, end in seen.spans)
