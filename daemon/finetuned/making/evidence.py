"""Finds in a passage what a maker says it has copied from there, and what proves an answer if it copied nothing.

1. Two texts are the same if their letters and digits are: marks, blanks, case, width and the way in which accents are
   written do not count, as models change them all the time. What is kept is the passage's own text, byte for byte.
2. It begins and ends where words do. Where it is there several times, the place counts that no passage before has.
3. A piece with something left out (`…`) is found by its parts, if they stand in that order and near each other.
4. If it is not there, one of its sentences may be, or the answer; or one sentence of the passage has nearly all words
   of the answer, and each of its numbers.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Final
from unicodedata import category, normalize

from finetuned.making.sentences import paragraph_ends, sentences
from finetuned.words import plain_words

#: a piece of fewer words is found everywhere, and proves nothing; letters of scripts without spaces are words
LEAST_WORDS: Final = 3
#: parts of a piece that has something left out are not further apart than so many characters
_FARTHEST: Final = 600
#: a sentence proves an answer if it has this share of its words
_ENOUGH: Final = 0.75
#: a smaller number may be spelt in letters
_SPELT: Final = 12
_LEFT_OUT: Final = re.compile(r"\[\s?(?:…|\.{3})\s?\]|\(\s?(?:…|\.{3})\s?\)|…|\.{3}")
_NUMBER: Final = re.compile(r"\d+")
_WORD: Final = re.compile(r"[^ ]+")


class Passage:
    """A passage in which pieces are looked for: `text`, of which `own` is where its own part begins (characters)."""

    def __init__(self, text: str, own: int = 0) -> None:
        self.text = text
        self._own = own
        letters = _letters(text)
        self._plain = " ".join(letters.split())
        self._begins = [word.start() for word in _WORD.finditer(letters)]
        self._ends = (
            range(1, len(text) + 1)
            if text.isascii() and len(letters) == len(text)
            else list(accumulate(len(_PLAIN[letter]) for letter in text))
        )
        self._numbers = frozenset(_NUMBER.findall(self._plain))

    def find(self, piece: str) -> tuple[int, int] | None:
        """Return where a piece of `LEAST_WORDS` words or more stands, first letter to last; null: nowhere."""
        if len(plain_words(piece)) < LEAST_WORDS:
            return None
        whole = self._whole(piece)
        if whole is not None or not _LEFT_OUT.search(piece.strip(" .…")):
            return whole
        begin: int | None = None
        end = 0
        for part in filter(plain_words, _LEFT_OUT.split(piece)):
            found = self._whole(part, end)
            if found is None or (begin is not None and found[0] - end > _FARTHEST):
                return None
            begin, end = (found[0] if begin is None else begin), found[1]
        return None if begin is None else (begin, end)

    def has(self, piece: str) -> bool:
        """Tell whether a piece stands there, of however few words."""
        return self._whole(piece) is not None

    def proof(self, piece: str, answer: str) -> tuple[int, int] | None:
        """Return where the proof of an answer stands: the piece, or a sentence of it, or what says the answer."""
        whole = self.find(piece)
        if whole is not None:
            return whole
        parts = sorted((piece[begin:end] for begin, end in sentences(piece)), key=len, reverse=True)
        for wanted in (*parts[:4], answer):
            found = self.find(wanted)
            if found is not None:
                return found
        return self._saying(answer)

    def lacks_a_number(self, answer: str, question: str) -> bool:
        """Tell whether an answer has a number that neither the passage nor its question has."""
        known = self._numbers | {*_NUMBER.findall(_folded(question))}
        return any(int(number[:9]) > _SPELT and number not in known for number in _NUMBER.findall(_folded(answer)))

    def _whole(self, piece: str, after: int = 0) -> tuple[int, int] | None:
        """Find a piece as it is, from the character `after` on; what is not of an earlier passage comes first."""
        plain = _folded(piece)
        first = None
        at = self._plain.find(plain)
        while at >= 0:
            end = at + len(plain)
            span = self._place(at), self._place(end - 1) + 1
            if span[0] >= after and _is_edge(self._plain, at) and _is_edge(self._plain, end):
                if span[1] > self._own:
                    return span
                first = first or span
            at = self._plain.find(plain, at + 1)
        return first

    def _place(self, at: int) -> int:
        """Tell where a letter of the folded text stands in the passage."""
        begin = self._plain.rfind(" ", 0, at) + 1
        return bisect_right(self._ends, self._begins[self._plain.count(" ", 0, at)] + at - begin)

    def _saying(self, answer: str) -> tuple[int, int] | None:
        """Return the sentence that has nearly all words of an answer, and each number."""
        words = {*plain_words(answer)}
        if len(words) < LEAST_WORDS:
            return None
        numbers = {word for word in words if word[0].isdigit()}
        best, most = None, _ENOUGH
        for begin, end in _sentences_of(self.text):
            said = {*plain_words(self.text[begin:end])}
            share = len(words & said) / len(words)
            if share >= most and numbers <= said and (best is None or share > most or best[1] <= self._own):
                best, most = (begin, end), share
        return best


def _sentences_of(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    for end in (*paragraph_ends(text), len(text)):
        yield from ((begin + one, begin + other) for one, other in sentences(text[begin:end]))
        begin = end


def _is_edge(plain: str, at: int) -> bool:
    """Tell whether a word may begin or end here: always, in scripts that write no spaces."""
    if at in (0, len(plain)) or " " in plain[at - 1 : at + 1]:
        return True
    return len(plain_words(plain[at - 1 : at + 1])) > 1


def _folded(text: str) -> str:
    """Return the letters and digits of a text, with one blank between words."""
    return " ".join(_letters(text).split())


def _letters(text: str) -> str:
    """Return the letters and digits of a text, with a blank for each sign between them."""
    return text.translate(_ASCII) if text.isascii() else "".join(map(_PLAIN.__getitem__, text))


class _Plain(dict[str, str]):
    """By character what is compared: a blank for what is no letter, digit or mark; nothing for what nobody sees."""

    def __missing__(self, letter: str) -> str:
        plain = normalize("NFKD", letter).casefold()
        if category(letter) == "Cf" or letter in "'’*_`":
            plain = ""
        else:
            plain = "".join(part for part in plain if category(part)[0] in "LNM") or " "
        return self.setdefault(letter, plain)


_PLAIN: Final = _Plain()
#: the same by code point for a text in ASCII, which takes a sixth of the time
_ASCII: Final = {code: _PLAIN[chr(code)] or None for code in range(128)}
