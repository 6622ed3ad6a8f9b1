"""`files`: a line for each file."""

from __future__ import annotations

from typing import Final

import click

from finetuned.cli import output, wiring
from finetuned.cli.arguments import check_folder, job_named
from finetuned.cli.terminal import say
from finetuned.lifecycle import FileState

FILE_STATES: Final = tuple(map(str, FileState))
FILE_COLUMNS: Final = ("state", "path", "bytes", "pairs", "job_id", "reason")


@click.command("files")
@click.option(
    "--state", metavar="S", type=click.Choice(FILE_STATES), help=f"Only files in this state: {', '.join(FILE_STATES)}."
)
@click.option("--job", "job_id", metavar="ID", help="Only files of this job.")
@click.option("--folder", metavar="NAME", help="Only files of this folder.")
@output.long_listing
@click.pass_context
def files_command(
    ctx: click.Context,
    state: str | None,
    job_id: str | None,
    folder: str | None,
    form: str,
    limit: int | None,
    newest_first: bool,
) -> None:
    """List files in the order they were seen; `finetuned why PATH` tells all about one."""
    reader = wiring.reader(ctx)
    check_folder(wiring.load(ctx), reader, folder)
    job_id = None if job_id is None else job_named(reader, job_id)
    rows = reader.files(state=state, job=job_id, folder=folder, newest_first=newest_first)
    output.show(rows, form, FILE_COLUMNS, empty="no files", limit=limit)
    for name, known in reader.folders().items():
        if form == "table" and known["paused_since"] and known["waiting"] and folder in {None, name}:
            say(f"the folder {name} is paused, its files wait: finetuned resume {name}")
