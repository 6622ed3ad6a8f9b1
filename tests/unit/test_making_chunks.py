"""A text is cut into passages: whole, at good places, the same way whatever blocks it comes in."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.making.chunks import LEAST_BYTES, cut, teaches_nothing
from finetuned.making.sentences import whole
from finetuned.making.values import Chunk

#: texts as they come, and texts with much of what a cut looks for
TEXTS = st.one_of(
    st.text(max_size=2000),
    st.lists(
        st.sampled_from(
            [
                "Otters swim. ",
                "word ",
                "\n",
                "\n\n",
                "# One\n",
                "## Two\n",
                "```\n",
                "猫。",
                "é",
                "👩\u200d👧",
                "\u0301",
                "🇩🇪",
                "Title\n===\n",
            ]
        ),
        max_size=400,
    ).map("".join),
)
FACTS = " ".join(f"Fact {n} is that otter {n} eats {n} fish a day." for n in range(300))


def own_texts(chunks: list[Chunk]) -> list[str]:
    """What each passage has of its own."""
    return [chunk.own_text for chunk in chunks]


@given(TEXTS, st.integers(0, 400))
def test_every_byte_belongs_to_one_passage(text: str, size: int) -> None:
    """The own parts are the text, and each passage is what its span says it is."""
    chunks, data = list(cut([text], size)), text.encode()
    assert "".join(own_texts(chunks)) == text
    assert [chunk.span.number for chunk in chunks] == list(range(1, len(chunks) + 1))
    for chunk, before in zip(chunks, [None, *chunks], strict=False):
        span = chunk.span
        assert data[span.begins : span.ends] == chunk.text.encode()
        assert span.sha256 == sha256(chunk.text.encode()).hexdigest()
        assert span.begins <= span.own < span.ends
        assert span.own == (before.span.ends if before else 0)
        assert span.begins >= (before.span.own if before else 0)
        last = chunk is chunks[-1]
        assert span.bytes <= max(size, LEAST_BYTES) * (1.25 if last else 1)


@given(TEXTS, st.integers(64, 300), st.integers(1, 50))
def test_blocks_do_not_matter(text: str, size: int, block: int) -> None:
    """A file that is read in other pieces is cut at the same places."""
    blocks = [text[at : at + block] for at in range(0, len(text), block)]
    assert list(cut(blocks, size)) == list(cut([text], size))


@given(TEXTS, st.integers(64, 300))
def test_no_character_is_cut_as_a_reader_sees_it(text: str, size: int) -> None:
    """Marks, joiners and flags stay with what they belong to, within reason."""
    at = 0
    for own in own_texts(list(cut([text], size)))[:-1]:
        at += len(own)
        assert whole(text, at) == at


def test_passages_end_at_sentences_and_overlap() -> None:
    """A sentence is whole in at least one passage, and the last ones are told again."""
    chunks = list(cut([FACTS], 600))
    assert all(chunk.text.startswith("Fact ") and chunk.text.rstrip().endswith("a day.") for chunk in chunks)
    assert all(600 // 20 < chunk.span.own - chunk.span.begins <= 600 // 8 for chunk in chunks[1:])


def test_passages_end_at_paragraphs_rather_than_sentences() -> None:
    """What was written as one thing is asked about as one."""
    text = "\n\n".join(["One sentence. Another one. " * 4] * 12)
    assert all(own.endswith((".\n\n", ". \n\n")) for own in own_texts(list(cut([text], 400)))[:-1])


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("猫が好きです。" * 100, "。"),
        ("ما هذا؟ " * 100, "؟ "),
        ("word after word " * 60, " "),
        ("a line\nof words" * 90, "\n"),
    ],
)
def test_passages_end_in_any_script(text: str, end: str) -> None:
    """Where there are sentences at them, else at lines, else at words."""
    assert all(own.endswith(end) for own in own_texts(list(cut([text], 200)))[:-1])


def test_a_text_without_any_place_is_cut_between_characters() -> None:
    """A megabyte without a blank is cut, too, and what is told again is whole characters."""
    chunks = list(cut(["é" * 1000], 101))
    assert {chunk.text.strip("é") for chunk in chunks} == {""}
    assert len(chunks) in range(19, 26)


def test_a_passage_begins_with_a_heading_and_knows_those_above() -> None:
    """Nothing is repeated below a heading, as something new begins there."""
    words = "Some words about it. " * 12
    text = (
        f"# Otters #\n\n{words}\n\nFood\n----\n\n{words}\n\n```sh\n# no heading\n```\n{words}\n"
        f"### Fish\n{words}\n\nHabits\n======\n\n{words}\n\n"
    )
    chunks = list(cut([text], 400))
    assert [chunk.span.heading for chunk in chunks] == [
        "Otters",
        "Otters › Food",
        "Otters › Food",
        "Otters › Food › Fish",
        "Habits",
    ]
    assert [chunk.span.own - chunk.span.begins > 0 for chunk in chunks] == [False, False, True, False, False]


def test_a_passage_may_begin_with_several_headings() -> None:
    """It stands below the last of them."""
    (chunk,) = cut(["# Otters\n\nFood\n----\n\n### Fish\nThey eat fish.\n\n# Owls\n\nThey fly."], 400)
    assert chunk.span.heading == "Otters › Food › Fish"


def test_chapters_of_books_are_headings() -> None:
    """Of several scripts; a line of prose that begins so is none."""
    words = "It was a dark night. " * 15
    text = f"CHAPTER I. The Owl\n\n{words}\nPart 2 was long.\n{words}\n\nKapitel 2\n\n{words}\n\n第三章 夜\n\n{words}"
    headings = dict.fromkeys(chunk.span.heading for chunk in cut([text], 400))
    assert list(headings) == ["CHAPTER I. The Owl", "Kapitel 2", "第三章 夜"]


def test_a_tiny_rest_goes_with_the_last_passage() -> None:
    """A passage of three words would teach nothing."""
    assert len(list(cut(["w " * 60], 100))) == 1
    assert len(list(cut(["w " * 70], 100))) == 2


def test_an_empty_text_has_no_passage() -> None:
    """And one of nothing but blanks has passages that are not worth a request."""
    assert list(cut([], 1000)) == list(cut(["", ""], 1000)) == []
    (blank,) = cut([" \n…\n"], 1000)
    assert teaches_nothing(blank.text) == "it has no words"
    assert teaches_nothing("Otters.") is None
