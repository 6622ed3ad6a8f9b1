"""One daemon after another in one process: a reload has the next one go on with another configuration.

1. A new configuration is checked as a start would check it. If it is sound, the daemon that runs begins no more uploads
   and ends once those under way have ended, and the next one is built of the new configuration, over the same ledger:
   what is only in memory is found anew, as after a start.
2. A configuration that cannot be used changes nothing. An event says why, and `status` until a reload works.
3. The folders that only the new configuration has are held before the old daemon ends, and those that stay are passed
   on: another finetuned cannot take them in between.
4. systemd's watchdog is told that the daemon lives by a task beside the loop, whatever time it allows: one step of the
   loop may be a sweep of a slow network disk. But only while it has listed, moved or read something within `PATIENCE`,
   so that a loop that hangs is not taken for one that works.
5. Whoever asks for a reload while one is under way gets another one after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Final

import anyio
from msgspec.structs import replace

from finetuned import logs
from finetuned.backend import Backend, Changed
from finetuned.daemon.context import Context
from finetuned.daemon.loop import Daemon, Outcome, Watcher, first_of
from finetuned.daemon.notify import Notifier
from finetuned.errors import Away, ConfigurationError, FinetunedError, Held, LedgerStuck
from finetuned.folders.folder import DropFolder
from finetuned.ledger.writer import Ledger
from finetuned.runtime import Runtime, Wake
from finetuned.settings import Settings

#: how long one step of the loop may stand still, in seconds
PATIENCE: Final = 900.0
#: … and how often the watchdog is told at most
OFTEN: Final = 0.01

Folders = Mapping[str, DropFolder]


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What a service is made of, as the door has it: each is asked anew for each configuration.

    `load` reads the configuration (raises ConfigurationError, also for one that a start would refuse for another
    reason); `ledger_path` tells where its ledger lies; `backends` yields those that the folders use, and those that
    jobs are at, by url, which may tell of changes by themselves; `watchers` are tasks beside the daemon's loop;
    `in_use` hears of a configuration that is in use from now on; `environment` is what programs of hooks are given.
    """

    load: Callable[[], Settings]
    ledger_path: Callable[[Settings], str]
    folders: Callable[[Settings], Folders]
    backends: Callable[[Settings, Folders, Changed], AbstractAsyncContextManager[Mapping[str, Backend]]]
    watchers: Callable[[Context], Sequence[Watcher]]
    in_use: Callable[[Settings], None]
    environment: Mapping[str, str] = field(default_factory=dict)


