"""`init`: a first configuration."""

from __future__ import annotations

import os
import shlex
from typing import Final

import click

from finetuned.amounts import counted
from finetuned.cli.arguments import absolute
from finetuned.cli.output import first_of
from finetuned.cli.terminal import harmless, print_data, say
from finetuned.errors import FinetunedError, UsageError

CONFIGURATION: Final = "finetuned.toml"
FOLDER: Final = "notes"
#: beside the configuration: two configurations never share a ledger, and to move the folder is to move all of it
LEDGER: Final = ".finetuned/ledger.db"
#: how many files are named that lie in the folder already
MOST_NAMED: Final = 5


@click.command("init")
@click.argument("directory", metavar="[DIR]", required=False)
@click.option("--local", is_flag=True, help="Learn on this machine, with no server.")
@click.option("--system", is_flag=True, help="Make it a systemd service of this machine instead; may be run again.")
@click.option("--dry-run", is_flag=True, help="With --system: list the steps, and do none.")
@click.pass_context
def init_command(ctx: click.Context, directory: str | None, local: bool, system: bool, dry_run: bool) -> None:
    """Write a starting configuration into DIR (default: here), and make its drop folder.

    The ledger goes to DIR/.finetuned/, so each such configuration has its own. Nothing is overwritten.
    """
    from finetuned.settings import sample

    if ctx.obj["config"]:
        raise UsageError("`init` reads no configuration", remedy="name the folder to begin in: finetuned init DIR")
    if system:
        _set_up(directory, local=local, dry_run=dry_run)
        return
    if dry_run:
        raise UsageError("--dry-run goes with --system", remedy="say --system too, or leave it out")
    home = absolute(directory or ".")
    path = os.path.join(home, CONFIGURATION)
    _check_folder(os.path.join(home, FOLDER))
    text = sample(FOLDER, ledger_path=LEDGER, local=local)
    try:
        os.makedirs(os.path.join(home, FOLDER), exist_ok=True)
        os.makedirs(os.path.join(home, os.path.dirname(LEDGER)), mode=0o750, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise FinetunedError(
            f"{harmless(error.filename)} is there already",
            remedy="edit it, or name another directory: finetuned init DIR",
        ) from None
    except OSError as error:
        raise FinetunedError(f"{harmless(error.filename)} cannot be made: {error.strerror}") from None
    print_data(harmless(path))
    _say_what_lies_there(text, home)
    _say_what_next(home, local=local)


def _set_up(directory: str | None, *, local: bool, dry_run: bool) -> None:
    """Make it a service. Raises UsageError for words that do not go with that."""
    from finetuned.cli.system import set_up

    if directory is not None:
        raise UsageError("with --system there is one place: /etc/finetuned", remedy="leave DIR out")
    if local:
        remedy = "leave --local out; then set backend.kind in /etc/finetuned/finetuned.toml"
        raise UsageError("--local and --system exclude each other", remedy=remedy)
    set_up(dry_run=dry_run)


def _check_folder(folder: str) -> None:
    """Raise FinetunedError if something else lies where the drop folder is to be."""
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise FinetunedError(
            f"{harmless(folder)} is a file, and the drop folder is to be a directory of that name",
            remedy="move the file away, or name another directory: finetuned init DIR",
        )


def _say_what_lies_there(text: str, home: str) -> None:
    """Tell of files that lie in the folder already: they are learned, too."""
    import tomllib

    from finetuned.cli.check import judged
    from finetuned.settings import parse

    settings = parse(tomllib.loads(text), base=home)
    folder = settings.folders[0].path
    taken = [forecast.path for forecast in judged(folder, settings) if forecast.content]
    if taken:
        named = first_of([harmless(os.path.relpath(path, folder)) for path in taken], MOST_NAMED)
        say(f"{counted(len(taken), 'file')} in {FOLDER}/ will be learned when the daemon runs: {named}")


def _say_what_next(home: str, *, local: bool) -> None:
    go = "" if home == os.getcwd() else f"  cd {harmless(shlex.quote(home))}\n"
    key = "  export FINETUNED_API_KEY=hl-…     the server's key (or: [helix] api_key_file)\n"
    say(
        "Next:\n"
        f"{go}{'' if local else key}"
        "  finetuned check                   is the configuration sound?\n"
        "  finetuned run                     the daemon; leave it running\n"
        "  finetuned drop --wait FILE        in another terminal; or copy it into notes/"
    )
    if local:
        say(
            "It begins with simple rules and a toy model, and needs 'finetuned[local]'. For models of your own:\n"
            "  finetuned help local              who makes the pairs, who trains"
        )
    else:
        say(
            "No server yet? Run the simulated one:\n"
            "  finetuned sandbox                 at the address of the configuration\n"
            "  export FINETUNED_API_KEY=hl-sandbox\n"
            "Or learn on this machine: finetuned init --local"
        )
