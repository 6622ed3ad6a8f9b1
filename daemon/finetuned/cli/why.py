"""`why`: everything known about one path, in sentences."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import click

from finetuned.cli import completions, output, wiring
from finetuned.cli.arguments import as_configured, contents_of, job_named, typed
from finetuned.cli.jobs import job_command
from finetuned.cli.story import Story
from finetuned.errors import LedgerMissing
from finetuned.lifecycle import FILE_ENDS
from finetuned.paths import path_of

if TYPE_CHECKING:
    from finetuned.cli.output import Row
    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings


@click.command("why")
@click.argument("path", metavar="PATH|ID", shell_complete=completions.jobs_or_files)
@click.option(
    "--content", "by_content", is_flag=True, help="Tell of the file that was dropped with the content of PATH."
)
@output.one_object
@click.pass_context
def why_command(ctx: click.Context, path: str, by_content: bool, form: str) -> None:
    """Tell everything that is known about one file, in sentences.

    PATH is where the file was dropped, or where it lies now. For a file outside the drop folders it tells whether the
    same content, or a file of the same name, was dropped. For a job's id, or a part of it, it shows that job.
    """
    settings = wiring.load(ctx)
    reader: Reader | None
    try:
        reader = wiring.reader(ctx)
    except LedgerMissing:
        if wiring.runs(settings):  # it was taken away from under a daemon, which may know the file
            raise
        reader = None
    asked = as_configured(typed(path, reader.at_place if reader else lambda _: False), settings)
    story = Story(
        settings, reader, asked, _files(settings, reader, asked, by_content=by_content), by_content=by_content
    )
    is_job = (
        reader is not None
        and not by_content
        and "/" not in path
        and story.is_of_nothing
        and reader.jobs_like(path.strip().lower())
    )
    job_id = job_named(reader, path) if reader and is_job else None
    if job_id is None and form == "table":
        story.tell()
    elif job_id is None:
        output.show_one(story.for_programs(), form)
    elif form == "table":
        ctx.invoke(job_command, job_id=job_id)
    else:
        words = f"it is no file, but names the job {job_id}: finetuned job {job_id}"
        output.show_one(story.for_programs() | {"reason": words, "job_id": job_id}, form)


def _files(settings: Settings, reader: Reader | None, path: str, *, by_content: bool) -> list[Row]:
    """List the files that were dropped at a path, or lie there, or with its content; the newest first."""
    contents = contents_of(settings, path) if by_content else set()
    if reader is None:
        return []
    look = partial(reader.of_content, contents) if by_content else partial(reader.at_place, path)
    files = look()
    # where a file goes is in the ledger before it is moved
    return look() if any(_is_on_its_way(file) for file in files) else files


def _is_on_its_way(file: Row) -> bool:
    """Tell whether a file that is to be learned does not lie where it lay a moment ago."""
    location = file["location"] and path_of(file["location"], file.get("location_b64"))
    return bool(location) and file["state"] not in FILE_ENDS and not os.path.lexists(location)
