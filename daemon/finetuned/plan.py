"""What to do next: a pure function of what is known, what time it is, and the rules.

1. `make_plan` never remembers; asked twice, it answers the same.
2. What is under way (`Facts.busy`) is left alone; what is not due yet sets `wake_at`.
3. While the server cannot be used, or it is not known yet whether it can, nothing is sent, asked or removed there but
   one probe; everything on disk goes on.
4. Sending comes before work on the disk, and a round of that is short; while a slot is free and nothing waits for it,
   no more is sealed than can be sent: the next request must never wait behind a thousand renames.
5. A due time further ahead than the longest wait of its kind is due now: the clock jumped back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from finetuned.lifecycle import JOB_ENDS, JOB_IN_FLIGHT, JobState
from finetuned.model import FolderFacts, Job, LooseFile, ServerFacts, Session, Value, WaitingFile, chunks_of
from finetuned.settings import FolderSettings, Settings

#: how many jobs one round seals when no slot waits for them
SEALS_A_ROUND: Final = 32
#: how much of each kind of work on the disk one round does
DISK_ACTIONS_A_ROUND: Final = 64
#: the pauses before each further search for a session that was lost, in settle times: 2 min, 8 min, 32 min, 2 h
RECHECKS: Final = (1, 4, 16, 64)
#: jobs that are searched for before they are sent
_SEARCHED_ANYWAY: Final = frozenset({JobState.QUEUED, JobState.SUBMITTING, JobState.DOUBTFUL})
#: how many jobs are sent at a time: fewer than there are connections, so that looks go on beside slow uploads
SENDS: Final = 6
#: how long fewer sessions at a time are asked for, before one more is tried, in seconds
ONE_MORE_AFTER: Final = 3600.0
#: the longest back-off for work on the disk
LONGEST_DISK_WAIT: Final = 60.0


class Seal(Value, frozen=True, tag=True):
    """Make a job of these files and claim them."""

    folder: str
    group: str
    file_ids: tuple[int, ...]


class SkipDuplicate(Value, frozen=True, tag=True):
    """The content is known: put the file away as a duplicate of `of`."""

    file_id: int
    of: str


class Claim(Value, frozen=True, tag=True):
    """Go on with a claim that was begun."""

    job_id: str


class PutAway(Value, frozen=True, tag=True):
    """Move the files of an ended job to where they belong."""

    job_id: str


class PutFileAway(Value, frozen=True, tag=True):
    """Move a file that never was in a job to where it belongs."""

    file_id: int


class Cancel(Value, frozen=True, tag=True):
    """Give the job up, as a person wished."""

    job_id: str


class Submit(Value, frozen=True, tag=True):
    """Send the job: intent first, then the request."""

    job_id: str


class Doubt(Value, frozen=True, tag=True):
    """Nobody sends this job although it says so: a crash, or a bug. Its answer is lost."""

    job_id: str


class Search(Value, frozen=True, tag=True):
    """Look for a doubtful job's session on the server."""

    job_id: str


class Look(Value, frozen=True, tag=True):
    """Look at the job's session; if it is trained, collect its pairs."""

    job_id: str


class Discard(Value, frozen=True, tag=True):
    """Remove a session that was given up from the server."""

    session: Session


class Recheck(Value, frozen=True, tag=True):
    """Look once more for a session that was lost, not found, and sent again: a slow server may list it late."""

    session: Session


class Probe(Value, frozen=True, tag=True):
    """Ask whether the server can be used again."""


_OnTheDisk = Seal | SkipDuplicate | Claim | PutAway | PutFileAway
Action = _OnTheDisk | Cancel | Submit | Doubt | Search | Look | Discard | Recheck | Probe


