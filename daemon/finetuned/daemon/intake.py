"""From the folders into the ledger: what appeared, what is ready, what is gone.

1. The sweep is the truth; a wake event only makes that of its folder come sooner: the others may take seconds.
2. A file is read once it has settled, a batch in a round: a burst must not keep what is ready from being sent. What a
   sweep found ready is read to its end before the next sweep; who changed in between settles again.
3. A folder that is away has lost nothing: nothing in it is touched until it is back.
4. A folder that was removed from the configuration is held until its last job has ended, and nothing of it is taken.
5. What can never be taken (a link, a pipe) is no file of the ledger: the log tells it, and `why` looks at it. Of a
   sub-folder that cannot be looked into, the folder's row in the ledger tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import accumulate, islice
from operator import attrgetter
from typing import Final, NamedTuple

from msgspec.structs import replace

from finetuned import logs
from finetuned.daemon.archive import give_back
from finetuned.daemon.context import Context
from finetuned.daemon.reconcile import reconcile
from finetuned.daemon.sketches import SHORT, sketch_as_read
from finetuned.daemon.slices import slices
from finetuned.daemon.unread import MOST_READ, Unread
from finetuned.errors import Away, Changed, FileProblem, FolderError, Gone, Held, Unusable
from finetuned.folders import leftovers
from finetuned.folders.folder import DropFolder
from finetuned.folders.pace import WRITER_WAIT
from finetuned.folders.sweep import Seen
from finetuned.lifecycle import FileState
from finetuned.model import PROCESSING, Content, File, FolderFacts, Signature
from finetuned.plan import LONGEST_DISK_WAIT

#: how many files one round reads right after a sweep, so that the first job is soon sent, and how many later on
BATCH: Final = 100
NEXT_BATCH: Final = 400
#: how many files are written down at a time: tens of thousands would stay in memory
SLICE: Final = 1000
#: why a file has vanished
GONE: Final = "it was moved or removed before it was taken"

#: files go into the ledger by their paths: what lies together there is then written together
_PATH: Final = attrgetter("path")


class Read(NamedTuple):
    """A file as it was read, or why it was not; and the sketch of a short text."""

    seen: Seen
    found: Content | FileProblem
    sketch: bytes | None = None


class Intake:
    """The sweeps, and what they tell the ledger."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._held: set[str] = set()
        self._released: set[str] = set()
        self._left_alone: dict[str, float] = {}
        #: by folder, the claimed jobs that the disk does not let be known, and when they are looked at again (steady)
        self._stuck: dict[str, set[str]] = {}
        self._again_at: dict[str, float] = {}
        self._noted: dict[str, tuple[dict[str, int], dict[str, str]]] = {}
        self._backlog: dict[str, list[Seen]] = {}
        self._log = logs.get()
        #: by folder, when it is to be swept; not there: at once
        self._due: dict[str, float] = {}
        #: by folder, when something in it may be ready
        self._settle: dict[str, float | None] = {}
        self._unread = Unread(context)
        #: when a folder is to be swept, or a file to be read again
        self.due_at = 0.0

    async def open(self) -> None:
        """Hold every folder that is there."""
        for folder in self._context.folders.values():
            try:
                await self._hold(folder)
            except Held as error:
                await self._is_away(folder, error.with_remedy())

    def start_over(self) -> None:
        """Hold every folder anew, and read from the ledger what is known: it may lack what was found."""
        self._held.clear()
        self._noted.clear()
        self._backlog.clear()
        self._unread.start_over()
        self.look_again()

    def look_again(self) -> None:
        """Have every folder swept next, whenever it would be its time."""
        self._due.clear()

    def heard(self, root: str | None = None) -> None:
        """Hear that something may have changed in the folder at `root`; null: in any of them."""
        for folder in self._context.folders.values():
            if root in {None, folder.root}:
                folder.sweeper.heard = True
                self._due.pop(folder.name, None)

    async def sweep(self) -> None:
        """List every folder that it is time for, and tell the ledger what is new."""
        context = self._context
        steady, pause = context.runtime.steady, context.settings.watch.sweep
        for folder in context.folders.values():
            name, begun = folder.name, steady()
            if begun < self._due.get(name, begun):
                continue
            self._due[name] = begun + pause  # what is heard from now on is one more reason
            wait = await self._sweep(folder)
            self._settle[name] = None if wait is None else begun + wait
            if wait is not None and name in self._due:
                self._due[name] = min(self._due[name], begun + wait)
            context.turned()
        await self._unread.try_again([name for name in self._held if not context.is_retired(name)])
        self.due_at = min((self._due.get(name, 0.0) for name in context.folders), default=steady() + pause)
        self.due_at = min(self.due_at, self._unread.due_at)

    @property
    def settling(self) -> bool:
        """Whether something is not ready yet, or may be: a folder was heard of that no sweep has looked into since."""
        is_swept = all(name in self._due for name in self._context.folders)
        return not is_swept or self._unread.is_hoped_for or any(at is not None for at in self._settle.values())

    def facts(self) -> tuple[FolderFacts, ...]:
        """Return the folders, as the plan sees them."""
        known = self._context.ledger.folders.all()
        return tuple(
            replace(
                known.get(name, FolderFacts(name=name)),
                usable=name in self._held,
                more_to_come=bool(self._backlog.get(name)) or folder.sweeper.more_soon,
            )
            for name, folder in self._context.folders.items()
        )

    async def _hold(self, folder: DropFolder) -> bool:
        context = self._context
        try:
            await context.in_thread(folder.hold)
            await self._check_it_is_ours(folder)
            self._stuck[folder.name] = await reconcile(context, folder)
            self._again_at[folder.name] = context.runtime.steady() + LONGEST_DISK_WAIT
        except (FolderError, FileProblem) as error:
            why = f"{PROCESSING} in {folder.root} {error}" if isinstance(error, FileProblem) else error.with_remedy()
            folder.close()
            await self._is_away(folder, why)
            return False
        await context.in_thread(self._remember, folder)
        for file in await context.in_ledger(context.ledger.files.to_give_back, folder.name):
            with suppress(
                FileProblem, FolderError
            ):  # the plan tries again; if it lies there already, it is no new file
                await context.in_thread(give_back, context, folder, file)
        state = "retired" if context.is_retired(folder.name) else "watched"
        await context.in_ledger(context.ledger.folders.found, folder.name, folder.root, state, context.runtime.now())
        self._held.add(folder.name)
        self._unread.start_over()
        return True

    def _remember(self, folder: DropFolder) -> None:
        """Tell the folder what the ledger knows of its files; there may be a hundred thousand."""
        context, above = self._context, folder.root.rstrip("/") + "/"
        # closed here, should a stop break it off: until then this thread keeps the ledger from all others
        with closing(context.ledger.files.lying(folder.name)) as found:
            lying = (
                (path, signature, settled)
                for path, signature, settled in found
                if path.startswith(above) and not folder.is_ours(path)  # else no sweep would meet it
            )
            while some := [*islice(lying, SLICE)]:
                folder.sweeper.known.remember_all(some)
                context.moves_on()

    async def _check_it_is_ours(self, folder: DropFolder) -> None:
        """Raise Away where files of jobs should lie claimed and none does: something is not mounted.

        A ledger that was restored from an older copy may find them archived already.
        """
        context = self._context
        expected = await context.in_ledger(context.ledger.jobs.claimed_in, folder.name, folder.root)
        if expected and not await context.in_thread(leftovers.knows_any, folder, sorted(expected)):
            example = f"{folder.root}/{PROCESSING}/{min(expected)}"
            raise Away(
                f"another folder lies at {folder.root}: none of {len(expected)} jobs has its files there; "
                f"is it mounted? (if they are gone for good: mkdir -p {example})"
            )

    async def _sweep(self, folder: DropFolder) -> float | None:
        context = self._context
        try:
            if folder.name in self._released:
                return None
            if folder.name not in self._held:
                wait = self._left_alone.get(folder.name, 0.0) - context.runtime.steady()
                if wait > 0:
                    return wait
                if not await self._hold(folder):
                    return None
            await context.in_thread(folder.check)
            if context.is_retired(folder.name):
                await self._release(folder)
                return None
            await self._look_at_stuck(folder)
            return await self._take_in(folder)
        except (Away, Held) as error:  # held by another finetuned: not ours to touch, as if it were away
            await self._is_away(folder, error.with_remedy())
            return None

    async def _look_at_stuck(self, folder: DropFolder) -> None:
        """Look again at claimed jobs that the disk did not let be known, if it is time."""
        steady = self._context.runtime.steady()
        if self._stuck.get(folder.name) and steady >= self._again_at[folder.name]:
            self._again_at[folder.name] = steady + LONGEST_DISK_WAIT
            with suppress(FileProblem):  # not even what lies claimed can be listed: they stay stuck
                self._stuck[folder.name] = await reconcile(self._context, folder, self._stuck[folder.name])

    async def _release(self, folder: DropFolder) -> None:
        """Let go of a retired folder once nothing of it is left to do: another finetuned may want it."""
        context = self._context
        if not await context.in_ledger(context.ledger.folders.has_work, folder.name):
            await context.in_ledger(context.ledger.folders.released, folder.name, context.runtime.now())
            folder.close()
            self._held.discard(folder.name)
            self._released.add(folder.name)

    async def _take_in(self, folder: DropFolder) -> float | None:
        context = self._context
        if self._backlog.get(folder.name):
            return await self._drain(folder, 0.0, NEXT_BATCH)  # and then a sweep: much may have settled meanwhile
        runtime = context.runtime
        seen = await context.in_thread(folder.sweeper.sweep, runtime.steady(), runtime.now())
        for odd in seen.odd:
            count = {} if odd.count == 1 else {"count": odd.count}
            self._log.warning("cannot_be_taken", folder=folder.name, path=odd.path, why=odd.why, **count)
        await self._note(folder)
        if seen.appeared:
            await self._appeared(folder, sorted(seen.appeared, key=_PATH))
        if seen.changed:
            await self._changed(folder, seen.changed)
        if seen.vanished:
            await self._vanished(folder, seen.vanished)
        if seen.unfinished:
            await self._unfinished(folder, seen.unfinished)
        for canary in seen.canaries:
            await context.in_thread(self._tell_of_canary, folder, canary)
        self._backlog[folder.name] = sorted(seen.ready, key=_PATH, reverse=True)
        return await self._drain(folder, 0.0 if seen.changed else seen.wake_in, BATCH)  # they settle since then

    async def _note(self, folder: DropFolder) -> None:
        """Write down what the last sweep met and cannot take, if it is something else than before."""
        noted = folder.sweeper.untaken, folder.sweeper.closed
        if noted != self._noted.get(folder.name):
            self._noted[folder.name] = noted
            await self._context.in_ledger(self._context.ledger.folders.swept, folder.name, *noted)

    async def _drain(self, folder: DropFolder, wake_in: float | None, most: int) -> float | None:
        """Read the next of what the last sweep found ready, `most` of it; seconds until there is more to do."""
        backlog = self._backlog[folder.name]
        batch = first_of(backlog[-most:][::-1])  # the next one is the last
        del backlog[-len(batch) :]
        now = self._context.runtime.now()  # a change from now on is one since it was read
        found = await self._context.in_thread(_read_all, folder, batch)
        waits = [] if wake_in is None else [wake_in]
        for seen, content, _ in found:
            if isinstance(content, Changed):  # it has a writer, perhaps without a trace so far
                folder.sweeper.known.unsettle(seen.path, self._context.runtime.steady())
                waits.append(WRITER_WAIT)
        await self._settled(folder, found, now)
        return 0.0 if backlog else min(waits, default=None)

    async def _is_away(self, folder: DropFolder, why: str) -> None:
        context = self._context
        if folder.name in self._held:
            pause = context.pauses.came_back(folder.root)
            self._left_alone[folder.name] = context.runtime.steady() + pause.seconds
            why = pause.told(why)
        self._held.discard(folder.name)
        self._backlog.pop(folder.name, None)
        now = context.runtime.now()
        await context.in_ledger(context.ledger.folders.found, folder.name, folder.root, "away", now, detail=why)

    async def _appeared(self, folder: DropFolder, seen: Sequence[Seen]) -> None:
        """Record files that the sweeps did not know; one that the ledger knows all the same may have changed."""
        context = self._context
        there: dict[str, File] = {}
        for some in slices(seen, SLICE):
            rows = [(s.path, s.signature, s.group) for s in some]
            there |= await context.in_ledger(context.ledger.files.appeared, folder.name, rows, context.runtime.now())
            context.moves_on()
        known = folder.sweeper.known
        known.remember_all([(one.path, one.signature, False) for one in seen])
        open_ones = [(one, there[one.path]) for one in seen if one.path in there]
        known.remember_all([(one.path, one.signature, True) for one, f in open_ones if f.state is FileState.WAITING])
        if changed := [one for one, file in open_ones if one.signature != file.signature]:
            await self._changed(folder, changed)

    async def _changed(self, folder: DropFolder, seen: Sequence[Seen]) -> None:
        """Let a waiting file settle again; take one that stayed in its place after its end for a new file."""
        context = self._context
        files = await context.in_ledger(context.ledger.files.open_at, folder.name, [s.path for s in seen])
        waited = [one for one in seen if one.path in files and files[one.path].state is FileState.WAITING]
        changes = [
            (files[one.path], one.signature, context.came_back(folder, one.path).told("it changed while it waited"))
            for one in waited
        ]
        for some in slices(changes, SLICE):
            await context.in_ledger(self._unsettled, some, context.runtime.now())
        folder.sweeper.known.remember_all([(one.path, one.signature, False) for one in waited])
        others = [one for one in seen if one.path not in files]
        if not folder.moves:
            await self._appeared(folder, others)
        else:  # on its way out of here: who moves it finds out
            for one in others:
                folder.sweeper.known.remember(one.path, one.signature, settled=True)

    def _unsettled(self, changes: Sequence[tuple[File, Signature, str]], now: float) -> None:
        with self._context.together(changes):
            for file, signature, reason in changes:
                self._context.ledger.files.unsettled(file, signature, reason, now)

    async def _unfinished(self, folder: DropFolder, found: Sequence[tuple[str, str | None]]) -> None:
        """Give a file the reason that a name beside it tells, until that name is gone."""
        context = self._context
        files = await context.in_ledger(context.ledger.files.open_at, folder.name, [path for path, _ in found])
        told = [
            (files[path], why)
            for path, why in found
            if path in files and files[path].state is FileState.SETTLING and files[path].reason != why
        ]
        for some in slices(told, SLICE):
            await context.in_ledger(self._tell_unfinished, some, context.runtime.now())

    def _tell_unfinished(self, found: Sequence[tuple[File, str | None]], now: float) -> None:
        with self._context.together(found):
            for file, why in found:
                self._context.ledger.files.unfinished(file, why, now)

    def _tell_of_canary(self, folder: DropFolder, canary: str) -> None:
        events, now = self._context.ledger.events, self._context.runtime.now()
        if not events.is_answered(canary):
            words = f"a canary was seen in {folder.name}"
            events.answered(canary, verb="canary", done=True, words=words, now=now)

    async def _vanished(self, folder: DropFolder, paths: Sequence[str]) -> None:
        context = self._context
        for some in slices(paths, SLICE):
            gone = {path: context.came_back(folder, path).told(GONE) for path in some}
            files = await context.in_ledger(context.ledger.files.open_at, folder.name, some)
            found = [(file, gone[path]) for path, file in files.items()]
            await context.in_ledger(context.ledger.files.vanished, found, context.runtime.now())
            context.moves_on()
        for path in paths:
            folder.sweeper.known.forget(path)

    async def _settled(self, folder: DropFolder, ready: Sequence[Read], now: float) -> None:
        """Write down in one commit what was read; what changed or went meanwhile the next sweep sees."""
        context = self._context
        at_place = await context.in_ledger(context.ledger.files.open_at, folder.name, [one.seen.path for one in ready])
        settling = {path: file for path, file in at_place.items() if file.state is FileState.SETTLING}
        of_files = [
            (settling[one.seen.path], one)
            for one in ready
            if one.seen.path in settling and not isinstance(one.found, Changed | Gone)
        ]
        folder.sweeper.known.remember_all([(one.seen.path, one.seen.signature, True) for _, one in of_files])
        if of_files:
            await context.in_ledger(self._write, of_files, now)

    def _write(self, found: Sequence[tuple[File, Read]], now: float) -> None:
        files = self._context.ledger.files
        settled = [(file, one.seen.signature, one.found) for file, one in found if isinstance(one.found, Content)]
        sketches = {file.id: one.sketch for file, one in found if one.sketch is not None}
        others = [(file, one) for file, one in found if not isinstance(one.found, Content)]
        with self._context.together([*others, *settled[:1]]):
            for file, one in others:
                if isinstance(one.found, Unusable):
                    files.refused(file, str(one.found), now, signature=one.seen.signature)
                elif isinstance(one.found, FileProblem):
                    self._unread.put_off(file, one.found, one.seen.signature)
            if settled:
                files.settled(settled, now, sketches)


def first_of(ready: Sequence[Seen]) -> Sequence[Seen]:
    """Choose the first files, one at least, that have `MOST_READ` bytes together, and the one that goes past that."""
    before = accumulate((one.signature.size for one in ready), initial=0)
    return [one for one, so_far in zip(ready, before, strict=False) if so_far < MOST_READ]


def _read_all(folder: DropFolder, seen: Sequence[Seen]) -> list[Read]:
    with folder.together():
        return [_read(folder, one) for one in seen]


def _read(folder: DropFolder, seen: Seen) -> Read:
    pieces: list[bytes] = []
    is_short = seen.signature.size <= SHORT
    try:
        content = folder.read(seen.path, seen.signature, sent=pieces.append if is_short else None)
    except FileProblem as error:
        return Read(seen, error)
    return Read(seen, content, sketch_as_read(pieces) if is_short else None)
