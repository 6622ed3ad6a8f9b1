"""Numbers, sizes and spans of time as people say them."""

from __future__ import annotations

import pytest

from finetuned.amounts import counted, rough_span, size, span


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1024.0 KiB"),
        (1024**2, "1.0 MiB"),
        (3 * 1024**3 // 2, "1.5 GiB"),
        (1024**4, "1.0 TiB"),
        (1024**5, "1024.0 TiB"),
    ],
)
def test_a_size_is_told_in_its_own_unit(count: int, words: str) -> None:
    """A tebibyte is no million mebibytes; a sentence writes out what a column abbreviates."""
    assert size(count) == words
    assert size(count, small="bytes") == words.replace(" B", " bytes")


@pytest.mark.parametrize(
    ("seconds", "words", "rough"),
    [
        (0.25, "250ms", "0 s"),
        (5, "5s", "5 s"),
        (65.9, "1m 05s", "65 s"),
        (600, "10m 00s", "10 min"),
        (3700, "1h 01m", "61 min"),
        (90000, "1d 01h", "25 h"),
    ],
)
def test_a_span_is_told_by_its_greatest_units(seconds: float, words: str, rough: str) -> None:
    """By two of them, or by one that is rounded down."""
    assert (span(seconds), rough_span(seconds)) == (words, rough)


@pytest.mark.parametrize(("number", "words"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_a_noun_agrees_with_its_number(number: int, words: str) -> None:
    """One of them is one file."""
    assert counted(number, "file") == words
