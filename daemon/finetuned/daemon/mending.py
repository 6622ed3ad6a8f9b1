"""What is done about a session that seems stuck, or whose training failed.

1. What is due is decided in `remedy`, from a look that was just made; here it is asked for, and written.
2. A session that a runner works on is alive. One that the server will not put to work again is given up; one that only
   queues for a trainer has the patience of a training first.
3. A session that is given up unfinished goes from the server once its pairs are here: it would hold a slot for ever.
"""

from __future__ import annotations

from finetuned.daemon.house import House
from finetuned.errors import Refused, ReplyLost
from finetuned.helix.service import KnownRefusal
from finetuned.model import Job, SessionView
from finetuned.remedy import LONGEST_QUEUE, Deed, Past, Remedy
from finetuned.wire import Refusal


class Mending:
    """Puts sessions to work again, or gives them up."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def mend(self, job: Job, view: SessionView, due: Remedy, past: Past) -> bool:
        """Do what is due; False if nothing was done, and the job is to be followed as before. Raises Unreachable."""
        match due.deed:
            case Deed.RESTART | Deed.REQUEUE | Deed.RETRAIN:
                return await self._restart(job, view, due, past)
            case Deed.RETRY_CHUNKS | Deed.START:
                await self._nudge(job, view, due)
            case Deed.REVIEW:
                now = self._house.world.now()
                await self._house.write(
                    self._house.ledger.jobs.rests, job, now + self._house.settings.poll.slowest, now
                )
            case Deed.GIVE_UP:
                await self.give_up(job, due.words)
            case _:
                return False
        return True

    async def give_up(self, job: Job, words: str, *, cause: str = "stalled", discard: bool = True) -> None:
        """The attempt is over: another one, if a job may cost one more, else the job failed."""
        house = self._house
        now = house.world.now()
        used, allowed = job.attempt - job.attempts_before, house.settings.submit.attempts
        reason = f"session {job.session_id} was given up: {words}" if discard else words
        if used < allowed:
            reason = f"{reason}; attempt {used + 1} of {allowed} follows"
            await house.write(house.ledger.sessions.next_attempt, job, reason, cause=cause, discard=discard, now=now)
        else:
            await house.write(house.ledger.sessions.failed, job, reason, cause=cause, discard=discard, now=now)

    async def _restart(self, job: Job, view: SessionView, due: Remedy, past: Past) -> bool:
        house = self._house
        words = due.words
        pause = house.settings.poll.fastest
        try:
            await house.service.restart(view.id)
        except Refused as error:
            active = isinstance(error, KnownRefusal) and error.kind is Refusal.ACTIVE
            if not active:
                return await self._will_not(job, view, due, past, str(error))
            if due.deed is not Deed.RETRAIN:  # a sign of life
                await self._done(job, view, "a runner works on it", cause="active", pause=pause)
                return True
        except ReplyLost as error:  # perhaps it was, or will be: the look after the settle time tells
            words = f"{words}; {error}"
            pause = min(house.settings.submit.lost_answer_settle, house.settings.poll.slowest)
        if due.deed is Deed.REQUEUE:
            done = {"requeued": job.requeued + 1}
        else:
            done = {"restarts": job.restarts + 1, "retrained": job.retrained + (due.deed is Deed.RETRAIN)}
        cause = "requeue" if due.deed is Deed.REQUEUE else "restart"
        await self._done(job, view, words, cause=cause, pause=pause, **done)
        return True

    async def _will_not(self, job: Job, view: SessionView, due: Remedy, past: Past, words: str) -> bool:
        """The server does not put the session to work again."""
        house = self._house
        if due.deed is Deed.RETRAIN:
            return False
        patience = min(house.settings.poll.training_stalled_after, LONGEST_QUEUE)  # nothing stands still for longer
        if due.deed is Deed.REQUEUE and past.still_for < patience:
            words = f"it queues for a trainer, and cannot be queued again: {words}"
            pause = house.settings.poll.slowest
            await self._done(job, view, words, cause="requeue", pause=pause, requeued=job.requeued + 1)
            return True
        await self.give_up(job, f"{due.words}; but {words}")
        return True

    async def _nudge(self, job: Job, view: SessionView, due: Remedy) -> None:
        """End a rest; whatever the answer, the next looks tell."""
        house = self._house
        words = due.words
        try:
            if due.deed is Deed.START:
                await house.service.start(view.id)
            else:
                await house.service.retry_chunks(view.id)
        except (Refused, ReplyLost) as error:
            words = f"{words}; {error}"
        await self._done(job, view, words, cause=due.deed, pause=house.settings.poll.fastest, nudges=job.nudges + 1)

    async def _done(self, job: Job, view: SessionView, words: str, *, cause: str, pause: float, **done: int) -> None:
        house = self._house
        now = house.world.now()
        await house.write(
            house.ledger.sessions.mended, job, view, words, cause=cause, due_at=now + pause, now=now, **done
        )
