"""What is done about a session that seems stuck, or whose training failed.

1. What is due is decided in `remedy`, from a look that was just made; here it is written, and asked for: a death in
   between has counted.
2. A session that a runner works on is alive. One that the server will not put to work again is given up; one that only
   queues for a trainer has the patience of a training first.
3. A session that is given up unfinished goes from the server once its pairs are here: it would hold a slot for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from finetuned.daemon.context import Context
from finetuned.errors import Refused, ReplyLost, Unreachable
from finetuned.helix.service import KnownRefusal
from finetuned.model import Job, SessionView
from finetuned.remedy import LONGEST_QUEUE, Deed, Past, Remedy
from finetuned.wire import Refusal

#: what alters a session on the server
_ALTERING: Final = frozenset({Deed.RESTART, Deed.REQUEUE, Deed.RETRAIN, Deed.RETRY_CHUNKS, Deed.START})
_READ_ONLY: Final = "only a note in the folder tells that this session is ours, so it is left as it is"


class Mending:
    """Puts sessions to work again, or gives them up."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def mend(self, job: Job, view: SessionView, due: Remedy, past: Past) -> bool:
        """Do what is due; False if nothing was done, and the job is to be followed as before. Raises Unreachable."""
        if job.read_only and due.deed in _ALTERING:
            return await self._will_not(job, view, due, past, _READ_ONLY)
        match due.deed:
            case Deed.RESTART | Deed.REQUEUE | Deed.RETRAIN:
                return await self._restart(job, view, due, past)
            case Deed.RETRY_CHUNKS | Deed.START:
                await self._nudge(job, view, due)
            case Deed.REVIEW:
                now = self._context.runtime.now()
                await self._context.in_thread(
                    self._context.ledger.jobs.rests, job, now + self._context.settings.poll.slowest, now
                )
            case Deed.GIVE_UP:
                await self.give_up(job, due.words)
            case _:
                return False
        return True

    async def give_up(self, job: Job, words: str, *, cause: str = "stalled", discard: bool = True) -> None:
        """The attempt is over: another one, if a job may cost one more, else the job failed."""
        context = self._context
        now = context.runtime.now()
        used, allowed = job.attempt - job.attempts_before, context.settings.submit.attempts
        reason = f"session {job.session_id} was given up: {words}" if discard else words
        if used < allowed:
            reason = f"{reason}; attempt {used + 1} of {allowed} follows"
            await context.in_thread(
                context.ledger.sessions.next_attempt, job, reason, cause=cause, discard=discard, now=now
            )
        else:
            await context.in_thread(context.ledger.sessions.failed, job, reason, cause=cause, discard=discard, now=now)

    async def _restart(self, job: Job, view: SessionView, due: Remedy, past: Past) -> bool:
        context = self._context
        if due.deed is Deed.REQUEUE:
            cause, done = "requeue", {"requeued": job.requeued + 1}
        else:
            retrained = job.retrained + (due.deed is Deed.RETRAIN)
            cause, done = "restart", {"restarts": job.restarts + 1, "retrained": retrained}
        counted = await self._note(job, view, due.words, cause=cause, **done)
        try:
            await self._ask(context.service.restart, view, counted, before=job)
        except Refused as error:
            active = isinstance(error, KnownRefusal) and error.kind is Refusal.ACTIVE
            if not active:
                return await self._will_not(counted, view, due, past, str(error))
            if due.deed is not Deed.RETRAIN:  # a sign of life
                await self._note(counted, view, "a runner works on it", cause="active", **_counts(job))
        except ReplyLost as error:  # perhaps it was, or will be: the look after the settle time tells
            pause = min(context.settings.submit.lost_answer_settle, context.settings.poll.slowest)
            await self._note(counted, view, f"{due.words}; {error}", cause=cause, pause=pause)
        return True

    async def _will_not(self, job: Job, view: SessionView, due: Remedy, past: Past, words: str) -> bool:
        """The session is not put to work again: the server refuses to, or it may not be ours."""
        poll = self._context.settings.poll
        if due.deed is Deed.RETRAIN:
            return False
        patience = min(poll.training_stalled_after, LONGEST_QUEUE)  # nothing stands still for longer
        if due.deed is Deed.REQUEUE and past.still_for < patience:
            words = f"it queues for a trainer, and cannot be queued again: {words}"
            await self._note(job, view, words, cause="requeue", pause=poll.slowest)
            return True
        await self.give_up(job, f"{due.words}; but {words}")
        return True

    async def _nudge(self, job: Job, view: SessionView, due: Remedy) -> None:
        """End a rest; whatever the answer, the next looks tell."""
        service = self._context.service
        call = service.start if due.deed is Deed.START else service.retry_chunks
        counted = await self._note(job, view, due.words, cause=due.deed, nudges=job.nudges + 1)
        try:
            await self._ask(call, view, counted, before=job)
        except (Refused, ReplyLost) as error:
            await self._note(counted, view, f"{due.words}; {error}", cause=due.deed)

    async def _ask(self, call: Callable[[str], Awaitable[None]], view: SessionView, job: Job, *, before: Job) -> None:
        """Ask for what was counted already; what surely never reached the server counts as `before`."""
        try:
            await call(view.id)
        except Unreachable as error:
            await self._note(job, view, str(error), cause="unreachable", **_counts(before))
            raise

    async def _note(
        self, job: Job, view: SessionView, words: str, *, cause: str, pause: float | None = None, **done: int
    ) -> Job:
        """Write down what is done, and how often by now; the job as it is then."""
        context = self._context
        now = context.runtime.now()
        due_at = now + (context.settings.poll.fastest if pause is None else pause)
        return await context.in_thread(
            context.ledger.sessions.mended, job, view, words, cause=cause, due_at=due_at, now=now, **done
        )


def _counts(job: Job) -> dict[str, int]:
    """How often what was done by now."""
    return {"restarts": job.restarts, "retrained": job.retrained, "requeued": job.requeued, "nudges": job.nudges}
