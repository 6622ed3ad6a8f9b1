"""What `top` shows: the status, the jobs under way and the last events, in as many lines as a terminal has.

1. The screen is made of values alone, so that any size of it can be tried without a terminal.
2. What needs a person comes first; of what has no room the number is told. The events get what is left.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from finetuned.amounts import size, span
from finetuned.cli import output, wiring
from finetuned.cli.events import event_lines
from finetuned.cli.jobs import progress_of
from finetuned.cli.output import Row, paint
from finetuned.cli.status import other_words, others, server_words, status_of, uses
from finetuned.cli.table import Table
from finetuned.cli.terminal import folded, harmless, is_utf8
from finetuned.errors import FinetunedError, LedgerMissing
from finetuned.model import Value
from finetuned.times import instant, iso

if TYPE_CHECKING:
    from finetuned.settings import Settings

#: more events than the highest terminal has lines
_EVENTS: Final = 200
#: more jobs than that
_JOBS: Final = 200
#: a bar of progress, in columns
_BAR: Final = 10
#: how many columns the date takes, with the gap behind it
_DATE: Final = 11
_FOLDER: Final = ("folder", "state", "settling", "waiting", "oldest", "path")
_JOB: Final = ("job", "state", "stage", "progress", "age", "files", "why")


class View(Value, frozen=True):
    """What is known at one moment; `trouble` says why nothing is (empty: all is well), `start` how to have a daemon."""

    now: float
    status: Mapping[str, Any] | None = None
    jobs: tuple[Row, ...] = ()
    events: tuple[str, ...] = ()
    trouble: str = ""
    start: str = ""


def view_of(settings: Settings, now: float) -> View:
    """Look at the ledger."""
    start = wiring.how_to_start(settings)
    try:
        status = status_of(settings, now)
        with wiring.open_ledger(settings) as reader:
            jobs = tuple(job for job, _ in zip(reader.unfinished(), range(_JOBS), strict=False))
            newest = reader.events(newest_first=True, limit=_EVENTS)
            return View(
                now=now,
                start=start,
                status=status,
                jobs=jobs,
                events=tuple(event_lines(newest, reader, at=output.when)),
            )
    except LedgerMissing:  # none yet, or it was taken away: the status says which
        return View(now=now, start=start, status=status)
    except FinetunedError as error:
        return View(now=now, trouble=error.with_remedy())


def screen(view: View, width: int, height: int, every: str) -> list[str]:
    """Lay out what is known in `height` lines, coloured; a line may be longer than `width`, and is to be cut."""
    foot = f"q ends{'':{max(1, width - 12 - len(every))}}every {every}"
    if view.status is None:
        told = [_title(view), "", *folded(harmless(f"trouble  {view.trouble}"), width)]
        return [*_filled(told[: height - 1], height - 1), foot]
    status = view.status
    lines = [_title(view), *_summary(status)]
    room = max(0, height - 1 - len(lines))
    sections = ((_attention(status, width), 4), (_folders(status, width), 4), (_jobs(view, width), 3))
    for section, share in sections:
        lines += _section(section, max(3, room // share), height - 1 - len(lines))
    left = height - 1 - len(lines) - 2
    if left > 0 and view.events:
        today = iso(view.now)[: _DATE - 1]
        told = [line[_DATE:] if line.startswith(today) else line for line in view.events[:left]]
        lines += ["", click.style("last events (UTC)", bold=True), *told]
    return [*_filled(lines[: height - 1], height - 1), foot]


def _filled(lines: list[str], height: int) -> list[str]:
    return lines + [""] * (height - len(lines))


def _section(lines: Sequence[str], most: int, room: int) -> list[str]:
    """Take a section with an empty line before it, as far as there is room."""
    most = min(most, room - 1)
    if not lines or most < 2:
        return []
    if len(lines) > most:
        lines = [*lines[: most - 1], f"… and {len(lines) - most + 1} more lines"]
    return ["", *lines]


def _title(view: View) -> str:
    now = output.when(iso(view.now))[_DATE:]
    daemon = (view.status or {}).get("daemon", {})
    if view.status is None:
        words = ""
    elif not daemon["running"]:
        words = click.style(f"no daemon runs: start it with `{view.start}`", fg="red", bold=True)
    else:
        since = daemon["since"]
        words = "daemon runs" + (f" for {span(max(0.0, view.now - instant(since)))}" if since else "")
        words += f", pid {daemon['pid']}" if daemon["pid"] else ""
        words += f", version {daemon['version']}" if daemon["version"] else ""
    return f"{click.style('finetuned', bold=True)}  {now}  {words}".rstrip()


def _summary(status: Mapping[str, Any]) -> Iterator[str]:
    helix, ledger = status["helix"], status["ledger"]
    jobs = ", ".join(f"{count} {paint(state)}" for state, count in status["jobs"].items() if count)
    yield f"jobs     {jobs or 'none yet'}"
    if uses(status, "helix"):
        yield f"server   {harmless(helix['url'])}: {server_words(helix)}"
    yield from (f"{backend['kind']:<8} {other_words(backend)}" for backend in others(status))
    if helix["last_error"] and not helix["paused_because"] and not helix["reachable"]:
        yield f"         {harmless(helix['last_error'])}"
    yield f"ledger   {'not there' if ledger['bytes'] is None else size(ledger['bytes'])}, {harmless(ledger['path'])}"


def _attention(status: Mapping[str, Any], width: int) -> list[str]:
    lines = []
    for need in status["attention"]:
        words = f"attention  {harmless(need['subject'])}: {harmless(need['words'])}"
        if need["remedy"]:
            words += f"; to do: {harmless(need['remedy'])}"
        first, *rest = folded(words, width, rest=" " * 11)
        lines += [click.style(first, fg="yellow"), *rest]
    return lines


def _folders(status: Mapping[str, Any], width: int) -> list[str]:
    unwatched = {None} if status["daemon"]["running"] else {None, "watched"}
    rows = [
        [
            folder["name"],
            "not watched" if folder["state"] in unwatched else folder["state"],
            str(folder["settling"]),
            str(folder["waiting"]),
            "" if folder["oldest_wait_s"] is None else span(folder["oldest_wait_s"]),
            harmless(folder["path"]),
        ]
        for folder in status["folders"]
    ]
    return list(Table(_FOLDER, width, paths=("path",), spare=("settling",)).lines(rows)) if rows else []


def _jobs(view: View, width: int) -> list[str]:
    rows = [
        [
            job["id"],
            paint(job["state"]),
            harmless(job["stage"] or ""),
            _bar(job),
            span(max(0.0, view.now - instant(job["created_at"]))),
            str(job["files"]),
            harmless(job["reason"] or ""),
        ]
        for job in view.jobs
    ]
    return list(Table(_JOB, width, texts=("why",), spare=("stage", "files", "age")).lines(rows)) if rows else []


def _bar(job: Row) -> str:
    if job["progress"] is None or job["state"] == "review":
        return progress_of(job) if job["state"] == "review" else ""
    done = min(_BAR, job["progress"] * _BAR // 100)
    full, empty = ("█", "░") if is_utf8(sys.stdout) else ("#", "-")
    return f"{full * done}{empty * (_BAR - done)} {job['progress']:3} %"
