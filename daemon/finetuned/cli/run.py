"""`run`: the daemon, wired to the real runtime."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import click

from finetuned import __version__
from finetuned.amounts import counted
from finetuned.cli import wiring
from finetuned.cli.terminal import from_here, harmless, say, width_of
from finetuned.errors import Away

if TYPE_CHECKING:
    import socket

    from finetuned.daemon import Context, Outcome
    from finetuned.daemon.loop import Watcher
    from finetuned.folders import DropFolder, Watched
    from finetuned.ledger import Ledger
    from finetuned.settings import Settings


@click.command("run")
@click.option("--until-idle", is_flag=True, help="End when nothing is left to do; do not wait for `linger`.")
@click.pass_context
def run_command(ctx: click.Context, until_idle: bool) -> None:
    """Run the daemon: watch the folders, send new files to the server, and follow each job until it is trained.

    The exit code is 0; with --until-idle it is 1 if a job failed or a folder was away, and 69 if the server could not
    be used and work is left.
    """
    from finetuned.cli.hook_checks import check_hooks
    from finetuned.cli.signals import heard

    settings = wiring.load(ctx)
    check_hooks(settings, whole=False)
    configure_logs(settings)
    with heard() as ear:
        outcome = run_daemon(settings, ear, until_idle=until_idle)
    if until_idle and outcome.for_people:
        jobs = counted(outcome.for_people, "job")
        click.echo(f"finetuned: {jobs} left that a person must see to; `finetuned status` tells more", err=True)
    if until_idle and outcome.unusable:
        click.echo("finetuned: work is left, but the server cannot be used; `finetuned status` tells why", err=True)
        ctx.exit(69)
    if until_idle and outcome.away:
        away = ", ".join(outcome.away)
        click.echo(f"finetuned: not looked into, since it is away: {away}; `finetuned status` tells why", err=True)
    if until_idle and (outcome.failed or outcome.away):
        ctx.exit(1)


def greet(settings: Settings) -> None:
    """Tell a person at a terminal what is watched, where to drop files, and how to stop."""
    if width_of(sys.stderr) is None:
        return
    for rules in settings.folders:
        where, names = harmless(from_here(rules.path, sys.stderr)), harmless(" ".join(rules.include))
        say(f"Watching the folder {rules.name}: {where} ({names})")
    folder = "" if len(settings.folders) == 1 else f" --folder {settings.folders[0].name}"
    say(f"To drop a file: copy it there, or in another terminal: finetuned drop --wait{folder} FILE")
    say(f"The server is {harmless(settings.service.url)}. To stop: Ctrl-C, or kill {os.getpid()}")


def configure_logs(settings: Settings) -> None:
    """Send the log to standard error, in colour on a terminal."""
    from finetuned import logs

    logs.configure(
        level=settings.log.level,
        format=settings.log.format,
        terminal=sys.stderr.isatty(),
        stream=sys.stderr,
        no_color="NO_COLOR" in os.environ,
    )


def run_daemon(settings: Settings, ear: socket.socket, *, until_idle: bool = False) -> Outcome:
    """Run the daemon until a signal that comes through `ear` stops it. Raises Held, LedgerError."""
    import anyio

    return anyio.run(serve, settings, ear, until_idle)


async def serve(settings: Settings, ear: socket.socket, until_idle: bool = False) -> Outcome:
    """Run the daemon with everything it needs, on whatever loop this runs."""
    from finetuned.daemon import Context, Daemon
    from finetuned.daemon.notify import Notifier
    from finetuned.hooks import environment
    from finetuned.runtime import SystemRuntime, Wake

    runtime = SystemRuntime()
    folders = wiring.drop_folders(settings)
    try:
        with _open_ledger(wiring.ledger_path(settings), folders) as ledger:
            greet(settings)
            remembered = ledger.servers.get(settings.service.url).variant
            beside = os.path.dirname(ledger.path) or "."
            async with wiring.backend(settings, runtime, folders, remembered=remembered, spool=beside) as backend:
                context = Context(
                    settings=settings,
                    ledger=ledger,
                    folders=folders,
                    backend=backend,
                    runtime=runtime,
                    wake=Wake(),
                    environment=environment(os.environ),
                )
                daemon = Daemon(
                    context,
                    pid=os.getpid(),
                    version=__version__,
                    notifier=Notifier(os.environ.get("NOTIFY_SOCKET")),
                    until_idle=until_idle,
                )
                return await daemon.run(watchers(context, ear, daemon.stop))
    finally:
        for folder in folders.values():
            folder.close()


def _open_ledger(path: str, folders: Mapping[str, DropFolder]) -> Ledger:
    """Open the ledger, for the one daemon of these folders. Raises Held, LedgerError, and has made nothing then."""
    from finetuned import logs
    from finetuned.ledger import Ledger, is_held

    if not is_held(path):  # else the ledger says who is in the way
        for folder in folders.values():
            with suppress(Away):
                folder.hold()
    with suppress(OSError):
        if os.stat(path).st_size == 0:
            logs.get().warning("ledger_empty", path=path, detail="the file holds nothing: a new ledger is begun in it")
    ledger = Ledger.open(path)
    if ledger.kept is not None:
        logs.get().warning("ledger_upgraded", path=path, backup=ledger.kept)
    return ledger


def watchers(context: Context, ear: socket.socket, stop: Callable[[], None]) -> list[Watcher]:
    """Return what sets the daemon's wake: the folders, the requests of people, and signals, which stop it."""
    from finetuned import logs
    from finetuned.cli.signals import heed
    from finetuned.daemon.requests import requests_folder
    from finetuned.folders import Single, watch
    from finetuned.runtime import Wake

    pause = partial(context.runtime.wait, Wake())
    requests = requests_folder(context.ledger.path)
    places: list[Watched] = [*context.folders.values(), Single(root=requests)]

    async def watch_all(on_change: Callable[[], None]) -> None:
        await watch(
            places,
            lambda root: context.wake.set() if root == requests else on_change(),
            pause=pause,
            trouble=lambda why: logs.get().debug("watch_broke", why=why),
            lacks=context.watch_lacks,
        )

    async def watch_signals(_: Callable[[], None]) -> None:
        await heed(ear, stop)

    return [watch_all, watch_signals]
