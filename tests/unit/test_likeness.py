"""How much texts are alike: by words, by sketches, and which side of a split a document is on."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.likeness import (
    ALIKE_DOCUMENTS,
    CHAINS,
    LONGEST_LINE,
    MOST_LOOKED_AT,
    SKETCH_HASHES,
    Neighbours,
    Sides,
    estimate,
    hashes,
    runs,
    share,
    sketch_of,
    sketch_of_short,
)
from finetuned.words import plain_words


def text(begin: int, end: int) -> str:
    """A text whose words are numbers."""
    return " ".join(f"w{number}" for number in range(begin, end))


def digest(words: str) -> str:
    """The hash by which a document is known."""
    return sha256(words.encode()).hexdigest()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("The otter's den, 007!", ["the", "otter", "s", "den", "007"]),
        ("猫が好き", ["猫", "が", "好", "き"]),
        ("iPhone用ケース", ["iphone", "用", "ケ", "ー", "ス"]),
        ("— …", []),
    ],
)
def test_words(words: str, found: list[str]) -> None:
    """Case and punctuation do not count; where no spaces are written each character is a word."""
    assert plain_words(words) == found


def test_the_share_is_of_runs_of_three_words() -> None:
    """One word that differs costs the three runs that it is in, on both sides."""
    one, other = runs(plain_words("a b c d e f g h")), runs(plain_words("a b c d X f g h"))
    assert share(one, other) == pytest.approx(3 / 9)
    assert share(one, one) == 1
    assert share(runs(plain_words("Otters.")), runs(plain_words("otters"))) == 1
    assert share(runs(plain_words("7")), runs(plain_words("8"))) == 0
    assert share(runs([]), runs([])) == 1
    assert share(runs([]), one) == 0


@pytest.mark.parametrize("size", [1, 5, 100, 100_000])
def test_a_sketch_does_not_depend_on_the_blocks(size: int) -> None:
    """A text of many lines that is read in blocks has the sketch that it has in one piece."""
    whole = "\n".join(text(n, n + 7) for n in range(0, 700, 7))
    blocks = (whole[at : at + size] for at in range(0, len(whole), size))
    assert sketch_of(blocks) == sketch_of([whole]) != sketch_of([whole[::-1]])
    assert len(hashes(sketch_of([whole]))) == SKETCH_HASHES


@given(
    st.lists(st.sampled_from(["Otter ", "7 ", "\n", "é", "\u0301", "獺", "ﬁsh ", "_", ". "]), max_size=300).map("".join)
)
def test_a_short_text_has_the_same_sketch_at_once(words: str) -> None:
    """Whatever its letters are, and wherever its lines end."""
    assert sketch_of_short(words) == sketch_of([words])


def test_a_line_that_is_longer_than_a_block_is_sketched_all_the_same() -> None:
    """Its words at the edges of blocks may be cut; it is like itself."""
    whole = text(0, 100_000)
    assert len(whole) > 2 * LONGEST_LINE
    blocks = [whole[at : at + 100_001] for at in range(0, len(whole), 100_001)]
    assert estimate(sketch_of(blocks), sketch_of([whole])) > 0.9


@pytest.mark.parametrize(("words", "length"), [("", 0), ("—", 0), ("Otters swim.", 1), ("a b c", 1), ("a b c d", 2)])
def test_short_texts_have_short_sketches(words: str, length: int) -> None:
    """Down to none at all."""
    assert len(hashes(sketch_of([words]))) == length
    assert estimate(sketch_of([words]), sketch_of([words])) == 1


@given(st.integers(0, 400), st.integers(1, 400))
def test_an_estimate_is_close(begin: int, length: int) -> None:
    """Two texts that have a part in common are estimated to be as alike as they are."""
    one, other = text(0, 400), text(begin, begin + length)
    real = share(runs(plain_words(one)), runs(plain_words(other)))
    assert estimate(sketch_of([one]), sketch_of([other])) == pytest.approx(real, abs=0.3)


def test_neighbours_are_those_with_a_hash_in_common() -> None:
    """Each is told once; of a hash that all have no more than some are remembered."""
    known = Neighbours()
    known.add(0, [1, 2])
    known.add(1, [2, 3])
    known.add(1, [3])
    assert known.near([1]) == [0]
    assert sorted(known.near([1, 2, 3])) == [0, 1]
    assert known.near([4]) == []
    for number in range(2, 100):
        known.add(number, [2])
    assert len(known.near([2])) == MOST_LOOKED_AT


def test_hashes_that_share_a_chain_are_told_apart() -> None:
    """A chain has the texts of several hashes; only those of the one that is asked for are neighbours."""
    neighbours = Neighbours()
    neighbours.add(1, [7])
    neighbours.add(2, [7 + CHAINS])
    assert (neighbours.near([7]), neighbours.near([7 + CHAINS]), neighbours.near([7 + 2 * CHAINS])) == ([1], [2], [])


def test_near_duplicates_are_on_one_side() -> None:
    """Whatever side the hash of each would give them; and all that follows changes nothing for those before."""
    originals = [text(1000 * n, 1000 * n + 300) for n in range(60)]
    edited = [words.replace("w", "W").replace(f"W{1000 * n + 50} ", "") for n, words in enumerate(originals)]
    sides = Sides(0.5)
    first = [sides.place(digest(words), sketch_of([words])) for words in originals]
    second = [sides.place(digest(words), sketch_of([words])) for words in edited]
    assert first == second
    assert 15 < sum(map(bool, first)) < 45
    fewer = Sides(0.5)
    assert [fewer.place(digest(words), sketch_of([words])) for words in originals[:30]] == first[:30]


def test_a_document_of_which_nothing_is_known_goes_by_its_hash() -> None:
    """One that an earlier release learned; and so does one without a word."""
    sides = Sides(0.95)
    assert [sides.place(first * 64, sketch) for first in "0ef" for sketch in (None, b"")] == [True] * 4 + [False] * 2


def test_what_is_like_documents_on_both_sides_is_on_none() -> None:
    """It would carry what the one side has to the other: two that are unlike, and one that lies between them."""
    begin, middle, end = text(0, 200), text(40, 240), text(80, 280)
    likeness = [share(runs(plain_words(one)), runs(plain_words(middle))) for one in (begin, end)]
    assert min(likeness) >= ALIKE_DOCUMENTS > share(runs(plain_words(begin)), runs(plain_words(end)))
    sides = Sides(0.5)
    assert sides.place("0" * 64, sketch_of([begin])) is True
    assert sides.place("f" * 64, sketch_of([end])) is False
    assert sides.place("0" * 64, sketch_of([middle])) is None
