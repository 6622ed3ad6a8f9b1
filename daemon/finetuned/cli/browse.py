"""`browse`: the ledger in a browser, on this machine alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from finetuned.cli import wiring
from finetuned.cli.arguments import port_to_be_had
from finetuned.cli.terminal import say

if TYPE_CHECKING:
    from datasette.app import Datasette


@click.command("browse")
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0: any free one.")
@click.option("--no-open", is_flag=True, help="Open no browser.")
@click.pass_context
def browse_command(ctx: click.Context, port: int, no_open: bool) -> None:
    """Show the ledger in a browser: figures, tables, questions, full-text search, SQL of your own.

    It only reads, while a daemon runs or not, and listens for this machine alone. It prints its address on standard
    output. Ctrl-C or SIGTERM stops it.
    """
    from finetuned import browse

    browse.check_installed()
    from finetuned.browse.app import pages

    _serve(pages(wiring.ledger_path(wiring.load(ctx))), port, shows=not no_open and _has_display())


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _serve(pages: Datasette, port: int, *, shows: bool) -> None:
    """Serve until SIGINT or SIGTERM. Raises FinetunedError: the port is taken."""
    import asyncio
    import webbrowser

    from finetuned.browse.server import HOST, serve

    opened = []

    def ready(actual: int) -> None:
        address = f"http://{HOST}:{actual}/"
        click.echo(address)
        say("every user of this machine can read it there; Ctrl-C ends it")
        if shows:  # in a thread: a browser that is asked for this page waits for it
            opened.append(asyncio.get_running_loop().run_in_executor(None, webbrowser.open, address))

    with port_to_be_had(port):
        asyncio.run(serve(pages.app(), port, ready=ready))
