"""Sessions on the server: polled, collected, started again, discarded.

1. What a poll shows is an `Observation`; what is due is decided in `recovery`, and over what trained in `verdict`. Here
   it is done, and written.
2. `NotFound` is believed after several polls in a row over the settle time; every other refusal of one session is a
   matter of that session only.
3. A session that only a note in a folder told of is read, and never altered: neither named, started nor removed.
4. A word of the server's that we do not know is logged once, however often and in however many sessions it is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Final

import anyio
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from finetuned import logs
from finetuned.backend import Observation, Push, Status
from finetuned.daemon.batch_poll import BatchPoll, is_worth_it
from finetuned.daemon.collect import Collecting
from finetuned.daemon.context import Context
from finetuned.daemon.limits import Limits
from finetuned.daemon.recover import Recoveries
from finetuned.daemon.sketches import sketches
from finetuned.daemon.slices import slices
from finetuned.daemon.split import NOT_OURS, Splits
from finetuned.errors import (
    NotFound,
    Refused,
    ReplyLost,
    ServerError,
    Unreachable,
)
from finetuned.lifecycle import Cause, JobState, Requested, SessionState
from finetuned.marker import attempt_of, marker, renamed
from finetuned.model import Attempt, File, Job, Value
from finetuned.recovery import History, Standstill, after_poll, due, patience
from finetuned.settings import PollSettings
from finetuned.verdict import Tally, fits, judge

#: polls that did not find a session, before it counts as gone
MISSES: Final = 3
#: how long a session's new name may keep its job from going on, in seconds
NAMED_WITHIN: Final = 5.0
#: how long what nobody waits for lets a slot go first that is passed on, in seconds
PASSED_WITHIN: Final = 0.5
#: how many polls are noted at a time: whoever comes to the ledger meanwhile waits until they are
SLICE: Final = 100
#: how far the ledger may be behind with the next poll of a session that stands still, in seconds
NOTED_EVERY: Final = 60.0
#: words that we do not know, before no more of them are told: a server may make up any number
MOST_UNKNOWN: Final = 20
#: the stage of a session that trained, while its pairs are fetched
COLLECTING: Final = "collecting"
_POLLED: Final = frozenset({JobState.RUNNING, JobState.REVIEW})


class Watch(Value, frozen=True):
    """What was seen of a session: how it stood still, and until when an unchanged list mark is as good as a poll.

    `noted` is when it is polled next, as the ledger has it.
    """

    still: Standstill
    mark: str | None = None
    enough_until: float = 0.0
    noted: float = 0.0


class Polls:
    """Follows sessions to their end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._recoveries = Recoveries(context)
        self._limits = Limits(context)
        self._collecting = Collecting(context)
        self._splits = Splits(context)
        self._batches = {url: BatchPoll(context, url) for url in context.backends}
        self._watches: dict[str, Watch] = {}  # by session; after our own restart stalled time begins anew anyway
        self._missed: dict[str, float] = {}  # by session that is not found: since when, on the steady clock
        self._unknown: set[str] = set()
        self._unwritten: set[str] = set()  # sessions whose pairs are being fetched, or were fetched in vain

    async def poll(self, job_id: str) -> None:
        """Poll the job's session, and do what follows from it."""
        context = self._context
        job = await context.in_ledger(context.ledger.jobs.get, job_id)
        if job is None or job.state not in _POLLED:
            return
        if job.open is None or job.session_id is None:  # a damaged ledger: `doctor` tells; the loop must not spin on it
            await context.poll_later(job_id, "the ledger has no open attempt of it; see `finetuned doctor`")
            return
        try:
            seen = await context.backend_of(job).observe(job.session_id)
            self._log_unknown(seen)
            if job.open.read_only and not await self._is_proven(job, seen):
                return
            noted = await self._follow(job, seen)
        except NotFound:
            await self._missing(job)
        except (Refused, ReplyLost) as error:
            await self._context.poll_later(job_id, str(error))
        except Unreachable as error:
            await self._context.unreachable(job, error)
        else:
            await self._context.server_usable(job.open.url)
            await self._name(job, seen, noted=noted)

    async def _follow(self, job: Job, seen: Observation) -> bool:
        """Do what follows from a poll; tell whether it was noted with it that the session gets its name."""
        match seen.status:
            case status if job.state is JobState.REVIEW:
                await self._reviewed(job, seen, paused=status is Status.PAUSED)
            case Status.TRAINED:
                return await self._collect(job, seen)
            case Status.FAILED:
                await self._failed(job, seen)
            case _:
                return await self._goes_on(job, seen)
        return False

    async def _is_proven(self, job: Job, seen: Observation) -> bool:
        """Tell whether a session that only a note told of was made of the job's files; else the job begins anew.

        Until it rests or ends the server need not have told it: nothing is taken from it before.
        """
        fit = fits(seen, job.id, await self._context.in_ledger(self._context.ledger.jobs.files, job.id))
        if fit or (fit is None and seen.status is Status.RUNNING):
            return True
        logs.get().warning("session_not_ours", job=job.id, session=seen.id, why=NOT_OURS)
        await self._splits.begin_anew(job, f"session {seen.id} has its name, but {NOT_OURS}")
        return False

    def _log_unknown(self, seen: Observation) -> None:
        """Log unknown states and stages, each once. A session in one counts as running until it has trained."""
        for words in seen.unknown_words:
            if words not in self._unknown and len(self._unknown) < MOST_UNKNOWN:
                self._unknown.add(words)
                logs.get().warning("word_unknown", word=words, session=seen.id)

    async def _name(self, job: Job, seen: Observation, *, noted: bool) -> None:
        """Give the session the job's name, for people who see it on the server's own page: tried once, for what it is.

        That it is tried was `noted` already, or is noted here. Who got the slot of a job that ended is sent first.
        """
        context, name = self._context, _new_name(job, seen)
        if name is None:
            return
        await context.turns[context.url_of(job)].let_pass(context.runtime, PASSED_WITHIN)
        if noted or await context.in_ledger(context.ledger.attempts.named, seen.id, name):
            with suppress(ServerError), anyio.move_on_after(NAMED_WITHIN):
                await context.backend_of(job).rename(seen, name)

    async def discard(self, session: Attempt) -> None:
        """Remove a session from the server that was given up, after its pairs were collected.

        A duplicate that has trained meanwhile stays, unless a person wants it gone.
        """
        context = self._context
        if session.session_id is None:
            return
        try:
            if session.state is SessionState.DUPLICATE:
                if await self._keeps(session, session.session_id):
                    return
            else:
                await self._rescue_pairs(session, session.session_id)
            await context.backends[session.url].delete(session.session_id)
        except ServerError as error:
            now = context.runtime.now()
            due_at = now + context.back_off(session.tries + 1, context.longest_pause(session.url))
            await context.in_ledger(context.ledger.attempts.discard_later, session, due_at)
            if isinstance(error, Unreachable) and not context.backends[session.url].capabilities.is_here:
                await self._context.server_failed(session.url, error)
        else:
            where = context.backends[session.url].capabilities.where
            await context.in_ledger(context.ledger.attempts.discarded, session, context.runtime.now(), where=where)

    async def probe(self, url: str) -> None:
        """Ask whether a server can be used again."""
        try:
            await self._context.backends[url].probe()
        except ServerError as error:
            await self._context.server_failed(url, error)
        else:
            await self._context.server_usable(url)

    async def _goes_on(self, job: Job, seen: Observation) -> bool:
        """Do what helps a session that is not trained, should it stand still; else note the poll, and tell so."""
        context = self._context
        now = context.runtime.now()
        poll = context.settings.poll
        before = self._watches.pop(seen.id, None)  # whatever keeps us from what is due now, the clock begins anew
        still = after_poll(before.still if before else None, hash(seen.signs), now, poll)
        history = self._history(job, still)
        if await self._recoveries.do(job, seen, due(seen, history, poll), history) is None:
            # what was done is no sign of life, but from now on there may be one
            self._watches[seen.id] = Watch(still=Standstill(signs=still.signs, since=now, at=now))
            return False
        enough_until = still.since + patience(seen.phase, job.under_way.requeued, poll)
        moved = before is not None and before.still.signs != still.signs
        pause = self._pause(now - (job.under_way.moved_at or now), moved=moved or before is None)
        due_at = now + pause if seen.list_mark is None else _together(now, pause, poll)
        self._watches[seen.id] = Watch(still=still)  # no list stands for it before the ledger has what it showed
        name = _new_name(job, seen)
        await context.in_ledger(
            context.ledger.runs.polled, job, seen, stage=seen.stage, due_at=due_at, moved=moved, now=now, name=name
        )
        self._watches[seen.id] = Watch(still=still, mark=seen.list_mark, enough_until=enough_until, noted=due_at)
        return True

    async def stand(self, url: str, due: Iterable[Job], jobs: Iterable[Job]) -> list[Job] | None:
        """Find in a list which of the jobs' sessions stand still; null: the server cannot be used, nor any be polled.

        Those that are `due` are all at `url`; `jobs` are all that are open. That they stand is to be noted.
        """
        context = self._context
        now = context.runtime.now()
        asked = {one: job for job in due if (one := _session_at(url, job)) and self._is_marked(one, now)}
        if not asked:  # none of them was polled before: a list would tell nothing of it
            return []
        try:
            marks = await self._batches[url].marks(asked, partial(self._worth_a_list, url, jobs, now))
        except Unreachable as error:
            await context.server_failed(url, error)
            return None
        except ServerError:  # each is polled, and finds out
            return []
        return [job for session_id, job in asked.items() if self._has_stood(session_id, marks, now)]

    def _is_marked(self, session_id: str, now: float) -> bool:
        """Tell whether an unchanged mark in a list is as good as a poll of the session."""
        watch = self._watches.get(session_id)
        return watch is not None and watch.mark is not None and watch.still.at <= now < watch.enough_until

    def _worth_a_list(self, url: str, jobs: Iterable[Job], now: float) -> Collection[str]:
        """Choose the sessions at `url` that a list is to tell of: all, or none if a list costs more than it saves."""
        live = [session_id for job in jobs if (session_id := _session_at(url, job))]
        return live if is_worth_it(sum(self._is_marked(one, now) for one in live), len(live)) else ()

    async def note(self, url: str, standing: Iterable[Job], rest: Callable[[Attempt, float], None]) -> None:
        """Note as a poll of each that these jobs' sessions stand still, some at a time: nobody waits for it.

        What is polled again soon has a `rest` until then; the ledger is told now and then, as each time it would be
        told thousands of rows.
        """
        context = self._context
        attempts = sorted((job.under_way for job in standing), key=attrgetter("id"))  # as they lie in the file
        for some in slices(attempts, SLICE):
            await context.turns[url].let_pass(context.runtime, PASSED_WITHIN)
            now = context.runtime.now()
            polled = []
            for one in some:
                pause = self._pause(now - (one.moved_at or now), moved=False)
                due_at = _together(now, pause, context.settings.poll)
                if self._is_noted(one, due_at):
                    rest(one, due_at)
                else:
                    polled.append((one, due_at))
            if not polled:
                await checkpoint()
                continue
            await context.in_ledger(context.ledger.attempts.unmoved, polled)
            for one, due_at in polled:
                if (watch := self._watches.get(one.session_id or "")) is not None:
                    self._watches[one.session_id or ""] = replace(watch, noted=due_at)

    def _is_noted(self, attempt: Attempt, due_at: float) -> bool:
        """Tell whether the ledger is not far behind with a session that stands still; the clock may have jumped."""
        watch = self._watches.get(attempt.session_id or "")
        counts = attempt.tries or attempt.misses
        return watch is not None and not counts and abs(due_at - watch.noted) < NOTED_EVERY

    def _has_stood(self, session_id: str, marks: Mapping[str, str], now: float) -> bool:
        """Tell whether a list shows the session as it was polled last, and that is as good as a poll."""
        if not self._is_marked(session_id, now):
            return False
        watch = self._watches[session_id]
        if marks.get(session_id) != watch.mark:
            return False
        still = after_poll(watch.still, watch.still.signs, now, self._context.settings.poll)
        self._watches[session_id] = replace(watch, still=still)
        return True

    def _history(self, job: Job, still: Standstill) -> History:
        """Gather what was seen and done of the job's attempt until now."""
        return History(
            still_for=still.still_for,
            polls=still.polls,
            restarts=job.under_way.restarts,
            retrained=job.under_way.retrained,
            requeued=job.under_way.requeued,
            kicks=job.under_way.kicks,
            review=job.folder in self._context.folders and self._context.rules(job.folder).review,
            tended=self._context.backend_of(job).capabilities.tends,
        )

    def changed(self, session_ids: AbstractSet[str]) -> None:
        """Hear that something moved in sessions: no list stands for their next poll."""
        for session_id in session_ids & self._watches.keys():
            self._watches[session_id] = replace(self._watches[session_id], mark=None)

    def keep(self, session_ids: Collection[str | None]) -> None:
        """Forget what is remembered of sessions that are not followed any more, if of more than are."""
        self._unwritten = {session_id for session_id in self._unwritten if session_id in session_ids}
        self._missed = {session_id: since for session_id, since in self._missed.items() if session_id in session_ids}
        if len(self._watches) <= len(session_ids):
            return
        self._watches = {session_id: watch for session_id, watch in self._watches.items() if session_id in session_ids}

    async def _reviewed(self, job: Job, seen: Observation, *, paused: bool) -> None:
        """Do what follows for a session in review: it rests, is to be started, or was started or spoilt by others.

        The start is unguarded: the poll right before tells whether an earlier one, whose answer was lost, took effect.
        """
        context = self._context
        now = context.runtime.now()
        if paused and (job.requested is None or job.under_way.read_only):
            later = now + context.settings.poll.slowest
            await context.in_ledger(
                context.ledger.runs.polled,
                job,
                seen,
                stage=job.under_way.stage or "",
                due_at=later,
                moved=False,
                now=now,
            )
            return
        if paused:
            await context.backend_of(job).push(seen.id, Push.START)
        await context.in_ledger(
            context.ledger.runs.review_over, job, cause=Cause.ACCEPT if paused else Cause.REVIEW_OVER, now=now
        )

    def _pause(self, still_for: float, *, moved: bool) -> float:
        """Count the seconds until the next poll: soon while something moves, ever later while nothing does."""
        poll = self._context.settings.poll
        return poll.fastest if moved else min(poll.slowest, max(poll.fastest, still_for / 4))

    async def _collect(self, job: Job, seen: Observation) -> bool:
        """Bring the pairs of a session that has trained into the ledger, and its job to its end; false: not for now."""
        context = self._context
        if seen.id in self._unwritten or job.under_way.stage == COLLECTING:
            job = await context.in_ledger(self._note, job, seen)
        # before the answer: from then on the next job waits for the slot
        files, known = await context.in_thread(self._files, job, seen)
        if known is None:
            return False

        async def note() -> None:
            nonlocal job
            if job.under_way.stage != COLLECTING:
                job = await context.in_ledger(self._note, job, seen)

        def finish(counted: Tally) -> None:
            now, verdict = context.runtime.now(), judge(seen, counted, files, context.backend_of(job).capabilities)
            self._limits.trained(job, seen)
            name = _new_name(job, seen)
            context.ledger.ends.finish(job, seen, counted.pairs, files, verdict, now, known, name=name)

        url = context.url_of(job)
        self._unwritten.add(seen.id)
        await self._collecting.collect(job, seen, files, url=url, then=finish, note=note)
        self._unwritten.discard(seen.id)
        context.turns[url].ended(job.id)  # its slot is free, though its session may still be given a name
        context.wake.set()
        return True

    def _note(self, job: Job, seen: Observation) -> Job:
        """Note that the job's pairs are fetched.

        What was tried in vain waits: a disk without room for so many pairs must not be hammered.
        """
        context, runs, now = self._context, self._context.ledger.runs, self._context.runtime.now()
        if job.under_way.stage != COLLECTING:
            due_at = now + context.settings.poll.fastest
            return runs.polled(job, seen, stage=COLLECTING, due_at=due_at, moved=True, now=now)
        return runs.try_later(job, now + context.back_off(job.in_vain + 1, context.settings.poll.slowest), None, now)

    def _files(self, job: Job, seen: Observation) -> tuple[Sequence[File], dict[int, bytes] | None]:
        """List the job's files as `_packed` does, with the sketches of their texts; null: see `sketches`."""
        files = self._packed(job, seen)
        return files, sketches(self._context, job, files)

    async def _failed(self, job: Job, seen: Observation) -> None:
        """Train once more in place what the server gave up, where that can help; else the job failed."""
        context = self._context
        now = context.runtime.now()
        untouched = await context.in_ledger(context.ledger.interactions.is_as_written, seen)
        before = job.under_way
        history = History(restarts=before.restarts, retrained=before.retrained, untouched=untouched)
        if seen.quota is None:
            left = await self._recoveries.do(job, seen, due(seen, history, context.settings.poll), history)
            if left is None:
                return
            job = left
        files = await context.in_ledger(self._packed, job, seen)
        await self._collecting.collect(job, seen, files, url=context.url_of(job), then=self._keep(seen))
        if seen.quota is not None:
            await self._limits.too_much(job, seen.quota, seen.complaint)
            return
        tended = context.backend_of(job).capabilities.tends  # it says itself what failed
        reason = seen.complaint if tended else f"the server's training failed: {seen.complaint}"
        await context.in_ledger(context.ledger.ends.failed, job, reason, cause=Cause.BROKEN, now=now)

    async def _missing(self, job: Job) -> None:
        """Count that the session was not found: after three polls over the settle time it is gone."""
        context = self._context
        now = context.runtime.now()
        if job.state is JobState.REVIEW:  # it is looked for like any other
            await context.in_ledger(context.ledger.runs.review_over, job, cause=Cause.SESSION_MISSING, now=now)
            return
        session, steady, settle = job.session_id or "", context.runtime.steady(), context.settles(job)
        if not job.under_way.misses:  # else it was seen since, if only in a list
            self._missed.pop(session, None)
        missed_for = steady - self._missed.setdefault(session, steady)  # the wall's clock may jump
        if job.under_way.misses + 1 < MISSES or missed_for < settle:
            due_at = now + min(context.settings.poll.slowest, max(1.0, settle / MISSES))
            await context.in_ledger(context.ledger.attempts.missing, job, due_at=due_at, now=now)
            return
        backend = context.backend_of(job)
        try:  # whatever says that all is missing may be another server
            if not backend.capabilities.is_here:
                await backend.list_marks(1)
        except Unreachable as error:
            await context.unreachable(job, error)
            return
        except ServerError as error:
            await context.poll_later(job.id, str(error))
            return
        del self._missed[session]
        reason = f"session {job.session_id} is gone from {context.backend_of(job).capabilities.where}"
        await self._recoveries.give_up(job, reason, cause=Cause.GONE, discard=False)

    async def _keeps(self, duplicate: Attempt, session_id: str) -> bool:
        """Tell whether a duplicate session has trained, and is kept; else it goes: ours gave the same pairs."""
        context = self._context
        job = await context.in_ledger(context.ledger.jobs.get, duplicate.job_id)
        if job is not None and job.requested is Requested.DELETE:
            return False
        try:
            seen = await context.backends[duplicate.url].observe(session_id)
        except NotFound:
            return False
        if seen.model is not None:
            await context.in_ledger(context.ledger.attempts.kept, duplicate, seen.model, context.runtime.now())
        return seen.model is not None

    async def _rescue_pairs(self, session: Attempt, session_id: str) -> None:
        context = self._context
        job = await context.in_ledger(context.ledger.jobs.get, session.job_id)
        if job is None:
            return
        try:
            seen = await context.backends[session.url].observe(session_id)
        except NotFound:
            return
        files = [
            replace(file, upload_name=renamed(file.upload_name, session.marker))
            for file in await context.in_ledger(context.ledger.jobs.files, session.job_id)
            if file.upload_name
        ]
        if await context.in_ledger(context.ledger.pairs.here, session_id) is None:
            await self._collecting.collect(job, seen, files, url=session.url, then=self._keep(seen))

    def _keep(self, seen: Observation) -> Callable[[Tally], None]:
        """Tell what is written with the pairs of a session that did not train."""
        context = self._context
        return lambda counted: context.ledger.ends.keep_pairs(seen, counted.pairs, context.runtime.now())

    def _packed(self, job: Job, seen: Observation) -> list[File]:
        """List the job's files under the names they had in this session, which may be an earlier attempt's."""
        number = attempt_of(seen, job.id)
        name = marker(job.id, job.attempts if number is None else number)
        packed = self._context.ledger.jobs.packed(job.id)
        return [replace(f, upload_name=f.upload_name and renamed(f.upload_name, name)) for f in packed]


def _session_at(url: str, job: Job) -> str | None:
    """Tell the session of a job at `url`; null if it has none there."""
    return job.session_id if job.attempt and job.attempt.url == url else None


def _new_name(job: Job, seen: Observation) -> str | None:
    """Tell what the session is to be called; null if it was tried, or its backend would forget it again."""
    is_named = job.id in {seen.name, job.under_way.name}
    return None if is_named or job.under_way.read_only or not seen.can_rename else job.id


def _together(now: float, pause: float, poll: PollSettings) -> float:
    """Choose a due time within `pause` that other sessions have, too, so that one list serves them all.

    Pauses are rounded down to `fastest` times a power of two: what is due at a multiple of one is due at multiples of
    the shorter ones.
    """
    step = poll.slowest if pause >= poll.slowest else poll.fastest * 2.0 ** math.floor(math.log2(pause / poll.fastest))
    at = (now + step) // step * step
    return at if at > now else now + step
