"""Jobs are made: sealed, claimed, or given up before they are sent.

1. A claim is: the job in the ledger, then the renames, then the ledger again. It is repeated until it holds.
2. What cannot be moved for now keeps its reason and a time to try again; it never holds up the others. No job is made
   of it: where nothing is known to have been moved from, that is tried first with a file of our own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Final

from finetuned.daemon.context import Context
from finetuned.daemon.papers import job_json
from finetuned.errors import Changed, FileProblem, Gone, Stuck
from finetuned.folders.folder import DropFolder
from finetuned.ledger.batches import Left
from finetuned.lifecycle import FileState, JobState
from finetuned.model import File, Job
from finetuned.paths import escape
from finetuned.plan import LONGEST_DISK_WAIT, LONGEST_HOLD, Seal

#: how many places are remembered as sound, before that is found out anew
PLACES: Final = 1000
#: why a job is cancelled
BY_A_PERSON: Final = "cancelled by a person"

_folder_of: Final = attrgetter("folder")


@dataclass(slots=True)
class Claimed:
    """What came of a job's claim: the files with where they lie now, and those that leave it."""

    job: Job
    laid: list[tuple[File, str]] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


class Claims:
    """Makes jobs of files, as the plan wants it."""

    def __init__(self, context: Context, sweep_soon: Callable[[str], None]) -> None:
        self._context = context
        self._sound: set[str] = set()
        self._sweep_soon = sweep_soon  # a file lies where it was dropped once more

    async def seal(self, orders: Sequence[Seal]) -> list[str]:
        """Make jobs of the files that can be moved, in this order; their ids. They are to be claimed. Raises Away."""
        context = self._context
        now = context.runtime.now()
        movable = await context.in_thread(lambda: [(order, self._movable(order, now)) for order in orders])
        job_ids = await context.in_ledger(self._seal, movable, now)
        context.own.update(job_ids)
        return job_ids

    def _seal(self, movable: Sequence[tuple[Seal, list[int]]], now: float) -> list[str]:
        context = self._context
        job_ids = []
        with context.together(movable):
            for order, file_ids in movable:
                while file_ids:
                    job_id = new_job_id(context, order.folder, now)
                    if context.ledger.batches.seal(job_id, order.folder, order.group, file_ids, now):
                        job_ids.append(job_id)
                        break
        return job_ids

    def _movable(self, order: Seal, now: float) -> list[int]:
        """Choose the files that a job can be made of; the others wait, with the reason."""
        context = self._context
        folder = context.folders[order.folder]
        movable = []
        if len(self._sound) > PLACES:  # who makes a sub-folder for each file makes thousands a day
            self._sound.clear()
        files = context.ledger.files.these(order.file_ids)
        with folder.together():
            changed = {
                f.id for f in files if f.signature and f.location == f.path and folder.has_changed(f.path, f.signature)
            }
        for file in files:
            if file.signature and file.id in changed:
                context.ledger.files.unsettled(file, None, "it changed while it waited", now)
                folder.sweeper.known.remember(file.path, file.signature, settled=False)
                self._sweep_soon(folder.root)
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

    async def claim(self, job_ids: Sequence[str]) -> None:
        """Bring the jobs' files into their own folders, or find out which must leave them. Raises Away."""
        context = self._context
        jobs = await context.in_ledger(lambda: [context.ledger.jobs.get(job_id) for job_id in job_ids])
        queued = [job for job in jobs if job is not None and job.state is JobState.QUEUED]
        for name, some in groupby(sorted(queued, key=_folder_of), key=_folder_of):
            of_a_folder = [*some]
            try:
                claimed = await context.in_thread(self._claim, context.folders[name], of_a_folder)
            except FileProblem as error:
                for job in of_a_folder:
                    await context.disk_later(job, str(error))
            else:
                for one in await context.in_ledger(self._write, claimed, context.runtime.now()):
                    await self._let_leave(one)

    def _claim(self, folder: DropFolder, jobs: Sequence[Job]) -> list[Claimed]:
        context = self._context
        wanted = [
            [(file, found) for file in context.ledger.jobs.packed(job.id) if (found := folder.wanted(file)) is not None]
            for job in jobs
        ]
        orders = [
            (job.id, job_json(context.ledger, job.id), [one for _, one in files])
            for job, files in zip(jobs, wanted, strict=True)
        ]
        claimed = []
        for job, files, taken in zip(jobs, wanted, folder.claim_all(orders), strict=True):
            one = Claimed(job)
            for (file, _), lies in zip(files, taken, strict=True):
                if isinstance(lies, FileProblem):
                    one.left.append(self._leaver(folder, file, lies))
                else:
                    one.laid.append((file, lies))
            claimed.append(one)
        return claimed

    def _write(self, claimed: Sequence[Claimed], now: float) -> Sequence[Claimed]:
        """Write what was claimed; return it with what became of those that left their jobs."""
        with self._context.together(claimed):
            for one in claimed:
                one.left = self._context.ledger.batches.claimed(one.job, one.laid, one.left, now)
        return claimed

    async def _let_leave(self, claimed: Claimed) -> None:
        """Look at files that left their job as at others, and name in its note just those that are sent, in order."""
        context, job = self._context, claimed.job
        folder = context.folders[job.folder]
        if claimed.laid and claimed.left:
            with suppress(FileProblem):
                await context.in_thread(lambda: folder.claim(job.id, job_json(context.ledger, job.id), []))
        for leaver in claimed.left:
            if leaver.location is None:
                folder.sweeper.known.forget(leaver.file.location or leaver.file.path)
            elif leaver.became is FileState.SETTLING and leaver.file.signature:
                folder.sweeper.known.remember(leaver.location, leaver.file.signature, settled=False)
                self._sweep_soon(folder.root)

    def _leaver(self, folder: DropFolder, file: File, why: FileProblem) -> Left:
        """Decide what becomes of a file that could not be claimed; give back one that changed in a folder of ours."""
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
        """Give the job up, as a person requested."""
        context = self._context
        job = await context.in_ledger(context.ledger.jobs.get, job_id)
        if job is not None and job.given_up:
            await context.in_ledger(context.ledger.ends.cancelled, job, BY_A_PERSON, context.runtime.now())

    async def skip_duplicate(self, file_id: int, of: str) -> None:
        """Call a file a duplicate `of` another one, whose content is known."""
        context = self._context
        await context.in_ledger(context.ledger.files.duplicate, file_id, escape(of), context.runtime.now())


def new_job_id(context: Context, folder: str, now: float) -> str:
    """Make an id for a job, readable and sortable; the ledger tells whether it is taken."""
    return f"{folder}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{context.runtime.fresh_id(4)}"
