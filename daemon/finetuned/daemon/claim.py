"""Jobs on the disk: sealed, claimed, given up, archived.

1. A claim is: the job in the ledger, then the renames, then the ledger again. It is repeated until it holds.
2. Archiving is: verdicts in the ledger, then the moves, then the ledger again. It is repeated until it holds.
3. What cannot be moved for now keeps its reason and a time to try again; it never holds up the others. No job is made
   of it: where nothing is known to have been moved from, that is tried first with a file of our own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from finetuned.daemon.context import Context
from finetuned.errors import Changed, FileProblem, FolderError, Gone, Stuck
from finetuned.folders import LIES_HERE, DropFolder, Wanted
from finetuned.ledger import Left
from finetuned.lifecycle import FileState, JobState
from finetuned.model import File, Job, iso, shown
from finetuned.plan import LONGEST_DISK_WAIT, LONGEST_HOLD, Seal

#: how many places are remembered as sound, before that is found out anew
PLACES: Final = 1000
#: how many pairs are read at a time to be written down
PAIRS_AT_ONCE: Final = 500
#: why a job is cancelled
BY_A_PERSON: Final = "cancelled by a person"
_TAUGHT = {JobState.DONE, JobState.PARTIAL}


class Packing:
    """What the plan wants done on the disk."""

    def __init__(self, context: Context, sweep_soon: Callable[[], None]) -> None:
        self._context = context
        self._sound: set[str] = set()
        self._look_again = sweep_soon  # a file lies where it was dropped once more

    async def seal(self, order: Seal) -> None:
        """Make a job of the files that can be moved, and claim them."""
        context = self._context
        now = context.runtime.now()
        file_ids = await context.in_thread(self._movable, order, now)
        if not file_ids:
            return
        while True:
            job_id = new_job_id(context, order.folder, now)
            if await context.in_thread(context.ledger.jobs.seal, job_id, order.folder, order.group, file_ids, now):
                break
        context.own.add(job_id)
        await self.claim(job_id)

    def _movable(self, order: Seal, now: float) -> list[int]:
        """Those of the files that a job can be made of; the others wait, with the reason."""
        context = self._context
        folder = context.folders[order.folder]
        movable = []
        if len(self._sound) > PLACES:  # who makes a sub-folder for each file makes thousands a day
            self._sound.clear()
        for file in map(context.ledger.files.get, order.file_ids):
            if file.signature and file.location == file.path and folder.has_changed(file.path, file.signature):
                context.ledger.files.unsettled(file, None, "it changed while it waited", now)
                folder.sweeper.remember(file.path, file.signature, settled=False)
                self._look_again()
                continue
            try:
                self._check(folder, file)
            except Stuck as error:
                due_at = now + context.back_off(file.tries + 2, LONGEST_DISK_WAIT)
                context.ledger.files.held_up(file, str(error), due_at, now)
                continue
            except FileProblem:  # that file is gone: the claim finds out
                pass
            movable.append(file.id)
        return movable

    def _check(self, folder: DropFolder, file: File) -> None:
        """Raise Stuck if the file may not be taken any more, or cannot be moved. Raises Gone, Away."""
        lies = file.location or file.path
        if lies == file.path and (why := folder.left_out(lies)) is not None:  # the rules were changed since
            raise Stuck(f"is left alone now: {why}")
        place = os.path.dirname(lies)
        if place not in self._sound:
            folder.probe(lies)
            self._sound.add(place)

    async def claim(self, job_id: str) -> None:
        """Bring the job's files into its own folder, or find out which must leave it."""
        context = self._context
        job = await context.in_thread(context.ledger.jobs.get, job_id)
        if job is None or job.state is not JobState.QUEUED:
            return
        try:
            laid, left = await context.in_thread(self._claim, job)
        except FileProblem as error:
            await self._later(job, str(error))
            return
        await context.in_thread(context.ledger.jobs.claimed, job, laid, left, context.runtime.now())
        folder = context.folders[job.folder]
        if laid and left:  # the note names just those that are sent, in their order
            with suppress(FileProblem):
                await context.in_thread(lambda: folder.claim(job.id, self._job_json(job.id), []))
        for leaver in left:
            if leaver.location is None:
                folder.sweeper.forget(leaver.file.location or leaver.file.path)
            elif leaver.became is FileState.SETTLING and leaver.file.signature:
                folder.sweeper.remember(leaver.location, leaver.file.signature, settled=False)
                self._look_again()

    def _claim(self, job: Job) -> tuple[list[tuple[File, str]], list[Left]]:
        folder = self._context.folders[job.folder]
        laid: list[tuple[File, str]] = []
        left: list[Left] = []
        wanted = [
            (file, Wanted(source=file.location, name=str(file.id), content=file.content))
            for file in self._context.ledger.jobs.packed(job.id)
            if file.location is not None and file.content is not None
        ]
        taken = folder.claim(job.id, self._job_json(job.id), [one for _, one in wanted])
        for (file, _), found in zip(wanted, taken, strict=True):
            if isinstance(found, FileProblem):
                left.append(self._leaver(folder, file, found))
            else:
                laid.append((file, found))
        return laid, left

    def _leaver(self, folder: DropFolder, file: File, why: FileProblem) -> Left:
        """What becomes of a file that could not be claimed; one that changed in a folder of ours is given back."""
        context = self._context
        reason = str(why)
        self._sound.discard(os.path.dirname(file.location or file.path))
        if isinstance(why, Gone) or file.location is None:
            reason = context.came_back(folder, file.path).told(reason)
            return Left(file=file, became=FileState.VANISHED, reason=reason, location=None)
        if isinstance(why, Changed):
            try:
                location = file.location
                if location != file.path:
                    location = folder.give_back(location, file.path)
                reason = context.came_back(folder, location).told(reason)
                return Left(file=file, became=FileState.SETTLING, reason=reason, location=location)
            except FileProblem as error:
                reason = f"{reason}, and it cannot be given back: {error}"
        due_at = context.runtime.now() + context.back_off(file.tries + 2, LONGEST_HOLD)
        return Left(file=file, became=FileState.WAITING, reason=reason, location=file.location, due_at=due_at)

    async def cancel(self, job_id: str) -> None:
        """Give the job up, as a person wished."""
        context = self._context
        job = await context.in_thread(context.ledger.jobs.get, job_id)
        if job is not None and job.given_up:
            await context.in_thread(context.ledger.jobs.cancelled, job, BY_A_PERSON, context.runtime.now())

    async def skip_duplicate(self, file_id: int, of: str) -> None:
        """The content is known."""
        context = self._context
        await context.in_thread(context.ledger.files.duplicate, file_id, shown(of), context.runtime.now())

    async def archive(self, job_id: str) -> None:
        """Move the files of an ended job to where they belong, and write down beside them what became of it."""
        context = self._context
        job = await context.in_thread(context.ledger.jobs.get, job_id)
        if job is None or job.archived:
            return
        if job.files == 0 and not await context.in_thread(context.ledger.quotas.is_left, job):
            await self._later(job, "its files went on without it, and were not taken from its folder yet")
            return
        try:
            lost = await context.in_thread(self._archive, job)
        except (FileProblem, FolderError) as error:
            await self._later(job, f"its files cannot be moved: {error}")
        else:
            await context.in_thread(context.ledger.jobs.archived, job)
            if lost:
                self._look_again()

    async def _later(self, job: Job, why: str) -> None:
        """What cannot be done on the disk now is tried again."""
        context = self._context
        now = context.runtime.now()
        due_at = now + context.back_off(job.tries + 1, LONGEST_DISK_WAIT)
        await context.in_thread(context.ledger.jobs.try_later, job, due_at, why, now)

    def _archive(self, job: Job) -> bool:
        """Whether a file did not lie where it should: another version of it may lie where it was dropped."""
        context = self._context
        folder = context.folders[job.folder]
        files = context.ledger.jobs.files(job.id)
        with folder.together():
            places = [(file, *self._lay(folder, file)) for file in files if not file.archived]
        context.ledger.jobs.laid(job, places, context.runtime.now())
        locations = [file.location for file in context.ledger.jobs.files(job.id)]
        papers: dict[str, Iterable[bytes]] = {"job.json": [self._job_json(job.id)]}
        with folder.together():
            if any(file.state in {FileState.BARREN, FileState.FAILED} for file in files):
                folder.write_job_files(job.id, area="failed", files=papers, locations=locations)
            if job.state in _TAUGHT:
                forgot = any(file.state is FileState.LEARNED and file.pairs is None for file in files)
                if context.rules(job.folder).write_pairs or forgot:  # an older paper may tell of what was forgotten
                    papers["pairs.jsonl"] = self._pairs_jsonl(job.id)
                folder.write_job_files(job.id, area="done", files=papers, locations=locations)
            folder.clear_processing(job.id)
        return any(lost for _, _, lost in places)

    async def archive_file(self, file_id: int) -> None:
        """Move a refused or duplicate file to where it belongs."""
        context = self._context
        file = await context.in_thread(context.ledger.files.get, file_id)
        folder = context.folders.get(file.folder)
        if folder is None or file.archived:
            return
        now = context.runtime.now()
        try:
            location, lost = await context.in_thread(self._lay, folder, file)
        except (FileProblem, FolderError) as error:
            due_at = now + context.back_off(file.tries + 1, LONGEST_DISK_WAIT)
            await context.in_thread(context.ledger.files.archive_later, file, str(error), due_at, now)
            return
        await context.in_thread(context.ledger.files.laid, file, location, now, lost=lost)
        if lost:
            self._look_again()

    def _lay(self, folder: DropFolder, file: File) -> tuple[str | None, str | None]:
        """Bring a file to its end; return its place, or why it has none; null for both: deleted by the rules."""
        try:
            return folder.archive(file, _why(file)), None
        except (Gone, Changed) as error:
            return None, self._context.came_back(folder, file.path).told(str(error))

    def _job_json(self, job_id: str) -> bytes:
        with self._context.ledger.reading() as reader:
            # escaped by the one library, indented by the other: either can do its part fast
            return msgspec.json.format(json.dumps(reader.job(job_id)).encode(), indent=2) + b"\n"

    def _pairs_jsonl(self, job_id: str) -> Iterator[bytes]:
        """The lines of `pairs.jsonl`, some at a time: whoever writes to the ledger gets his turn in between."""
        last = 0
        while True:
            rows = self._context.ledger.pairs.some(job_id, after=last, most=PAIRS_AT_ONCE)
            if not rows:
                return
            last = rows[-1]["ordinal"]
            yield from (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _why(file: File) -> str | None:
    """The note beside a file that was not learned: what, why, and the command that tries again.

    That names the file's own place: two files may have been dropped under one name.
    """
    if file.state in {FileState.LEARNED, FileState.DUPLICATE}:
        return None
    name = shown(file.path)
    lines = [
        f"{name} was not learned.",
        "",
        f"Why: {file.reason}",
        f"When: {iso(file.finished_at or 0)}",
    ]
    if file.job_id:
        lines.append(f"Job: {file.job_id} (all about it: finetuned job {file.job_id})")
        lines.append(f"Try again: finetuned retry {file.job_id}")
    else:
        lines.append("Try again: mend this file, or the configuration, and then")
        lines.append(f"           finetuned retry {LIES_HERE}")
    return "\n".join(lines) + "\n"


def new_job_id(context: Context, folder: str, now: float) -> str:
    """An id for a job, readable and sortable; the ledger tells whether it is taken."""
    return f"{folder}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{context.runtime.fresh_id(4)}"
