"""`sql`: a statement that reads the ledger."""

from __future__ import annotations

import math
import os
import sys
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

import click

from finetuned import clock
from finetuned.cli import output, wiring
from finetuned.cli.terminal import harmless, length, print_data, say, width_of
from finetuned.errors import UsageError

if TYPE_CHECKING:
    from finetuned.ledger.statements import Allowance, Statement

#: so many seconds after its time a statement is given up for which SQLite does not look at the clock
_GRACE: Final = 1.0
#: the columns of a table are as wide as these rows need them
_MEASURED: Final = 200
#: no column of a table is wider, where there is more than one
_WIDEST: Final = 60
_GAP: Final = "  "
#: … nor, to fit a terminal, narrower
_LEAST: Final = 4
#: so much of bytes and of a text is shown in a table
_SHOWN: Final = 16
_LONGEST: Final = 1000


@click.command("sql")
@click.argument("text", metavar="[STATEMENT]", required=False)
@click.option("--limit-time", "limit", metavar="T", default="10s", help="How long it may take (default: 10s).")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated values, all quoted, with a first line of names.")
@output.listing
@click.pass_context
def sql_command(ctx: click.Context, text: str | None, limit: str, as_csv: bool, form: str) -> None:
    """Run a statement in SQL that reads the ledger; without one it is read from standard input.

    `finetuned help queries` has statements to begin with, `finetuned help interface` the views and their columns.
    """
    from finetuned.cli.limits import bounded_memory, watched
    from finetuned.ledger.statements import Allowance, Statement

    if as_csv and form != "table":
        raise UsageError("--csv, --json and --jsonl exclude each other", remedy="ask for one of them")
    allowance = Allowance(_seconds(limit), clock.steady)
    statement = text if text is not None else sys.stdin.read()
    reader = wiring.reader(ctx)
    with bounded_memory("the statement"), watched(partial(_end_if_stuck, allowance)):
        asked = Statement(reader.connection, reader.path, statement, allowance)
        if form == "table" and not as_csv:
            _print_table(asked)
        else:
            rows = (dict(zip(asked.columns, map(_for_programs, row), strict=True)) for row in asked)
            output.show(rows, "csv" if as_csv else form, (), empty="", keys=asked.columns)


def _end_if_stuck(allowance: Allowance) -> None:
    """End the process if SQLite does not come back from a function, long after its time: nothing else ends one."""
    if allowance.is_over(by=_GRACE):
        from finetuned.cli.main import explain

        explain(allowance.error())
        os._exit(1)


def _seconds(limit: str) -> float:
    from finetuned.settings.readers import seconds_of

    seconds = seconds_of(limit)
    if not seconds:
        raise UsageError(f"--limit-time {harmless(limit)!r} is not a time", remedy="write 30s, 2m or 500ms")
    return seconds


def _for_programs(value: object) -> object:
    """Return a value that JSON and CSV have; bytes and what is no number are written as SQL writes them."""
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, float) and not math.isfinite(value):
        return "9e999" if value > 0 else "-9e999"
    return value


def _print_table(asked: Statement) -> None:
    """Print rows as they come, in columns as wide as the first of them need; on a terminal each fits its line."""
    rows = ([_cell(value) for value in row] for row in asked)
    first = list(islice(rows, _MEASURED))
    if not first:
        say("no rows")
        return
    names = [harmless(name) for name in asked.columns]
    widths = [min(_WIDEST, max(length(row[i]) for row in (names, *first))) for i in range(len(names))]
    if (screen := width_of()) is not None:
        widths = _fitted(widths, screen)
    for row in chain([names], first, rows):
        cells = row if screen is None else [_cut(cell, width) for cell, width in zip(row, widths, strict=True)]
        line = _GAP.join(cell + " " * (width - length(cell)) for cell, width in zip(cells, widths, strict=True))
        print_data(line.rstrip())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return (
            f"x'{value[:_SHOWN].hex()}'" if len(value) <= _SHOWN else f"x'{value[:_SHOWN].hex()}…' ({len(value)} bytes)"
        )
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{harmless(value[:_LONGEST])}… ({len(value)} characters)"
    return harmless(value)


def _fitted(widths: list[int], screen: int) -> list[int]:
    """Return the widths of columns that fit a line of a terminal together: the widest give way."""
    widths, room = list(widths), screen - len(_GAP) * (len(widths) - 1)
    while sum(widths) > max(room, _LEAST * len(widths)):
        widths[widths.index(max(widths))] -= 1
    return widths


def _cut(cell: str, width: int) -> str:
    """Return the beginning of a cell, as far as it fits."""
    if length(cell) <= width:
        return cell
    cell = cell[: width - 1]
    while length(cell) > width - 1:  # letters that are two columns wide
        cell = cell[:-1]
    return f"{cell}…"
