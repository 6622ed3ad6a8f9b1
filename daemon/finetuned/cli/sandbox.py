"""`sandbox`: the stand-in server, to try everything with."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import click

from finetuned.cli.arguments import port_to_be_had
from finetuned.cli.terminal import harmless, say
from finetuned.errors import FinetunedError, UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette


class Rehearsal(click.Command):
    """A command that tells in its help how the server can go wrong, as long as the server's packages are there."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of the faults."""
        del ctx
        try:
            rows = list(sandbox_room().FAULTS.items())
        except FinetunedError:
            return
        with formatter.section("Faults (--fault)"):
            formatter.write_dl(rows)


@click.command("sandbox", cls=Rehearsal)
@click.option("--port", type=click.IntRange(0, 65535), default=8585, show_default=True, help="0: any free one.")
@click.option(
    "--dialect",
    type=click.Choice(["form", "learn", "both"]),
    default="form",
    show_default=True,
    help="form as 0.5, learn as 1.0, both as 0.9.",
)
@click.option("--data", metavar="DIR", help="Keep its data in DIR (default: only until it ends).")
@click.option("--key", metavar="K", help="The API key that it accepts (default: hl-sandbox).")
@click.option(
    "--fault",
    "faults",
    metavar="NAME[:COUNT][@CHANCE]",
    multiple=True,
    help="Fail in this way: always, COUNT times, or with a CHANCE from 0 to 1. May be repeated.",
)
@click.option(
    "--plan",
    type=click.Choice(["free", "paid"]),
    default="free",
    show_default=True,
    help="Whose limits too-much, truncate and too-many enforce.",
)
@click.option("--seed", metavar="N", help="Repeat the ids and the chances of an earlier run.")
@click.option("--speed", metavar="X", type=float, default=1.0, help="How fast it works; 2 is twice as fast.")
def sandbox_command(port: int, key: str | None, faults: tuple[str, ...], speed: float, **how: str) -> None:
    """Run a simulated Helix server, for this machine only. Nothing is trained.

    It prints its address on standard output. Ctrl-C or SIGTERM stops it.
    """
    if not 0 < speed < float("inf"):
        raise UsageError("--speed is more than 0", remedy="give a number such as 0.5 or 2")
    sandbox = sandbox_room()
    try:
        seeded = sandbox.Faults.parse(faults)
    except ValueError as error:
        raise UsageError(f"--fault: {harmless(error)}", remedy="`finetuned sandbox --help` tells more") from None
    key = key or sandbox.DEFAULT_KEY
    try:
        app = sandbox.create_app(
            keys=frozenset({key}),
            pace=sandbox.Pace().faster(speed),
            faults=seeded,
            quota=sandbox.PLANS[how.pop("plan")],
            **how,
        )
    except OSError as error:
        raise FinetunedError(f"--data {harmless(how['data'])} cannot be used: {error.strerror}") from None
    try:
        _serve(app, port, key, keeps=how["data"] is not None)
    finally:
        app.state.store.close()


def sandbox_room() -> ModuleType:
    """Return the stand-in server, which needs more than the daemon does. Raises FinetunedError."""
    import importlib
    import logging
    import sys

    try:
        sandbox = importlib.import_module("finetuned.sandbox")
    except ImportError as error:
        raise FinetunedError(
            "the simulated server needs packages that are not installed",
            remedy=f"{sys.prefix}/bin/pip install 'finetuned[sandbox]'",
        ) from error
    # a form that is cut is an everyday matter here, not worth a line each
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    return sandbox


def _serve(app: Starlette, port: int, key: str, *, keeps: bool) -> None:
    """Serve until SIGINT or SIGTERM. Raises FinetunedError: the port is taken, or the server was to crash."""
    import asyncio

    from finetuned.sandbox import CrashedError, serve, unless_stopped

    def ready(actual: int) -> None:
        click.echo(f"http://127.0.0.1:{actual}")
        say(f"its key is {harmless(key)}; all training is simulated")
        if not keeps:
            say("it forgets its sessions when it ends; --data DIR keeps them")

    try:
        with port_to_be_had(port):
            asyncio.run(unless_stopped(serve(app, port=port, ready=ready)))
    except CrashedError as error:
        raise FinetunedError(str(error), remedy="start it again, with the same --data") from None