class Facts(Value, frozen=True):
    """All that a plan rests on.

    `waiting` is ordered by `ready_at`; `jobs` holds every unfinished job and every ended one that is not put away;
    `loose` are refused and duplicate files that still lie where they were dropped; `suspects` are sessions that were
    lost and may turn up late; `busy` names the jobs and sessions with a request under way; `hurry` does not wait out
    `linger`.
    """

    waiting: tuple[WaitingFile, ...] = ()
    jobs: tuple[Job, ...] = ()
    loose: tuple[LooseFile, ...] = ()
    discards: tuple[Session, ...] = ()
    suspects: tuple[Session, ...] = ()
    folders: tuple[FolderFacts, ...] = ()
    server: ServerFacts = ServerFacts()
    busy: frozenset[str] = frozenset()
    hurry: bool = False


class Plan(Value, frozen=True):
    """What to do now, in this order, and when to look again (seconds since 1970; null: when the bell rings).

    `slot_waits`: a job that is sealed now can be sent at once.
    """

    actions: tuple[Action, ...]
    wake_at: float | None
    slot_waits: bool = False


_age: Final = attrgetter("ready_at", "id")
_place: Final = attrgetter("folder", "group")
#: how `Facts.busy` names the probe
PROBE: Final = "probe"


def session_key(session: Session) -> str:
    """How `Facts.busy` names work on a session that no job waits for."""
    return f"session {session.session_id}"


