"""The daemon's process: the service wired to the real runtime, the system's signals and the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Final

import anyio

from finetuned import __version__, logs
from finetuned.backend import Backend, Changed, Works
from finetuned.cli import wiring
from finetuned.cli.hook_checks import check_hooks
from finetuned.cli.signals import Ear, heed
from finetuned.cli.terminal import from_here, harmless, say, width_of
from finetuned.daemon import Context, Outcome, Service, Wiring
from finetuned.daemon.loop import Watcher, first_of
from finetuned.daemon.memory import share_one_heap
from finetuned.daemon.notify import Notifier
from finetuned.daemon.paid_work import PaidWork
from finetuned.daemon.requests import requests_folder
from finetuned.errors import Away, FinetunedError
from finetuned.folders.folder import DropFolder
from finetuned.folders.watches import Single, Watched, watch
from finetuned.hooks import environment
from finetuned.ledger.lock import is_held
from finetuned.ledger.writer import Ledger
from finetuned.metrics import Measured, check_installed
from finetuned.model import Attempt
from finetuned.runtime import SystemRuntime, Wake
from finetuned.settings import Settings

#: how long a stop may take in all, in seconds; the unit allows 15
LONGEST_STOP: Final = 4.0
#: and how long while the ledger is still being opened, which may take many seconds: nothing of the daemon's is begun,
#: and an upgrade is whole or begins anew
OPENING_STOP: Final = 1.0
#: for how long a thread may go on in Python while another one waits, in seconds: a send waits a few times for its turn
TURN: Final = 0.0005


def configure_logs(settings: Settings) -> None:
    """Send the log to standard error, in colour on a terminal."""
    logs.configure(
        level=settings.log.level,
        format=settings.log.format,
        terminal=sys.stderr.isatty(),
        stream=sys.stderr,
        no_color="NO_COLOR" in os.environ,
        journal=logs.SOCKET if logs.leads_to_journal(sys.stderr, os.environ.get("JOURNAL_STREAM")) else None,
    )


async def serve(settings: Settings, ear: Ear, until_idle: bool = False) -> Outcome:
    """Run the daemon until a signal that comes through `ear` stops it. Raises Held, LedgerError."""
    share_one_heap()
    sys.setswitchinterval(TURN)
    runtime = SystemRuntime()
    control = _Control(runtime)
    outcome = Outcome()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(heed, ear, stop=control.stop, reload=control.reload, pause=control.pause))
            tasks.start_soon(control.ends_in_time)
            outcome = await _served(settings, control, runtime, until_idle)
            tasks.cancel_scope.cancel()
    except* FinetunedError as group:
        raise first_of(group) from None
    return outcome


async def _served(settings: Settings, control: _Control, runtime: SystemRuntime, until_idle: bool) -> Outcome:
    notifier = Notifier(os.environ.get("NOTIFY_SOCKET"))
    notifier.status("opens its ledger")
    folders = wiring.drop_folders(settings)
    try:
        ledger = await runtime.in_thread(_open_ledger, wiring.ledger_path(settings), folders)
    except BaseException:
        for folder in folders.values():
            folder.close()
        raise
    try:
        service = Service(
            settings,
            folders,
            wiring=_wiring(settings.source, ledger, runtime),
            ledger=ledger,
            runtime=runtime,
            notifier=notifier,
            pid=os.getpid(),
            version=__version__,
            until_idle=until_idle,
            watchdog=_watchdog(os.environ),
        )
        control.passes_on_to(service)
        return await service.run()
    finally:
        with anyio.CancelScope(shield=True):
            await runtime.in_thread(ledger.close)


class _Control:
    """What signals ask for; it is passed on once there is a service."""

    def __init__(self, runtime: SystemRuntime) -> None:
        self.pause = partial(runtime.wait, Wake())
        self._service: Service | None = None
        self._asked: list[Callable[[Service], None]] = []
        self._stops = anyio.Event()

    def stop(self) -> None:
        """Have the service begin nothing more, and end."""
        self._stops.set()
        self._ask(Service.stop)

    def reload(self) -> None:
        """Have the service read the configuration again."""
        self._ask(Service.reload)

    def _ask(self, what: Callable[[Service], None]) -> None:
        if self._service is None:
            self._asked.append(what)
        else:
            what(self._service)

    def passes_on_to(self, service: Service) -> None:
        """Ask the service for what was asked for until now, and will be."""
        self._service = service
        for what in self._asked:
            what(service)

    async def ends_in_time(self) -> None:
        """End the process a while after it was told to stop, whatever holds it up: a disk may hang for minutes.

        What is under way is as after a kill then, which loses nothing.
        """
        await self._stops.wait()
        await self.pause(OPENING_STOP)
        if self._service is None:
            logs.get().info("stop_broken_off", detail="its ledger was still being opened")
            os._exit(0)
        await self.pause(LONGEST_STOP - OPENING_STOP)
        detail = f"it took more than {LONGEST_STOP:g} s: a disk may hang; the next start finds out what was done"
        logs.get().warning("stop_broken_off", detail=detail)
        os._exit(0)


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """Tell within how many seconds systemd's watchdog waits for this process; None if it does not."""
    allowed, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    ours = pid in {None, "", str(os.getpid())} and allowed.isdecimal() and int(allowed) > 0
    return int(allowed) / 1_000_000 if ours else None


