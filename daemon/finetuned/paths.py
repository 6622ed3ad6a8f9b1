"""Paths as text: a path is a `str` with surrogate escapes, absolute, exactly the bytes of the file system.

`escape` makes it safe for people; `path_b64` gives the exact bytes where the shown text is not exact.
"""

from __future__ import annotations

import re
from typing import Final


def escape(path: str) -> str:
    r"""Write `path` as one line of harmless text: control, format and non-UTF-8 characters appear escaped (`\x1b`)."""
    if path.isprintable():
        return path
    return "".join(c if c.isprintable() else _escaped(c) for c in path)


def _escaped(c: str) -> str:
    if "\udc80" <= c <= "\udcff":  # how Python carries a byte that is not UTF-8
        return f"\\x{ord(c) - 0xDC00:02x}"
    if "\x80" <= c <= "\xff":  # no byte, although Python would write it like one
        return f"\\u{ord(c):04x}"
    return c.encode("unicode_escape").decode("ascii")


def unescape(text: str) -> str:
    r"""Undo the escapes of `escape`. A name that has a backslash of its own does not come back."""
    return _ESCAPE.sub(_unescaped, text)


_ESCAPE: Final = re.compile(
    r"\\(?:([nrt])|x([0-9a-f]{2})|u(?!d[89a-f])([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4}))"
)


def _unescaped(found: re.Match[str]) -> str:
    letter, byte, *points = found.groups()
    if byte:
        return bytes.fromhex(byte).decode("utf-8", "surrogateescape")
    return {"n": "\n", "r": "\r", "t": "\t"}[letter] if letter else chr(int(points[0] or points[1], 16))


def are_nested(path: str, other: str) -> bool:
    """Tell whether two absolute paths are the same, or one lies below the other."""
    return path == other or f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")


def utf8_text(path: str) -> str:
    r"""Write `path` as text that any database takes: bytes that are not UTF-8 appear as `\xNN`, all else is exact."""
    if path.isascii():
        return path
    return "".join(_escaped(c) if "\udc80" <= c <= "\udcff" else c for c in path)


def path_b64(path: str) -> str | None:
    """Encode the bytes of a path that is not UTF-8 in base 64; null for all others."""
    if path.isascii():
        return None
    raw = path.encode("utf-8", "surrogateescape")
    if raw.decode("utf-8", "replace") == path:
        return None
    from base64 import b64encode  # noqa: PLC0415 - 1 ms that a command does not cost which meets no such path

    return b64encode(raw).decode("ascii")


def path_of(text: str, b64: str | None) -> str:
    """Make the path again that `utf8_text` and `path_b64` were made of."""
    if b64 is None:
        return text
    from base64 import b64decode  # noqa: PLC0415 - as above

    return b64decode(b64).decode("utf-8", "surrogateescape")
