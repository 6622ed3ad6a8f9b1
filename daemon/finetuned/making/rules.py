"""Makes pairs without a model: simple questions that are surely answered by the passage, in its own words.

1. An answer is text of the passage, and its evidence the sentence, line or paragraph that it is of. Nothing is said
   that the passage does not say.
2. What is written as a question and an answer is taken as it is; named values, terms and tables are asked for by
   their names, headings by their titles, sentences by what they say (`questions`), in the language of the passage.
3. What stands in what the passage repeats is not asked about.
4. It changes with `VERSION`, which is part of the fingerprint of its pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from finetuned.making.blocks import Block, Kind, blocks, is_chapter, plain
from finetuned.making.phrases import names_nobody
from finetuned.making.questions import FEWEST_WORDS, Around, asked
from finetuned.making.reading import labelled
from finetuned.making.sentences import sentences
from finetuned.making.tongues import TONGUES, Tongue, language_of
from finetuned.making.values import Chunk, Draft
from finetuned.words import plain_words

VERSION: Final = 3
#: what is told of a heading, in characters; and so much of a list
_LONGEST_TOLD: Final = 700
_MOST_ITEMS: Final = 24
_TITLE_OF: Final = " › "
_MOST_CELLS: Final = 8
#: names of values that are one thing
_USUAL_NAMES: Final = """length height width depth weight mass name date author title price population capital
    area color colour age size address version license licence language location type status speed range power unit
    symbol currency duration temperature material origin lifespan diet family genus species order class profession
    occupation nationality birthplace publisher year default format path port url"""
_THINGS: Final = frozenset(_USUAL_NAMES.split())
_ADDRESS: Final = re.compile(r"https?://\S*")
_LABELLED: Final = re.compile(r"\W{0,6}[^\W\d_]{1,12} ?\d{0,3}\W{0,3}[:：]")


@dataclass(slots=True)
class _Making:
    """What is known while the blocks of one passage are gone through."""

    text: str
    own: int
    tongue: Tongue
    language: str
    root: str
    title: str
    document: str
    above: str = ""
    has_talks: bool = False

    @property
    def subject(self) -> str:
        """What it is about: the first heading, or the document, and the heading that it stands below, if any."""
        title = "" if self.title.endswith(("?", "？", "!")) else self.title
        return ", ".join(dict.fromkeys(filter(None, (self.root, title))))

    def around(self, before: str) -> Around:
        """Tell what is around a sentence; `before`: its paragraph up to it."""
        return Around(
            tongue=self.tongue,
            subject=self.subject,
            text=self.text,
            before=before,
            is_file=self.subject == self.document,
        )

    def below(self, heading: Block) -> None:
        """Go on below a heading."""
        if heading.level == 1 and not (self.document and is_chapter(heading.name)):
            self.root, self.title = heading.name, ""
        elif heading.text[:1].isspace() and not is_chapter(heading.name):
            self.title = " – ".join(filter(None, (self.above, heading.name)))
        else:
            self.title = self.above = heading.name


def make(chunk: Chunk, document: str = "") -> list[Draft]:
    """Make the pairs of a passage; `document`: what its text is called, for questions that have to name it."""
    own = len(chunk.text) - len(chunk.own_text)
    language = language_of(chunk.text)
    root, _, rest = chunk.span.heading.partition(_TITLE_OF)
    title = rest.rpartition(_TITLE_OF)[2]
    if is_chapter(root) and document:
        root, title = document, title or root
    tongue = TONGUES[language]
    making = _Making(
        text=chunk.text,
        own=own,
        tongue=tongue,
        language=language,
        root=root or document,
        title=title,
        document=document,
    )
    talks = list(_talks(making))
    making.has_talks = bool(talks)
    known: dict[str, Draft] = {}
    for draft in (*talks, *_of_blocks(making)):
        if draft.begins >= own and plain_words(draft.question) and plain_words(draft.answer):
            known.setdefault(draft.question, draft)
    return [_in_bytes(chunk, draft) for draft in known.values()]


def _in_bytes(chunk: Chunk, draft: Draft) -> Draft:
    """Say where a draft's evidence lies in the file."""
    begins = chunk.span.begins + len(chunk.text[: draft.begins].encode())
    evidence = chunk.text[draft.begins : draft.ends]
    return Draft(
        question=draft.question,
        answer=draft.answer,
        evidence=evidence,
        begins=begins,
        ends=begins + len(evidence.encode()),
    )


def _draft(question: str, answer: str, begins: int, ends: int) -> Draft:
    return Draft(question=question, answer=plain(answer), begins=begins, ends=ends)


