"""`forget`: remove what was learned of a file, and say plainly what goes with it.

A session holds a whole job: with it goes the model that learned from the file's companions, too. Their pairs stay.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from finetuned.cli import wiring
from finetuned.cli.layout import seen
from finetuned.cli.output import Row, placed, say
from finetuned.cli.requests import ask_daemon, new_request

if TYPE_CHECKING:
    from finetuned.ledger import Reader


@click.command("forget")
@click.argument("path", metavar="PATH")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def forget_command(ctx: click.Context, path: str, yes: bool) -> None:
    """Remove what was learned of a file: its pairs, and its job's session and model on the server.

    PATH is where the file was dropped, or where it lies now; the file itself stays. This cannot be undone.
    """
    from finetuned.errors import UsageError

    with wiring.open_ledger(wiring.load(ctx)) as reader:
        named = wiring.typed(path, reader.at_place)
        rows = [row for row in reader.at_place(named) if row["job_id"] is not None and row["pairs"]]
        for words in _what_goes(reader, rows):
            say(words)
    if rows and not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "this cannot be undone, and nobody is there to be asked", remedy="say --yes to have it done"
            )
        click.confirm("Forget it?", abort=True, err=True)
    ctx.exit(ask_daemon(ctx, [new_request("forget", **placed(named))]))


def _what_goes(reader: Reader, rows: list[Row]) -> Iterator[str]:
    """What is removed with the files, and what stays, in sentences."""
    for row in rows:
        others = [file for file in reader.files(job=row["job_id"]) if file["path"] != row["path"] and file["pairs"]]
        yield f"{seen(row['path'])}: its {row['pairs']} pairs go from the ledger and from the job's pairs.jsonl."
        yield f"The session and the model of {row['job_id']} are removed from the server."
        if others:
            names = ", ".join(seen(file["path"]) for file in others[:5]) + (", …" if len(others) > 5 else "")
            yield (
                f"That model learned from {len(others)} more: {names}. Their pairs stay, but no model has them any "
                "more; drop them again to train them anew."
            )
        yield f"The file itself stays: {seen(row['location'] or row['path'])}."
    if rows:
        yield "None of this can be undone. Copies of the ledger, and what was exported, are yours to look after."
