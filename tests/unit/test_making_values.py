"""The values of the making of pairs, and what their store counts."""

from __future__ import annotations

from finetuned.making.notes import CHUNK_OPEN, ChunkRow, ChunkState, Counts
from finetuned.making.values import DROPS, Chunk, Drop, Span


def test_a_chunk_without_its_text_is_its_span() -> None:
    """The store keeps where a passage lies, and not once more what it says."""
    chunk = Chunk(number=2, begins=10, own=14, ends=30, sha256="ab", text="…", headings=("Otters",))
    assert chunk.span == Span(number=2, begins=10, own=14, ends=30, sha256="ab")
    assert chunk.span.bytes == chunk.bytes == 20


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
