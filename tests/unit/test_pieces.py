"""JSON that is read value by value: the same values as at once, whatever the blocks, and what is none is found out."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.pieces import MAX_VALUE_CHARS, TOO_LONG, HalfCharacter, NotThat, Pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
LONG = "x" * MAX_VALUE_CHARS


def in_blocks(text: bytes, size: int) -> Pieces:
    """The values of a text that comes in blocks of so many bytes, whatever is asked for."""
    return Pieces(BytesIO(text).read, block=size)


def read_all(pieces: Pieces) -> Any:
    """The one value of a text, and nothing behind it."""
    value = pieces.value()
    pieces.end()
    return value


@given(VALUES, st.integers(1, 50), st.sampled_from([None, 2]), st.booleans())
def test_whatever_the_blocks_the_value_is_the_same(value: Any, size: int, indent: int | None, ascii_only: bool) -> None:
    """Cut anywhere: in an escape, in a character, in a number."""
    text = f" {json.dumps(value, indent=indent, ensure_ascii=ascii_only)} ".encode("utf-8", "surrogatepass")
    assert read_all(in_blocks(text, size)) == value


@given(st.lists(VALUES), st.dictionaries(st.text(), VALUES), st.integers(1, 50))
def test_lists_and_objects_are_read_one_by_one(rows: list[Any], members: dict[str, Any], size: int) -> None:
    """The same values, in their order; an object's keys come before its values."""
    pieces = in_blocks(json.dumps(rows).encode(), size)
    assert list(pieces.items()) == rows
    pieces.end()
    pieces = in_blocks(json.dumps(members).encode(), size)
    assert {key: pieces.keep() for key in pieces.members()} == members
    pieces.end()
    assert pieces.kept >= sum(len(json.dumps(value)) for value in members.values())


#: parts of values that end alike, or seem to: in a string, in a value within, or as no JSON does
ODDITIES = st.sampled_from(
    ['"}]}', "}]}, {", "\\ud800", "\\", "1e999", "[", "]}", ",", '"', "\n", "-", "01", "NaN", "\x01"]
)

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.text() | ODDITIES | st.integers() | st.integers(2**62, 2**70) | FLOATS | st.booleans() | st.none()


@given(
    st.lists(st.lists(st.dictionaries(st.sampled_from("ab"), VALUES, max_size=2))),
    st.sampled_from([None, 0, 2]),
    st.lists(st.tuples(st.integers(0, 400), ODDITIES), max_size=2),
    st.integers(1, 400),
)
def test_values_that_end_alike_are_the_same_as_one_by_one(
    talks: list[Any], indent: int | None, oddities: list[tuple[int, str]], size: int
) -> None:
    """Whatever is odd among them, or looks like their end: the same values, and the same that is none."""
    text = json.dumps([{"talk": talk} for talk in talks], indent=indent)
    for place, oddity in oddities:
        text = text[:place] + oddity + text[place:]

    def one_by_one(pieces: Pieces) -> Iterator[Any]:
        for _ in pieces.elements():
            try:
                yield pieces.value()
            except HalfCharacter:
                yield None

    def read(values: Callable[[Pieces], Iterator[Any]]) -> list[Any]:
        pieces, found = in_blocks(text.encode(), size), list[Any]()
        try:
            for value in values(pieces):
                found.append(value)
            pieces.end()
        except NotThat:
            found.append(NotThat)
        return found

    assert repr(read(lambda pieces: pieces.items(lenient=True))) == repr(read(one_by_one))  # 1, 1.0 and true differ


def test_what_was_read_is_not_read_again() -> None:
    """A second list would have to follow the first one."""
    pieces = Pieces.of(b"[1, 2]")
    assert pieces.begins() == "["
    assert list(pieces.items()) == [1, 2]
    with pytest.raises(NotThat):
        list(pieces.items())
    assert pieces.at_once() is None
    pieces.end()


