"""Where sentences, paragraphs and characters end, in any script."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.making.sentences import LONGEST_CHARACTER, paragraph_ends, sentences, whole


def parts(text: str) -> list[str]:
    """The sentences of a text."""
    return [text[begin:end] for begin, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Otters swim. They eat fish!", ["Otters swim.", "They eat fish!"]),
        ('"Why?" he asked. She left.', ['"Why?" he asked.', "She left."]),
        ("He said: “Go.” Then he went…", ["He said: “Go.”", "Then he went…"]),
        ("Dr. Grey met Mr. J. R. Brown, e.g. in May.", ["Dr. Grey met Mr. J. R. Brown, e.g. in May."]),
        ("It cost 3.50 in 1900. Now it is 7.", ["It cost 3.50 in 1900.", "Now it is 7."]),
        ("Am 3. Mai kam z. B. Anna. Sie blieb.", ["Am 3. Mai kam z. B. Anna.", "Sie blieb."]),
        (
            "See Fig. 3 and no. 7. He said no. So do I. Well.",
            ["See Fig. 3 and no. 7. He said no.", "So do I.", "Well."],
        ),
        ("1. One\n2. Two.\nThree", ["1. One\n2. Two.", "Three"]),
        ("猫が好き。「犬もいい！」でも。", ["猫が好き。", "「犬もいい！」", "でも。"]),
        ("ما هذا؟ هذا كتاب۔ नदी। नाव॥", ["ما هذا؟", "هذا كتاب۔", "नदी।", "नाव॥"]),
        ("no stop", ["no stop"]),
        ("  \n ", []),
    ],
)
def test_sentences(text: str, found: list[str]) -> None:
    """Stops end them, but not those of initials, numbers and abbreviations."""
    assert parts(text) == found


def test_paragraphs_end_with_a_blank_line() -> None:
    """A blank line may hold blanks, and its line ends may be those of Windows."""
    text = "one\n\ntwo\n \t\n  three\r\n\r\nfour\ffive\nsix"
    assert [text[end : end + 2] for end in paragraph_ends(text)] == ["tw", "th", "fo", "fi"]


@pytest.mark.parametrize(
    "character",
    ["e\u0301", "👩\u200d👩\u200d👧", "👍\U0001f3fd", "❤\ufe0f", "\u1100\u1161\u11a8", "\r\n", "🇩🇪", "क्षि"[:2], "ก็"],
)
def test_a_character_is_not_cut(character: str) -> None:
    """What a reader sees as one stays one, whatever it is made of."""
    text = f"a{character}b"
    assert {whole(text, at) for at in range(1, len(text))} == {1, 1 + len(character)}


def test_flags_are_taken_in_twos() -> None:
    """Letters of regions stand in pairs, counted from where they begin."""
    text = "🇩🇪🇫🇷"
    assert [whole(text, at) for at in (1, 2, 3, 4)] == [1, 2, 2, 4]


def test_an_endless_character_is_cut() -> None:
    """Marks that nobody can read do not make us go back for ever."""
    text = "a" + "\u0301" * 1000
    assert whole(text, 500) == 500
    assert whole(text, LONGEST_CHARACTER) == 1 or whole(text, LONGEST_CHARACTER) == LONGEST_CHARACTER


@given(st.text())
def test_all_that_is_no_white_space_is_in_one_sentence(text: str) -> None:
    """Nothing is lost between two sentences, and nothing is in both."""
    spans = sentences(text)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))
    assert "".join("".join(part.split()) for part in parts(text)) == "".join(text.split())
