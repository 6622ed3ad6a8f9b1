"""The values of the making of pairs, and what their store counts."""

from __future__ import annotations

from finetuned.making.notes import CHUNK_OPEN, ChunkRow, ChunkState, Counts
from finetuned.making.values import DROPS, Chunk, Drop, Span


def test_a_passage_repeats_the_end_of_the_one_before_it() -> None:
    """Places are bytes, so that what is its own begins within its text."""
    chunk = Chunk(span=Span(number=2, begins=10, own=13, ends=17, sha256="ab"), text="é otter"[:6])
    assert (chunk.span.bytes, chunk.own_text) == (7, "otte")


def test_each_reason_has_its_words() -> None:
    """A person is told why a draft was not kept."""
    assert set(DROPS) == set(Drop)


def test_what_is_left_is_all_that_is_not_at_its_end() -> None:
    """A run is made once nothing is left of it."""
    counts = Counts(chunks=15, waiting=1, asking=2, answered=3, judged=4, failed=5)
    assert counts.left == 6
    row = ChunkRow(
        id=1, run="r.1", document="a.txt", made_by="f", span=Span(number=1, begins=0, own=0, ends=1, sha256="")
    )
    assert row.state in CHUNK_OPEN
    assert frozenset(ChunkState) - CHUNK_OPEN == {ChunkState.JUDGED, ChunkState.FAILED}
