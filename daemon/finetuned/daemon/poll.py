"""Sessions on the server: looked at, collected, started again, discarded.

1. What a look means is decided in `verdict`; here it is done, and written.
2. `NotFound` is believed after several looks in a row over the settle time; every other refusal of one
   session is a matter of that session only.
3. A session that only a note in a folder told of is read, and never altered: neither named, started nor removed.
4. A word of the server's that we do not know is logged once, however often and in however many sessions it is seen.
"""

from __future__ import annotations

import math
from collections.abc import Container
from contextlib import suppress
from typing import Final

import anyio
from msgspec.structs import replace

from finetuned import logs
from finetuned.daemon.batch_poll import Glances
from finetuned.daemon.collect import Collecting
from finetuned.daemon.context import Context
from finetuned.daemon.limits import Quotas
from finetuned.daemon.recover import Mending
from finetuned.daemon.split import NOT_OURS, Halving
from finetuned.errors import (
    NotFound,
    Refused,
    ReplyLost,
    ServerError,
    Unreachable,
)
from finetuned.lifecycle import JobState, SessionState
from finetuned.model import File, Job, Session, SessionView
from finetuned.remedy import Past, Watch, patience, remedy, watched
from finetuned.settings import PollSettings
from finetuned.verdict import Standing, complaint, fits, judge, lora_of, over_quota, signs_of_life, standing, strange
from finetuned.wire import attempt, renamed

#: looks that did not find a session, before it counts as gone
MISSES: Final = 3
#: how long a session's new name may keep its job from going on, in seconds
NAMED_WITHIN: Final = 5.0
#: words that we do not know, before no more of them are told: a server may make up any number
MOST_STRANGE: Final = 20
_NAMED_IN: Final = frozenset({"edit_questions", "finetune", "complete"})
_LOOKED_AT: Final = frozenset({JobState.RUNNING, JobState.REVIEW})


