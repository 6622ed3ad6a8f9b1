"""Which encoding a text that cannot be read may have: a hint for people, and never more than that.

1. Nothing is ever sent by a guess: a wrong one trains on garbage that nobody sees.
2. The first block that could not be read is looked at; where bytes allow many readings, the alphabet decides.
"""

from __future__ import annotations

import codecs
from typing import Final

#: languages written without spaces fill a text with their own signs; a stray pair of accents does not
_MOSTLY: Final = 0.3
#: of a text in the Latin alphabet, even with many accents, most letters have none
_FOREIGN: Final = 0.6
_LEAST: Final = 4


def likely(raw: bytes) -> str | None:
    """The codec that `raw` may be written in, though it is not UTF-8; null if none comes to mind."""
    if b"\0" in raw:
        return _without_mark(raw)
    if _share(raw, "shift_jis", "\u3040", "\u309f") > 0 and _share(raw, "shift_jis", "\u3000", "\uffef") > _MOSTLY:
        return "shift_jis"
    if _share(raw, "gb18030", "\u3000", "\uffef") > _MOSTLY:
        return "gb18030"
    if _share(raw, "cp1251", "\u0410", "\u044f") > _FOREIGN:
        return "cp1251"
    return next((codec for codec in ("cp1252", "latin-1") if _read(raw, codec) is not None), None)


def _without_mark(raw: bytes) -> str | None:
    """UTF-16 shows by its zeros: most texts hold every other one."""
    even, odd = raw[::2].count(0), raw[1::2].count(0)
    codec = "utf-16-le" if odd > even else "utf-16-be"
    is_regular = max(even, odd) > len(raw) * _MOSTLY / 2 and min(even, odd) * 10 < max(even, odd)
    return codec if is_regular and _read(raw, codec) else None


def _share(raw: bytes, codec: str, first: str, last: str) -> float:
    """How much of the text (white space left out) is between two signs, if it can be read so."""
    signs = "".join((_read(raw, codec) or "").split())
    hits = sum(first <= sign <= last for sign in signs)
    return hits / len(signs) if hits >= _LEAST else 0.0


def _read(raw: bytes, codec: str) -> str | None:
    """The text, its last sign perhaps cut off by the block's end; null if it is none."""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(raw)
    except UnicodeError:
        return None
    has_controls = any("\x7f" <= sign <= "\x9f" or (sign < " " and sign not in "\t\n\r\f") for sign in text)
    return None if has_controls else text