@pytest.mark.parametrize(
    "text",
    [
        b"", b" ", b"<html>", b"{", b"[1", b"[1,", b"[1 2]", b"[1,]", b'{"a"}', b'{"a":1', b"tru", b'"', b"1 2", b"[]]",
        b"NaN", b"[-Infinity]", b'"\xff"', b'"\xc3', rb'"\ud800"', rb'[{"a": "\uDFFF x"}]', b"[" * 200_000, b"1" * 9999,
        b'[{"a": oops}]',
    ],
)  # fmt: skip
@pytest.mark.parametrize("read", [Pieces.value, lambda pieces: list(pieces.items())], ids=["at once", "one by one"])
def test_what_is_no_json_is_found_out(text: bytes, read: Callable[[Pieces], Any]) -> None:
    """At the latest at the end; nothing else than NotThat ever comes of it."""

    def read_it() -> None:
        pieces = Pieces.of(text)
        read(pieces)
        pieces.end()

    with pytest.raises(NotThat):
        read_it()


def test_what_is_no_json_is_found_out_before_a_long_value() -> None:
    """It is no value that is too long: it could not be read although it is short."""
    with pytest.raises(NotThat):
        list(Pieces.of(f'[[oops], "{LONG}"]'.encode()).items())
    with pytest.raises(NotThat):
        list(Pieces.of(f'[oops, "{LONG}"]'.encode()).items())


def test_keys_are_strings() -> None:
    """A number in the place of a key is no JSON."""
    with pytest.raises(NotThat, match="key"):
        list(Pieces.of(b"{1: 2}").members())


def test_a_pair_of_surrogates_is_a_character() -> None:
    """Only a half of one is no text."""
    assert read_all(Pieces.of(rb'"\ud83d\ude05"')) == "😅"


LONG_VALUES = [
    f'"{LONG}"',
    f'"{LONG}\\\\"',
    f'"{LONG[1:]}\\""',
    f'["{LONG[9:]}", "]", "\\"", {{"a": "}}"}}]',
    f'{{"a": [["{LONG}"]], "b": "\\\\"}}',
    json.dumps([["a"] * 9] * (MAX_VALUE_CHARS // 40)),
]


@pytest.mark.parametrize("value", LONG_VALUES, ids=range(len(LONG_VALUES)))
@pytest.mark.parametrize("size", [4095, 1 << 20, 1 << 30])
def test_a_value_that_is_too_long_is_passed_over(value: str, size: int) -> None:
    """It is told, what follows it is read, and it is the same however the blocks fall."""
    pieces = in_blocks(f'[1, {value}, "next"]'.encode(), size)
    assert list(pieces.items()) == [1, TOO_LONG, "next"]
    pieces.end()


@pytest.mark.parametrize("value", LONG_VALUES[:-1], ids=range(len(LONG_VALUES) - 1))
def test_a_long_value_that_ends_too_early_is_no_json(value: str) -> None:
    """Half an answer is none, wherever it was cut."""
    pieces = Pieces.of(f"[{value[:-1]}".encode())
    with pytest.raises(NotThat):
        list(pieces.items())


def test_a_value_of_just_the_longest_length_is_read() -> None:
    """The bound is a bound."""
    longest = LONG[2:]
    assert read_all(Pieces.of(f'"{longest}"'.encode())) == longest
    assert read_all(Pieces.of(f'"{longest}x"'.encode())) is TOO_LONG


def test_memory_does_not_grow_with_the_text() -> None:
    """Ninety thousand pairs and one value of thirty megabytes cost no more than some blocks."""

    def blocks() -> Iterator[bytes]:
        yield b"[0"
        for _ in range(30):
            yield b', {"question": "q", "answer": "a"}' * 3000
        yield b', "'
        for _ in range(300):
            yield b"x" * 100_000
        yield b'"]'

    left = blocks()
    tracemalloc.start()
    try:
        pieces = Pieces(lambda _: next(left, b""))
        count = sum(1 for _ in pieces.items())
        pieces.end()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 90_002
    assert peak < 16 * 1024 * 1024


def test_half_a_character_costs_the_other_values_nothing() -> None:
    """A server that cut one text in the middle of a character is read on: that entry alone is none."""
    text = rb'[{"a": 1}, {"a": ["\ud800 x"]}, "\udfff", {"a": "\ud83d\ude00"}]'
    assert list(Pieces.of(text).items(lenient=True)) == [{"a": 1}, None, None, {"a": "\U0001f600"}]
