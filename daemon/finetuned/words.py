"""What a word is: for the full-text index, for what people search, for the passages that are shown, for measures.

1. A word is a run of letters, digits and marks, as the index's tokenizer sees it. In scripts that write no spaces each
   letter is a word, with the marks that belong to it: such texts are indexed with spaces around each, so that a text is
   found by any part of it. Marks alone are none.
2. The points of Hebrew and Arabic do not count, nor does the normal form, nor the width of a letter.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from unicodedata import category, normalize

#: scripts that write no spaces between words, each from its first letter to its last
_NO_SPACES: Final = (
    *("\u0e00\u0eff",),  # Thai, Lao
    *("\u1000\u109f", "\ua9e0\ua9ff", "\uaa60\uaa7f"),  # Burmese
    *("\u1780\u17ff", "\u1950\u19df", "\u1a20\u1aaf", "\uaa80\uaadf"),  # Khmer, Tai
    *("\u1b00\u1b7f", "\ua980\ua9df"),  # Balinese, Javanese
    *("\u3005\u3007", "\u3021\u3029", "\u3038\u303c"),  # signs and numerals of Han
    *("\u3041\u30ff", "\u3105\u312f", "\u31a0\u31bf", "\u31f0\u31ff"),  # Kana, Bopomofo
    *("\u3400\u4dbf", "\u4e00\u9fff", "\uf900\ufaff", "\U00020000\U0003ffff"),  # Han
    *("\uff66\uff9f",),  # Kana of half the width
)
#: the points of Hebrew and Arabic, which few people write
_POINTS: Final = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670]")
#: vowels of Thai and Lao that the normal form takes apart, so that a part of them would go to the letter before
_AM: Final = (("\u0e4d\u0e32", "\u0e33"), ("\u0ecd\u0eb2", "\u0eb3"))
#: marks that are letters to Unicode
_WIDE_MARKS: Final = "\uff9e\uff9f"
#: in a text's shape: a letter with its marks, if its script writes no spaces, or a run of others
_WORD: Final = re.compile("xm*|m*a[am]*")
#: texts in which a word is what `\w` says, but for `_`: to find it so takes a fifth of the time
_LATIN: Final = re.compile("[\0-\u02ff]*")
_LATIN_WORD: Final = re.compile(r"[^\W_]+")
#: by code point what stands in the words of a text in ASCII, and a blank for all else
_ASCII: Final = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))
#: what the index's tokenizer sees as it is seen here: what is neither assigned nor long known is not among it
_COMMON: Final = re.compile("[\0-\u0dff\u1e00-\u2bff]*")


class _Shape(dict[int, str]):
    """By code point what it is in a word: `a` a letter or digit, `x` a word of its own, `m` a mark, else a blank."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        kind = category(letter)
        if kind[0] == "M" or letter in _WIDE_MARKS:
            shape = "m"
        elif kind[0] in "LN":
            alone = kind in ("Lo", "Lm", "Nl") and any(first <= letter <= last for first, last in _NO_SPACES)
            shape = "x" if alone else "a"
        else:
            shape = "a" if kind == "Co" else " "
        return self.setdefault(code, shape)


_SHAPE: Final = _Shape()


class Word(NamedTuple):
    """A word as it stands in a text, from `start` to before `end`."""

    text: str
    start: int
    end: int


def words_of(text: str) -> list[Word]:
    """List the words of a text, in its order."""
    return [Word(text[start:end], start, end) for start, end in _spans(text)]


def _spans(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in _WORD.finditer(text.translate(_SHAPE))]


def _split(text: str) -> list[str]:
    """List the same words without their places, which takes a third of the time."""
    return [text[start:end] for start, end in _spans(text)]


def plain_words(text: str) -> list[str]:
    """List the words of a text to be compared: case does not count, nor the normal form, nor the width of a letter."""
    if text.isascii():  # in a sixth of the time
        return text.translate(_ASCII).split()
    plain = normalize("NFKC", text).casefold()
    return _LATIN_WORD.findall(plain) if _LATIN.fullmatch(plain) else _split(plain)


def has_no_spaces(word: str) -> bool:
    """Tell whether a word is of a script that writes no spaces: one letter, with its marks."""
    return word[:1].translate(_SHAPE) == "x"


def searchable(text: str) -> str:
    """Write a text as the index is given it; of most texts that is the text itself.

    What was indexed is taken out of the index by the same words: a change of this needs another step of the schema.
    """
    if text.isascii():
        return text
    plain = _POINTS.sub("", normalize("NFKC", text))
    for taken_apart, letter in _AM:
        plain = plain.replace(taken_apart, letter)
    if _COMMON.fullmatch(plain):
        return plain
    return " ".join(_split(plain))