class Looking:
    """Follows sessions to their end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._mending = Mending(context)
        self._quotas = Quotas(context)
        self._collecting = Collecting(context)
        self._halving = Halving(context)
        self._glances = Glances(context)
        self._watches: dict[str, Watch] = {}  # by session; after our own restart stalled time begins anew anyway
        self._strange: set[str] = set()

    async def look(self, job_id: str) -> None:
        """Look at the job's session, and do what follows from it."""
        context = self._context
        job = await context.in_thread(context.ledger.jobs.get, job_id)
        if job is None or job.state not in _LOOKED_AT or job.session_id is None:
            return
        try:
            if await self._glances.unmoved(job.session_id) and await self._stands(job, job.session_id):
                return
            view = await context.service.look(job.session_id)
            self._wonder(view)
            if job.read_only and not await self._is_proven(job, view):
                return
            await self._follow(job, view)
        except NotFound:
            await self._missing(job)
        except (Refused, ReplyLost) as error:
            await self._context.look_later(job_id, str(error))
        except Unreachable as error:
            await self._context.unreachable(job_id, error)
        else:
            await self._context.server_usable()
            await self._name(job, view)

    async def _follow(self, job: Job, view: SessionView) -> None:
        """Do what follows from a look."""
        match standing(view):
            case stands if job.state is JobState.REVIEW:
                await self._reviewed(job, view, rests=stands is Standing.RESTING)
            case Standing.TRAINED:
                await self._collect(job, view)
            case Standing.BROKEN:
                await self._broken(job, view)
            case _:
                await self._goes_on(job, view)

    async def _is_proven(self, job: Job, view: SessionView) -> bool:
        """Whether a session that only a note told of was made of the job's files; else the job begins anew.

        Until it rests or ends the server need not have told it: nothing is taken from it before.
        """
        fit = fits(view, job.id, await self._context.in_thread(self._context.ledger.jobs.files, job.id))
        if fit or (fit is None and standing(view) is Standing.RUNNING):
            return True
        logs.get().warning("session_not_ours", job=job.id, session=view.id, why=NOT_OURS)
        await self._halving.begin_anew(job, f"session {view.id} has its name, but {NOT_OURS}")
        return False

    def _wonder(self, view: SessionView) -> None:
        """Tell of words that we do not know: unless it has trained, such a session is taken to be still running."""
        for words in strange(view):
            if words not in self._strange and len(self._strange) < MOST_STRANGE:
                self._strange.add(words)
                logs.get().warning("word_unknown", word=words, session=view.id)

    async def _name(self, job: Job, view: SessionView) -> None:
        """Give the session the job's name, for people who see it on the server's own page: tried once, for what it is.

        Not while pairs are made: the server may write the session down as it has it in memory, old name and all.
        """
        context = self._context
        tuning = view.tuning
        if job.read_only or view.name == job.id or tuning is None or tuning.stage not in _NAMED_IN:
            return
        if await context.in_thread(context.ledger.sessions.named, view.id, job.id):
            with suppress(ServerError), anyio.move_on_after(NAMED_WITHIN):
                await context.service.rename(view.id, job.id)

    async def discard(self, session: Session) -> None:
        """Remove a session from the server that was given up, after its pairs were collected.

        A twin that has trained meanwhile stays, unless a person wants it gone.
        """
        context = self._context
        if session.session_id is None:
            return
        try:
            if session.state is SessionState.TWIN:
                if await self._keeps(session, session.session_id):
                    return
            else:
                await self._rescue_pairs(session, session.session_id)
            await context.service.delete(session.session_id)
        except ServerError as error:
            now = context.runtime.now()
            due_at = now + context.back_off(session.tries + 1, context.settings.helix.longest_pause)
            await context.in_thread(context.ledger.sessions.discard_later, session, due_at)
            if isinstance(error, Unreachable):
                await self._context.server_failed(error)
        else:
            await context.in_thread(context.ledger.sessions.discarded, session, context.runtime.now())

    async def probe(self) -> None:
        """Ask whether the server can be used again."""
        try:
            await self._context.service.probe()
        except ServerError as error:
            await self._context.server_failed(error)
        else:
            await self._context.server_usable()

    async def _goes_on(self, job: Job, view: SessionView) -> None:
        """It is not trained yet: what helps, should it stand still, is done; else it is only looked at again."""
        context = self._context
        now = context.runtime.now()
        poll = context.settings.poll
        before = self._watches.get(view.id)
        watch = watched(before, signs_of_life(view), now, poll)
        self._watches.pop(view.id, None)  # whatever keeps us from what is due now, the clock begins anew
        past = self._past(job, watch)
        if await self._mending.mend(job, view, remedy(view, past, poll), past):
            # what was done is no sign of life, but from now on there may be one
            self._watches[view.id] = Watch(signs=watch.signs, since=now, at=now)
            self._glances.forget(view.id)
            return
        self._watches[view.id] = watch
        moved = before is not None and before.signs != watch.signs
        tuning = view.tuning
        stage = (tuning.stage or tuning.state) if tuning else "unknown"
        pause = self._pause(now - (job.moved_at or now), moved=moved or before is None)
        trains = self._glances.note(view, enough_until=watch.since + patience(view, job.requeued, poll))
        due_at = _together(now, pause, poll) if trains else now + pause
        await context.in_thread(
            context.ledger.sessions.looked, job, view, stage=stage, due_at=due_at, moved=moved, now=now
        )

    async def _stands(self, job: Job, session_id: str) -> bool:
        """A list showed that the session stands still: as good as a look; False if one is needed all the same."""
        context = self._context
        now = context.runtime.now()
        before = self._watches.get(session_id)
        if before is None:
            return False
        self._watches[session_id] = watched(before, before.signs, now, context.settings.poll)
        pause = self._pause(now - (job.moved_at or now), moved=False)
        await context.in_thread(context.ledger.jobs.stands, job, _together(now, pause, context.settings.poll))
        return True

    def _past(self, job: Job, watch: Watch) -> Past:
        """What was seen and done of the job's attempt until now."""
        return Past(
            still_for=watch.still_for,
            looks=watch.looks,
            restarts=job.restarts,
            retrained=job.retrained,
            requeued=job.requeued,
            nudges=job.nudges,
            review=any(rules.name == job.folder and rules.review for rules in self._context.settings.folders),
        )

    def keep(self, session_ids: Container[str | None]) -> None:
        """What is remembered of sessions that nobody follows any more is forgotten."""
        self._watches = {session_id: watch for session_id, watch in self._watches.items() if session_id in session_ids}
        self._glances.keep(session_ids)

    async def _reviewed(self, job: Job, view: SessionView, *, rests: bool) -> None:
        """A session in review still rests, is to be started, or was started or spoilt by somebody else.

        The start is unguarded: the look right before tells whether an earlier one, whose answer was lost, took effect.
        """
        context = self._context
        now = context.runtime.now()
        if rests and (job.wish is None or job.read_only):
            later = now + context.settings.poll.slowest
            await context.in_thread(
                context.ledger.sessions.looked, job, view, stage=job.stage or "", due_at=later, moved=False, now=now
            )
            return
        if rests:
            await context.service.start(view.id)
        await context.in_thread(
            context.ledger.jobs.review_over, job, cause="accept" if rests else "review_over", now=now
        )

    def _pause(self, still_for: float, *, moved: bool) -> float:
        """Until the next look: soon while something moves, ever later while nothing does."""
        poll = self._context.settings.poll
        return poll.fastest if moved else min(poll.slowest, max(poll.fastest, still_for / 4))

    async def _collect(self, job: Job, view: SessionView) -> None:
        context = self._context
        now = context.runtime.now()
        if job.stage != "collecting":
            due_at = now + context.settings.poll.fastest
            await context.in_thread(
                context.ledger.sessions.looked, job, view, stage="collecting", due_at=due_at, moved=True, now=now
            )
        else:  # it was tried in vain: a disk without room for so many pairs must not be hammered
            due_at = now + context.back_off(job.tries + 1, context.settings.poll.slowest)
            await context.in_thread(context.ledger.jobs.try_later, job, due_at, None, now)
        fresh = await context.in_thread(context.ledger.jobs.get, job.id)
        job = fresh or job
        files = await self._packed(job, view)
        counted = await self._collecting.collect(job, view, files)
        verdict = judge(view, counted, files)
        await self._quotas.trained(view)
        await context.in_thread(
            context.ledger.sessions.finish, job, view, counted.pairs, files, verdict, context.runtime.now()
        )

    async def _broken(self, job: Job, view: SessionView) -> None:
        """The server gave up: one more training in place where that can help, else the job failed."""
        context = self._context
        now = context.runtime.now()
        over = over_quota(view)
        untouched = await context.in_thread(context.ledger.sessions.is_as_written, view)
        past = Past(restarts=job.restarts, retrained=job.retrained, untouched=untouched)
        if over is None:
            if await self._mending.mend(job, view, remedy(view, past, context.settings.poll), past):
                return
            fresh = await context.in_thread(context.ledger.jobs.get, job.id)
            job = fresh or job  # what was tried in vain has counted
        files = await self._packed(job, view)
        counted = await self._collecting.collect(job, view, files)
        await context.in_thread(context.ledger.sessions.keep_pairs, view, counted.pairs, now)
        if over is not None:
            await self._quotas.too_much(job, over, complaint(view))
            return
        reason = f"the server's training failed: {complaint(view)}"
        await context.in_thread(context.ledger.sessions.failed, job, reason, cause="broken", now=now)

    async def _missing(self, job: Job) -> None:
        """The session was not found: after three looks over the settle time it is gone."""
        context = self._context
        now = context.runtime.now()
        if job.state is JobState.REVIEW:  # it is looked for like any other
            await context.in_thread(context.ledger.jobs.review_over, job, cause="session_missing", now=now)
            return
        settle = context.settings.submit.lost_answer_settle
        if job.missing_since is None or job.tries + 1 < MISSES or now - job.missing_since < settle:
            due_at = now + min(context.settings.poll.slowest, max(1.0, settle / MISSES))
            await context.in_thread(context.ledger.sessions.missing, job, due_at=due_at, now=now)
            return
        reason = f"session {job.session_id} is gone from the server"
        await self._mending.give_up(job, reason, cause="gone", discard=False)

    async def _keeps(self, twin: Session, session_id: str) -> bool:
        """Whether a twin has trained, and so is kept; else it goes, and without its pairs: ours gave the same."""
        context = self._context
        job = await context.in_thread(context.ledger.jobs.get, twin.job_id)
        if job is not None and job.wish == "delete":
            return False
        try:
            view = await context.service.look(session_id)
        except NotFound:
            return False
        lora = lora_of(view)
        if lora is not None:
            await context.in_thread(context.ledger.twins.kept, twin, lora, context.runtime.now())
        return lora is not None

    async def _rescue_pairs(self, session: Session, session_id: str) -> None:
        context = self._context
        job = await context.in_thread(context.ledger.jobs.get, session.job_id)
        if job is None:
            return
        try:
            view = await context.service.look(session_id)
        except NotFound:
            return
        files = [
            replace(file, upload_name=renamed(file.upload_name, session.marker))
            for file in await context.in_thread(context.ledger.jobs.files, session.job_id)
            if file.upload_name
        ]
        if await context.in_thread(context.ledger.pairs.here, session_id) is None:
            counted = await self._collecting.collect(job, view, files)
            await context.in_thread(context.ledger.sessions.keep_pairs, view, counted.pairs, context.runtime.now())

    async def _packed(self, job: Job, view: SessionView) -> list[File]:
        """The files of the job, under the names they had in this session: it may be an earlier attempt's."""
        number = attempt(view, job.id)
        marker = f"{job.id}.{job.attempt if number is None else number}"
        packed = await self._context.in_thread(self._context.ledger.jobs.packed, job.id)
        return [replace(f, upload_name=f.upload_name and renamed(f.upload_name, marker)) for f in packed]


def _together(now: float, pause: float, poll: PollSettings) -> float:
    """A due time within `pause` that other sessions have, too, so that one list serves them all.

    Pauses are rounded down to `fastest` times a power of two: what is due at a multiple of one is due at multiples of
    the shorter ones.
    """
    step = poll.slowest if pause >= poll.slowest else poll.fastest * 2.0 ** math.floor(math.log2(pause / poll.fastest))
    at = (now + step) // step * step
    return at if at > now else now + step
