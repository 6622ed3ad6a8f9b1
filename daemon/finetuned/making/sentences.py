"""Where sentences, paragraphs and characters end, in any script: for who cuts a text, and for who asks about it.

1. It is found by marks alone, without a dictionary: a full stop ends a sentence if white space follows it, and then no
   small letter; the marks of scripts that write no spaces always do. A stop after an initial, a short number or a usual
   abbreviation ends none.
2. A wrong end costs a pair, and no error: who needs to be sure looks at the sentence.
3. What a reader sees as one character is not cut: marks, joiners, flags and syllables of Hangul stay together.
4. Everything is linear in the text, whatever is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from unicodedata import category

#: a character of more parts than this is cut: no script needs as many
LONGEST_CHARACTER: Final = 64

_CLOSING: Final = "\"'”’»›)\\]」』】）〉》*_"
#: marks that end a sentence if something follows them, and marks that always do
_END: Final = re.compile(
    rf"(?P<stop>[.!?…]{{1,8}})[{_CLOSING}]{{0,4}}(?=\s|\Z)|[。！？｡．؟۔।॥։።፧‼⁇⁈⁉][。！？…]{{0,8}}[{_CLOSING}]{{0,4}}\s?"
)
#: what stands before a stop that ends no sentence
_LAST_WORD: Final = re.compile(r"[\w.&'’-]{1,24}\Z")
_NUMBER: Final = re.compile(r"\d{1,2}|[ivxIVX]{2,5}")
_INITIALS: Final = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_INITIAL_NEXT: Final = re.compile(r"\s?[^\W\d_]\.")
#: words before whose stop a name may follow, and words before whose stop a number does
_BEFORE_A_NAME: Final = """mr mrs ms dr prof rev hon st gen col lt sgt capt mt ft vs cf viz mme mlle mm sra srta dña ud
    uds dott sig ing avv hr fr frl vgl bzw sog ggf evtl geb gest hrsg bspw inkl zzgl engl lat griech frz dhr mevr dra"""
_BEFORE_A_NUMBER: Final = """no nos vol vols p pp fig figs chap ch sec art nr s abs bd ca approx est tel núm pág págs
    sect eq eqs tab jan feb mar apr jun jul aug sep sept oct nov dec t"""
_NAMES: Final = frozenset(_BEFORE_A_NAME.split())
_NUMBERS: Final = frozenset(_BEFORE_A_NUMBER.split())
_PARAGRAPH: Final = re.compile(r"\r?\n[^\S\n]*\n\s*|[\f\u2029]\s*")
_JOINERS: Final = "\u200d\ufe0e\ufe0f"
_PAIRS: Final = ("“”", "«»", "()", "（）", "「」", "『』", "《》", "〈〉", "【】", "[]")


def paragraph_ends(text: str, begin: int = 0) -> Iterator[int]:
    """Yield where what follows a blank line begins."""
    return (found.end() for found in _PARAGRAPH.finditer(text, begin))


def sentence_ends(text: str, begin: int = 0) -> Iterator[int]:
    """Yield where sentences end, before the white space that follows them."""
    for found in _END.finditer(text, begin):
        if found["stop"] is None or _ends(text, found):
            yield found.end()


def _ends(text: str, found: re.Match[str]) -> bool:
    end = found.end()
    following = text[end : end + 64].lstrip()[:1]
    if following.islower():
        return False
    if found["stop"] != "." or not following:
        return True
    word = _LAST_WORD.search(text, max(found.start() - 24, 0), found.start())
    last = word[0].lstrip("-'’&.") if word else ""
    if _NUMBER.fullmatch(last):
        return "\n" in text[end : end + 2]
    if _INITIALS.fullmatch(last):
        goes_on = last.isupper() or "." in last or _INITIAL_NEXT.match(text, end)
        return last in {"I", "i"} or not goes_on
    return last.lower() not in _NAMES and not (following.isdigit() and last.lower() in _NUMBERS)


def sentences(paragraph: str) -> list[tuple[int, int]]:
    """List where the sentences of a paragraph begin and end, without the white space around them."""
    spans, begin = [], 0
    for end in (*sentence_ends(paragraph), len(paragraph)):
        words = paragraph[begin:end]
        if words.strip():
            spans.append((begin + len(words) - len(words.lstrip()), begin + len(words.rstrip())))
        begin = end
    return spans


def whole(text: str, at: int) -> int:
    """Return the last place up to `at` that is not within a character as a reader sees it."""
    for place in range(at, max(at - LONGEST_CHARACTER, 0), -1):
        if not _within(text, place):
            return place
    return at


def _within(text: str, at: int) -> bool:
    if not 0 < at < len(text):
        return False
    before, after = text[at - 1], text[at]
    if after.isascii():
        return before == "\r" and after == "\n"
    if category(after)[0] == "M" or after in _JOINERS or before == "\u200d":
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\u1160" <= after <= "\u11ff":  # a skin's colour; the end of a syllable
        return True
    return _is_flag(before) and _is_flag(after) and _flags_before(text, at) % 2 == 1


def _is_flag(letter: str) -> bool:
    return "\U0001f1e6" <= letter <= "\U0001f1ff"


def _flags_before(text: str, at: int) -> int:
    count = 0
    while count < min(at, LONGEST_CHARACTER) and _is_flag(text[at - 1 - count]):
        count += 1
    return count


def is_closed(said: str) -> bool:
    """Tell whether each quotation and bracket that begins in a text ends there, too."""
    german = said.count("„") == said.count("“") + said.count("”")
    return said.count('"') % 2 == 0 and (
        german if "„" in said else all(said.count(first) == said.count(last) for first, last in _PAIRS)
    )
