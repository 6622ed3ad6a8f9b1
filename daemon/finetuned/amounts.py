"""Numbers, sizes and spans of time in words for people."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ("KiB", "MiB", "GiB", "TiB")


def counted(number: int, noun: str) -> str:
    """Write a number of things: `1 file`, `3 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size(count: int, *, small: str = "B") -> str:
    """Write a number of bytes: `3 B`, `1.5 MiB`, `1.0 TiB`; `small` is the unit of less than a KiB."""
    if count < 1024:
        return f"{count} {small}"
    power = min(len(_UNITS), (count.bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {_UNITS[power - 1]}"


def span(seconds: float) -> str:
    """Write a span of time by its two greatest units: `250ms`, `42s`, `3m 20s`, `2d 04h`."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def rough_span(seconds: float) -> str:
    """Write a span of time by one unit, rounded down, as it is kept in a reason: `42 s`, `10 min`, `6 h`."""
    if seconds < 120:
        return f"{seconds // 1:.0f} s"
    return f"{seconds // 60:.0f} min" if seconds < 7200 else f"{seconds // 3600:.0f} h"
