"""`make_plan`: the next step of each job and each file, and the order of the steps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from finetuned.lifecycle import JOB_ENDS, JOB_IN_FLIGHT, JobState
from finetuned.model import FolderFacts, Job, ServerFacts, WaitingFile
from finetuned.plan.batch import batches, with_first, within
from finetuned.plan.rest import rest
from finetuned.plan.sides import url_of, urls
from finetuned.plan.values import (
    Action,
    Archive,
    ArchiveFile,
    Awaited,
    BackendFacts,
    Cancel,
    Claim,
    Discard,
    Doubt,
    Facts,
    Hold,
    OfAJob,
    Plan,
    Poll,
    Probe,
    Queue,
    Recheck,
    Seal,
    Search,
    SkipDuplicate,
    Submit,
    probe_key,
    session_key,
)
from finetuned.settings import BACKENDS, FolderSettings, ServiceSettings, Settings

#: how many jobs one round seals when no slot waits for them
SEALS_A_ROUND: Final = 32
#: how much of each kind of work on the disk one round does
DISK_ACTIONS_A_ROUND: Final = 64
#: the pauses before each further search for a session that was lost, in settle times: 2 min, 8 min, 32 min, 2 h
RECHECKS: Final = (1, 4, 16, 64)
#: jobs that are searched for before they are sent
_SEARCHED_ANYWAY: Final = frozenset({JobState.QUEUED, JobState.SUBMITTING, JobState.DOUBTFUL})
#: jobs that can be given up at once
_LET_GO: Final = frozenset({JobState.QUEUED, JobState.RUNNING, JobState.REVIEW})
#: how many jobs are sent at a time: fewer than there are connections, so that polls go on beside slow uploads
SENDS: Final = 6
#: how many of the jobs that wait for a slot a plan names: more do not get one before the next plan
NEXT: Final = 64
#: how long fewer sessions at a time are asked for, before one more is tried, in seconds
ONE_MORE_AFTER: Final = 3600.0
#: the longest back-off for work on the disk
LONGEST_DISK_WAIT: Final = 60.0
#: … and for a file of which a job was made in vain: another one is made at most so often
LONGEST_HOLD: Final = 900.0

_age: Final = attrgetter("ready_at", "id")
_UNKNOWN: Final = BackendFacts()
_place: Final = attrgetter("folder", "group")


class _Desk:
    """The notes of one round: what is due, when to plan again, what each job and file waits for."""

    def __init__(self, facts: Facts, now: float, rules: Settings) -> None:
        self.facts = facts
        self.now = now
        self.rules = rules
        self.folders = {folder.name: folder for folder in facts.folders if folder.usable}
        #: those that a person paused
        self.paused = {name for name, folder in self.folders.items() if folder.paused_at is not None}
        #: the backends that are there, by url
        self.services = {s.url: s for s in map(rules.service_for, BACKENDS) if s.url in facts.backends}
        #: where each folder's jobs go
        self.urls = urls(facts.folders, rules)
        #: those that are known to be there, and not paused
        self.can_ask = {url for url in self.services if _can_be_asked(facts.backends[url].server)}
        #: folders that want a review, whose backend would train without one
        self.in_vain = {f.name for f in rules.folders if f.review and not self.side(f.name).can.reviews}
        #: the folders whose jobs may be sent, if there is a slot
        self.open_to = {
            name for name in self.folders.keys() - self.paused - self.in_vain if self.urls.get(name) in self.can_ask
        }
        self.wake_at: float | None = None
        self.jobs: dict[str, Hold] = {}
        self.files: dict[int, Hold] = {}
        #: by url, the jobs that are sent now, and the first of those that wait for a slot
        self.sends: dict[str, list[str]] = {}
        self.next: dict[str, list[str]] = {}

    def side(self, folder: str) -> BackendFacts:
        """Return what is known of the backend of a folder."""
        return self.facts.backends.get(self.urls[folder], _UNKNOWN)

    def due(self, at: float | None, longest: float) -> bool:
        """Tell whether something is due at `at` (null: yes); if not, the next round is no later than that."""
        if at is None or at <= self.now or at > self.now + longest:
            return True
        self.wake_at = at if self.wake_at is None else min(at, self.wake_at)
        return False

    def again(self) -> None:
        """Plan again at once: more is to be done than one round may take."""
        self.wake_at = self.now


def _can_be_asked(server: ServerFacts) -> bool:
    return server.paused_because is None and bool(server.reachable)


def make_plan(facts: Facts, now: float, rules: Settings) -> Plan:
    """Decide what to do at `now`, when to plan again, and what all the rest waits for."""
    desk = _Desk(facts, now, rules)
    room = _Slots(desk)
    steps = _steps(desk)
    actions = [
        *steps.first,
        *_on_the_wire(steps, room.free, desk),
        *_some(_on_the_disk(steps, desk), desk),
        *_some(_sealing(room.wanted, desk), desk),
    ]
    _note_the_rest(actions, desk)
    too_few = _too_few(desk)
    return Plan(
        actions=tuple(actions),
        wake_at=desk.wake_at,
        slot_waits=_slot_waits(actions, room.wanted, desk),
        too_few=too_few,
        jobs=desk.jobs,
        files=desk.files,
        slots=room.most,
        in_flight={url: len(room.there[url]) for url in room.most},
        queues=room.queues(desk),
        rest=rest(facts, now, rules, actions=actions, too_few=too_few, jobs=desk.jobs, files=desk.files),
    )


def slots(server: ServerFacts, now: float, service: ServiceSettings) -> int:
    """Count the jobs that may be on a server at a time: what it was found to allow, and one more each hour."""
    if server.max_sessions is None or server.max_sessions_at is None:
        return service.max_in_flight
    passed = now - server.max_sessions_at
    if passed < -ONE_MORE_AFTER:  # the clock was put back: how many it allows is found anew
        return service.max_in_flight
    more = int(max(0.0, passed) // ONE_MORE_AFTER)
    return min(service.max_in_flight, server.max_sessions + more)


class _Slots:
    """By url of a backend: how many jobs may be there, who is, and who is on the way, how many more may be sent now.

    `wanted` counts those of the latter that are not sealed yet.
    """

    def __init__(self, desk: _Desk) -> None:
        facts, urls = desk.facts, desk.urls
        busy, held, nowhere = facts.busy, desk.in_vain | desk.paused, urls[""]
        unsent: Counter[str] = Counter()
        self.there: defaultdict[str, list[str]] = defaultdict(list)
        self.sending: defaultdict[str, list[str]] = defaultdict(list)
        for url, resting in facts.resting.items():
            self.there[url].extend(resting.there)
        for job in facts.jobs:
            if job.state is JobState.QUEUED and job.id not in busy:
                if job.folder not in held:
                    unsent[urls.get(job.folder, nowhere)] += 1
            elif job.state in JOB_IN_FLIGHT or job.state is JobState.QUEUED:
                url = url_of(job, urls)
                self.there[url].append(job.id)
                if job.state is JobState.SUBMITTING or job.state is JobState.QUEUED:  # whose intent is being written
                    self.sending[url].append(job.id)
        services = desk.services
        self.most = {url: slots(facts.backends[url].server, desk.now, services[url]) for url in services}
        self.free = {
            url: min(most - len(self.there[url]), SENDS - len(self.sending[url])) for url, most in self.most.items()
        }
        self.wanted = {url: max(0, free - unsent[url]) for url, free in self.free.items()}

    def queues(self, desk: _Desk) -> dict[str, Queue]:
        """Tell by url who is there, and who is next, once all are sent that may be now."""
        return {
            url: Queue(
                slots=most,
                there=frozenset((*self.there[url], *desk.sends.get(url, ()))),
                sending=frozenset((*self.sending[url], *desk.sends.get(url, ()))),
                next=tuple(desk.next.get(url, ())),
            )
            for url, most in self.most.items()
        }


def _slot_waits(actions: Sequence[Action], wanted: Mapping[str, int], desk: _Desk) -> bool:
    """Tell whether a slot is free for a job that is sealed now: for one of those that are, if any is."""
    sealed = {desk.urls[action.folder] for action in actions if isinstance(action, Seal)}
    return any(wanted[url] > 0 for url in sealed & wanted.keys() or wanted)


def _some(actions: Iterator[Action], desk: _Desk) -> Iterator[Action]:
    """Take as many as one round may; the next round follows at once."""
    for number, action in enumerate(actions):
        if number == DISK_ACTIONS_A_ROUND:
            desk.again()
            return
        yield action


def _note_the_rest(actions: Iterable[Action], desk: _Desk) -> None:
    """Note that what could be done, but is not in this round, waits for the next."""
    taken: set[str | int] = set()
    for action in actions:
        match action:
            case Seal(file_ids=ids):
                taken.update(ids)
            case SkipDuplicate(file_id=file_id) | ArchiveFile(file_id=file_id):
                taken.add(file_id)
            case Claim() | Archive() | Cancel() | Submit() | Doubt() | Search() | Poll():
                taken.add(action.job_id)
    later = Hold(kind=Awaited.ROUND)
    for job in desk.facts.jobs:
        if job.id not in taken:
            desk.jobs.setdefault(job.id, later)
    for file_id in (*(f.id for f in desk.facts.waiting), *(f.id for f in desk.facts.unarchived)):
        if file_id not in taken:
            desk.files.setdefault(file_id, later)


def _too_few(desk: _Desk) -> frozenset[str]:
    """Find the folders of which only a part is told, and nothing of that can go; plan again once more of it is."""
    held = {file_id for file_id, hold in desk.files.items() if hold.kind is not Awaited.ROUND}
    too_few = desk.facts.partly - {file.folder for file in desk.facts.waiting if file.id not in held}
    if too_few:
        desk.again()
    return too_few


# -- jobs


class _Steps:
    """The next steps of jobs, in order: what only the ledger is told, sends, other calls, work on the disk."""

    def __init__(self) -> None:
        self.first: list[Doubt | Cancel] = []
        self.sends: list[Job] = []
        self.calls: list[Search | Poll] = []
        self.disk: list[Claim | Archive] = []


def _steps(desk: _Desk) -> _Steps:
    """Collect the next step of each job that has one now; note what the others wait for."""
    steps = _Steps()
    busy, open_to = desk.facts.busy, desk.open_to
    for job in desk.facts.jobs:
        if only_needs_a_slot(job) and job.folder in open_to and job.id not in busy:
            steps.sends.append(job)  # of these there may be thousands
            continue
        match _step(job, desk):
            case Hold() as hold:
                desk.jobs[job.id] = hold
            case Submit():
                steps.sends.append(job)
            case Search() | Poll() as call:
                steps.calls.append(call)
            case Claim() | Archive() as work:
                steps.disk.append(work)
            case step:
                steps.first.append(step)
    return steps


def only_needs_a_slot(job: Job) -> bool:
    """Tell whether nothing of a job itself keeps it from being sent."""
    return (
        job.state is JobState.QUEUED
        and job.claimed_at is not None
        and job.attempt is None
        and job.due_at is None
        and job.requested is None
    )


def _step(job: Job, desk: _Desk) -> OfAJob | Hold:
    """Decide what to do for a job if there were a slot for each, or what it waits for."""
    if job.id in desk.facts.busy:
        return Hold(kind=Awaited.ANSWER)
    if job.state is JobState.SUBMITTING:
        return Doubt(job_id=job.id)
    if job.given_up and job.state in _LET_GO:
        return Cancel(job_id=job.id)
    if job.state in JOB_ENDS or (job.state is JobState.QUEUED and job.claimed_at is None):
        return _step_on_the_disk(job, desk)
    return _step_on_the_wire(job, desk)


def _step_on_the_disk(job: Job, desk: _Desk) -> OfAJob | Hold:
    if job.folder not in desk.folders:
        return Hold(kind=Awaited.FOLDER, of=job.folder)
    if not desk.due(job.due_at, LONGEST_DISK_WAIT):
        return Hold(kind=Awaited.RETRY, until=job.due_at)
    return Archive(job_id=job.id, files=job.files) if job.state in JOB_ENDS else Claim(job_id=job.id)


def _step_on_the_wire(job: Job, desk: _Desk) -> OfAJob | Hold:
    url = url_of(job, desk.urls)
    service = desk.services.get(url)
    if service is None:
        return Hold(kind=Awaited.OTHER_SERVER, of=url)
    if job.state is JobState.QUEUED:
        if job.folder not in desk.folders:
            return Hold(kind=Awaited.FOLDER, of=job.folder)
        if job.folder in desk.paused:
            return Hold(kind=Awaited.RESUME, of=job.folder)
        if job.folder in desk.in_vain:
            return Hold(kind=Awaited.REVIEWS)
    if url not in desk.can_ask:
        until = desk.facts.backends[url].server.next_try_at
        return Hold(kind=Awaited.PERSON) if job.awaits_review else Hold(kind=Awaited.SERVER, until=until)
    match job.state:
        case JobState.QUEUED:
            step: OfAJob = Submit(job_id=job.id)
            kind, longest = Awaited.RETRY, service.longest_pause
        case JobState.DOUBTFUL:
            step = Search(job_id=job.id)
            kind, longest = Awaited.SEARCH, _longest_doubt(desk.rules, service)
        case _:
            step = Poll(job_id=job.id)
            kind, longest = Awaited.PERSON if job.awaits_review else Awaited.SESSION, desk.rules.poll.slowest
    return step if desk.due(job.next_at, longest) else Hold(kind=kind, until=job.next_at)


def _longest_doubt(rules: Settings, service: ServiceSettings) -> float:
    return max(rules.submit.lost_answer_settle, service.longest_pause, rules.poll.slowest)


# -- the wire


def _on_the_wire(steps: _Steps, free: Mapping[str, int], desk: _Desk) -> Iterator[Action]:
    facts = desk.facts
    for url, service in desk.services.items():
        if url in desk.can_ask or probe_key(url) in facts.busy:
            continue
        if desk.due(facts.backends[url].server.next_try_at, service.longest_pause):
            yield Probe(url=url)
    for url, resting in facts.resting.items():
        if url in desk.can_ask and desk.due(resting.until, desk.rules.poll.slowest):
            desk.again()
    sends = list(_sends(steps.sends, free, desk))
    yield from sends
    yield from steps.calls
    yield from _rechecks(facts.busy | {call.job_id for call in (*steps.calls, *sends)}, desk)
    for session in facts.discards:
        if session.url not in desk.can_ask or session_key(session) in facts.busy:
            continue
        if desk.due(session.due_at, desk.services[session.url].longest_pause):
            yield Discard(session=session)


def _sends(ready: Iterable[Job], free: Mapping[str, int], desk: _Desk) -> Iterator[Submit]:
    """Send as many as there are slots; folders take turns, the one whose last send lies furthest back first."""
    last = {folder.name: folder.sent_at or 0.0 for folder in desk.facts.folders}
    number: Counter[str] = Counter()
    queues = defaultdict(list)
    for place, job in enumerate(ready):
        queues[desk.urls[job.folder]].append((number[job.folder], last[job.folder], place, job.id))
        number[job.folder] += 1
    sends = []
    for url, queue in queues.items():
        slots_left = max(0, free[url])
        queue.sort()
        sends += queue[:slots_left]
        for ahead, (*_, job_id) in enumerate(queue[slots_left:]):
            desk.jobs[job_id] = Hold(kind=Awaited.TURN, ahead=ahead)
        desk.sends[url] = [job_id for *_, job_id in queue[:slots_left]]
        desk.next[url] = [job_id for *_, job_id in queue[slots_left : slots_left + NEXT]]
    yield from (Submit(job_id=job_id) for *_, job_id in sorted(sends))


def _rechecks(called: frozenset[str], desk: _Desk) -> Iterator[Action]:
    """Search once a job at most, and not beside another call for it: a session being made must not look lost."""
    rules = desk.rules
    if not desk.facts.suspects:
        return
    beside = called | {job.id for job in desk.facts.jobs if job.state in _SEARCHED_ANYWAY}
    for session in desk.facts.suspects:
        if session.job_id in beside or session.url not in desk.can_ask:
            continue
        if desk.due(session.due_at, max(desk.services[session.url].longest_pause, *_recheck_pauses(rules))):
            beside |= {session.job_id}
            yield Recheck(session=session)


def recheck_pause(tries: int, rules: Settings) -> float | None:
    """Tell how many seconds after `tries` searches a lost session is searched for again; null: never."""
    return next(iter(_recheck_pauses(rules)[tries:]), None)


def _recheck_pauses(rules: Settings) -> list[float]:
    return [rules.submit.lost_answer_settle * factor for factor in RECHECKS]


# -- the disk


def _on_the_disk(steps: _Steps, desk: _Desk) -> Iterator[Action]:
    for file in desk.facts.unarchived:  # first: a job's own folder is cleared once nothing of it lies there
        if file.folder not in desk.folders:
            desk.files[file.id] = Hold(kind=Awaited.FOLDER, of=file.folder)
        elif desk.due(file.due_at, LONGEST_DISK_WAIT):
            yield ArchiveFile(file_id=file.id)
        else:
            desk.files[file.id] = Hold(kind=Awaited.RETRY, until=file.due_at)
    yield from steps.disk


def _sealing(wanted: Mapping[str, int], desk: _Desk) -> Iterator[Action]:
    settings = {f.name: within(f, desk.side(f.name).server) for f in desk.rules.folders if f.name in desk.folders}
    ready = []
    for file in sorted(desk.facts.waiting, key=_age):
        step = _step_of_a_file(file, settings.get(file.folder), desk)
        if isinstance(step, Hold):
            desk.files[file.id] = step
        elif step is not None:
            yield step
        else:
            ready.append(file)
    firsts = []
    for file, first in with_first(ready, settings):
        if first is None:
            firsts.append(file)
        else:
            desk.files[file.id] = Hold(kind=Awaited.SAME_CONTENT, of=first)
    yield from _seals(firsts, settings, wanted, desk)


def _seals(
    firsts: list[WaitingFile], settings: Mapping[str, FolderSettings], wanted: Mapping[str, int], desk: _Desk
) -> Iterator[Seal]:
    """Make jobs of files, first for the slots that are free: the others have their turn once no slot waits."""
    firsts.sort(
        key=lambda f: (wanted.get(desk.urls[f.folder], 0) <= 0, desk.folders[f.folder].sent_at or 0.0, *_place(f))
    )
    left = {url: many for url, many in wanted.items() if many > 0}
    others = SEALS_A_ROUND
    for (name, group), files in groupby(firsts, key=_place):
        url = desk.urls[name]
        for batch, full in batches(files, settings[name], desk.side(name).can):
            hold = None if full else _lingers(batch, desk.folders[name], settings[name], desk)
            if hold is not None:
                desk.files.update((file.id, hold) for file in batch)
                continue
            if left.get(url, others) <= 0:
                desk.again()
                if others <= 0 and not any(left.values()):
                    return
                break
            if url in left:
                left[url] -= 1
                others = 0
            else:
                others -= 1
            yield Seal(folder=name, group=group, file_ids=tuple(f.id for f in batch))


def _step_of_a_file(file: WaitingFile, rules: FolderSettings | None, desk: _Desk) -> SkipDuplicate | Hold | None:
    """Decide what to do with a waiting file by itself, or what it waits for; null: it may go into a job."""
    if rules is None:
        return Hold(kind=Awaited.FOLDER, of=file.folder)
    if file.folder in desk.paused:
        return Hold(kind=Awaited.RESUME, of=file.folder)
    if rules.duplicates == "skip" and file.learned_by is not None:
        return SkipDuplicate(file_id=file.id, of=file.learned_by)
    if rules.duplicates == "skip" and file.same_content_in is not None:
        return Hold(kind=Awaited.SAME_CONTENT, of=file.same_content_in)
    if not desk.due(file.due_at, LONGEST_HOLD):
        return Hold(kind=Awaited.RETRY, until=file.due_at)
    return None


def _lingers(batch: Sequence[WaitingFile], folder: FolderFacts, rules: FolderSettings, desk: _Desk) -> Hold | None:
    """Tell what a batch that is not full waits for; null: it has waited long enough."""
    if folder.name in desk.facts.partly:  # it may be full
        return Hold(kind=Awaited.INTAKE)
    oldest = min(f.ready_at for f in batch)
    if folder.flush_before is not None and oldest <= folder.flush_before:
        return None
    if folder.more_to_come:
        return Hold(kind=Awaited.INTAKE)
    if desk.facts.hurry or desk.due(oldest + rules.linger, rules.linger):
        return None
    return Hold(kind=Awaited.COMPANY, until=oldest + rules.linger)
