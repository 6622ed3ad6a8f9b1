"""`backup` and `restore`: the ledger copied into one file, and such a file laid in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from finetuned import clock
from finetuned.amounts import counted, size
from finetuned.cli import completions, output, wiring
from finetuned.cli.arguments import absolute, new_file
from finetuned.cli.output import Row, placed
from finetuned.cli.terminal import harmless, print_line, say, seen
from finetuned.errors import Held
from finetuned.paths import path_b64, utf8_text

if TYPE_CHECKING:
    from finetuned.ledger.copies import Contents


@click.command("backup")
@click.argument("file", metavar="FILE", shell_complete=completions.files)
@output.one_object
@click.pass_context
def backup_command(ctx: click.Context, file: str, form: str) -> None:
    """Copy the ledger into a new FILE, while the daemon runs or not.

    The copy has all that was done up to now, is checked, and is there as a whole or not at all. A file that is there
    is never replaced. Who may read the ledger may copy it. The way back: finetuned restore FILE.
    """
    from finetuned.ledger.backup import make_backup

    path, settings = new_file(file), wiring.load(ctx)
    with wiring.told_if_moved(settings):
        contents = make_backup(wiring.ledger_path(settings), path)
    if form == "table":
        print_line(f"The ledger is copied to {seen(path)}: {_holds(contents)}.")
    else:
        output.show_one(_row(path, contents, None), form)
    _mind(contents)


@click.command("restore")
@click.argument("file", metavar="FILE", shell_complete=completions.files)
@output.one_object
@click.pass_context
def restore_command(ctx: click.Context, file: str, form: str) -> None:
    """Lay a backup in the ledger's place; the ledger that is there now is kept whole, by a name with the date.

    Stop the daemon first: while one holds the ledger nothing is done, and the exit code is 75. FILE stays as it is.
    """
    from finetuned.ledger.restore import restore
    from finetuned.ledger.schema import SCHEMA_VERSION

    settings = wiring.load(ctx)
    path = wiring.ledger_path(settings)
    stray = wiring.stray_daemon(settings)
    if stray is not None:
        raise Held(str(stray[1]), remedy="stop that daemon first")
    done = restore(path, absolute(file), clock.now())
    if form == "table":
        print_line(f"The ledger {seen(path)} is restored: {_holds(done.contents)}.")
        if done.kept is not None:
            print_line(f"The one before is kept: {seen(done.kept)}")
    else:
        output.show_one(_row(path, done.contents, done.kept), form)
    _mind(done.contents)
    if done.contents.schema_version < SCHEMA_VERSION:
        say("it is of an older version; the daemon brings it up to date when it starts")
    stay = [rules.name for rules in settings.folders if rules.after == "keep"]
    if stay:
        words = "what was learned since the backup still lies there (after = keep), and would be learned again"
        say(f"mind the folder {', '.join(stay)}: {words}; to look at it first: finetuned pause")
    say("start the daemon: finetuned run, or systemctl start finetuned")


def _holds(contents: Contents) -> str:
    parts = [(contents.jobs, "job"), (contents.files, "file"), (contents.pairs, "pair")]
    return ", ".join([size(contents.bytes), *(counted(number, noun) for number, noun in parts)])


def _row(path: str, contents: Contents, kept: str | None) -> Row:
    """Return the object `copy` of `docs/interface.md`."""
    known = {name: getattr(contents, name) for name in ("bytes", "schema_version", "jobs", "files", "pairs")}
    b64 = None if kept is None else path_b64(kept)
    return (
        placed(path)
        | known
        | {"broken": list(contents.broken), "kept": None if kept is None else utf8_text(kept)}
        | ({} if b64 is None else {"kept_b64": b64})
    )


def _mind(contents: Contents) -> None:
    for sentence in contents.broken:
        say(f"mind: in it it does not hold that {harmless(sentence)}; finetuned doctor tells more")
