"""`forget`: remove what was learned of a file, and say plainly what goes with it.

A session holds a whole job: with it goes the model that learned from the file's companions, too. Their pairs stay.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from finetuned.amounts import counted
from finetuned.cli import completions, wiring
from finetuned.cli.arguments import dropped_as, typed
from finetuned.cli.output import Row
from finetuned.cli.terminal import say, seen
from finetuned.errors import UsageError
from finetuned.paths import path_of

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings


@click.command("forget")
@click.argument("path", metavar="PATH", shell_complete=completions.files)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def forget_command(ctx: click.Context, path: str, yes: bool) -> None:
    """Remove what was learned of a file: its pairs, and its job's session and model.

    PATH is where the file was dropped, where it lies now, or a file with the same content. The file itself stays.
    This cannot be undone.
    """
    from finetuned.cli.requests import ask_daemon, new_request

    settings = wiring.load(ctx)
    with wiring.open_ledger(settings) as reader:
        named = _meant(reader, settings, typed(path, reader.at_place))
        rows = [row for row in reader.at_place(named) if row["job_id"] is not None and row["pairs"]]
        for words in _what_goes(reader, rows):
            say(words)
    if rows and not yes:
        if not sys.stdin.isatty():
            raise UsageError(
                "this cannot be undone, and nobody is there to be asked", remedy="say --yes to have it done"
            )
        click.confirm("Forget it?", abort=True, err=True)
    ctx.exit(ask_daemon(ctx, [new_request("forget", path=named)]))


def _meant(reader: Reader, settings: Settings, path: str) -> str:
    """Find where the file was dropped that `path` names by its content; else it is the path itself. Raises UsageError.

    A file that only has the same name is another one.
    """
    found = None if reader.at_place(path) else dropped_as(reader, settings, path)
    if found is None or found.by != "content":
        return path
    learned = [path_of(file["path"], file.get("path_b64")) for file in found.files if file["pairs"]]
    if len(learned) > 1:
        raise UsageError(found.words(seen), remedy="name the one that is to be forgotten")
    return learned[0] if learned else path


def _what_goes(reader: Reader, rows: list[Row]) -> Iterator[str]:
    """Tell what is removed with the files, and what stays, in sentences."""
    for row in rows:
        others = [file for file in reader.files(job=row["job_id"]) if file["path"] != row["path"] and file["pairs"]]
        go = f"{counted(row['pairs'], 'pair')} {'goes' if row['pairs'] == 1 else 'go'}"
        yield f"{seen(row['path'])}: its {go} from the ledger and from the job's pairs.jsonl."
        sessions = (reader.job(row["job_id"]) or {"sessions": []})["sessions"]
        where = wiring.where(sessions[-1]["url"] if sessions else "")
        yield f"The session and the model of {row['job_id']} are removed from {where}."
        if others:
            names = ", ".join(seen(file["path"]) for file in others[:5]) + (", …" if len(others) > 5 else "")
            yield (
                f"That model learned from {len(others)} more: {names}. Their pairs stay, but no model has them any "
                "more; drop them again to train them anew."
            )
        if row["location"] is not None:
            yield f"The file itself stays: {seen(row['location'])}."
    if rows:
        yield "None of this can be undone. Copies of the ledger, and what was exported, are yours to look after."