class _Waker:
    """Tells what is due, and remembers the earliest time that is not."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.wake_at: float | None = None

    def due(self, at: float | None, longest: float) -> bool:
        if at is None or at <= self.now or at > self.now + longest:
            return True
        self.wake_at = at if self.wake_at is None else min(at, self.wake_at)
        return False

    def again(self) -> None:
        self.wake_at = self.now


def make_plan(facts: Facts, now: float, rules: Settings) -> Plan:
    """What to do now, and when to look again."""
    waker = _Waker(now)
    held_back = {f.name for f in rules.folders if rules.goes_unreviewed(f.name, facts.server.dialect)}
    queued = (j for j in facts.jobs if j.state is JobState.QUEUED and j.folder not in held_back)
    unsent = sum(1 for j in queued if j.id not in facts.busy)
    ours = [j for j in facts.jobs if j.state is not JobState.REVIEW]
    in_flight = sum(1 for j in ours if (j.state in JOB_IN_FLIGHT and is_here(j, rules)) or j.id in facts.busy)
    sent = sum(1 for j in facts.jobs if j.state is JobState.SUBMITTING)
    free = min(room(facts.server, now, rules) - in_flight, SENDS - sent)
    wanted = max(0, free - unsent)
    actions = [
        *_in_the_ledger(facts),
        *_on_the_wire(facts, free, waker, rules),
        *_some(_on_the_disk(facts, waker), waker),
        *_some(_sealing(facts, wanted or SEALS_A_ROUND, waker, rules), waker),
    ]
    return Plan(actions=tuple(actions), wake_at=waker.wake_at, slot_waits=wanted > 0)


def room(server: ServerFacts, now: float, rules: Settings) -> int:
    """How many jobs may be on the server at a time: what its plan was found to allow, and each hour one more."""
    if server.max_sessions is None or server.max_sessions_at is None:
        return rules.helix.max_in_flight
    more = int(max(0.0, now - server.max_sessions_at) // ONE_MORE_AFTER)
    return min(rules.helix.max_in_flight, server.max_sessions + more)


def _some(actions: Iterator[Action], waker: _Waker) -> Iterator[Action]:
    """As many as one round may take; the next follows at once."""
    for number, action in enumerate(actions):
        if number == DISK_ACTIONS_A_ROUND:
            waker.again()
            return
        yield action


def _in_the_ledger(facts: Facts) -> Iterator[Action]:
    for job in facts.jobs:
        if job.id in facts.busy:
            continue
        if job.state is JobState.SUBMITTING:
            yield Doubt(job_id=job.id)
        elif job.given_up and job.state in {JobState.QUEUED, JobState.RUNNING, JobState.REVIEW}:
            yield Cancel(job_id=job.id)


def _on_the_wire(facts: Facts, free: int, waker: _Waker, rules: Settings) -> Iterator[Action]:
    if facts.server.paused_because is not None or not facts.server.reachable:
        if PROBE not in facts.busy and waker.due(facts.server.next_try_at, rules.helix.longest_pause):
            yield Probe()
        return
    usable = {f.name for f in facts.folders if f.usable and not rules.goes_unreviewed(f.name, facts.server.dialect)}
    called = set(facts.busy)
    for job in facts.jobs:
        if job.id in facts.busy:
            continue
        call = _call_for(job, waker, rules, may_send=free > 0 and job.folder in usable)
        if call is not None:
            free -= isinstance(call, Submit)
            called.add(job.id)
            yield call
    yield from _rechecks(facts, called, waker, rules)
    for session in facts.discards:
        if session.url != rules.helix.url:
            continue
        if session_key(session) not in facts.busy and waker.due(session.due_at, rules.helix.longest_pause):
            yield Discard(session=session)


def _rechecks(facts: Facts, called: set[str], waker: _Waker, rules: Settings) -> Iterator[Action]:
    """One search a job at most, and none beside another call for it: what is just being made must not look lost."""
    called = called | {job.id for job in facts.jobs if job.state in _SEARCHED_ANYWAY}
    for session in facts.suspects:
        if session.job_id in called or session.url != rules.helix.url:
            continue
        if waker.due(session.due_at, max(rules.helix.longest_pause, *_recheck_pauses(rules))):
            called.add(session.job_id)
            yield Recheck(session=session)


def recheck_pause(tries: int, rules: Settings) -> float | None:
    """How long a lost session rests after `tries` searches for it, in seconds; null if it is let go."""
    return next(iter(_recheck_pauses(rules)[tries:]), None)


def _recheck_pauses(rules: Settings) -> list[float]:
    return [rules.submit.lost_answer_settle * factor for factor in RECHECKS]


def _call_for(job: Job, waker: _Waker, rules: Settings, *, may_send: bool) -> Action | None:
    """What to ask the server about the job now, if anything."""
    if not is_here(job, rules):
        return None
    match job.state:
        case JobState.DOUBTFUL if waker.due(job.due_at, _longest_doubt(rules)):
            return Search(job_id=job.id)
        case JobState.RUNNING | JobState.REVIEW if not job.given_up and waker.due(job.due_at, rules.poll.slowest):
            return Look(job_id=job.id)
        case JobState.QUEUED if may_send and job.claimed_at is not None and not job.wish:
            return Submit(job_id=job.id) if waker.due(job.due_at, rules.helix.longest_pause) else None
    return None


def is_here(job: Job, rules: Settings) -> bool:
    """Whether the job's session, if it has one, is on the server that is configured; others wait for theirs."""
    return job.url is None or job.url == rules.helix.url


def _longest_doubt(rules: Settings) -> float:
    return max(rules.submit.lost_answer_settle, rules.helix.longest_pause, rules.poll.slowest)


def _on_the_disk(facts: Facts, waker: _Waker) -> Iterator[Action]:
    usable = {f.name for f in facts.folders if f.usable}
    for file in facts.loose:  # first: a job's own folder is cleared once nothing of it lies there
        if file.folder in usable and waker.due(file.due_at, LONGEST_DISK_WAIT):
            yield PutFileAway(file_id=file.id)
    for job in facts.jobs:
        if job.id in facts.busy or job.folder not in usable:
            continue
        claims = job.state is JobState.QUEUED and job.claimed_at is None and not job.wish
        if (claims or job.state in JOB_ENDS) and waker.due(job.due_at, LONGEST_DISK_WAIT):
            yield Claim(job_id=job.id) if claims else PutAway(job_id=job.id)


