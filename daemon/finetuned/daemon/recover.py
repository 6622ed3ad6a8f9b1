"""What is done about a session that seems stuck, or whose training failed.

1. What is due is decided in `recovery`, from a poll that was just made; here it is written, and asked for: a death in
   between has counted.
2. A session that a runner works on is alive. One that the server will not put to work again is given up; one that only
   queues for a trainer has the patience of a training first.
3. A session that is given up unfinished goes from the server once its pairs are here: it would hold a slot for ever.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from finetuned.backend import Observation, Push
from finetuned.daemon.context import Context
from finetuned.errors import KnownRefusal, Refusal, Refused, ReplyLost, Unreachable
from finetuned.lifecycle import Cause
from finetuned.model import Attempt, Job
from finetuned.recovery import LONGEST_QUEUE, History, Recovery, Step

#: what alters a session on the server
_ALTERING: Final = frozenset({Step.RESTART, Step.REQUEUE, Step.RETRAIN, Step.RETRY_CHUNKS, Step.START})
_READ_ONLY: Final = "only a note in the folder tells that this session is ours, so it is left as it is"


class Recoveries:
    """Puts sessions to work again, or gives them up."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def do(self, job: Job, seen: Observation, due: Recovery, history: History) -> Job | None:
        """Do what is due; the job, if nothing was done, and it is to be followed as before. Raises Unreachable."""
        if job.under_way.read_only and due.step in _ALTERING:
            return await self._will_not(job, seen, due, history, _READ_ONLY)
        match due.step:
            case Step.RESTART | Step.REQUEUE | Step.RETRAIN:
                return await self._restart(job, seen, due, history)
            case Step.RETRY_CHUNKS | Step.START:
                await self._kick(job, seen, due)
            case Step.REVIEW:
                now = self._context.runtime.now()
                due_at = now + self._context.settings.poll.slowest
                await self._context.in_ledger(self._context.ledger.runs.awaits_review, job, seen.stage, due_at, now)
            case Step.GIVE_UP:
                await self.give_up(job, due.words)
            case _:
                return job
        return None

    async def give_up(self, job: Job, words: str, *, cause: Cause = Cause.STALLED, discard: bool = True) -> None:
        """End the attempt: another one begins, if a job may cost one more, else the job failed."""
        context = self._context
        now = context.runtime.now()
        used, allowed = job.attempts - job.attempts_before, context.settings.submit.attempts
        reason = f"session {job.session_id} was given up: {words}" if discard else words
        if used < allowed:
            reason = f"{reason}; attempt {used + 1} of {allowed} follows"
            await context.in_ledger(
                context.ledger.ends.next_attempt, job, reason, cause=cause, discard=discard, now=now
            )
        else:
            await context.in_ledger(context.ledger.ends.failed, job, reason, cause=cause, discard=discard, now=now)

    async def _restart(self, job: Job, seen: Observation, due: Recovery, history: History) -> Job | None:
        context = self._context
        before = job.under_way
        if due.step is Step.REQUEUE:
            cause, done = Cause.REQUEUE, replace(before, requeued=before.requeued + 1)
        else:
            retrained = before.retrained + (due.step is Step.RETRAIN)
            cause, done = Cause.RESTART, replace(before, restarts=before.restarts + 1, retrained=retrained)
        counted = await self._note(job, seen, due.words, cause=cause, counted=done)
        try:
            await self._ask(Push.RESTART, seen, counted, before=before)
        except Refused as error:
            active = isinstance(error, KnownRefusal) and error.kind is Refusal.ACTIVE
            if not active:
                return await self._will_not(counted, seen, due, history, str(error))
            if due.step is not Step.RETRAIN:  # a sign of life
                await self._note(counted, seen, "a runner works on it", cause=Cause.ACTIVE, counted=before)
        except ReplyLost as error:  # perhaps it was, or will be: the poll after the settle time tells
            pause = min(context.settings.submit.lost_answer_settle, context.settings.poll.slowest)
            await self._note(counted, seen, f"{due.words}; {error}", cause=cause, pause=pause)
        return None

    async def _will_not(self, job: Job, seen: Observation, due: Recovery, history: History, words: str) -> Job | None:
        """Do without putting the session to work again: the server refuses to, or it may not be ours."""
        poll = self._context.settings.poll
        if due.step is Step.RETRAIN:
            return job
        patience = min(poll.training_stalled_after, LONGEST_QUEUE)  # nothing stands still for longer
        if due.step is Step.REQUEUE and history.still_for < patience:
            words = f"it queues for a trainer, and cannot be queued again: {words}"
            await self._note(job, seen, words, cause=Cause.REQUEUE, pause=poll.slowest)
            return None
        await self.give_up(job, f"{due.words}; but {words}")
        return None

    async def _kick(self, job: Job, seen: Observation, due: Recovery) -> None:
        """End a pause before the training; whatever the answer, the next polls tell."""
        how = Push.START if due.step is Step.START else Push.RETRY_CHUNKS
        before = job.under_way
        done = replace(before, kicks=before.kicks + 1)
        counted = await self._note(job, seen, due.words, cause=Cause(due.step), counted=done)
        try:
            await self._ask(how, seen, counted, before=before)
        except (Refused, ReplyLost) as error:
            await self._note(counted, seen, f"{due.words}; {error}", cause=Cause(due.step))

    async def _ask(self, how: Push, seen: Observation, job: Job, *, before: Attempt) -> None:
        """Ask for what was counted already; what surely never reached the server counts as `before`."""
        try:
            await self._context.backend_of(job).push(seen.id, how)
        except Unreachable as error:
            await self._note(job, seen, str(error), cause=Cause.UNREACHABLE, counted=before)
            raise

    async def _note(
        self,
        job: Job,
        seen: Observation,
        words: str,
        *,
        cause: Cause,
        counted: Attempt | None = None,
        pause: float | None = None,
    ) -> Job:
        """Write down what is done, and how often by now (null: as often as before); the job as it is then."""
        context = self._context
        now = context.runtime.now()
        due_at = now + (context.settings.poll.fastest if pause is None else pause)
        return await context.in_ledger(
            context.ledger.runs.recovering,
            job,
            seen,
            counted or job.under_way,
            words,
            cause=cause,
            due_at=due_at,
            now=now,
        )
