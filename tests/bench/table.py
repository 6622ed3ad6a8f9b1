"""The table of figures: rows by their names, kept as JSON, written as Markdown.

1. A row that is measured anew takes its old one's place, with its own date, commit and machine; all others stay.
2. A row holds if its worst figure does, not its median. A bound in × is one of the baseline's median.
3. Rows that differ in their size alone tell how they grow, if they were measured on the same commit: n^1 is as their
   number does.
"""

from __future__ import annotations

import math
import os
import platform
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

import msgspec

HERE: Final = Path(__file__).parent
FIGURES: Final = HERE / "figures.json"
#: what stands in the row of a figure that does not hold
MISSED: Final = "**no**"
HEADER: Final = (
    "| what | measured: median (max) | baseline, in the same run | ratio | bound | holds | grows as | measured on |\n"
    + "| --- " * 8
    + "|"
)


@dataclass(kw_only=True)
class Row:
    """What a benchmark measured: its figures, and those of its baseline.

    `bound` is what the figures must stay below, in their unit; `times` the same as a multiple of the baseline. `size`
    is the number in the name that may grow, and `growth` the exponent that it may grow with. The `note` is told, too.
    """

    what: str
    measured: Sequence[float]
    unit: str
    baseline: str = ""
    against: Sequence[float] = ()
    against_unit: str = ""
    bound: float | None = None
    times: float | None = None
    size: int | None = None
    growth: float | None = None
    note: str = ""


class Machine(msgspec.Struct, kw_only=True, frozen=True):
    """What was measured on."""

    cores: int
    system: str
    file_system: str
    python: str

    def __str__(self) -> str:
        return f"{self.cores} cores, {self.system}, {self.file_system}, Python {self.python}"

    @classmethod
    def here(cls, directory: Path) -> Self:
        """Describe this machine, and the file system below `directory`."""
        found = subprocess.run(
            ["stat", "-f", "-c", "%T", str(directory)], capture_output=True, text=True, check=True
        ).stdout.strip()
        return cls(
            cores=os.cpu_count() or 1,
            system=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
            file_system="ext4" if found == "ext2/ext3" else found,
            python=platform.python_version(),
        )


class Figure(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A row of the table; `max` is null if it was measured once.

    `load` is how many programs wanted to run when its benchmark began.
    """

    bench: str
    name: str
    median: float
    max: float | None = None
    unit: str
    baseline: str = ""
    against: float | None = None
    against_unit: str = ""
    ratio: float | None = None
    bound: float | None = None
    times: float | None = None
    holds: bool | None = None
    size: int | None = None
    growth: float | None = None
    runs: int | None = None
    date: str
    commit: str
    load: float | None = None
    note: str = ""
    machine: Machine

    @property
    def series(self) -> str:
        """The name without the size."""
        return self.name if self.size is None else self.name.replace(f"{self.size:,}", "n")

    def line(self, exponent: tuple[float, int] | None) -> str:
        """Write the row; `exponent` tells how it grows, and from which size."""
        most = "" if self.max is None else f" ({_number(self.max)})"
        against = "" if self.against is None else f": {_number(self.against)} {self.against_unit or self.unit}"
        bound = "" if self.bound is None else f"{_number(self.bound)} {self.unit}"
        if self.times is not None:
            bound = f"{self.times:g} ×"
        holds = {None: "", True: "yes", False: MISSED}[self.holds]
        grows = ""
        if exponent is not None:
            grows = f"n^{exponent[0]:.2f} from {exponent[1]:,}"
            if self.growth is not None and exponent[0] > self.growth:
                holds = holds if holds == MISSED else f"{MISSED} ({grows})"
        ratio = "" if self.ratio is None else f"{self.ratio:.2g}"
        when = f"{self.date} `{self.commit}`" + (f": {self.note}" if self.note else "")
        cells = (
            self.name,
            f"{_number(self.median)}{most} {self.unit}",
            f"{self.baseline}{against}",
            ratio,
            bound,
            holds,
            grows,
            when,
        )
        return f"| {' | '.join(cells)} |"


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _holds(row: Row, ratio: float | None) -> bool | None:
    worst = max(row.measured)
    if row.bound is not None:
        return worst < row.bound
    if row.times is None or ratio is None:
        return None
    return worst <= row.times * statistics.median(row.against)


class Table:
    """Rows in their order: those of one benchmark stand together."""

    def __init__(self, figures: Sequence[Figure] = ()) -> None:
        self._figures = list(figures)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what was kept; nothing if there is no such file."""
        return cls(msgspec.json.decode(path.read_bytes(), type=list[Figure]) if path.exists() else ())

    def write(self, path: Path) -> None:
        """Keep it, whole or not at all, a row in a line."""
        part = path.with_suffix(".part")
        part.write_bytes(b"[\n" + b",\n".join(map(msgspec.json.encode, self._figures)) + b"\n]\n")
        part.replace(path)

    def add(self, bench: str, row: Row, *, commit: str, machine: Machine, load: float) -> str:
        """Take a row in, in the place of the one of its name; return its line."""
        against = statistics.median(row.against) if row.against else None
        median = statistics.median(row.measured)
        same = against and row.against_unit in {"", row.unit}
        ratio = median / against if against and same else None
        figure = Figure(
            bench=bench,
            name=row.what,
            median=_short(median),
            max=_short(max(row.measured)) if len(row.measured) > 1 else None,
            unit=row.unit,
            baseline=row.baseline,
            against=against and _short(against),
            against_unit=row.against_unit,
            ratio=ratio and _short(ratio),
            bound=row.bound,
            times=row.times,
            holds=_holds(row, ratio),
            size=row.size,
            growth=row.growth,
            runs=len(row.measured),
            date=f"{datetime.now(UTC):%Y-%m-%d}",
            commit=commit,
            load=round(load, 1),
            note=row.note,
            machine=machine,
        )
        names = [one.name for one in self._figures]
        if figure.name in names:
            self._figures[names.index(figure.name)] = figure
        else:
            benches = [one.bench for one in self._figures]
            at = len(benches) - benches[::-1].index(bench) if bench in benches else len(benches)
            self._figures.insert(at, figure)
        return figure.line(self._exponent(figure))

    def _exponent(self, figure: Figure) -> tuple[float, int] | None:
        """Tell how a row grows from the next smaller one of its series, and that one's size."""
        if figure.size is None or figure.median <= 0:
            return None
        smaller = [
            one
            for one in self._figures
            if one.series == figure.series and one.commit == figure.commit
            if one.size is not None and 0 < one.size < figure.size and one.median > 0
        ]
        if not smaller:
            return None
        below = max(smaller, key=lambda one: one.size or 0)
        assert below.size is not None
        return math.log(figure.median / below.median) / math.log(figure.size / below.size), below.size

    def lines(self) -> Iterator[str]:
        """Write the table."""
        yield HEADER
        for figure in self._figures:
            yield figure.line(self._exponent(figure))
        yield ""
        for machine in dict.fromkeys(figure.machine for figure in self._figures):
            dates = dict.fromkeys(one.date for one in self._figures if one.machine == machine)
            yield f"{', '.join(dates)}: {machine}."


def _short(figure: float) -> float:
    return float(f"{figure:.4g}")


def commit_here() -> str:
    """Tell which commit lies here; `+` says that files were changed since."""
    told = ["git", "-C", str(HERE), "describe", "--always", "--match=", "--dirty=+"]
    return subprocess.run(told, capture_output=True, text=True, check=True).stdout.strip()
