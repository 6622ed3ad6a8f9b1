"""Jobs that a server does not take as they are: their files go on in two halves, down to the single file.

1. What a job is too much for, or what one of its files holds, is found out by halving: its companions are learned, and
   the file that is left alone is refused or failed, with the words that were seen.
2. A server that takes nothing at all must not be asked once for each file: after so many jobs that were halved and not
   one that was taken, what it does not take has failed as a whole. What is too large does not count: each refusal makes
   the limit smaller, and what is larger than that is halved before it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from finetuned.backend import Capabilities
from finetuned.daemon.claim import BY_A_PERSON, new_job_id
from finetuned.daemon.context import Context
from finetuned.lifecycle import Cause
from finetuned.model import File, Job

#: jobs that were sent and halved since the server took one, before no more are: one bad file among two thousand takes
#: eleven
HALVED_IN_VAIN: Final = 16
#: what a server refuses of a job for its size alone
_OF_SIZE: Final = frozenset({Cause.QUOTA, Cause.FITTED, Cause.TOO_LARGE})
#: why a session with a job's marker is not taken for the job's
NOT_OURS: Final = "it was made of other files than lie here"
#: the words with which a file is refused that is too much by itself
Reasons = Callable[[File], str]


class Splits:
    """Finds out which file of a job it is that a server does not take."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def halve(
        self, job: Job, words: str, *, cause: Cause, refusal: Reasons | None = None, recheck_at: float | None = None
    ) -> None:
        """Let the job's files go on in two jobs. A single file is refused with `refusal`, or has failed for `words`.

        `recheck_at`: when the server is searched for a session of the job that it may list late.
        """
        context = self._context
        now = context.runtime.now()

        def work() -> Sequence[str]:
            with context.ledger.together():
                return self._halve(job, words, cause, refusal, recheck_at, now)

        context.own.update(await context.in_thread(work))

    def _halve(
        self, job: Job, words: str, cause: Cause, refusal: Reasons | None, recheck_at: float | None, now: float
    ) -> Sequence[str]:
        """Split a job; return the ids of those that go on in its place, none if nothing does."""
        context, ledger = self._context, self._context.ledger
        asked = ledger.jobs.get(job.id)
        if asked is not None and asked.given_up:
            ledger.ends.cancelled(job, BY_A_PERSON, now)
            return ()
        packed = ledger.jobs.packed(job.id)
        if len(packed) == 1 and refusal is not None:
            ledger.batches.too_big(job, packed[0], refusal(packed[0]), now, cause=cause)
            return ()
        in_vain = 0 if cause in _OF_SIZE else ledger.events.halved_in_vain(context.url_of(job))
        if len(packed) == 1 or in_vain >= HALVED_IN_VAIN:
            if len(packed) > 1:
                words = f"{words}; its files were not tried one by one: the server took none of the last {in_vain} jobs"
            ledger.ends.failed(job, words, cause=cause, now=now, recheck_at=recheck_at)
            return ()
        first, second = halves(packed, context.backend_of(job).capabilities)
        while True:
            one, other = (new_job_id(context, job.folder, now) for _ in range(2))
            parts = {one: first, other: second}
            if one != other and ledger.batches.split(job, parts, words, now, cause=cause, recheck_at=recheck_at):
                return one, other

    async def begin_anew(self, job: Job, words: str) -> None:
        """Let the job's files go on in one new job, whose name nobody else has: what the server has is not ours."""
        context = self._context
        now = context.runtime.now()

        def work() -> str:
            files = context.ledger.jobs.packed(job.id)
            while True:
                new = new_job_id(context, job.folder, now)
                if context.ledger.batches.split(job, {new: files}, words, now, cause=Cause.NOT_OURS):
                    return new

        context.own.add(await context.in_thread(work))


def halves(files: Sequence[File], can: Capabilities) -> tuple[list[File], list[File]]:
    """Cut two or more files into two parts, in their order, as equal in chunks as can be; neither is empty."""
    sizes = [_weight(file, can) for file in files]
    cut = min(range(1, len(files)), key=lambda n: abs(sum(sizes[:n]) - sum(sizes[n:])))
    return list(files[:cut]), list(files[cut:])


def _weight(file: File, can: Capabilities) -> int:
    """Tell how much a file is of its job: in chunks, or in bytes where nothing is cut into chunks."""
    size = file.content.sent_bytes if file.content else 0
    return can.chunks(size) or size
