"""Cuts a text into passages: each is asked about in one request.

1. A passage ends before a heading if one is in its second half, else after a paragraph, else a sentence, a line, a
   word; a text that has none of these is cut between two characters.
2. It begins with the last sentences of the passage before it, an eighth of its size, so that a fact that goes over the
   end can be asked about; below a heading it does not, as something new begins there.
3. Every byte is the own part of exactly one passage. What is left at the end and is less than a quarter goes with the
   last passage.
4. Where it is cut depends on the text and the size alone, not on the blocks in which it comes. It takes time in
   proportion to the text, and memory for a few passages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from finetuned.making.sentences import paragraph_ends, sentence_ends, whole
from finetuned.making.values import Chunk, Span
from finetuned.words import plain_words

#: passages are not shorter than this, in bytes: there would be nothing to ask
LEAST_BYTES: Final = 64
#: the share of a passage that repeats the one before it
_OVERLAP: Final = 8
#: the share that is not worth a passage of its own
_TINY: Final = 4
#: so much of a heading is told, in characters; and of all of them
_LONGEST_HEADING: Final = 120
_LONGEST_HEADINGS: Final = 240
_LEVELS: Final = 6
_BETWEEN: Final = " › "
#: a heading of Markdown, in one line or underlined, or of a book; or the fence of a block of code, which has none
_MARK: Final = re.compile(
    r"""^(?:
    [ ]{0,3}(?P<fence>```|~~~)
    | (?P<hashes>\#{1,6})[ \t]+(?P<title>\S[^\n]{0,400})
    | (?P<over>[^\s|=+#>-][^\n]{0,200})\r?\n(?P<line>={3,80}|-{3,80})[ \t]*\r?$
    | (?P<book>(?:C(?:hapter|HAPTER)|B(?:ook|OOK)|P(?:art|ART)|K(?:apitel|APITEL)|T(?:eil|EIL)|C(?:hapitre|HAPITRE)
        |P(?:artie|ARTIE)|C(?:ap[ií]tulo|AP[IÍ]TULO)|P(?:arte|ARTE)|C(?:apitolo|APITOLO)|Г(?:лава|ЛАВА)|Ч(?:асть|АСТЬ))
        [ \t]+[\dIVXLC]{1,7}\b[^\n]{0,80}|第[一二三四五六七八九十百千〇零\d]{1,6}[章回節节部][^\n]{0,60})\r?$
    )""",
    re.MULTILINE | re.VERBOSE,
)
_LINE_END: Final = re.compile(r"\n\s*")
_WORD_END: Final = re.compile(r"[、，；：]|\s+")


class _Heading(NamedTuple):
    at: int
    level: int
    title: str


class _Outline:
    """The headings that what follows stands below, and whether it stands in a block of code."""

    def __init__(self) -> None:
        self._titles = [""] * _LEVELS
        self._in_code = False

    def headings(self, text: str) -> list[_Heading]:
        """List the headings of what follows."""
        found, in_code = [], self._in_code
        for mark in _MARK.finditer(text):
            if mark["fence"]:
                in_code = not in_code
            elif not in_code and (mark["hashes"] or _is_after_a_blank_line(text, mark.start())):
                found.append(_Heading(mark.start(), *_read(mark)))
        return found

    def below(self, headings: Iterable[_Heading]) -> None:
        """Go on below these."""
        for _, level, title in headings:
            self._titles[level - 1 :] = [title, *[""] * (_LEVELS - level)]

    def skip(self, piece: str) -> None:
        """Go on behind a piece: it may begin a block of code, or end one."""
        self._in_code ^= sum(1 for mark in _MARK.finditer(piece) if mark["fence"]) % 2 == 1

    def __str__(self) -> str:
        return _BETWEEN.join(title for title in self._titles if title)[:_LONGEST_HEADINGS]


def _is_after_a_blank_line(text: str, at: int) -> bool:
    before = text[max(at - 80, 0) : at]
    return before.count("\n", len(before.rstrip())) > 1 or not before.strip()


def _read(mark: re.Match[str]) -> tuple[int, str]:
    if mark["hashes"]:
        level, title = len(mark["hashes"]), mark["title"].rstrip("# \t\r")
    else:
        level, title = (2 if (mark["line"] or "=")[0] == "-" else 1), mark["over"] or mark["book"]
    return level, " ".join(title.split())[:_LONGEST_HEADING]


class _Ahead:
    """The text that is not cut yet, of which so much is held as is asked for."""

    def __init__(self, blocks: Iterable[str]) -> None:
        self._blocks = iter(blocks)
        self._text = ""
        self._at = 0

    def look(self, characters: int) -> str:
        """Return so many characters of what follows, or all if there are fewer."""
        there = len(self._text) - self._at
        if there < characters:
            parts = [self._text[self._at :]]
            while there < characters and (block := next(self._blocks, None)) is not None:
                parts.append(block)
                there += len(block)
            self._text, self._at = "".join(parts), 0
        return self._text[self._at : self._at + characters]

    def skip(self, characters: int) -> None:
        """Go on by so many."""
        self._at += characters


def cut(blocks: Iterable[str], size: int) -> Iterator[Chunk]:
    """Cut a text that comes in blocks into passages of about `size` bytes (UTF-8); an empty text has none.

    None is longer than `size` (or `LEAST_BYTES`), but for the last one: it may be a quarter more.
    """
    size = max(size, LEAST_BYTES)
    ahead, outline = _Ahead(blocks), _Outline()
    place, number, own = 0, 0, ""
    while following := ahead.look(2 * size):
        headings = outline.headings(following)
        first = _at_the_beginning(following, headings)
        repeated = "" if first else _end_of(own, size // _OVERLAP)
        own = _next(following, size - len(repeated.encode()), size // _TINY, headings)
        headings = [heading for heading in headings if heading.at < len(own)]
        number += 1
        outline.below(headings[:first])
        yield _chunk(number, place, repeated, own, str(outline))
        outline.below(headings)
        outline.skip(own)
        ahead.skip(len(own))
        place += len(own.encode())


def _at_the_beginning(text: str, headings: Iterable[_Heading]) -> int:
    """Count the headings with which a text begins."""
    count = end = 0
    for heading in headings:
        if text[end : heading.at].strip(" \t\r\n=-"):
            break
        count += 1
        end = heading.at + len(text[heading.at :].partition("\n")[0])
    return count


def _chunk(number: int, own: int, repeated: str, text: str, heading: str) -> Chunk:
    before, after = repeated.encode(), text.encode()
    digest = sha256(before + after).hexdigest()
    begins, ends = own - len(before), own + len(after)
    return Chunk(
        span=Span(number=number, begins=begins, own=own, ends=ends, sha256=digest, heading=heading),
        text=repeated + text,
    )


def _next(following: str, room: int, tiny: int, headings: Iterable[_Heading]) -> str:
    """Return what the next passage has of its own."""
    data = following.encode()
    if len(data) <= room + tiny:
        return following
    most = len(data[:room].decode(errors="ignore"))
    return following[: whole(following, _place(following, most, headings))]


def _place(text: str, most: int, headings: Iterable[_Heading]) -> int:
    """Return where to cut: in the second half of what may be taken, as late as the best kind of place is there."""
    half = most // 2
    above = [heading for heading in headings if half <= heading.at <= most]
    if above:
        return min(above, key=lambda heading: (heading.level, -heading.at)).at
    for places in (
        paragraph_ends(text, half),
        (_behind_space(text, end, most) for end in sentence_ends(text, half)),
        (found.end() for found in _LINE_END.finditer(text, half)),
        (found.end() for found in _WORD_END.finditer(text, half)),
    ):
        last = 0
        for place in places:
            if place > most:
                break
            last = place
        if last > half:
            return last
    return most


def _behind_space(text: str, at: int, most: int) -> int:
    while at < most and text[at].isspace():
        at += 1
    return at


def _end_of(text: str, size: int) -> str:
    """Return the last sentences of a text that have together at most `size` bytes; else its last words."""
    begin = len(text) - len(text.encode()[-size:].decode(errors="ignore")) if text else 0
    for places in (
        (_behind_space(text, end, len(text)) for end in sentence_ends(text, begin)),
        (found.end() for found in _LINE_END.finditer(text, begin)),
        (found.end() for found in _WORD_END.finditer(text, begin)),
    ):
        place = next(places, len(text))
        if text[place:].strip():
            return text[place:]
    return ""


def teaches_nothing(text: str) -> str | None:
    """Say why a passage is not worth a request; null: it is."""
    return None if plain_words(text) else "it has no words"
