"""Figures of weeks as a picture: SVG that stands by itself, in a light and a dark form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from finetuned.charts import Chart, chart

_SPACE: Final = 'xmlns="http://www.w3.org/2000/svg"'
_WIDE: Final = 720
#: room for the scale on the left, for a panel's title, and between panels
_LEFT: Final = 56
_TITLE: Final = 28
_GAP: Final = 12
#: and for half the name of the last week on the right
_RIGHT: Final = 24
_STYLE: Final = """
svg { background: #fff; color: #1b1b1b; font: 12px system-ui, sans-serif; }
text { fill: currentColor; } .title { font-weight: 600; font-size: 14px; } .scale { text-anchor: end; }
.day { text-anchor: middle; } line { stroke: currentColor; opacity: .18; } rect { fill: #2f6fb2; }
@media (prefers-color-scheme: dark) { svg { background: #16181c; color: #e8e8e8; } rect { fill: #74a9e0; } }
"""


class Panel(NamedTuple):
    """A title, which names the unit, and a figure of each week, from week to week without a gap."""

    title: str
    values: Sequence[tuple[date, int]]


def svg(heading: str, panels: Sequence[Panel]) -> str:
    """Draw the panels below each other, as one SVG document."""
    lines, below = [], _TITLE
    for panel in panels:
        drawn = chart(panel.values)
        lines += [f'<g transform="translate(0 {below})">', *_panel(panel.title, drawn), "</g>"]
        below += _TITLE + drawn.height + _GAP
    head = [
        f"<svg {_SPACE} viewBox='0 0 {_WIDE} {below}' width='{_WIDE}' height='{below}' role='img'>",
        f"<title>{escape(heading)}</title><style>{_STYLE}</style>",
        f'<text class="title" x="8" y="20">{escape(heading)}</text>',
    ]
    return "\n".join([*head, *lines, "</svg>", ""])


def _panel(title: str, drawn: Chart) -> Iterator[str]:
    wide = (_WIDE - _LEFT - _RIGHT) / 100
    yield f'<text class="title" x="8" y="18">{escape(title)}</text><g transform="translate({_LEFT} {_TITLE})">'
    for line in drawn.lines:
        yield f'<line x1="0" x2="{wide * 100:g}" y1="{line.at:g}" y2="{line.at:g}"/>'
        yield f'<text class="scale" x="-6" y="{line.at + 4:g}">{escape(line.label)}</text>'
    for bar in drawn.columns:
        place = f'x="{bar.x * wide:.1f}" width="{bar.width * wide:.1f}" y="{bar.y:g}" height="{bar.height:g}"'
        yield f"<rect {place}><title>{escape(bar.label)}: {bar.number:,}</title></rect>"
    for day in drawn.dates:
        yield f'<text class="day" x="{day.at * wide:.1f}" y="{drawn.height - 6}">{escape(day.label)}</text>'
    yield "</g>"
