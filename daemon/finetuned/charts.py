"""Charts as plain SVG: where each of their parts stands, worked out here and drawn by pages and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from finetuned.model import Value

#: how high the tallest column may be, and what is left above it and below, in pixels
HIGH, ABOVE, BELOW = 208, 12, 24
#: the part of its place that a column fills
_FULL: Final = 0.72


class Column(Value, frozen=True):
    """A column of a chart: what it stands for, and where; across in percent, so that it fits any page."""

    label: str
    number: int
    x: float
    width: float
    y: float
    height: float


class Line(Value, frozen=True):
    """A line of the scale, in pixels from above, or a word below a column, in percent from the left."""

    label: str
    at: float


class Chart(Value, frozen=True):
    """Columns over dates, with lines for the scale and some dates' names."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    dates: tuple[Line, ...]
    height: int


def chart(values: Sequence[tuple[date, int]]) -> Chart:
    """Lay out a chart of the number at each date; the dates follow each other at equal steps."""
    top = _round_up(max((number for _, number in values), default=0))
    wide = 100 / max(1, len(values))
    columns = [
        Column(
            label=f"{day.day} {day:%b}",
            number=number,
            x=round(wide * (place + (1 - _FULL) / 2), 2),
            width=round(wide * _FULL, 2),
            y=round(ABOVE + HIGH * (1 - number / top), 1),
            height=round(HIGH * number / top, 1),
        )
        for place, (day, number) in enumerate(values)
    ]
    return Chart(
        columns=tuple(columns),
        lines=tuple(Line(label=_short(top * half // 2), at=ABOVE + HIGH * (2 - half) / 2) for half in (0, 1, 2)),
        dates=tuple(
            Line(label=column.label, at=round(column.x + column.width / 2, 2))
            for column in columns[:: -max(1, len(columns) // 5)]
        ),
        height=ABOVE + HIGH + BELOW,
    )


def share(number: float, most: float) -> float:
    """Return how long a bar is, in percent of the longest; what is there at all is seen."""
    return round(max(1.0, 100 * number / most), 1) if number and most else 0.0


def _round_up(number: int) -> int:
    """Return the end of a scale: a round number whose half is whole, too."""
    power = int("1".ljust(len(str(number)), "0"))
    return max(4, next(first * power for first in (1, 2, 4, 6, 8, 10) if first * power >= number))


def _short(number: int) -> str:
    return f"{number / 1000:g}k" if number >= 10_000 else f"{number:,}"
