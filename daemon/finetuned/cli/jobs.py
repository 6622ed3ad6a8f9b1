"""`jobs` and `job`: a line for each job, and everything about one of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import click

from finetuned.amounts import size
from finetuned.cli import completions, output, terminal, wiring
from finetuned.cli.arguments import job_named
from finetuned.cli.events import tell_events
from finetuned.cli.listings import keys_of, listing
from finetuned.cli.made import sentences
from finetuned.cli.output import Row
from finetuned.cli.terminal import harmless, shortened, width_of
from finetuned.lifecycle import JobState

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.ledger.queries.filters import Filters
    from finetuned.settings import Settings

JOB_STATES: Final = tuple(map(str, JobState))
#: how many columns the name of a fact takes, with the gaps around it
_LABEL: Final = 12
JOB_COLUMNS: Final = ("id", "state", "files", "pairs", "progress", "created", "reason")


@click.command("jobs")
@listing(
    about="jobs",
    when="were made",
    states=JOB_STATES,
    sorts=("created", "finished", "files", "bytes", "pairs"),
    by_job=False,
    text="their ids or reasons",
)
def jobs_command(_: click.Context, reader: Reader, filters: Filters, form: str) -> None:
    """List jobs, oldest first; those that hold a file of a PATH, if one is given.

    A PATH may be a pattern, such as 'notes/**/*.md' from here, or '*.md' of names, in quotes; where a file was dropped
    counts, and where it lies now.
    """
    rows = reader.jobs(**filters)
    output.show(rows, form, JOB_COLUMNS, empty="no jobs", as_seen=_job_as_seen, keys=keys_of(form, "job"))


def _job_as_seen(job: Row) -> Row:
    return {"progress": progress_of(job), "created": output.moment(job["created_at"])}


def progress_of(job: Row) -> str:
    """Tell how far a job is, in words: `training 40 %`; what waits for a person is where the server left it."""
    if job["state"] == "review":
        return "all pairs are made"
    share = "" if job["progress"] is None else f"{job['progress']} %"
    return f"{job['stage'] or ''} {share}".strip()


@click.command("job")
@click.argument("job_id", metavar="ID", shell_complete=completions.jobs)
@output.one_object
@click.pass_context
def job_command(ctx: click.Context, job_id: str, form: str) -> None:
    """Show everything about one job: its files, its attempts, what was said of it, and when.

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
        "model": _model(job, width),
        "created": _at(job["created_at"]),
        "submitted": _at(job["submitted_at"]),
        "finished": _at(job["finished_at"]),
    }
    for name, value in facts.items():
        if value not in {None, ""}:
            terminal.print_line(f"  {name:<10}{harmless(value)}", rest=" " * _LABEL)
    _part("Files", job["file_list"], ("state", "path", "bytes", "pairs", "reason"))
    _part("Recall", [_asked(row) for row in job.get("recall", ())], ("file", "questions", "before", "after"))
    if making := job.get("making"):
        terminal.print_line("\nPairs made here")
        for sentence in sentences(making, job_id=job["id"], many=job["files"] > 1):
            terminal.print_line(f"  {harmless(sentence)}")
    _part("Attempts", job["sessions"], ("attempt", "state", "session_id", "intent_at", "ended_at", "reason"))
    _part("Interactions", job["interactions"], ("creator", "mode", "state", "stage", "progress", "status", "error"))
    terminal.print_line("\nWhat happened")
    tell_events(job["events"], reader, about=f"job {job['id']}", indent="  ")


def _model(job: Row, width: int | None) -> str | None:
    """Tell where a job's model lies, or when it was removed."""
    session = trained_session(job)
    if session and session["removed_at"]:
        return f"removed {_at(session['removed_at'])}"
    return job["lora_dir"] if width is None else shortened(job["lora_dir"] or "", width - _LABEL)


def _asked(row: Row) -> Row:
    kind = "new" if row["held_out"] else "taught"
    score = {"before": f"{row['untuned']:.2f}", "after": f"{row['tuned']:.2f}"}
    return {"file": row["file"], "questions": f"{row['questions']} {kind}", **score}


def _at(at: str | None) -> str | None:
    """Write when something was, and on a terminal how long ago that is."""
    if at is None:
        return None
    return output.when(at) if width_of() is None else f"{output.when(at)} ({output.moment(at)})"


def gone(job: Row, urls: Collection[str]) -> str | None:
    """Say why a job's model is on none of the servers at `urls`; null if it is, as far as is known, or never was."""
    session = trained_session(job)
    if session and session["removed_at"]:
        asked = any(event["cause"] in {"delete", "forgotten"} for event in job["events"])
        by = "as a person asked" if asked else "by finetuned"
        where = wiring.where(session["url"])
        return f"its session and its model were removed from {where} {output.when(session['removed_at'])}, {by}"
    if session and session["url"] not in urls:
        if wiring.where(session["url"]) == "this machine":
            return "it was trained on this machine, where no folder is learned any more"
        return f"it lies on another server, {session['url']}"
    return None


def trained_session(job: Row) -> Row | None:
    """Find the session that trained the job's model; null if none did."""
    return next((session for session in reversed(job["sessions"]) if session["state"] == "trained"), None)


def _part(title: str, rows: list[Row], columns: tuple[str, ...]) -> None:
    if rows:
        terminal.print_line(f"\n{title}")
        output.show(rows, "table", [c for c in columns if any(row[c] not in {None, ""} for row in rows)], empty="")
