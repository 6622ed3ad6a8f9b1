"""A table for people that begins before all of its rows are known: widths come from the rows that were seen so far.

1. A row is a line. The columns that can be spared go first where the terminal is narrow. The last column holds
   sentences: what does not fit beside its row stands below it.
2. A column only grows. Where a later row needs more room, the lines from there on have it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import click

from finetuned.cli.terminal import folded, length, shortened

#: columns narrower than this are not worth having
_NARROWEST: Final = 12
_GAP: Final = " " * 2
_BELOW: Final = " " * 4


class Table:
    """A table of `width` columns; null: of lines that are as long as they are.

    `paths` may be shortened, `texts` stand last and may stand below their rows. `spare` are left out, the last
    first, where the others need their room.
    """

    def __init__(
        self,
        columns: Sequence[str],
        width: int | None,
        *,
        paths: Collection[str] = (),
        texts: Collection[str] = (),
        spare: Collection[str] = (),
    ) -> None:
        self._columns = columns
        self._width = width
        self._paths, self._spare = paths, spare
        self._texts = [i for i, name in enumerate(columns) if name in texts and width is not None]
        #: by the number of a column, how wide its widest cell was so far
        self._natural = {i: length(name) for i, name in enumerate(columns) if i not in self._texts}
        self._shown: list[int] = []

    def lines(self, rows: Sequence[Sequence[str]]) -> Iterator[str]:
        """Yield the lines of some more rows, with a head before the first, and where columns had to go."""
        self._natural = {i: max(wide, *(length(row[i]) for row in rows)) for i, wide in self._natural.items()}
        widths = self._natural if self._width is None else self._fitted(self._width)
        beside = [self._is_beside(row, widths) for row in rows]
        if [*widths] != self._shown:
            self._shown = [*widths]
            yield self._head(widths, with_texts=any(beside))
        for row, fits in zip(rows, beside, strict=True):
            line = _padded([shortened(row[i], widths[i]) for i in widths], list(widths.values()))
            words = self._words(row)
            yield (line + _GAP + words if fits else line).rstrip()
            if words and not fits:
                yield from folded(_BELOW + words, self._width, rest=_BELOW)

    def _fitted(self, width: int) -> dict[int, int]:
        """Return the widths of the columns that are shown."""
        widths = dict(self._natural)
        is_path = {i: self._columns[i] in self._paths for i in widths}
        least = {i: min(n, max(2 * _NARROWEST, n // 2)) if is_path[i] else n for i, n in widths.items()}
        for i in reversed([i for i in widths if self._columns[i] in self._spare]):
            if _together(least) > width:
                del widths[i], least[i]
        for i, wide in widths.items():
            if is_path[i]:
                widths[i] = max(min(_NARROWEST, wide), wide - max(0, _together(widths) - width))
        return widths

    def _words(self, row: Sequence[str]) -> str:
        return "; ".join(row[i] for i in self._texts if row[i])

    def _is_beside(self, row: Sequence[str], widths: Mapping[int, int]) -> bool:
        """Tell whether a row has sentences that fit beside it."""
        words = self._words(row)
        return bool(words) and _together(widths) + len(_GAP) + length(words) <= (self._width or 0)

    def _head(self, widths: Mapping[int, int], *, with_texts: bool) -> str:
        head = _padded([self._columns[i] for i in widths], list(widths.values()))
        if with_texts:
            head += _GAP + "/".join(self._columns[i] for i in self._texts)
        return head.rstrip() if self._width is None else click.style(head.rstrip(), bold=True)


def _together(widths: Mapping[int, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell + " " * max(0, width - length(cell)) for cell, width in zip(cells, widths, strict=True))
