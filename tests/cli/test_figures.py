"""The table of the page of figures, of which each row may be measured at another time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.table import Machine, Row, Table

HERE = Machine(cores=2, system="Linux 6.18", file_system="ext4", python="3.11.7")


def _add(table: Table, row: Row, *, bench: str = "files", commit: str = "aaaaaaa") -> str:
    return table.add(bench, row, commit=commit, machine=HERE, load=0.1)


def _sized(size: int, seconds: float, *, growth: float = 1.05) -> Row:
    return Row(what=f"{size:,} files: done", measured=[seconds], unit="s", size=size, growth=growth)


def test_a_row_that_is_measured_anew_takes_its_old_place_and_all_others_stay(tmp_path: Path) -> None:
    """Benchmarks take minutes each, so one is run at a time, and the rest of the table must survive it."""
    kept, table = tmp_path / "figures.json", Table()
    for name, bench in (("first", "files"), ("second", "files"), ("third", "idle")):
        _add(table, Row(what=name, measured=[1.0], unit="s"), bench=bench)
    table.write(kept)
    again = Table.read(kept)
    _add(again, Row(what="first", measured=[2.0], unit="s"))
    _add(again, Row(what="new", measured=[3.0], unit="s"))
    again.write(kept)
    lines = [line for line in Table.read(kept).lines() if line.startswith("|")][1:]
    assert [line.split(" | ")[:2] for line in lines] == [
        ["| first", "2 s"],
        ["| second", "1 s"],
        ["| new", "3 s"],
        ["| third", "1 s"],
    ]


@pytest.mark.parametrize(
    ("measured", "bound", "times", "told"),
    [
        ([1.0, 1.0, 4.0], 5.0, None, "| 5 s | yes |"),
        ([1.0, 1.0, 6.0], 5.0, None, "| 5 s | **no** |"),
        ([2.0, 2.0, 6.0], None, 3.0, "| 1 | 3 × | yes |"),
        ([2.0, 2.0, 6.1], None, 3.0, "| 1 | 3 × | **no** |"),
    ],
)
def test_a_row_holds_if_its_worst_figure_does(
    measured: list[float], bound: float | None, times: float | None, told: str
) -> None:
    """A median within the bound would hide that every third run breaks the promise."""
    row = Row(what="x", measured=measured, unit="s", baseline="y", against=[1.0, 2.0, 9.0], bound=bound, times=times)
    assert told in _add(Table(), row)


def test_sizes_tell_how_a_row_grows() -> None:
    """Twice the files in four times the time is n^2, and the next smaller size is what it is compared with."""
    table = Table()
    assert "n^" not in _add(table, _sized(1000, 1.0))
    assert "n^1.00 from 1,000" in _add(table, _sized(2000, 2.0))
    assert "n^2.00 from 2,000" in _add(table, _sized(4000, 8.0))


def test_what_was_measured_on_another_commit_tells_no_growth() -> None:
    """The difference would be that of the programs, too."""
    table = Table()
    _add(table, _sized(1000, 1.0))
    assert "n^" not in _add(table, _sized(2000, 2.0), commit="bbbbbbb")


@pytest.mark.parametrize("bound", [100.0, None])
def test_a_row_that_grows_faster_than_it_may_does_not_hold(bound: float | None) -> None:
    """A bound that holds at one size is worth little if the cost grows faster than the work."""
    table = Table()
    for size, seconds in ((1000, 1.0), (2000, 4.0)):
        row = _sized(size, seconds)
        row.bound = bound
        line = _add(table, row)
    assert "**no** (n^2.00 from 1,000)" in line