def _open_ledger(path: str, folders: Mapping[str, DropFolder]) -> Ledger:
    """Open the ledger, for the one daemon of these folders. Raises Held, LedgerError, and has made nothing then."""
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


def _wiring(source: str, ledger: Ledger, runtime: SystemRuntime) -> Wiring:
    """Say how each daemon is made of the configuration in the file `source`."""

    measured = Measured()
    paid_work = PaidWork(ledger.chunks, runtime.in_thread)

    def backends(
        settings: Settings, folders: Mapping[str, DropFolder], changed: Changed
    ) -> AbstractAsyncContextManager[Mapping[str, Backend]]:
        remembered = ledger.servers.get(settings.helix.url).variant
        metrics = measured.wanted(settings)
        on_end = metrics.on_end if metrics else None
        words = {"remembered": remembered, "spool": os.path.dirname(ledger.path) or "."}
        left = _unfinished(ledger)
        return wiring.backends(settings, runtime, folders, changed, paid_work, attempts=left, **words, on_end=on_end)

    def watchers(context: Context) -> list[Watcher]:
        metrics = measured.wanted(context.settings)
        paid_work.through(context.in_ledger)
        return [*_watchers(context), *_workers(context), *([partial(metrics.serve, context)] if metrics else [])]

    def load() -> Settings:
        settings = wiring.load_file(source)
        check_hooks(settings, whole=False)
        check_installed(settings)
        return settings

    def in_use(settings: Settings) -> None:
        configure_logs(settings)
        greet(settings)

    return Wiring(
        load=load,
        ledger_path=wiring.ledger_path,
        folders=wiring.drop_folders,
        backends=backends,
        watchers=watchers,
        in_use=in_use,
        environment=environment(os.environ),
    )


def _unfinished(ledger: Ledger) -> list[Attempt]:
    """List the sessions at which something is left to do: those that jobs are at, and those to be removed."""
    return [*(job.open for job in ledger.jobs.open() if job.open is not None), *ledger.attempts.to_discard()]


def greet(settings: Settings) -> None:
    """Tell a person at a terminal what is watched, where to drop files, and how to stop."""
    if width_of(sys.stderr) is None:
        return
    for rules in settings.folders:
        where, names = harmless(from_here(rules.path, sys.stderr)), harmless(" ".join(rules.include))
        say(f"Watching the folder {rules.name}: {where} ({names})")
    folder = "" if len(settings.folders) == 1 else f" --folder {settings.folders[0].name}"
    say(f"To drop a file: copy it there, or in another terminal: finetuned drop --wait{folder} FILE")
    learns = {"helix": f"The server is {harmless(settings.helix.url)}.", "local": "Files are learned on this machine."}
    told = " ".join(learns[kind] for kind in settings.services)
    say(f"{told} To stop: Ctrl-C, or kill {os.getpid()}")


def _workers(context: Context) -> list[Watcher]:
    """Return what has a backend carry its work on beside the loop, where it does the work itself."""

    def work(worker: Works) -> Watcher:
        async def serve(_on_change: Callable[[str], None]) -> None:
            await worker.serve()

        return serve

    return [work(backend) for backend in context.backends.values() if isinstance(backend, Works)]


def _watchers(context: Context) -> list[Watcher]:
    """Return what sets the daemon's wake: the folders, and the requests of people."""
    pause = partial(context.runtime.wait, Wake())
    requests = requests_folder(context.ledger.path)
    folders = [folder for name, folder in context.folders.items() if not context.is_retired(name)]
    places: list[Watched] = [*folders, Single(root=requests)]

    async def watch_all(on_change: Callable[[str], None]) -> None:
        await watch(
            places,
            lambda root: context.wake.set() if root == requests else on_change(root),
            pause=pause,
            trouble=lambda why: logs.get().debug("watch_broke", why=why),
            lacks=context.watch_lacks,
        )

    return [watch_all]
