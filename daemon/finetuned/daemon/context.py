"""What every part of the daemon is given: the settings, and the doors to folders, ledger, server and runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, ParamSpec, TypeVar

from finetuned.backend import Backend
from finetuned.daemon.ledger_queue import LedgerQueue
from finetuned.daemon.pauses import Pause, Pauses
from finetuned.daemon.turns import Turns
from finetuned.errors import Busy, KeyRefused, ServerError
from finetuned.folders.folder import DropFolder
from finetuned.ledger.writer import Ledger
from finetuned.model import Job
from finetuned.plan import LONGEST_DISK_WAIT
from finetuned.runtime import Runtime, Wake
from finetuned.settings import BACKENDS, FolderSettings, Settings

P = ParamSpec("P")
T = TypeVar("T")
#: whether a stop breaks off what this task does, and the threads that work for it
BREAKS_OFF: Final = ContextVar("BREAKS_OFF", default=False)


class _Stopped(Exception):
    """A step was broken off, as the daemon was told to stop."""


@contextmanager
def breaks_off() -> Iterator[None]:
    """Have a stop break off what is done within, at any point where it moves on: the block is left, without an error.

    As after a kill, the next start finds out how far it came.
    """
    before = BREAKS_OFF.set(True)
    try:
        yield
    except* _Stopped:
        pass
    finally:
        BREAKS_OFF.reset(before)


@dataclass(kw_only=True)
class Context:
    """The daemon's collaborators; the backends by url.

    `own` holds the jobs that surely were never sent by anybody else; `unwatched` says why not all folders are watched,
    `stuck` why nothing can be written to the ledger, `unserved` why no metrics are served, `reload_refused` why a
    configuration that was to take the place of `settings` did not, and `unnoted` the same if the ledger could not be
    told: null while all is well. `environment` is what programs of hooks are given; `stopping` tells that nothing
    more is to be begun; `turned_at` tells by the steady clock when the loop took a step last, or moved on in it,
    `due_at` when it takes the next one at the latest, but for the time that this one takes.
    """

    settings: Settings
    ledger: Ledger
    folders: Mapping[str, DropFolder]
    backends: Mapping[str, Backend]
    runtime: Runtime
    wake: Wake
    own: set[str] = field(default_factory=set)
    unwatched: str | None = None
    stuck: str | None = None
    unserved: str | None = None
    reload_refused: str | None = None
    unnoted: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    stopping: bool = False
    pauses: Pauses = field(init=False)
    turns: Mapping[str, Turns] = field(init=False)  # by url
    _queue: LedgerQueue = field(init=False)
    _usable_as: dict[str, str] = field(init=False, default_factory=dict)  # what the ledger knows: no need to ask it
    turned_at: float = field(init=False)
    due_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.pauses = Pauses(self.runtime.steady)
        self.turns = {url: Turns() for url in self.backends}
        self._queue = LedgerQueue(self.ledger, self.runtime)
        self.turned()
        for folder in self.folders.values():
            folder.tell_progress(self.moves_on)

    def turned(self, next_within: float = 0.0) -> None:
        """Note that the loop took a step: it does not hang. It begins the next one within so many seconds."""
        self.turned_at = self.runtime.steady()
        self.due_at = self.turned_at + max(0.0, next_within)

    def moves_on(self) -> None:
        """Note, in any thread, that a step which takes long does not hang: it has listed, moved, read or written.

        Where a stop breaks off what is done it does not return then.
        """
        if self.stopping and BREAKS_OFF.get():
            raise _Stopped
        self.turned_at = self.runtime.steady()

    def watch_lacks(self, why: str | None) -> None:
        """Hear why not all folders are watched; None: all are."""
        self.unwatched = why

    def rules(self, folder: str) -> FolderSettings:
        """Look up the rules of a folder."""
        return self.folders[folder].rules

    def is_retired(self, folder: str) -> bool:
        """Tell whether a folder is in no configuration any more: its jobs go on to their end, and nothing is taken."""
        return all(rules.name != folder for rules in self.settings.folders)

    def url_for(self, folder: str) -> str:
        """Tell the url of the backend that learns what is new in a folder."""
        return self.settings.service_for(self.settings.kind_of(self.rules(folder))).url

    def url_of(self, job: Job) -> str:
        """Tell the url of the backend that a job is at, or goes to."""
        return self.url_for(job.folder) if job.open is None else job.open.url

    def backend_of(self, job: Job) -> Backend:
        """Return the backend that a job is at, or goes to."""
        return self.backends[self.url_of(job)]

    def longest_pause(self, url: str) -> float:
        """Tell the longest wait between two tries while a backend cannot be used, in seconds."""
        services = map(self.settings.service_for, BACKENDS)
        return next(service.longest_pause for service in services if service.url == url)

    def settles(self, job: Job) -> float:
        """Tell for how long it is not sure what a job's backend has of it, in seconds: what is here knows at once."""
        backend = self.backends.get(self.url_of(job))  # one that is not there now may have taken it
        is_here = backend is not None and backend.capabilities.is_here
        return 0.0 if is_here else self.settings.submit.lost_answer_settle

    async def in_ledger(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Run a command of the ledger, or a question to it, beside the loop; what it wrote is committed then."""
        return await self._queue.run(work, *args, **words)

    async def in_thread(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Run work on the disk beside the loop."""
        return await self.runtime.in_thread(work, *args, **words)

    def together(self, some: Sequence[object]) -> AbstractContextManager[object]:
        """Make one commit of several; one has its own, and to be a part of another takes memory for its undoing."""
        return self.ledger.together() if len(some) > 1 else nullcontext()

    def came_back(self, folder: DropFolder, path: str) -> Pause:
        """Count that a file came back to the folder as before: it is left alone for longer each time."""
        pause = self.pauses.came_back(path)
        if pause.seconds:
            folder.sweeper.leave_alone(path, self.runtime.steady() + pause.seconds)
        return pause

    def back_off(self, tries: int, longest: float) -> float:
        """Seconds until the next try: full jitter below a bound that doubles, half a second at least."""
        bound = min(longest, 2.0 ** min(tries, 30))
        return max(min(0.5, bound), self.runtime.chance() * bound)

    async def server_failed(self, url: str, error: ServerError) -> None:
        """Pause everything that needs a server, which cannot be used, and set the time of the next try."""
        self.turns[url].end()
        now = self.runtime.now()
        facts = await self.in_ledger(self.ledger.servers.get, url)
        longest = self.longest_pause(url)
        wait = min(error.after, longest) if isinstance(error, Busy) else self.back_off(facts.tries + 1, longest)
        reachable = isinstance(error, KeyRefused | Busy)
        self._usable_as.pop(url, None)
        await self.in_ledger(
            self.ledger.servers.paused, url, str(error), next_try_at=now + wait, reachable=reachable, now=now
        )

    async def server_usable(self, url: str) -> None:
        """Note that a server answered as it should, if the ledger does not say so."""
        variant = self.backends[url].variant
        if self._usable_as.get(url) == variant:
            return
        self._usable_as[url] = variant  # at once: what is noted meanwhile comes after this
        try:
            await self.in_ledger(self.ledger.servers.usable, url, variant, self.runtime.now())
        except BaseException:
            self._usable_as.pop(url, None)
            raise

    async def poll_later(self, job_id: str, words: str | None) -> None:
        """Poll the job later, as what was due could not be done: `words` say why if it is the job's own matter."""
        job = await self.in_ledger(self.ledger.jobs.get, job_id)
        if job is not None:
            slowest = self.settings.poll.slowest
            now = self.runtime.now()
            due_at = now + (self.back_off(job.in_vain + 1, slowest) if words is None else slowest)
            await self.in_ledger(self.ledger.runs.try_later, job, due_at, words, now)

    async def disk_later(self, job: Job, why: str) -> None:
        """Try again later what cannot be done for the job on the disk now."""
        now = self.runtime.now()
        due_at = now + self.back_off(job.tries + 1, LONGEST_DISK_WAIT)
        await self.in_ledger(self.ledger.runs.try_later, job, due_at, why, now)

    async def unreachable(self, job: Job, error: ServerError) -> None:
        """Pause the job's server, and put the job off: if only its own session is ill, others go first."""
        await self.poll_later(job.id, None)
        await self.server_failed(self.url_of(job), error)
