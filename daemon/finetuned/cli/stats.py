"""`stats`: what came to an end, in figures: how many files, how much they taught, how long it took, what went wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import click

from finetuned.amounts import counted, span
from finetuned.cli import completions, output, terminal, wiring
from finetuned.cli.arguments import check_folder
from finetuned.cli.listings import since_option
from finetuned.cli.output import Row
from finetuned.cli.terminal import harmless, is_utf8
from finetuned.lifecycle import FileState
from finetuned.times import iso

if TYPE_CHECKING:
    from finetuned.ledger.queries.statistics import Figures, Spans, Statistics

#: the least to the most, for a row of figures in one line
_BARS: Final = "▁▂▃▄▅▆▇█"
#: states of files that were meant to be learned, and were not
_LOST: Final = (FileState.REFUSED, FileState.BARREN, FileState.FAILED)


@click.command("stats")
@click.option("--folder", metavar="NAME", help="Only files of this folder.", shell_complete=completions.folders)
@since_option
@output.one_object
@click.pass_context
def stats_command(ctx: click.Context, folder: str | None, since: float | None, form: str) -> None:
    """Show figures about the files that came to an end: pairs, times, failures, by folder and week."""
    from finetuned.ledger.queries.statistics import statistics

    reader = wiring.reader(ctx)
    check_folder(wiring.load(ctx), reader, folder)
    found = statistics(reader, folder=folder, since=since)
    if form != "table":
        output.show_one(_for_programs(found, since), form)
        return
    if not found.total.files:
        terminal.say("no file came to its end yet" if since is None else "no file came to its end since then")
        return
    _tell(found)


def _for_programs(found: Statistics, since: float | None) -> Row:
    """Return the object `stats` of `docs/interface.md`."""
    return {
        "since": None if since is None else iso(since),
        "total": _figures(found.total),
        "folders": [{"folder": name} | _figures(figures) for name, figures in found.folders.items()],
        "weeks": [{"week": week} | _figures(figures) for week, figures in found.weeks.items()],
        "failures": [
            {"state": one.state, "reason": one.reason, "files": one.files, "last_at": one.last_at}
            for one in found.failures
        ],
    }


def _figures(figures: Figures) -> Row:
    def of(name: str, spans: Spans) -> Row:
        return {f"{name}_{share}_s": None if at is None else round(at, 3) for share, at in _shares(spans)}

    each = figures.pairs_per_file
    return {
        "files": figures.files,
        **figures.states,
        "bytes": figures.bytes,
        "pairs": figures.pairs,
        "pairs_per_file": None if each is None else round(each, 2),
        **of("learned", figures.learned),
        **of("waiting", figures.waiting),
        **of("server", figures.server),
    }


def _shares(spans: Spans) -> Sequence[tuple[str, float | None]]:
    return (("p50", spans.p50), ("p95", spans.p95))


def _tell(found: Statistics) -> None:
    first, last = min(found.weeks), max(found.weeks)
    weeks = {week: found.weeks.get(week) for week in _mondays(first, last)}
    when = f"in the week of {first}" if first == last else f"in the weeks of {first} to {last}"
    terminal.print_line(f"{counted(found.total.files, 'file')} came to an end, {when} (UTC)\n")
    every = {"all": found.total} if len(found.folders) > 1 else {}
    _table("folder", found.folders | every)
    terminal.print_line("")
    _table("week", {week: figures for week, figures in weeks.items() if figures})
    if len(weeks) > 1 and is_utf8(sys.stdout):
        terminal.print_line(
            f"\npairs a week  {sparkline([figures.pairs if figures else 0 for figures in weeks.values()])}"
        )
    terminal.print_line("")
    _times(found.total)
    if found.failures:
        terminal.print_line("\nwhat was not learned, and why")
    for failure in found.failures:
        words = f"{output.paint(failure.state)}: {harmless(failure.reason)}"
        terminal.print_line(f"{failure.files:>7}  {words}", rest=" " * 9)


def _mondays(first: str, last: str) -> Iterator[str]:
    day, end = date.fromisoformat(first), date.fromisoformat(last)
    while day <= end:
        yield day.isoformat()
        day += timedelta(days=7)


def _table(name: str, groups: Mapping[str, Figures]) -> None:
    """Print a line for each group of files."""
    rows = [
        {
            name: group,
            "files": figures.files,
            "learned": figures.states[FileState.LEARNED],
            "failed": sum(figures.states[state] for state in _LOST),
            "other": figures.files - figures.states[FileState.LEARNED] - sum(figures.states[s] for s in _LOST),
            "bytes": figures.bytes,
            "pairs": figures.pairs,
            "pairs/file": None if figures.pairs_per_file is None else f"{figures.pairs_per_file:.1f}",
        }
        for group, figures in groups.items()
    ]
    output.show(rows, "table", tuple(rows[0]), empty="")


def _times(figures: Figures) -> None:
    for words, spans in (
        ("from drop to learned", figures.learned),
        ("  until it was sent", figures.waiting),
        ("  with the server", figures.server),
    ):
        if spans.p50 is not None and spans.p95 is not None:
            terminal.print_line(f"{words:<22}half within {span(spans.p50)}, 95 % within {span(spans.p95)}")


def sparkline(values: Sequence[int]) -> str:
    """Draw figures as a row of bars, from none to the greatest."""
    most = max(values, default=0) or 1
    return "".join(_BARS[min(len(_BARS) - 1, value * len(_BARS) // most)] for value in values)
