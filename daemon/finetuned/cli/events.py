"""`events`: what happened, once or as it happens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import output, terminal
from finetuned.cli.listings import keys_of, listing
from finetuned.cli.output import Row
from finetuned.cli.terminal import from_here, harmless, shortened, width_of
from finetuned.cli.watch import LOOK_AT_MOST_EVERY, Watch
from finetuned.errors import UsageError
from finetuned.lifecycle import FileState, JobState, SessionState

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.ledger.queries.filters import Filters
    from finetuned.runtime import Runtime

#: what a file, a job, a session, a folder, the server or the daemon may become
EVENT_STATES: Final = tuple(
    dict.fromkeys(
        (
            *map(str, (*FileState, *JobState, *SessionState)),
            *("watched", "away", "paused", "retired", "released"),
            *("usable", "started", "reloaded", "reload_refused", "stopped", "going_on", "refused"),
            *("watching", "sweeping", "served", "unserved", "working", "failing", "gave_up", "removed"),
        )
    )
)
#: how many columns the time that it is since an event takes
_AGE: Final = 10
#: … and a whole time, with the gap behind it
_TIME: Final = 22
#: a path is not made shorter than this
_NARROWEST: Final = 24


@click.command("events")
@listing(
    about="events",
    when="happened",
    states=EVENT_STATES,
    text="their causes, details, ids or paths",
)
@click.option("--follow", is_flag=True, help="Then show what happens next, until Ctrl-C.")
def events_command(_: click.Context, reader: Reader, filters: Filters, form: str, follow: bool) -> None:
    """Show what happened, oldest first; of files of a PATH alone, if one is given.

    A state is what something became. A PATH may be a pattern, such as 'notes/**/*.md' from here, or '*.md' of names, in
    quotes; where a file was dropped counts, and where it lies now. There is no other order:
    what happened is told as it happened.
    """
    if not follow:
        events = reader.events(**filters)
        if form != "table":
            output.show(events, form, (), empty="", keys=keys_of(form, "event"))
        elif not tell_events(events, reader):
            terminal.say("no events")
        return
    if form == "json":
        raise UsageError("--follow never ends an array", remedy="use --jsonl")
    if filters.get("limit") or filters.get("until") or filters.get("newest_first"):
        raise UsageError(
            "--follow has no end: it takes neither --limit nor --reverse nor --until", remedy="use --since"
        )
    import anyio

    from finetuned.runtime import SystemRuntime

    with suppress(KeyboardInterrupt):
        anyio.run(follow_events, reader.path, filters, form, SystemRuntime())


async def follow_events(path: str, filters: Filters, form: str, runtime: Runtime) -> None:
    """Print events as they come, for ever; between two looks nothing of the ledger is held open."""
    from finetuned.ledger.queries import Reader
    from finetuned.runtime import Wake

    told, keys = 0, keys_of(form, "event")
    watch = Watch(path, runtime)

    def new(reader: Reader) -> Iterator[Row]:
        nonlocal told
        for event in reader.events(after=told, **filters):
            told = event["id"]
            yield event

    while True:
        if watch.has_news():
            with Reader.open(path) as reader:
                if form == "table":  # a line stays on the screen: how long ago it was would not stay true
                    tell_events(new(reader), reader, at=output.when)
                else:
                    output.show(new(reader), form, (), empty="", keys=keys)
            sys.stdout.flush()
        await runtime.wait(Wake(), LOOK_AT_MOST_EVERY)


def tell_events(
    events: Iterable[Row],
    reader: Reader,
    *,
    about: str | None = None,
    indent: str = "",
    at: Callable[[str], str] = output.moment,
) -> bool:
    """Print events for people; whether there were any. `about`: the subject that all know is meant (`job ID`).

    `at` writes the time of each.
    """
    line, rest = None, indent + " " * (_AGE + 2 if at is output.moment else _TIME)
    for line in event_lines(events, reader, about, at=at):
        terminal.print_line(indent + line, rest=rest)
    return line is not None


def event_lines(
    events: Iterable[Row], reader: Reader, about: str | None = None, *, at: Callable[[str], str] = output.moment
) -> Iterator[str]:
    """Yield events for people, a line each: when, who, what, why."""
    for event in events:
        was, became, detail = event["was"], event["became"], event["detail"]
        moved = was not in {None, became}
        what = f"{was} → {output.paint(became)}" if moved else output.paint(became)
        if detail and event["cause"] == "put_away":
            detail = _short(detail)
        why = " ".join(part for part in (event["cause"], detail) if part and part != became)
        who = "" if f"{event['subject']} {event['subject_id']}" == about else f"{_who(event, reader)}  "
        yield f"{at(event['at']):<{_AGE}}  {who}{what}  {harmless(why)}".rstrip()


def _who(event: Row, reader: Reader) -> str:
    """Tell whom an event is about."""
    subject, named = event["subject"], event["subject_id"]
    if subject == "daemon" and event["became"] in {"done", "refused"}:
        subject = "request"
    if subject == "file" and (path := reader.name_of(named)) is not None:
        return f"file {_short(path)}"
    return f"{subject} {harmless(named)}"


def _short(path: str) -> str:
    """Return a path in one line beside its time; whole, but on a terminal."""
    width, path = width_of(), harmless(from_here(path))
    return path if width is None else shortened(path, max(_NARROWEST, width - _TIME - len("file  ")))
