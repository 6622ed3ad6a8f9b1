"""Mistakes that finetuned does not make, each put in by hand: what the ring of deaths must notice."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from finetuned.backend import Observation
from finetuned.daemon.collect import Collecting
from finetuned.daemon.paid_work import PaidWork
from finetuned.daemon.poll import Polls
from finetuned.daemon.submit import Submissions
from finetuned.folders import tree
from finetuned.ledger.batches import Batches
from finetuned.lifecycle import Cause, FileState, SessionState
from finetuned.local import trainings
from finetuned.local.runs import Run
from finetuned.making.notes import ChunkRow, ChunkState
from finetuned.marker import upload_name
from finetuned.model import Attempt, Job
from finetuned.verdict import owner, tally


def request_before_intent() -> None:
    """The request goes out, and only then its intent is written."""
    intend = Submissions.intend
    answers: dict[str, Observation] = {}

    async def send_and_intend(self: Submissions, job_id: str) -> Any:
        job = self._context.ledger.jobs.get(job_id)
        assert job is not None
        open_one = Attempt(id=0, job_id=job.id, number=job.attempts + 1, state=SessionState.INTENDED, url="")
        ahead = replace(job, attempt=open_one)
        files = [
            replace(file, upload_name=upload_name(open_one.marker, number, file.path))
            for number, file in enumerate(self._context.ledger.jobs.files(job.id), 1)
        ]
        answers[job.id] = await self._context.backend_of(job).submit(
            self._order(ahead, files), on_progress=lambda _: None
        )
        return await intend(self, job_id)

    async def submit(self: Submissions, intent: Any) -> None:
        job, context = intent.job, self._context
        if job.id in context.own or await self._surely_unsent(job):
            await context.in_ledger(self._write_adopted, job, answers.pop(job.id), Cause.SUBMITTED)

    Submissions.intend = send_and_intend  # type: ignore[method-assign]
    Submissions.submit = submit  # type: ignore[method-assign]


def no_lookup() -> None:
    """What may have been sent is sent again, without a look whether the server has it."""

    async def adopt_found(self: Submissions, job: Job, *, cause: str) -> bool:
        return False

    Submissions._adopt_found = adopt_found  # type: ignore[method-assign]


def claimed_before_synced() -> None:
    """The claim is written down, and only then its files are brought to disk."""
    claimed, sync_all = Batches.claimed, tree.sync_all
    later: list[int] = []

    def claimed_too_early(self: Batches, *args: Any) -> Any:
        done = claimed(self, *args)
        sync_all(later)
        later.clear()
        return done

    def in_a_claim(fds: Sequence[int]) -> None:
        if any(frame.function == "_claim" for frame in inspect.stack(0)):
            later.extend(os.dup(fd) for fd in fds)
        else:
            sync_all(fds)

    tree.sync_all = in_a_claim  # type: ignore[attr-defined]
    Batches.claimed = claimed_too_early  # type: ignore[method-assign]


def pairs_after_verdict() -> None:
    """The verdict is committed, and its pairs in commits of their own, later."""
    collect = Polls._collect
    later: list[tuple[Job, str, Sequence[Any], Any]] = []

    def write_later(_: Collecting, job: Job, view: Observation, told: Any, files: Sequence[Any], then: Any) -> bool:
        later.append((job, view.id, [*told], owner(view, files)))
        then(tally(view, told))
        return True

    async def verdict_first(self: Polls, job: Job, view: Observation) -> None:
        await collect(self, job, view)
        while later:
            await self._context.in_ledger(self._context.ledger.pairs.add, *later.pop())

    Collecting._write_at_once = write_later  # type: ignore[method-assign]
    Polls._collect = verdict_first  # type: ignore[method-assign]


def archive_before_verdict() -> None:
    """The files go to done/, and only then the verdict is written that says so."""
    collect = Polls._collect

    async def collect_late(self: Polls, job: Job, view: Observation) -> None:
        folder = self._context.folders[job.folder]
        for file in self._context.ledger.jobs.files(job.id):
            folder.archive(replace(file, state=FileState.LEARNED, job_id=job.id, content=None), None)
        await collect(self, job, view)

    Polls._collect = collect_late  # type: ignore[method-assign]


DEFECTS: dict[str, Callable[[], None]] = {
    defect.__name__: defect
    for defect in (
        request_before_intent,
        no_lookup,
        claimed_before_synced,
        pairs_after_verdict,
        archive_before_verdict,
    )
}


# -- of learning here


def _answers_forgotten() -> None:
    """What was answered is asked again by the next daemon."""
    known = PaidWork.open_chunks

    async def open_chunks(self: PaidWork, run: str, *, after: int = 0, most: int = 1000) -> list[ChunkRow]:
        rows = await known(self, run, after=after, most=most)
        return [replace(row, state=ChunkState.WAITING, raw=None) for row in rows]

    async def answer_known(self: PaidWork, made_by: str, sha256: str) -> None:
        return None

    PaidWork.open_chunks = open_chunks  # type: ignore[method-assign]
    PaidWork.answer_known = answer_known  # type: ignore[method-assign,assignment]


def _a_try_a_start() -> None:
    """Each daemon begins a training of its own."""

    def newest(run: Run) -> str:
        folder = run.training(run.tries() + 1)
        os.mkdir(folder)
        return folder

    trainings._newest = newest


LEARNING_DEFECTS: dict[str, Callable[[], None]] = {
    "answers forgotten": _answers_forgotten,
    "a try a start": _a_try_a_start,
}
