"""What can be told of a pair without understanding it."""

from __future__ import annotations

import pytest

from finetuned.quality import LONG, Doubt, doubts, same_question, share_in, vocabulary
from finetuned.words import words_of

SOURCE = vocabulary("Otters are brown. They swim in RIVERS, and eat fish.")


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("Otters swim in rivers.", 1.0),
        ("otters SWIM", 1.0),
        ("Otters fly.", 0.5),
        ("Otters, otters: fly!", 0.5),
        ("Badgers dig.", 0.0),
        ("ＯＴＴＥＲＳ swim", 1.0),
        ("…", None),
        ("", None),
    ],
)
def test_the_share_of_different_words_that_the_source_has(answer: str, share: float | None) -> None:
    """Case and marks do not count, a word counts once; of no words there is no share."""
    assert share_in(SOURCE, answer) == share


def test_the_normal_form_of_a_letter_does_not_count() -> None:
    """A Mac writes é as two characters, and a server answers in one; the marks of a script are parts of its words."""
    assert share_in(vocabulary("Le cafe\u0301 ferme."), "Le caf\u00e9 ferme.") == 1
    assert share_in(vocabulary("यह लड़का है"), "यह लड़की है") == 2 / 3


def test_letters_of_a_script_without_spaces_are_words() -> None:
    """So that an answer of one run of them is not either wholly in its source or not at all."""
    assert share_in(vocabulary("猫が好きです"), "猫は好きです") == 5 / 6


@pytest.mark.parametrize(
    ("question", "answer", "found"),
    [
        ("What do otters eat?", "They eat fish.", []),
        ("What?", "Fish.", [Doubt.SHORT]),
        ("?!", "They eat fish.", [Doubt.EMPTY]),
        ("What?", " - ", [Doubt.EMPTY]),
        ("What?", "fish " * LONG, [Doubt.CUT]),
        ("What?", "fish " * LONG + "end.", []),
        ("What?", "fish " * LONG + "(see above)", []),
        ("何?", "魚" * LONG + "。", []),
        ("What?", "They eat fish", []),
    ],
)
def test_what_looks_odd(question: str, answer: str, found: list[Doubt]) -> None:
    """No words, few of them, or a long answer that ends within a sentence; a short one may lack its full stop."""
    assert doubts(question, answer) == found


def test_questions_that_differ_in_marks_alone_are_the_same() -> None:
    """An endless number of marks makes no other question."""
    assert same_question("What  do otters eat?") == same_question("what do Otters eat??")
    assert same_question("What do otters eat?") != same_question("What do badgers eat?")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Otters' dens, 2!", ["Otters", "dens", "2"]),
        ("cafe\u0301 \ue000", ["cafe\u0301", "\ue000"]),
        ("東京、日本", ["東", "京", "日", "本"]),
        ("ｶﾞラス", ["ｶﾞ", "ラ", "ス"]),
        ("", []),
    ],
)
def test_what_a_word_is(text: str, words: list[str]) -> None:
    """A run of letters, digits and marks; a letter with its marks where a script writes no spaces."""
    assert [word.text for word in words_of(text)] == words
    assert [text[word.start : word.end] for word in words_of(text)] == words
