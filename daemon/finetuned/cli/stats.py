"""`stats`: what came to an end, in figures: how many files, how much they taught, how long it took, what went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

import click

from finetuned.amounts import counted, span
from finetuned.cli import completions, output, terminal, wiring
from finetuned.cli.arguments import check_folder, new_file
from finetuned.cli.listings import span_of, span_options
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
@span_options("files", "came to an end")
@click.option("--plot", metavar="FILE.svg", help="Draw the weeks as a picture.")
@click.option("--force", is_flag=True, help="Let --plot replace a file.")
@output.one_object
@click.pass_context
def stats_command(
    ctx: click.Context,
    folder: str | None,
    since: str | None,
    until: str | None,
    plot: str | None,
    force: bool,
    form: str,
) -> None:
    """Show figures about the files that came to an end: pairs, times, failures, by folder and week.

    --plot draws pairs, files and times of each week into FILE.svg, which any browser shows.
    """
    from finetuned.ledger.queries.statistics import statistics

    path = None if plot is None else new_file(plot)
    reader = wiring.reader(ctx)
    settings = wiring.load(ctx)
    check_folder(settings, reader, folder)
    begin, end = span_of(since, until)
    found = statistics(reader, folder=folder, since=begin, until=end)
    if path is not None and not found.weeks:
        terminal.say(f"{terminal.seen(path)} is not written: there is nothing to draw")
    elif path is not None:
        wiring.check_not_own(settings, path)
        _plot(found, path, force=force)
    if form != "table":
        output.show_one(_for_programs(found, begin, end), form)
        return
    if not found.total.files:
        when = "in that time" if until else "since then" if since else "yet"
        terminal.say(f"no file came to its end {when}")
        return
    _tell(found)


def _plot(found: Statistics, path: str, *, force: bool) -> None:
    """Draw the weeks into a file, which is there when it is whole. Raises FinetunedError."""
    from finetuned.cli.outputs import Beside
    from finetuned.cli.plot import Panel, svg

    weeks = _every_week(found)

    def panel(title: str, figure: Callable[[Figures], float | None]) -> Panel:
        values = [(day, round((figure(figures) or 0) if figures else 0)) for day, figures in weeks.items()]
        return Panel(title, values)

    drawn = svg(
        f"finetuned: {found.total.files:,} files at their end, week by week from Monday on (UTC)",
        [
            panel("pairs learned", lambda week: week.pairs),
            panel("files learned", lambda week: week.states[FileState.LEARNED]),
            panel("files not learned (refused, barren, failed)", lambda week: sum(week.states[s] for s in _LOST)),
            panel("seconds from drop to learned, of half the files", lambda week: week.learned.p50),
        ],
    )
    folder, name = os.path.split(path)
    with Beside(folder, [name], force=force) as out:
        out.publish(name, drawn.encode())


def _for_programs(found: Statistics, since: float | None, until: float | None) -> Row:
    """Return the object `stats` of `docs/interface.md`."""
    return {
        "since": None if since is None else iso(since),
        "until": None if until is None else iso(until),
        "total": _figures(found.total),
        "folders": [{"folder": name} | _figures(figures) for name, figures in found.folders.items()],
        "weeks": [{"week": week} | _figures(figures) for week, figures in found.weeks.items()],
        "failures": [
            {"state": one.state, "reason": one.reason, "files": one.files, "last_at": one.last_at}
            for one in found.failures
        ],
    } | ({"tokens": [{"week": week, "tokens": count} for week, count in found.tokens.items()]} if found.tokens else {})


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
        "recall_files": figures.recalled.files if figures.recalled else 0,
        "recall_untuned": round(figures.recalled.untuned, 3) if figures.recalled else None,
        "recall_tuned": round(figures.recalled.tuned, 3) if figures.recalled else None,
    }


def _shares(spans: Spans) -> Sequence[tuple[str, float | None]]:
    return (("p50", spans.p50), ("p95", spans.p95))


def _tell(found: Statistics) -> None:
    """Print it for people."""
    weeks = _every_week(found)
    first, last = min(found.weeks), max(found.weeks)
    when = f"in the week of {first}" if first == last else f"in the weeks of {first} to {last}"
    terminal.print_line(f"{counted(found.total.files, 'file')} came to an end, {when} (UTC)\n")
    every = {"all": found.total} if len(found.folders) > 1 else {}
    _table("folder", found.folders | every)
    terminal.print_line("")
    _table("week", found.weeks)
    if len(weeks) > 1 and is_utf8(sys.stdout):
        terminal.print_line(
            f"\npairs a week  {sparkline([figures.pairs if figures else 0 for figures in weeks.values()])}"
        )
    terminal.print_line("")
    _times(found.total)
    if known := found.total.recalled:
        words = f"{known.untuned:.2f} before the training, {known.tuned:.2f} after it"
        terminal.print_line(f"{'recall, with no text':<22}{words}, of {counted(known.files, 'file')}")
    if found.tokens:
        total, most = sum(found.tokens.values()), max(found.tokens.values())
        words = f"{total:,}, in {counted(len(found.tokens), 'week')}; {most:,} in a week at most"
        terminal.print_line(f"{'tokens spent here':<22}{words}")
    if found.failures:
        terminal.print_line("\nwhat was not learned, and why")
    for failure in found.failures:
        words = f"{output.paint(failure.state)}: {harmless(failure.reason)}"
        terminal.print_line(f"{failure.files:>7}  {words}", rest=" " * 9)


def _every_week(found: Statistics) -> dict[date, Figures | None]:
    """List the weeks from the first to the last, by their Monday; null: nothing came to its end in it."""
    first, last = (date.fromisoformat(which(found.weeks)) for which in (min, max))
    mondays = [first + timedelta(days=7 * number) for number in range((last - first).days // 7 + 1)]
    return {day: found.weeks.get(day.isoformat()) for day in mondays}


def _table(name: str, groups: Mapping[str, Figures]) -> None:
    """Print a line for each group of files."""
    rows = [
        {
            name: group,
            "files": figures.files,
            "learned": figures.states[FileState.LEARNED],
            "not learned": sum(figures.states[state] for state in _LOST),
            "skipped": figures.files - figures.states[FileState.LEARNED] - sum(figures.states[s] for s in _LOST),
            "bytes": figures.bytes,
            "pairs": figures.pairs,
            "pairs/file": None if figures.pairs_per_file is None else f"{figures.pairs_per_file:.1f}",
        }
        | ({"recall": _recall(figures)} if any(one.recalled for one in groups.values()) else {})
        for group, figures in groups.items()
    ]
    output.show(rows, "table", tuple(rows[0]), empty="")


def _recall(figures: Figures) -> str:
    """Tell how well a group's questions were answered, before the training and after it."""
    known = figures.recalled
    return f"{known.untuned:.2f} → {known.tuned:.2f}" if known else ""


def _times(figures: Figures) -> None:
    for words, spans in (
        ("from drop to learned", figures.learned),
        ("  until it was sent", figures.waiting),
        ("  from then on", figures.server),
    ):
        if spans.p50 is not None and spans.p95 is not None:
            terminal.print_line(f"{words:<22}half within {span(spans.p50)}, 95 % within {span(spans.p95)}")


def sparkline(values: Sequence[int]) -> str:
    """Draw figures as a row of bars, from none to the greatest."""
    most = max(values, default=0) or 1
    return "".join(_BARS[min(len(_BARS) - 1, value * len(_BARS) // most)] for value in values)
