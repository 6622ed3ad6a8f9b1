"""`files`: a line for each file."""

from __future__ import annotations

from typing import Final

import click

from finetuned.cli import place, showing
from finetuned.cli.naming import job_named

#: written out, so that `--help` need not load the tables; a test holds them to `lifecycle`
FILE_STATES: Final = (
    "settling", "waiting", "packed", "learned", "barren", "refused", "failed", "duplicate", "vanished",
)  # fmt: skip
FILE_COLUMNS: Final = ("state", "path", "bytes", "pairs", "job_id", "reason")


@click.command("files")
@click.option("--state", type=click.Choice(FILE_STATES), help="Only files in this state.")
@click.option("--job", "job_id", metavar="ID", help="Only files of this job.")
@showing.listing
@click.pass_context
def files_command(ctx: click.Context, state: str | None, job_id: str | None, form: str) -> None:
    """List files in the order they were seen; `finetuned why PATH` tells all about one."""
    reader = place.reader(ctx)
    if job_id is not None:
        job_id = job_named(reader, job_id)
    showing.show(reader.files(state=state, job=job_id), form, FILE_COLUMNS, empty="no files")