def _sealing(facts: Facts, most: int, waker: _Waker, rules: Settings) -> Iterator[Action]:
    folders = {f.name: f for f in facts.folders if f.usable}
    settings = {f.name: _within(f, facts.server) for f in rules.folders if f.name in folders}
    sealable = []
    for file in sorted(facts.waiting, key=_age):
        if file.folder not in settings:
            continue
        if settings[file.folder].duplicates == "skip" and file.learned_by is not None:
            yield SkipDuplicate(file_id=file.id, of=file.learned_by)
        elif _may_go(file, settings[file.folder], waker):
            sealable.append(file)
    for (name, group), files in groupby(sorted(without_twins(sealable, settings), key=_place), key=_place):
        for batch, full in batches(files, settings[name]):
            if not full and not _last_call(batch, folders[name], settings[name], waker, hurry=facts.hurry):
                continue
            if most <= 0:
                waker.again()
                return
            most -= 1
            yield Seal(folder=name, group=group, file_ids=tuple(f.id for f in batch))


def _within(rules: FolderSettings, server: ServerFacts) -> FolderSettings:
    """Rules that keep to what the server was found to take; a file that is more goes alone, and finds out."""
    chunks = rules.max_chunks if server.max_chunks is None else server.max_chunks
    size = rules.max_bytes if server.max_request is None else server.max_request
    return replace(rules, max_chunks=min(rules.max_chunks, chunks), max_bytes=min(rules.max_bytes, size))


def without_twins(files: Iterable[WaitingFile], settings: Mapping[str, FolderSettings]) -> Iterator[WaitingFile]:
    """Where duplicates are skipped, only the first of equals goes; the others wait for what becomes of it."""
    seen: set[tuple[str, str]] = set()
    for file in files:
        content = (file.folder, file.sha256)
        if settings[file.folder].duplicates == "send" or content not in seen:
            yield file
        seen.add(content)


def _may_go(file: WaitingFile, rules: FolderSettings, waker: _Waker) -> bool:
    twin_first = file.twin_on_its_way and rules.duplicates == "skip"
    return not twin_first and waker.due(file.due_at, LONGEST_DISK_WAIT)


def _last_call(
    batch: Sequence[WaitingFile], folder: FolderFacts, rules: FolderSettings, waker: _Waker, *, hurry: bool
) -> bool:
    """Whether a batch that is not full has waited long enough."""
    oldest = min(f.ready_at for f in batch)
    if folder.flush_before is not None and oldest <= folder.flush_before:
        return True
    if folder.more_to_come:
        return False
    return hurry or waker.due(oldest + rules.linger, rules.linger)


def batches(files: Iterable[WaitingFile], rules: FolderSettings) -> Iterator[tuple[list[WaitingFile], bool]]:
    """Cut `files`, in order, into batches that keep the limits; with each, whether it is full.

    A file that is over a limit by itself goes alone. Files of equal content never share a batch: the server could not
    tell their pairs apart. Ready-made pairs name no document at all: each file of them is a batch.
    """
    batch: list[WaitingFile] = []
    contents: set[str] = set()
    held_back: list[WaitingFile] = []
    sent = chunks = 0
    for file in files:
        if file.ready_made:
            yield [file], True
            continue
        if file.sha256 in contents:
            held_back.append(file)
            continue
        more = chunks_of(file.sent_bytes)
        fits = sent + file.sent_bytes <= rules.max_bytes and chunks + more <= rules.max_chunks
        if batch and not (fits and len(batch) < rules.max_files):
            yield batch, True
            batch, contents, sent, chunks = [], set(), 0, 0
        batch.append(file)
        contents.add(file.sha256)
        sent += file.sent_bytes
        chunks += more
    if batch:  # full: not even one more small file would fit
        yield (
            batch,
            len(batch) >= rules.max_files or sent >= rules.max_bytes or chunks + chunks_of(1) > rules.max_chunks,
        )
    if held_back:
        yield from batches(held_back, rules)
