"""`pause` and `resume`: let nothing new be made and sent of a folder, and let it go on."""

from __future__ import annotations

import click

from finetuned.cli import completions, wiring
from finetuned.cli.arguments import check_folder


@click.command("pause")
@click.argument("folder", required=False, shell_complete=completions.folders)
@click.pass_context
def pause_command(ctx: click.Context, folder: str | None) -> None:
    """Let no job be made or sent of the files in FOLDER, or in any folder, until it is resumed.

    Files may be dropped all the while: they wait. What is on the server, or is learned here, goes on to its end. A
    restart changes nothing about it.
    """
    _ask(ctx, "pause", folder)


@click.command("resume")
@click.argument("folder", required=False, shell_complete=completions.folders)
@click.pass_context
def resume_command(ctx: click.Context, folder: str | None) -> None:
    """Let FOLDER, or every folder, go on after a pause."""
    _ask(ctx, "resume", folder)


def _ask(ctx: click.Context, verb: str, folder: str | None) -> None:
    from finetuned.cli.requests import ask_daemon, new_request

    with wiring.open_ledger(settings := wiring.load(ctx)) as reader:
        check_folder(settings, reader, folder)
    ctx.exit(ask_daemon(ctx, [new_request(verb, folder=folder)]))
