"""The roll of all open jobs, and whom of them a plan has to be told of: a round costs what is due, and a set of ids.

1. Of the jobs that run, and are not to be polled yet, a plan needs no more than who they are, and when the first of
   them is due. That may be later than the ledger says: it is not told each time that a session stands still.
2. Of a long queue, for a slot or for the disk, it needs the first: more than one round can take.
3. Every other job is told, and so is each that is busy. A plan of what is told does what one of all jobs would do.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from heapq import heappop, heappush
from itertools import islice
from operator import itemgetter
from typing import Final

from msgspec.structs import replace

from finetuned.lifecycle import JOB_ENDS, JobState
from finetuned.model import Attempt, Job
from finetuned.plan.planner import DISK_ACTIONS_A_ROUND, NEXT, SENDS, only_needs_a_slot
from finetuned.plan.values import Resting

#: by what jobs are ordered: when they were made, and in which order within that instant
Age = tuple[float, int]
#: a line in which jobs stand: what they wait for, and their folder
_Line = tuple[str, str]

_SLOT: Final = "slot"
_DISK: Final = "disk"
#: how many of a line are told
_FIRST: Final = {_SLOT: SENDS + NEXT, _DISK: DISK_ACTIONS_A_ROUND + 1}
_AGE: Final = itemgetter(0)


class Roll:
    """All open jobs; `slowest` is the longest wait between two polls, in seconds."""

    def __init__(self, slowest: float) -> None:
        self._slowest = slowest
        self._jobs: dict[str, tuple[Age, Job]] = {}
        self._lines: defaultdict[_Line, list[tuple[Age, str]]] = defaultdict(list)
        #: by url, the jobs that rest, each with the end of its rest; and the same by that end, with some that are over
        self._rests: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._ends: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        #: those that are neither in a line nor at rest
        self._others: set[str] = set()
        #: whose rest may be too long to be believed
        self._fresh: list[tuple[str, str]] = []
        self._now = 0.0
        #: whether it has heard all that was written
        self.is_sure = False
        #: how many there are, by state
        self.states: Counter[JobState] = Counter()
        #: the sessions of those that have not ended
        self.sessions: set[str | None] = set()

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def __getitem__(self, job_id: str) -> Job:
        return self._jobs[job_id][1]

    def __iter__(self) -> Iterator[Job]:
        return (job for _, job in self._jobs.values())

    def take(self, written: Mapping[str, tuple[Age, Job] | None]) -> set[str]:
        """Take over what was written of jobs, by id (null: it is not open any more); return who is not."""
        for job_id, job in written.items():
            if job_id in self._jobs:
                self._take_off(job_id)
            if job is not None:
                self._put_on(job_id, job)
        self.is_sure = True
        return {job_id for job_id, job in written.items() if job is None}

    def call(self, jobs: Mapping[str, tuple[Age, Job] | None]) -> set[str]:
        """Take these for all there are; return who was on the roll and is not among them."""
        return self.take({**dict.fromkeys(self._jobs.keys() - jobs.keys()), **jobs})

    def rest(self, attempt: Attempt, until: float) -> None:
        """Let the job of this attempt, if it is on the roll as it was then, rest until it is polled again."""
        age, job = self._jobs.get(attempt.job_id, (None, None))
        if age is not None and job is not None and job.attempt == attempt:
            self._take_off(job.id)
            self._put_on(job.id, (age, replace(job, attempt=replace(attempt, due_at=until))))

    def told(self, now: float, busy: Collection[str]) -> tuple[tuple[Job, ...], Mapping[str, Resting]]:
        """Choose the jobs that a plan is to be told of, oldest first; with it, by url, who rests at a backend."""
        self._wake(now)
        named = {*self._others, *(job_id for job_id in busy if job_id in self._jobs)}
        for (kind, _), line in self._lines.items():
            named.update(islice((job_id for _, job_id in line if job_id not in busy), _FIRST[kind]))
        resting = {
            url: Resting(there=frozenset(there.keys() - busy), until=self._ends[url][0][0])
            for url, there in self._rests.items()
            if there
        }
        return tuple(job for _, job in sorted((self._jobs[job_id] for job_id in named), key=_AGE)), resting

    def all(self) -> tuple[Job, ...]:
        """List all jobs, oldest first."""
        return tuple(job for _, job in sorted(self._jobs.values(), key=_AGE))

    def _put_on(self, job_id: str, aged: tuple[Age, Job]) -> None:
        self._jobs[job_id] = age, job = aged
        self.states[job.state] += 1
        if job.state not in JOB_ENDS:
            self.sessions.add(job.session_id)
        if (line := _line_of(job)) is not None:
            insort(self._lines[line], (age, job_id))
        elif (rest := _rest_of(job)) is not None:
            url, until = rest
            self._rests[url][job_id] = until
            heappush(self._ends[url], (until, job_id))
            self._fresh.append((url, job_id))
        else:
            self._others.add(job_id)

    def _take_off(self, job_id: str) -> None:
        age, job = self._jobs.pop(job_id)
        self.states[job.state] -= 1
        self.sessions.discard(job.session_id)
        self._others.discard(job_id)
        if (line := _line_of(job)) is not None:
            del self._lines[line][bisect_left(self._lines[line], (age, job_id))]
        elif job.open is not None:
            self._rests[job.open.url].pop(job_id, None)

    def _wake(self, now: float) -> None:
        """End each rest that is over by `now`, or further ahead than one can be: the clock jumped back."""
        fresh, self._fresh = self._fresh, []
        if now < self._now:
            fresh = [(url, job_id) for url, there in self._rests.items() for job_id in there]
        self._now = now
        for url, job_id in fresh:
            if self._rests[url].get(job_id, now) > now + self._slowest:
                self._end(url, job_id)
        for url, ends in self._ends.items():
            there = self._rests[url]
            while ends and (ends[0][0] <= now or there.get(ends[0][1]) != ends[0][0]):
                until, job_id = heappop(ends)
                if there.get(job_id) == until:
                    self._end(url, job_id)

    def _end(self, url: str, job_id: str) -> None:
        del self._rests[url][job_id]
        self._others.add(job_id)


def _line_of(job: Job) -> _Line | None:
    """Tell in which line a job stands; null: in none. One that was sent before may be searched for meanwhile."""
    if only_needs_a_slot(job) and job.attempts == 0:
        return _SLOT, job.folder
    if job.state in JOB_ENDS and job.due_at is None:
        return _DISK, job.folder
    return None


def _rest_of(job: Job) -> tuple[str, float] | None:
    """Tell where a job rests, and until when; null: it does not."""
    if job.state is not JobState.RUNNING or job.requested is not None or job.open is None or job.open.due_at is None:
        return None
    return job.open.url, job.open.due_at
