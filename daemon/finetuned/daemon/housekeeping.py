"""What is done when there is nothing else to do: old files and events are removed, as far as the configuration says so.

1. A chore is done in bounded pieces, one a round, in rounds in which the plan wants nothing; then it rests.
2. What is to be removed is told first, in one commit, and noted afterwards: see `ledger.retention`.
3. What cannot be removed, and a folder that is away, is passed over until the next time; the folder's row in the ledger
   tells of the former, and the log of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from finetuned import logs
from finetuned.backend import KeepsModels
from finetuned.daemon.context import Context
from finetuned.daemon.slices import slices
from finetuned.errors import FileProblem, FolderError
from finetuned.folders.folder import DropFolder
from finetuned.lifecycle import FileState
from finetuned.model import DONE, FAILED, File, Job

#: seconds between two times
RETENTION_EVERY: Final = 3600.0
PRUNE_EVERY: Final = 60.0
#: a folder is left alone that was changed less than so many seconds ago: somebody may be about to use it
FRESH: Final = 60.0
#: so many files of no job are removed at a time, and so many jobs asked for; so many of the newest files tell which
#: folders they left
PIECE: Final = 100
NEWEST: Final = 2000
#: by area, the state of the files of no job that lie there
_JOBLESS: Final = {DONE: FileState.DUPLICATE, FAILED: FileState.REFUSED}


class Chore:
    """Work that is done in pieces, a step of the iterator each, and again `every` so many seconds."""

    def __init__(self, context: Context, every: float, begin: Callable[[], Iterator[None]]) -> None:
        self._context = context
        self._every = every
        self._begin = begin
        self._pieces: Iterator[None] | None = None
        self._due_at = 0.0

    @property
    def rests(self) -> bool:
        """Whether there is no next piece of what was begun."""
        return self._pieces is None

    async def run(self) -> float:
        """Do the next piece if it is due; the seconds until the one after it."""
        now = self._context.runtime.steady()
        if now < self._due_at:
            return self._due_at - now
        pieces = self._begin() if self._pieces is None else self._pieces
        self._pieces = None  # an error ends it
        if await self._context.in_thread(_next, pieces):
            self._pieces = pieces
            return 0.0
        self._due_at = now + self._every
        return self._every


def _next(pieces: Iterator[None]) -> bool:
    """Do a piece; tell whether there may be more."""
    return next(pieces, StopIteration) is None


class Housekeeping:
    """The chores that the configuration wants."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._events_after = 0
        self._changes = -1
        self._refused: list[tuple[str, str]] = []
        settings, self._chores = context.settings, list[Chore]()
        retention = settings.retention
        if retention.done or retention.failed or retention.events or retention.models:
            self._chores.append(Chore(context, RETENTION_EVERY, self._remove_old))
        if any(rules.prune_empty for rules in settings.folders):
            self._chores.append(Chore(context, PRUNE_EVERY, self._prune))

    @property
    def rests(self) -> bool:
        """Whether nothing is left to do of what was begun."""
        return all(chore.rests for chore in self._chores)

    async def run(self) -> float:
        """Do a piece of what is due; the seconds until there is more to do."""
        return min([await chore.run() for chore in self._chores], default=float("inf"))

    def _remove_old(self) -> Iterator[None]:
        retention = self._context.settings.retention
        for folder in self._context.folders.values():
            refused = []
            for area, age in ((DONE, retention.done), (FAILED, retention.failed)):
                self._refused = []
                with _passed_over(folder):
                    if age:
                        yield from self._jobs(folder, area, age)
                        yield from self._jobless(folder, area, age)
                if self._refused:
                    (where, why), more = self._refused[0], len(self._refused) - 1
                    logs.get().warning("housekeeping_waits", folder=folder.name, path=where, why=why, more=more)
                refused += self._refused
            self._context.ledger.folders.unremoved(folder.name, refused)
        if retention.models:
            yield from self._models(retention.models)
        if retention.events:
            yield from self._events(retention.events)

    def _jobs(self, folder: DropFolder, area: str, age: float) -> Iterator[None]:
        ledger, now = self._context.ledger, self._context.runtime.now
        for some in slices(folder.jobs_in(area), PIECE):
            for job_id in ledger.retention.ended(folder.name, some, now() - age):
                if (job := self._old(job_id, age, folder.name)) is None:  # it was tried again
                    continue
                files = [file for file in ledger.jobs.files(job_id) if folder.lies_in(file, area)]
                with self._refusals(f"{folder.root}/{area}/{job_id}"):
                    has_any = bool(files) or folder.has_papers(job_id, area)
                    if self._remove(folder, area, files):
                        if has_any:
                            ledger.retention.expiring([job], _words(area), now())
                        with folder.together():
                            folder.remove_job(job_id, area)
                yield
            yield

    def _old(self, job_id: str, age: float, folder: str | None = None) -> Job | None:
        """Look up a job of a folder (null: of any) if it ended so long ago, now: what was listed may be over."""
        ledger, now = self._context.ledger, self._context.runtime.now
        return ledger.jobs.get(job_id) if ledger.retention.ended(folder, [job_id], now() - age) else None

    def _jobless(self, folder: DropFolder, area: str, age: float) -> Iterator[None]:
        """Remove files of no job; those that lie elsewhere (`keep`) are passed over, a piece at a time."""
        retention, now = self._context.ledger.retention, self._context.runtime.now
        after = 0
        while files := retention.jobless(folder.name, _JOBLESS[area], now() - age, after, PIECE):
            after = files[-1].id
            self._remove(folder, area, [file for file in files if folder.lies_in(file, area)])
            yield

    def _remove(self, folder: DropFolder, area: str, files: Sequence[File]) -> bool:
        """Tell of it, remove these files, and note it; false if not all of them could be removed."""
        retention, now = self._context.ledger.retention, self._context.runtime.now
        if not files:
            return True
        retention.expiring(files, _words(area), now())
        removed, stay = [], []
        with folder.together():
            for file in files:
                try:
                    removed.append((file, folder.remove(file)))
                except FileProblem as error:
                    stay.append((file, str(error)))
        retention.removed(removed, _words(area), now())
        if stay:
            retention.stay(stay, now())
            self._refused += [(file.location or "", why) for file, why in stay]
        return not stay

    @contextmanager
    def _refusals(self, where: str) -> Iterator[None]:
        """Note what cannot be removed at `where`, and go on with the rest."""
        try:
            yield
        except FileProblem as error:
            self._refused.append((where, str(error)))

    def _models(self, age: float) -> Iterator[None]:
        """Remove what was tuned here by jobs that ended so long ago; one that cannot be removed is passed over."""
        ledger, now = self._context.ledger, self._context.runtime.now
        for backend in self._context.backends.values():
            if not isinstance(backend, KeepsModels):
                continue
            try:
                kept = backend.kept_models()
            except OSError as error:
                logs.get().warning("housekeeping_waits", path=error.filename, why=error.strerror)
                continue
            for some in slices(kept, PIECE):
                made_by = {session_id: session_id.rpartition(".")[0] for session_id in some}
                ended = ledger.retention.ended(None, [*made_by.values()], now() - age)
                for session_id, job_id in made_by.items():
                    if job_id not in ended or (job := self._old(job_id, age)) is None:  # it was tried again
                        continue
                    ledger.retention.expiring([job], "its model is removed, as [retention] models says", now())
                    try:
                        backend.remove_model(session_id)
                    except OSError as error:
                        logs.get().warning("housekeeping_waits", session=session_id, why=error.strerror)
                    yield
                yield

    def _events(self, age: float) -> Iterator[None]:
        ledger, now = self._context.ledger, self._context.runtime.now
        unheard = ledger.hooks.first_unheard({hook.key: hook.on for hook in self._context.settings.hooks})
        while True:
            after = ledger.retention.forget_events(self._events_after, now() - age, unheard)
            if after is None:
                break
            self._events_after = after
            yield
        while ledger.retention.shrink():
            yield

    def _prune(self) -> Iterator[None]:
        """Remove the empty folders that files were taken from, unless nothing happened since the last time."""
        context = self._context
        if context.ledger.changes == self._changes:
            return
        changes, fresh = context.ledger.changes, False
        for folder in context.folders.values():
            if folder.rules.prune_empty:
                sources = context.ledger.retention.sources(folder.name, NEWEST)
                with _passed_over(folder), folder.together():
                    fresh |= folder.prune(sources, before=context.runtime.now() - FRESH)
                yield
        if not fresh:
            self._changes = changes


def _words(area: str) -> str:
    return f"removed from {area}/, as [retention] {area} says"


@contextmanager
def _passed_over(folder: DropFolder) -> Iterator[None]:
    """Pass over a folder that does not let us."""
    try:
        yield
    except (FileProblem, FolderError) as error:
        logs.get().warning("housekeeping_waits", folder=folder.name, why=str(error))
