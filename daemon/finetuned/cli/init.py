"""`init` and `sandbox`: a first configuration, and a server to try it with."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Coroutine
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from finetuned.amounts import counted
from finetuned.cli.arguments import absolute
from finetuned.cli.output import first_of
from finetuned.cli.terminal import harmless, print_data, say
from finetuned.errors import FinetunedError, UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette

T = TypeVar("T")
CONFIGURATION: Final = "finetuned.toml"
FOLDER: Final = "notes"
#: beside the configuration: two configurations never share a ledger, and to move the folder is to move all of it
LEDGER: Final = ".finetuned/ledger.db"
#: how many files are named that lie in the folder already
MOST_NAMED: Final = 5


@click.command("init")
@click.argument("directory", metavar="[DIR]", default=".")
@click.pass_context
def init_command(ctx: click.Context, directory: str) -> None:
    """Write a starting configuration into DIR (default: here), and make its drop folder.

    The ledger goes to DIR/.finetuned/, so each such configuration has its own. Nothing is overwritten.
    """
    from finetuned.settings import sample

    if ctx.obj["config"]:
        raise UsageError("`init` reads no configuration", remedy="name the folder to begin in: finetuned init DIR")
    home = absolute(directory)
    path = os.path.join(home, CONFIGURATION)
    _check_folder(os.path.join(home, FOLDER))
    text = sample(FOLDER, ledger_path=LEDGER)
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
    _say_what_next(home)


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
    taken = [verdict.path for verdict in judged(folder, settings) if verdict.content]
    if taken:
        named = first_of([harmless(os.path.relpath(path, folder)) for path in taken], MOST_NAMED)
        say(f"{counted(len(taken), 'file')} in {FOLDER}/ will be learned when the daemon runs: {named}")


def _say_what_next(home: str) -> None:
    go = "" if home == os.getcwd() else f"  cd {harmless(shlex.quote(home))}\n"
    say(
        "Next:\n"
        f"{go}"
        "  export FINETUNED_API_KEY=hl-…     the server's key (or: [helix] api_key_file)\n"
        "  finetuned check                   is the configuration sound?\n"
        "  finetuned run                     the daemon; leave it running\n"
        "  finetuned drop --wait FILE        in another terminal; or copy it into notes/\n"
        "No server yet? Run the simulated one:\n"
        "  finetuned sandbox                 at the address of the configuration\n"
        "  export FINETUNED_API_KEY=hl-sandbox"
    )


class Rehearsal(click.Command):
    """A command that tells in its help how the server can go wrong, as long as the server's packages are there."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of the faults."""
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
        raise UsageError("--speed is more than 0")
    sandbox = sandbox_room()
    try:
        seeded = sandbox.Faults.parse(faults)
    except ValueError as error:
        raise UsageError(f"--fault: {harmless(error)}") from None
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

    try:
        sandbox = importlib.import_module("finetuned.sandbox")
    except ImportError as error:
        raise FinetunedError(
            "the simulated server needs packages that are not installed", remedy='pip install "finetuned[sandbox]"'
        ) from error
    # a form that is cut is an everyday matter here, not worth a line each
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    return sandbox


def _serve(app: Starlette, port: int, key: str, *, keeps: bool) -> None:
    """Serve until SIGINT or SIGTERM. Raises FinetunedError: the port is taken, or the server was to crash."""
    import asyncio

    from finetuned.sandbox import CrashedError, serve

    def ready(actual: int) -> None:
        click.echo(f"http://127.0.0.1:{actual}")
        say(f"its key is {harmless(key)}; all training is simulated")
        if not keeps:
            say("it forgets its sessions when it ends; --data DIR keeps them")

    try:
        asyncio.run(unless_stopped(serve(app, port=port, ready=ready)))
    except OSError as error:
        raise FinetunedError(
            f"nothing can listen on 127.0.0.1:{port}: {error.strerror}", remedy="choose another; --port 0 is any"
        ) from None
    except CrashedError as error:
        raise FinetunedError(str(error), remedy="start it again, with the same --data") from None


async def unless_stopped(work: Coroutine[Any, Any, T]) -> T | None:
    """Return what the work returns; None if SIGINT or SIGTERM came before. It is cancelled once, and can end well."""
    import asyncio

    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    return None if task.cancelled() else task.result()
