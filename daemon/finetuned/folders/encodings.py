"""Which encoding a text that cannot be read may have: a hint for people, and never more than that.

1. Nothing is ever sent by a guess: a wrong one trains on garbage, unseen.
2. People in a hurry do as the hint says: a codec is named only if its reading looks like what people write in it,
   and none of a text that is UTF-8 but for a few bytes.
3. The first block that could not be read is looked at.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Container
from typing import Final

#: languages written without spaces fill a text with their own signs; a stray pair of accents does not
_MOSTLY: Final = 0.3
#: of a text in the Latin alphabet, even with many accents, most letters have none
_FOREIGN: Final = 0.6
_LEAST: Final = 4
_HIRAGANA: Final = range(0x3040, 0x30A0)
_FAR_EAST: Final = range(0x3000, 0xFFF0)
_CYRILLIC: Final = range(0x410, 0x450)
#: what no Chinese text does without, and what other tongues' bytes hardly make when they are read as Chinese
_CHINESE: Final = frozenset(map(ord, "的一是不了在有人这中\uff0c\u3002\u3001"))
#: every other letter of a text in Cyrillic, in lower case; in other Cyrillic codecs these are other letters
_COMMON_CYRILLIC: Final = frozenset(map(ord, "оеаинт"))
#: a text of western Europe: its letters among others, never three accents in a row, marks where they belong
_LETTERS: Final = "ÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖØÙÚÛÜŒßàáâãäåæçèéêëìíîïñòóôõöøùúûüœ"
_WESTERN: Final = re.compile(rf"(?:[\0-\x7e]|(?<![{_LETTERS}]{{2}})[{_LETTERS}]|(?<![a-z])[¡¿§°„]|[‘’“”«»…–—€\xa0])*")


def likely(raw: bytes) -> str | None:
    """Return the codec that `raw` may be written in, though it is not UTF-8; null if none comes to mind."""
    if b"\0" in raw:
        return _without_mark(raw)
    if _is_nearly_utf8(raw):
        return None
    for codec in ("shift_jis", "euc_jp"):
        if _share(raw, codec, _HIRAGANA) > 0 and _share(raw, codec, _FAR_EAST) > _MOSTLY:
            return codec
    if _share(raw, "gb18030", _FAR_EAST) > _MOSTLY and _share(raw, "gb18030", _CHINESE, least=1) > 0.04:
        return "gb18030"
    if _share(raw, "cp1251", _CYRILLIC) > _FOREIGN and _share(raw, "cp1251", _COMMON_CYRILLIC) > 0.3:
        return "cp1251"
    text = _read(raw, "cp1252")
    return "cp1252" if text is not None and _WESTERN.fullmatch(text) else None


def _is_nearly_utf8(raw: bytes) -> bool:
    """Tell whether most of what is not ASCII can be read as it should be."""
    foreign = sum(byte > 0x7E for byte in raw)
    return sum(len(sign.encode()) for sign in raw.decode(errors="ignore") if sign > "\x7e") * 4 > foreign * 3


def _without_mark(raw: bytes) -> str | None:
    """Recognize UTF-16 by its zeros: in most texts every other byte is one."""
    even, odd = raw[::2].count(0), raw[1::2].count(0)
    codec = "utf-16-le" if odd > even else "utf-16-be"
    is_regular = max(even, odd) > len(raw) * _MOSTLY / 2 and min(even, odd) * 10 < max(even, odd)
    return codec if is_regular and max(even, odd) >= _LEAST and _read(raw, codec) else None


def _share(raw: bytes, codec: str, wanted: Container[int], least: int = _LEAST) -> float:
    """Tell how much of the text (white space left out) are wanted signs, if it can be read so."""
    signs = "".join((_read(raw, codec) or "").split())
    hits = sum(ord(sign) in wanted for sign in signs)
    return hits / len(signs) if hits >= least else 0.0


def _read(raw: bytes, codec: str) -> str | None:
    """Return the text, its last sign perhaps cut off by the block's end; null if it is none."""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(raw)
    except UnicodeError:
        return None
    has_controls = any("\x7f" <= sign <= "\x9f" or (sign < " " and sign not in "\t\n\r\f") for sign in text)
    return None if has_controls else text