class Service:
    """The daemons of one process, and what they have in common: the ledger, and what systemd is told.

    `watchdog`: within so many seconds it has to hear that the daemon lives, if it listens.
    """

    def __init__(
        self,
        settings: Settings,
        folders: Folders,
        *,
        wiring: Wiring,
        ledger: Ledger,
        runtime: Runtime,
        notifier: Notifier,
        pid: int,
        version: str,
        until_idle: bool = False,
        watchdog: float | None = None,
    ) -> None:
        self._settings = settings
        self._folders = folders
        self._wiring = wiring
        self._ledger = ledger
        self._runtime = runtime
        self._notifier = notifier
        self._pid = pid
        self._version = version
        self._until_idle = until_idle
        self._watchdog = watchdog
        self._next: tuple[Settings, Folders] | None = None
        self._wanted = Wake()
        self._stopping = False
        self._daemon: Daemon | None = None
        self._context: Context | None = None

    def stop(self) -> None:
        """Begin nothing more, and end."""
        self._stopping = True
        if self._daemon is not None:
            self._daemon.stop()

    def reload(self) -> None:
        """Read the configuration again, and go on with it if it can be used."""
        self._wanted.set()

    async def run(self) -> Outcome:
        """Run until stopped, or idle if that was asked for. Raises Held, LedgerError.

        The folders are let go of at the end.
        """
        outcome = Outcome()
        try:
            async with anyio.create_task_group() as tasks:
                for task in (self._reloads, self._shows_life):
                    tasks.start_soon(task)
                outcome = await self._daemons()
                tasks.cancel_scope.cancel()
        except* FinetunedError as group:
            raise first_of(group) from None
        finally:
            _let_go(self._folders)
            _let_go({} if self._next is None else self._next[1])
        return outcome

    async def _daemons(self) -> Outcome:
        failed, unwatched = False, None
        self._folders = {**self._folders, **await self._runtime.in_thread(self._retired, self._settings)}
        while True:
            reloaded = self._context is not None
            self._wiring.in_use(self._settings)
            async with self._wiring.backends(self._settings, self._folders, self._changed) as backends:
                context = self._context = Context(
                    settings=self._settings,
                    ledger=self._ledger,
                    folders=self._folders,
                    backends=backends,
                    runtime=self._runtime,
                    wake=Wake(),
                    unwatched=unwatched,
                    environment=self._wiring.environment,
                )
                self._daemon = Daemon(
                    context,
                    pid=self._pid,
                    version=self._version,
                    notifier=self._notifier,
                    until_idle=self._until_idle,
                    reloaded=reloaded,
                )
                self._go_on()
                outcome = await self._daemon.run(self._wiring.watchers(context))
            failed, unwatched = failed or outcome.failed, context.unwatched
            if self._next is None or not self._daemon.handed_over:
                return replace(outcome, failed=failed)
            await self._take_next(self._next)

    def _changed(self, session_id: str) -> None:
        if self._daemon is not None:
            self._daemon.changed(session_id)

    async def _take_next(self, wanted: tuple[Settings, Folders]) -> None:
        """Take up the configuration that is `wanted` next, or what a reload puts in its place meanwhile."""
        retired = await self._runtime.in_thread(self._retired, wanted[0])
        if self._next is not None and self._next is not wanted:
            await self._take_next(self._next)
            return
        former, self._settings, self._folders = self._folders, wanted[0], {**wanted[1], **retired}
        self._next = None
        _pass_on(former, self._folders)

    def _retired(self, settings: Settings) -> Folders:
        """Make the folders that are not in the configuration any more, and whose jobs have not all ended."""
        rules = self._ledger.folders.retired(settings.folders)
        return self._wiring.folders(replace(settings, folders=tuple(rules)))

    def _go_on(self) -> None:
        """Tell the daemon what was asked for while there was none."""
        if self._daemon is not None and self._stopping:
            self._daemon.stop()
        elif self._daemon is not None and self._next is not None:
            self._daemon.hand_over()

    async def _shows_life(self) -> None:
        if self._watchdog is None:
            return
        while True:
            if self._context is None or self._runtime.steady() - self._context.turned_at < PATIENCE:
                self._notifier.alive()
            await self._runtime.wait(Wake(), max(OFTEN, self._watchdog / 2))

    async def _reloads(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            self._notifier.reloading(self._runtime.steady())
            try:
                found = await self._runtime.in_thread(self._checked, self._folders, self._next)
            except FinetunedError as error:
                await self._refuse(error)
                self._notifier.ready()
            else:
                if self._next is not None:
                    _pass_on(self._next[1], found[1])
                self._next = found
                self._go_on()

    def _checked(self, in_use: Folders, waits: tuple[Settings, Folders] | None) -> tuple[Settings, Folders]:
        """Read the configuration, and hold the folders that only it has. Raises ConfigurationError, Held.

        Given as they are now, since the next daemon may take over meanwhile: the folders that are `in_use`, and the
        configuration that `waits` for that.
        """
        settings = self._wiring.load()
        path = self._wiring.ledger_path(settings)
        if path != self._ledger.path:
            raise ConfigurationError(
                f"[ledger] path names another ledger, {path}, than the one in use, {self._ledger.path}",
                remedy="restart the daemon, which cannot change it while it runs, or put the path back",
            )
        folders = self._wiring.folders(settings)
        self._check_moves(in_use, folders)
        ours = {folder.identity() for folder in (*in_use.values(), *(waits[1] if waits else {}).values())}
        try:
            for folder in folders.values():
                if folder.identity() not in ours:
                    with suppress(Away):
                        folder.hold()
        except Held:
            _let_go(folders)
            raise
        return settings, folders

    def _check_moves(self, in_use: Folders, folders: Folders) -> None:
        """Raise ConfigurationError if a name stands for another folder now, and jobs of the old one have not ended."""
        for name, folder in folders.items():
            before = in_use.get(name)
            here = None if before is None else before.identity()
            if before is None or here in {None, folder.identity()} or not self._ledger.folders.has_work(name):
                continue
            raise ConfigurationError(
                f"the folder {name} is another one now, {folder.root}, and jobs of {before.root} have not ended",
                remedy="give the new folder another name: the old one's jobs are followed to their end then",
            )

    async def _refuse(self, error: FinetunedError) -> None:
        """Go on with the configuration that is in use, and say so."""
        problems = error.problems if isinstance(error, ConfigurationError) else ()
        words = "; ".join((str(error), *problems)) if problems else error.with_remedy()
        unnoted: LedgerStuck | None = None
        try:
            await self._runtime.in_thread(
                self._ledger.daemon.reload_refused, pid=self._pid, words=words, now=self._runtime.now()
            )
        except LedgerStuck as trouble:
            logs.get().warning("daemon_reload_refused", detail=words, not_noted=str(trouble))
            unnoted = trouble
        if self._context is not None:
            self._context.reload_refused = words
            self._context.wake.set()  # its log line is made of the event
            if unnoted is not None and self._daemon is not None:
                self._context.unnoted = words
                self._daemon.is_stuck(unnoted)


def _pass_on(former: Folders, folders: Folders) -> None:
    """Let go of the `former` folders, but for those that are among the others: these hold them without a gap."""
    held = {folder.identity(): folder for folder in former.values() if folder.tree.held}
    for folder in folders.values():
        before = held.pop(folder.identity(), None)
        if before is not None:
            folder.take_over(before)
    _let_go(former)


def _let_go(folders: Folders) -> None:
    for folder in folders.values():
        folder.close()
