"""`files`: a line for each file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from finetuned.cli import output
from finetuned.cli.listings import keys_of, listing
from finetuned.cli.terminal import say
from finetuned.lifecycle import FileState

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.ledger.queries.filters import Filters

FILE_STATES: Final = tuple(map(str, FileState))
FILE_COLUMNS: Final = ("state", "path", "bytes", "pairs", "job_id", "reason")


@click.command("files")
@listing(
    about="files",
    when="were seen",
    states=FILE_STATES,
    sorts=("seen", "path", "bytes", "pairs", "finished"),
    text="their paths or reasons",
)
def files_command(_: click.Context, reader: Reader, filters: Filters, form: str) -> None:
    """List files in the order they were seen; `finetuned why PATH` tells all about one.

    A PATH may be a pattern, such as 'notes/**/*.md' from here, or '*.md' of names, in quotes; where a file was dropped
    counts, and where it lies now.
    """
    output.show(reader.files(**filters), form, FILE_COLUMNS, empty="no files", keys=keys_of(form, "file"))
    if form != "table":
        return
    for name, known in reader.folders().items():
        if known["paused_since"] and known["waiting"] and filters.get("folder") in {None, name}:
            say(f"the folder {name} is paused, its files wait: finetuned resume {name}")
