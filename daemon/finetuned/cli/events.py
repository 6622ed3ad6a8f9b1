"""`events`: what happened, once or as it happens."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import output, terminal, wiring
from finetuned.cli.arguments import job_named
from finetuned.cli.output import Row
from finetuned.cli.terminal import from_here, harmless, shortened, width_of
from finetuned.errors import UsageError

if TYPE_CHECKING:
    from finetuned.ledger import Reader
    from finetuned.runtime import Runtime

#: seconds between two looks of `events --follow`
FOLLOW_EVERY: Final = 0.5
#: how many columns the time takes, with the gap behind it
_TIME: Final = 22
#: a path is not made shorter than this
_NARROWEST: Final = 24


@click.command("events")
@click.option("--job", "job_id", metavar="ID", help="Only what happened to this job, its files and its sessions.")
@output.since
@click.option("--follow", is_flag=True, help="Then show what happens next, until Ctrl-C.")
@output.long_listing
@click.pass_context
def events_command(
    ctx: click.Context,
    job_id: str | None,
    since: float | None,
    follow: bool,
    form: str,
    limit: int | None,
    newest_first: bool,
) -> None:
    """Show what happened, oldest first."""
    if follow and form == "json":
        raise UsageError("--follow never ends an array", remedy="use --jsonl")
    if follow and (limit is not None or newest_first):
        raise UsageError("--follow has no end: it takes neither --limit nor --reverse", remedy="use --since")
    reader = wiring.reader(ctx)
    job_id = None if job_id is None else job_named(reader, job_id)
    if follow:
        import anyio

        from finetuned.runtime import SystemRuntime

        with suppress(KeyboardInterrupt):
            anyio.run(follow_events, reader.path, job_id, form, SystemRuntime(), since)
        return
    events = islice(reader.events(job=job_id, since=since, newest_first=newest_first), limit)
    if form != "table":
        output.show(events, form, (), empty="")
    elif not tell_events(events, reader):
        terminal.say("no events")


async def follow_events(path: str, job_id: str | None, form: str, runtime: Runtime, since: float | None = None) -> None:
    """Print events as they come, for ever; between two looks nothing of the ledger is held open."""
    from finetuned.ledger import Reader
    from finetuned.runtime import Wake

    told = 0

    def new(reader: Reader) -> Iterator[Row]:
        nonlocal told
        for event in reader.events(job=job_id, after=told, since=since):
            told = event["id"]
            yield event

    while True:
        with Reader.open(path) as reader:
            if form == "jsonl":
                output.show(new(reader), form, (), empty="")
            else:
                tell_events(new(reader), reader)
        sys.stdout.flush()
        await runtime.wait(Wake(), FOLLOW_EVERY)


def tell_events(events: Iterable[Row], reader: Reader, *, about: str | None = None, indent: str = "") -> bool:
    """Print events for people; whether there were any. `about`: the subject that all know is meant (`job ID`)."""
    line = None
    for line in event_lines(events, reader, about):
        terminal.print_line(indent + line, rest=indent + " " * _TIME)
    return line is not None


def event_lines(events: Iterable[Row], reader: Reader, about: str | None = None) -> Iterator[str]:
    """Yield events for people, a line each: when, who, what, why."""
    for event in events:
        was, became, detail = event["was"], event["became"], event["detail"]
        moved = was not in {None, became}
        what = f"{was} → {output.paint(became)}" if moved else output.paint(became)
        if detail and event["cause"] == "put_away":
            detail = _short(detail)
        why = " ".join(part for part in (event["cause"], detail) if part and part != became)
        who = "" if f"{event['subject']} {event['subject_id']}" == about else f"{_who(event, reader)}  "
        yield f"{output.when(event['at'])}  {who}{what}  {harmless(why)}".rstrip()


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
