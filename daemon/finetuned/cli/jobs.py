"""`jobs` and `job`: a line for each job, and everything about one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from finetuned.amounts import size
from finetuned.cli import output, terminal, wiring
from finetuned.cli.arguments import check_folder, job_named
from finetuned.cli.events import tell_events
from finetuned.cli.output import Row
from finetuned.cli.terminal import harmless, shortened, width_of
from finetuned.lifecycle import JobState

if TYPE_CHECKING:
    from finetuned.ledger import Reader
    from finetuned.settings import Settings

JOB_STATES: Final = tuple(map(str, JobState))
#: how many columns the name of a fact takes, with the gaps around it
_LABEL: Final = 12
JOB_COLUMNS: Final = ("id", "state", "files", "pairs", "progress", "created", "reason")


@click.command("jobs")
@click.option(
    "--state", metavar="S", type=click.Choice(JOB_STATES), help=f"Only jobs in this state: {', '.join(JOB_STATES)}."
)
@click.option("--folder", metavar="NAME", help="Only jobs of this folder.")
@output.since
@output.long_listing
@click.pass_context
def jobs_command(
    ctx: click.Context,
    state: str | None,
    folder: str | None,
    since: float | None,
    form: str,
    limit: int | None,
    newest_first: bool,
) -> None:
    """List jobs, oldest first."""
    reader = wiring.reader(ctx)
    check_folder(wiring.load(ctx), reader, folder)
    rows = reader.jobs(state=state, folder=folder, since=since, newest_first=newest_first)
    output.show(rows, form, JOB_COLUMNS, empty="no jobs", as_seen=_job_as_seen, limit=limit)


def _job_as_seen(job: Row) -> Row:
    return {"progress": progress_of(job), "created": output.when(job["created_at"])}


def progress_of(job: Row) -> str:
    """Tell how far a job is, in words: `training 40 %`; what waits for a person is where the server left it."""
    if job["state"] == "review":
        return "all pairs are made"
    share = "" if job["progress"] is None else f"{job['progress']} %"
    return f"{job['stage'] or ''} {share}".strip()


@click.command("job")
@click.argument("job_id", metavar="ID")
@output.one_object
@click.pass_context
def job_command(ctx: click.Context, job_id: str, form: str) -> None:
    """Show everything about one job: its files, its attempts, what the server said, and when.

    ID is the job's id, or any part of it that no other job has.
    """
    reader = wiring.reader(ctx)
    job = reader.job(job_named(reader, job_id)) or {}
    if form == "table":
        _tell_job(job, reader, _waits(wiring.load(ctx), reader, job))
    else:
        output.show_one(job, form)


def _waits(settings: Settings, reader: Reader, job: Row) -> str | None:
    """Tell what an unfinished job waits for; None if it is at its end."""
    if job["finished_at"] is not None:
        return None
    from finetuned.cli.outlook import Outlook, held_back

    outlook = Outlook.of(settings, reader)
    return held_back(settings, outlook) or (outlook.of_job(job["id"]) if outlook else None)


def _tell_job(job: Row, reader: Reader, waits: str | None) -> None:
    width = width_of()
    terminal.print_line(f"{job['id']}  {output.paint(job['state'])}")
    facts = {
        "reason": job["reason"],
        "waits for": waits,
        "folder": job["folder"],
        "files": f"{job['files']}, {size(job['bytes'])}",
        "pairs": job["pairs"],
        "stage": progress_of(job),
        "attempt": f"{job['attempt']}, restarts {job['restarts']}",
        "session": job["session_id"],
        "model": job["lora_dir"] if width is None else shortened(job["lora_dir"] or "", width - _LABEL),
        "created": output.when(job["created_at"]),
        "submitted": output.when(job["submitted_at"]),
        "finished": output.when(job["finished_at"]),
    }
    for name, value in facts.items():
        if value not in {None, ""}:
            terminal.print_line(f"  {name:<10}{harmless(value)}", rest=" " * _LABEL)
    _part("Files", job["file_list"], ("state", "path", "bytes", "pairs", "reason"))
    _part("Attempts", job["sessions"], ("attempt", "state", "session_id", "intent_at", "ended_at", "reason"))
    _part("Interactions", job["interactions"], ("creator", "mode", "state", "stage", "progress", "status", "error"))
    terminal.print_line("\nWhat happened")
    tell_events(job["events"], reader, about=f"job {job['id']}", indent="  ")


def gone(job: Row, url: str) -> str | None:
    """Say why a job's model is not on the server at `url`; null if it is, as far as is known, or was never made."""
    session = trained_session(job)
    if session and session["removed_at"]:
        asked = any(event["cause"] == "delete" for event in job["events"])
        by = "as a person asked" if asked else "by finetuned"
        return f"its session and its model were removed from the server {output.when(session['removed_at'])}, {by}"
    if session and session["url"] != url:
        return f"it lies on another server, {session['url']}"
    return None


def trained_session(job: Row) -> Row | None:
    """Find the session that trained the job's model; null if none did."""
    return next((session for session in reversed(job["sessions"]) if session["state"] == "trained"), None)


def _part(title: str, rows: list[Row], columns: tuple[str, ...]) -> None:
    if rows:
        terminal.print_line(f"\n{title}")
        output.show(rows, "table", [c for c in columns if any(row[c] not in {None, ""} for row in rows)], empty="")