def _talks(making: _Making) -> Iterator[Draft]:
    """Yield the questions that the passage itself asks and answers."""
    at = making.own
    for draft in labelled(making.text[making.own :]):
        first, *_, last = [*draft.answer.splitlines()] * 2
        begins = making.text.find(first, making.text.find(draft.question.partition("\n")[0], at))
        at = making.text.find(last, begins) + len(last)
        question = plain(draft.question)
        subject = f"{making.root}: " if making.root and names_nobody(question) else ""
        yield _draft(subject + question, draft.answer, begins, at)


def _of_blocks(making: _Making) -> Iterator[Draft]:
    """Yield what each block is asked, with what stands before it in mind."""
    heading: Block | None = None
    intro: Block | None = None
    header: tuple[str, ...] = ()
    items: list[Block] = []
    for block in blocks(making.text):
        if block.kind is not Kind.ITEM:
            yield from _of_items(making, intro or heading, items)
            items = []
        if block.kind is Kind.HEADING:
            heading, intro = block, None
            making.below(block)
        elif block.kind is Kind.PROSE:
            if heading is not None:
                yield from _of_heading(making, heading, block)
            heading, intro = None, block if block.text.endswith((":", "：")) else None
            yield from _of_prose(making, block)
        elif block.kind is Kind.NAMED:
            yield from _of_value(making, block)
        elif block.kind is Kind.ITEM:
            items.append(block)
            yield from _of_prose(making, block)
        else:
            yield from _of_row(making, header, block)
        header = (header or block.cells) if block.kind is Kind.ROW else ()
    yield from _of_items(making, intro or heading, items)


def _of_heading(making: _Making, heading: Block, first: Block) -> Iterator[Draft]:
    """Ask what stands below a heading: its first paragraph, as far as whole sentences of it are not too long."""
    if not 0 < len(heading.name) < 100 or (making.has_talks and _LABELLED.match(first.text)):
        return
    spans = sentences(first.text)
    end = next((end for _, end in reversed(spans) if end <= _LONGEST_TOLD), 0)
    if end and len(plain_words(_ADDRESS.sub("", first.text[:end]))) >= FEWEST_WORDS and first.text[end - 1] != ":":
        title = making.title or heading.name
        named = f"{making.root} – {title}" if making.root not in ("", title) else title
        question = heading.name if heading.name.endswith(("?", "？")) else making.tongue.about.format(named)
        yield _draft(question, first.text[:end], first.begins, first.begins + end)


def _of_items(making: _Making, intro: Block | None, items: list[Block]) -> Iterator[Draft]:
    """Ask for what a list has, by the line or the heading above it."""
    if intro is None or not 1 < len(items) <= _MOST_ITEMS:
        return
    told = plain(intro.name or intro.text[sentences(intro.text)[-1][0] :]).rstrip(":： ")
    answer = "; ".join(plain(item.text).rstrip(".;,") for item in items)
    if 0 < len(told) <= 160 and len(answer) <= 2 * _LONGEST_TOLD:
        yield _draft(making.tongue.listed.format(told), answer, items[0].begins, items[-1].ends)


def _of_value(making: _Making, block: Block) -> Iterator[Draft]:
    """Ask for a value, or for what a term means, by its name."""
    value = plain(block.text)
    if len(value) > 2 * _LONGEST_TOLD:
        return
    if len(value.split()) > FEWEST_WORDS:
        named = f"{making.subject} – {block.name}" if making.subject else block.name
        yield _draft(making.tongue.about.format(named), value, block.begins, block.ends)
    elif making.subject:
        yield _draft(_by_name(making, making.subject, block.name), value, block.begins, block.ends)


def _of_row(making: _Making, header: tuple[str, ...], row: Block) -> Iterator[Draft]:
    """Ask for the cells of a row by its first one and the heads of their columns."""
    if len(header) != len(row.cells) or not row.cells[0]:
        return
    for head, cell in list(zip(header, row.cells, strict=True))[1:_MOST_CELLS]:
        if head and plain_words(cell):
            yield _draft(_by_name(making, row.cells[0], head), cell, row.begins, row.ends)


def _by_name(making: _Making, subject: str, name: str) -> str:
    """Ask for a value by its name: in a sentence, if one can be sure that it names one thing."""
    word = name.casefold()
    if making.language == "en" and word not in _THINGS:
        return making.tongue.under.format(subject, name)
    return making.tongue.given.format(subject, word if making.language == "en" else name)


def _of_prose(making: _Making, block: Block) -> Iterator[Draft]:
    """Ask for each sentence of a paragraph by the questions that fit it."""
    if making.has_talks and _LABELLED.match(block.text):
        return
    before = ""
    for begin, end in sentences(block.text):
        said = plain(block.text[begin:end])
        for question, answer in asked(said, making.around(before)):
            yield _draft(question, answer, block.begins + begin, block.begins + end)
        before += f"{said} "
