"""The loop: sweep, plan, act, wait."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from finetuned import logs
from finetuned.daemon.archive import Archives
from finetuned.daemon.breaker import Breaker
from finetuned.daemon.checkpoints import Checkpoints
from finetuned.daemon.claim import Claims
from finetuned.daemon.context import BREAKS_OFF, Context, breaks_off
from finetuned.daemon.event_log import EventLog
from finetuned.daemon.hooks import Hooks
from finetuned.daemon.housekeeping import Housekeeping
from finetuned.daemon.inbox import Inbox
from finetuned.daemon.intake import Intake
from finetuned.daemon.notify import Notifier
from finetuned.daemon.poll import Polls
from finetuned.daemon.rounds import Rounds, abreast, is_request
from finetuned.daemon.submit import Submissions
from finetuned.errors import Away, FinetunedError, LedgerStuck, Stale
from finetuned.facts import gathered
from finetuned.ledger.open_jobs import Aged
from finetuned.lifecycle import JobState
from finetuned.model import Value
from finetuned.plan import (
    Action,
    Archive,
    ArchiveFile,
    Awaited,
    Cancel,
    Claim,
    Discard,
    Doubt,
    Facts,
    Plan,
    Poll,
    Probe,
    Queue,
    Recheck,
    Rest,
    Roll,
    Seal,
    Search,
    SkipDuplicate,
    Submit,
    make_plan,
    probe_key,
    session_key,
)
from finetuned.settings import RunsWith

#: how long an upload under way may go on after the daemon was told to stop, in seconds
GRACE: Final = 3.0
#: how many jobs of a backend are polled at a time: of ten thousand that are due none would come to its end for minutes
POLLS: Final = 64
#: how long the loop waits at most, in seconds: one that takes no step for longer looks as if it hung
LONGEST_WAIT: Final = 300.0
_FOR_PEOPLE: Final = frozenset({Awaited.PERSON, Awaited.REVIEWS})

Task = Callable[[], Coroutine[Any, Any, None]]
Watcher = Callable[[Callable[[str], None]], Coroutine[Any, Any, None]]


class Outcome(Value, frozen=True):
    """How a run ended: whether a job failed on the way, whether the server could not be used and work is left.

    `away` names the folders that could not be looked at; so many jobs are left `for_people`.
    """

    failed: bool = False
    unusable: bool = False
    away: tuple[str, ...] = ()
    for_people: int = 0


@dataclass(slots=True)
class _Due:
    """The jobs of one backend that are to be polled, each by itself, and how many tasks poll them."""

    unpolled: deque[str] = field(default_factory=deque)
    pollers: int = 0


class Daemon:
    """One run of the daemon.

    `until_idle` ends it when nothing is left to do, and does not wait out `linger`; `reloaded`: it goes on where
    another one of this process, with another configuration, handed over.
    """

    def __init__(
        self,
        context: Context,
        *,
        pid: int,
        version: str,
        notifier: Notifier | None = None,
        until_idle: bool = False,
        reloaded: bool = False,
    ) -> None:
        self._context = context
        self._pid = pid
        self._version = version
        self._notifier = notifier or Notifier(None)
        self._until_idle = until_idle
        self._reloaded = reloaded
        self._intake = Intake(context)
        self._claims = Claims(context, self.sweep_soon)
        self._archives = Archives(context, self.sweep_soon)
        self._submissions = Submissions(context)
        self._polls = Polls(context)
        self._inbox = Inbox(context)
        self._event_log = EventLog(context)
        self._hooks = Hooks(context, on_rest=context.wake.set if until_idle else lambda: None)
        self._housekeeping = Housekeeping(context)
        self._checkpoints = Checkpoints(context)
        self._breaker = Breaker(context, self._notifier, pid=pid, patient=not until_idle)
        self._busy: set[str] = set()
        self._roll = Roll(context.settings.poll.slowest)
        self._wide: frozenset[str] = frozenset()  # folders whose oldest files are too few to plan with
        self._asked: Counter[str] = Counter()
        self._due: defaultdict[str, _Due] = defaultdict(_Due)
        self._changed: set[str] = set()
        self._stopped_at = 0.0
        self._handing_over = False
        #: whether it ended so that the next daemon of this process can begin
        self.handed_over = False
        self._rounds = Rounds(context.runtime, context.settings.watch.sweep)
        self._left = Outcome()
        self._tasks: TaskGroup | None = None

    def sweep_soon(self, root: str | None = None) -> None:
        """Have the folder at `root` swept soon, as something may have changed there; null: all of them."""
        self._rounds.sweep_now()
        self._intake.heard(root)
        self._context.wake.set()

    def changed(self, session_id: str) -> None:
        """Hear from a backend, in the loop's thread, that something moved in a session: it is polled at once."""
        self._changed.add(session_id)
        self._context.wake.set()

    def stop(self) -> None:
        """Begin nothing more, and end."""
        self._context.stopping = True
        self._stopped_at = self._context.runtime.steady()
        self._context.wake.set()

    def hand_over(self) -> None:
        """Begin no more uploads, and end when those under way have ended: another daemon goes on in this process."""
        self._handing_over = True
        self._context.wake.set()

    def is_stuck(self, trouble: LedgerStuck) -> None:
        """Hear that something could not be written to the ledger."""
        self._breaker.open(trouble)
        self._context.wake.set()

    async def run(self, watchers: Sequence[Watcher] = ()) -> Outcome:
        """Run until stopped, or idle if that was asked for. Raises Held and LedgerError.

        `watchers` are told how to say that a folder may have changed, and run until they are cancelled.
        """
        context = self._context
        started_at = context.runtime.now()
        with breaks_off():
            await self._begin_well()
            self._notifier.ready()
        await self._with_tasks(watchers)
        try:
            self.handed_over = not self._ends
            if self._ends:
                await context.in_ledger(context.ledger.daemon.stopped, pid=self._pid, now=context.runtime.now())
            await context.in_thread(self._event_log.tell)
            failed = await context.in_ledger(context.ledger.jobs.failed_since, started_at)
        except LedgerStuck as error:  # told to stop while it waits for space: that is in order, too
            self._breaker.open(error)
            failed = False
        return replace(self._left, failed=failed)

    async def _begin_well(self) -> None:
        """Write down that it begins, and hold every folder. Raises Held, LedgerStuck: but after a reload it waits."""
        while not (self._reloaded and self._context.stopping):
            try:
                await self._open()
            except LedgerStuck as error:
                if not self._reloaded:
                    raise
                self._breaker.open(error)
                await self._breaker.closed(lambda: self._context.stopping)
            else:
                return

    async def _open(self) -> None:
        context = self._context
        runs_with = RunsWith.of(context.settings).as_text()
        now = context.runtime.now()
        if self._reloaded:
            await context.in_ledger(context.ledger.daemon.reloaded, pid=self._pid, now=now, configuration=runs_with)
        else:
            await context.in_ledger(
                context.ledger.daemon.started, pid=self._pid, version=self._version, now=now, configuration=runs_with
            )
        await context.in_thread(self._hooks.begin)
        await context.in_thread(self._inbox.open)
        await self._intake.open()
        await context.in_ledger(context.ledger.folders.ruled, context.settings.folders)
        await self._finish_claims()

    @property
    def _ends(self) -> bool:
        """Whether no other daemon of this process goes on."""
        return self._context.stopping or not self._handing_over

    async def _with_tasks(self, watchers: Sequence[Watcher]) -> None:
        """Run the loop, and every task there is, in one group."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                for turns in self._context.turns.values():
                    turns.send, turns.left = self._send_beside, self._rounds.a_slot_is_left
                for watcher in watchers:
                    tasks.start_soon(watcher, self.sweep_soon)
                for follow in self._hooks.tasks():
                    tasks.start_soon(follow)
                try:
                    with breaks_off():
                        await self._until_stopped(tasks)
                finally:  # whatever ends the loop: a program must not hold it up
                    self._hooks.stop()
                if self._ends:
                    self._notifier.stopping()
                    await self._let_uploads_end()
                tasks.cancel_scope.cancel()
        except* FinetunedError as group:
            raise first_of(group) from None
        finally:
            self._hooks.close()

    async def _until_stopped(self, tasks: TaskGroup) -> None:
        """Go round after round; note what is left to do when idle."""
        context = self._context
        while not (self._context.stopping or (self._handing_over and not await self._is_uploading())):
            context.wake.clear()
            context.turned()
            try:
                facts, plan, wait = await self._round()
                await context.in_thread(self._event_log.tell)
                self._hooks.hear(self._event_log.news())
                if not plan.actions:
                    wait = min(wait, await self._housekeeping.run())
                wait = min(wait, self._checkpoints.see(tasks))
            except LedgerStuck as error:
                self._breaker.open(error)
            if self._breaker.is_open:
                await self._breaker.closed(lambda: self._context.stopping)
                self._intake.start_over()
                self._rounds.sweep_now()
                continue
            self._breaker.all_is_well()
            later = "a reload waits for uploads to end; " if self._handing_over else ""
            self._notifier.status(later + self._event_log.summary(facts, self._roll.states))
            if self._until_idle and plan.rest is not Rest.WORK and self._hooks.rest and self._housekeeping.rests:
                self._left = Outcome(
                    unusable=plan.rest is Rest.SERVER,
                    away=tuple(folder.name for folder in facts.folders if not folder.usable),
                    for_people=sum(hold.kind in _FOR_PEOPLE for hold in plan.jobs.values()),
                )
                return
            wait, rest = min(wait, LONGEST_WAIT), self._rounds.rest(plan)
            del facts, plan  # not held while the next ones are made: they may be large
            context.turned(wait + rest)
            await context.runtime.wait(self._rounds.slot_left, rest)
            await context.runtime.wait(context.wake, wait - rest)

    async def _round(self) -> tuple[Facts, Plan, float]:
        context, rounds = self._context, self._rounds
        await self._inbox.take()
        if rounds.begin():
            async with rounds.in_between(context.turns.values()):
                await self._intake.sweep()
            rounds.sweep_by(self._intake.due_at)
        await self._look_at_changed()
        async with rounds.in_between(context.turns.values()):
            rounds.plans()
            facts = await self._facts()
            plan = make_plan(facts, context.runtime.now(), context.settings)
            rounds.planned()
        for url, turns in context.turns.items():
            turns.planned(plan.queues.get(url, Queue()))
        self._wide = (self._wide | plan.too_few) - {
            action.folder for action in plan.actions if isinstance(action, Seal)
        }
        for actions in abreast(plan.actions):
            if plan.slot_waits or is_request(actions[0]):
                await self._act_all(actions)
            else:
                async with rounds.in_between(context.turns.values()):
                    await self._act_all(actions)
            context.turned()
            if self._context.stopping or rounds.makes_way(actions[-1], plan):
                break
        return facts, plan, rounds.wait(plan)

    async def _look_at_changed(self) -> None:
        """Make sessions due that changed; one that is just asked for is asked for again after that."""
        if not self._changed:
            return
        context, told = self._context, frozenset(self._changed)
        self._changed.clear()  # what is heard from now on is looked at in the next round
        self._changed |= await context.in_ledger(
            context.ledger.attempts.look_now, told, frozenset(self._busy), context.runtime.now()
        )
        self._polls.changed(told - self._changed)

    async def _facts(self) -> Facts:
        for turns in self._context.turns.values():
            turns.facts_are_read()
        busy = frozenset(self._busy)  # first: what ends while the rest is read must not look idle with old facts
        calls, self._roll.is_sure = not self._roll.is_sure, False  # if this fails, what it read of jobs is lost
        facts, is_whole, written = await self._context.in_thread(self._read_facts, busy, calls)
        left = self._roll.call(written) if is_whole else self._roll.take(written)
        self._forget(left)
        begun = (turns.begun for turns in self._context.turns.values())
        busy = busy.union(*begun)  # who was sent meanwhile may look as if it waited
        jobs, resting = self._roll.told(self._context.runtime.now(), busy)
        if self._until_idle:  # whether nothing is left to do hangs on all of them
            return replace(facts, busy=busy, jobs=self._roll.all())
        return replace(facts, busy=busy, jobs=jobs, resting=resting)

    def _forget(self, job_ids: Collection[str]) -> None:
        """Leave what is over to the memory of the ledger."""
        self._context.own.difference_update(job_ids)
        for over in job_ids:
            self._asked.pop(over, None)
        if len(self._asked) > len(self._roll):  # others than jobs were asked for
            self._asked = Counter({key: many for key, many in self._asked.items() if key in self._roll})
        self._polls.keep(self._roll.sessions)

    def _read_facts(self, busy: frozenset[str], calls: bool) -> tuple[Facts, bool, Mapping[str, Aged | None]]:
        """Read the facts but for the jobs; then what was written of jobs, and whether these are all there are."""
        context = self._context
        facts = gathered(
            context.ledger,
            context.settings,
            folders=self._intake.facts(),
            can={url: backend.capabilities for url, backend in context.backends.items()},
            busy=busy,
            jobs=(),
            asked=dict(self._asked) if self._until_idle else None,
            settling=self._intake.settling,
            hurry=self._until_idle,
            wide=self._wide,
        )
        return facts, *context.ledger.jobs.news(whole=calls)

    async def _act_all(self, actions: Sequence[Action]) -> None:
        """Do actions of one kind together."""
        if polls := [action.job_id for action in actions if isinstance(action, Poll)]:
            self._begin_polls(polls)
        elif seals := [action for action in actions if isinstance(action, Seal)]:
            with self._unless_it_moved_on(seals[0]):
                await self._claims.claim(await self._claims.seal(seals))
        elif claims := [action for action in actions if isinstance(action, Claim)]:
            with self._unless_it_moved_on(claims[0]):
                await self._claims.claim([claim.job_id for claim in claims])
        elif archives := [action for action in actions if isinstance(action, Archive)]:
            with self._unless_it_moved_on(archives[0]):
                await self._archives.archive([archive.job_id for archive in archives])
        else:
            try:
                async with anyio.create_task_group() as tasks:
                    for action in actions:
                        tasks.start_soon(self._act, action)
            except* FinetunedError as group:
                raise first_of(group) from None

    async def _act(self, action: Action) -> None:
        match action:
            case Submit(job_id=job_id):
                if not self._handing_over:
                    await self._submit(job_id)
            case Search(job_id=job_id):
                self._begin(job_id, lambda: self._submissions.search(job_id))
            case Discard(session=session):
                self._begin(session_key(session), lambda: self._polls.discard(session))
            case Recheck(session=session):
                self._begin(session.job_id, lambda: self._submissions.recheck(session))
            case Probe(url=url):
                self._begin(probe_key(url), lambda: self._polls.probe(url))
            case _:
                await self._act_here(action)

    async def _act_here(self, action: Action) -> None:
        with self._unless_it_moved_on(action):
            match action:
                case SkipDuplicate(file_id=file_id, of=of):
                    await self._claims.skip_duplicate(file_id, of)
                case Cancel(job_id=job_id):
                    await self._claims.cancel(job_id)
                case ArchiveFile(file_id=file_id):
                    await self._archives.archive_file(file_id)
                case Doubt(job_id=job_id):
                    await self._submissions.doubt(job_id)

    @contextmanager
    def _unless_it_moved_on(self, action: Action) -> Iterator[None]:
        """Leave to the next round what changed since the plan was made."""
        try:
            yield
        except Stale as error:
            logs.get().debug("row_moved_on", action=type(action).__name__, why=str(error))
        except Away:
            self._intake.look_again()  # the sweep finds out, and the plan waits until the folder is back
            self._rounds.sweep_now()

    async def _submit(self, job_id: str) -> None:
        """Write the intent, then begin the request: nothing else is done on the disk in between."""
        try:
            intent = await self._submissions.intend(job_id)
        except Stale as error:
            logs.get().debug("row_moved_on", work=job_id, why=str(error))
            return
        if intent is not None:
            self._begin(job_id, lambda: self._submissions.submit(intent))

    def _send_beside(self, job_id: str) -> None:
        """Send a job whose turn has come between two plans."""
        if self._tasks is not None:
            self._busy.add(job_id)
            self._tasks.start_soon(self._beside, job_id, partial(self._send, job_id))

    async def _send(self, job_id: str) -> None:
        """Send a job, unless the daemon ends: who waits for uploads to end asks the ledger after this did."""
        try:
            if self._context.stopping or self._handing_over or self._breaker.is_open:
                return
            intent = await self._submissions.intend(job_id)
            if intent is not None:
                self._asked[job_id] += 1
                await self._submissions.submit(intent)
        finally:
            for turns in self._context.turns.values():
                turns.goes_out(job_id)  # it may have been kept back

    def _begin(self, key: str, task: Task) -> None:
        self._busy.add(key)
        self._asked[key] += 1
        if self._tasks is not None:
            self._tasks.start_soon(self._beside, key, task)

    def _begin_polls(self, job_ids: Sequence[str]) -> None:
        self._busy.update(job_ids)
        at: defaultdict[str, list[str]] = defaultdict(list)
        for job_id in job_ids:
            at[self._context.url_of(self._roll[job_id])].append(job_id)
        if self._tasks is not None:
            for url, there in at.items():
                self._tasks.start_soon(self._poll, url, there)

    async def _poll(self, url: str, job_ids: Sequence[str]) -> None:
        """Poll those jobs at one backend by themselves of which no list tells that they stand still."""
        BREAKS_OFF.set(False)
        left: Sequence[str] = ()
        try:
            due = [self._roll[job_id] for job_id in job_ids if job_id in self._roll]
            standing = await self._polls.stand(url, due, self._roll)
            self._asked.update(job_ids)
            if standing is not None:
                stand = {job.id for job in standing}
                left = [job_id for job_id in job_ids if job_id not in stand]
                self._poll_soon(url, left)  # first: some of them may have ended, and hold a slot
                await self._polls.note(url, standing, self._roll.rest)
        except LedgerStuck as error:
            self._breaker.open(error)
        over = {*job_ids}.difference(left)
        self._busy.difference_update(over)
        if over:  # else each poll that was begun wakes us as it ends
            self._context.wake.set()

    def _poll_soon(self, url: str, left: Sequence[str]) -> None:
        due = self._due[url]
        due.unpolled.extend(left)
        for _ in range(min(len(left), POLLS - due.pollers)):
            due.pollers += 1
            if self._tasks is not None:
                self._tasks.start_soon(self._poll_each, due)

    async def _poll_each(self, due: _Due) -> None:
        """Poll one job after the other, and see each to its end, as long as there is one that no other task polls."""
        while due.unpolled and not self._context.stopping:
            job_id = due.unpolled.popleft()
            await self._beside(job_id, partial(self._polls.poll, job_id))
        due.pollers -= 1

    async def _beside(self, key: str, task: Task) -> None:
        BREAKS_OFF.set(False)  # a request goes on for its grace
        try:
            await task()
        except Stale as error:
            logs.get().debug("row_moved_on", work=key, why=str(error))
        except LedgerStuck as error:
            self._breaker.open(error)
        finally:
            self._busy.discard(key)
            self._rounds.request_ended()
            self._context.wake.set()

    async def _finish_claims(self) -> None:
        """Before the first sweep: a file that a claim has moved half-way must not be taken for a new one."""
        for job in await self._context.in_ledger(self._context.ledger.jobs.open):
            if job.state is JobState.QUEUED and job.claimed_at is None and job.folder in self._context.folders:
                await self._act_all([Claim(job_id=job.id)])

    async def _let_uploads_end(self) -> None:
        context = self._context
        await context.in_thread(context.ledger.hurry)
        with anyio.move_on_after(self._stopped_at + GRACE - context.runtime.steady()):
            self._context.wake.clear()
            while await self._is_uploading():
                await self._context.wake.wait()
                self._context.wake.clear()

    async def _is_uploading(self) -> bool:
        try:
            jobs = await self._context.in_ledger(self._context.ledger.jobs.open)
        except LedgerStuck:  # then nobody could write what became of them
            return False
        return any(job.state is JobState.SUBMITTING and job.id in self._busy for job in jobs)


def first_of(group: BaseExceptionGroup[FinetunedError]) -> FinetunedError:
    """Find the first error of a group: what stopped the daemon."""
    error = group.exceptions[0]
    return first_of(error) if isinstance(error, BaseExceptionGroup) else error
