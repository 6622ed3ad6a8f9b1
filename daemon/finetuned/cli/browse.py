"""`browse`: the ledger in a browser, on this machine alone."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, NoReturn

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

    _serve(ctx, pages(wiring.ledger_path(wiring.load(ctx))), port, shows=not no_open and _has_display())


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _serve(ctx: click.Context, pages: Datasette, port: int, *, shows: bool) -> None:
    """Serve until SIGINT or SIGTERM. Raises FinetunedError: the port is taken."""
    import asyncio
    import webbrowser

    from finetuned.browse.database import LedgerDatabase
    from finetuned.browse.server import HOST, serve
    from finetuned.cli.limits import bounded_memory, watched

    opened = []
    ports = [port]

    def ready(actual: int) -> None:
        ports.append(actual)
        address = f"http://{HOST}:{actual}/"
        click.echo(address)
        say("every user of this machine can read it there; Ctrl-C ends it")
        if shows:  # in a thread: a browser that is asked for this page waits for it
            opened.append(asyncio.get_running_loop().run_in_executor(None, webbrowser.open, address))
            opened[0].add_done_callback(bound)  # what is started later has the same bound
        else:
            bound()

    def bound(*_: object) -> None:
        bounds.enter_context(bounded_memory("a page"))

    def look() -> None:
        if any(database.is_stuck() for database in ledgers):
            _begin_anew(ctx.obj["config"], ports[-1])

    ledgers = [database for database in pages.databases.values() if isinstance(database, LedgerDatabase)]
    with ExitStack() as bounds, port_to_be_had(port), watched(look):
        asyncio.run(serve(pages.app(), port, ready=ready))


def _begin_anew(config: str | None, port: int) -> NoReturn:
    """Put a new process in the place of this one: nothing ends a thread that is in a function of SQLite."""
    say("finetuned: a query went on long after its time: the pages begin anew")
    words = [*(() if config is None else ("--config", config)), "browse", "--port", str(port), "--no-open"]
    os.execv(sys.executable, [sys.executable, "-m", "finetuned", *words])  # noqa: S606 - it is this program
