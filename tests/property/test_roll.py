"""The roll of open jobs: a plan of whom it tells does what a plan of all does, whatever is written and when."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from finetuned.lifecycle import JobState, Requested, SessionState
from finetuned.model import Attempt, Job
from finetuned.plan import Facts, Plan, Roll, make_plan
from finetuned.settings import Settings
from property.facts import NAMES, NOW, SLOWEST, URL, facts, rules

STATES = (*JobState, JobState.RUNNING, JobState.RUNNING, JobState.RUNNING, JobState.QUEUED, JobState.QUEUED)
OPEN = {
    JobState.RUNNING: SessionState.LIVE,
    JobState.REVIEW: SessionState.LIVE,
    JobState.DOUBTFUL: SessionState.INTENDED,
    JobState.SUBMITTING: SessionState.INTENDED,
}
#: how many jobs come and go
IDS = tuple(f"job-{number:02d}" for number in range(16))


#: jobs by id, each with its age
Known = Mapping[str, tuple[tuple[float, int], Job]]


@st.composite
def written(draw: st.DrawFn, now: float) -> Mapping[str, tuple[tuple[float, int], Job] | None]:
    """What a round may hear: jobs that were written, and some that are over."""
    return {one: draw(st.none() | _job(one, now)) for one in draw(st.sets(st.sampled_from(IDS), max_size=8))}


@st.composite
def _job(draw: st.DrawFn, ident: str, now: float) -> tuple[tuple[float, int], Job]:
    state, attempt = draw(st.sampled_from(STATES)), None
    due_at = draw(st.none() | st.sampled_from([-5.0, 0.0, 3.0, 60.0, SLOWEST, SLOWEST + 1.0]).map(lambda s: now + s))
    number = int(ident[-2:])
    if state in OPEN:
        attempt = Attempt(
            id=number,
            job_id=ident,
            number=1,
            state=OPEN[state],
            url=draw(st.sampled_from([URL, URL, "http://elsewhere.test"])),
            session_id=f"s-{ident}",
            due_at=due_at,
        )
    job = Job(
        id=ident,
        folder=draw(st.sampled_from(NAMES)),
        state=state,
        files=1,
        bytes=1,
        created_at=NOW + number // 3,
        version=1,
        attempt=attempt,
        attempts=1 if attempt else draw(st.sampled_from([0, 0, 0, 1])),
        claimed_at=NOW if state is not JobState.QUEUED or draw(st.integers(0, 3)) else None,
        due_at=None if attempt or draw(st.booleans()) else due_at,
        requested=draw(st.sampled_from([None, None, None, None, Requested.CANCEL])),
        archived=False,
    )
    return (number // 3, len(CROWD) + number), job  # no two jobs are of one age


def plain(number: int, state: JobState, folder: str = NAMES[0]) -> Job:
    """A job to which nothing happened but that it came to this state."""
    attempt = None
    if state is JobState.RUNNING:
        due_at = NOW + 1.0 + number % 50
        attempt = Attempt(id=number, job_id=f"j{number:05d}", number=1, state=SessionState.LIVE, url=URL, due_at=due_at)
    return Job(
        id=f"j{number:05d}",
        folder=folder,
        state=state,
        files=1,
        bytes=1,
        created_at=NOW,
        version=1,
        attempt=attempt,
        claimed_at=NOW,
        archived=state is not JobState.DONE,
    )


#: more jobs than are told of a line, and more than one round takes
CROWD = {
    job.id: ((number % 7, number), job)
    for number in range(400)
    for job in [plain(number, (JobState.QUEUED, JobState.DONE)[number % 2], NAMES[number % 5 < 3])]
}


@given(data=st.data(), told=facts(states=(JobState.QUEUED,)), allowed=rules())
def test_what_is_told_is_enough(data: st.DataObject, told: Facts, allowed: Settings):
    """The same is done, the same waits for a slot, and it is planned again no later, round after round."""
    kept, now = Roll(SLOWEST), NOW
    known = data.draw(st.sampled_from([{}, CROWD]))
    kept.take(known)
    for _ in range(data.draw(st.integers(1, 4))):
        news = data.draw(written(now))
        known = {one: job for one, job in {**known, **news}.items() if job is not None}
        if data.draw(st.integers(0, 3)):
            assert kept.take(news) == {one for one, job in news.items() if job is None}
        else:
            kept.call(known)
        assert sorted(kept, key=lambda job: job.id) == [known[one][1] for one in sorted(known)]
        for one in data.draw(st.sets(st.sampled_from(IDS), max_size=4)):
            known = rested(kept, known, one, now + data.draw(st.sampled_from([0.0, 2.0, SLOWEST, SLOWEST + 1.0])))
        now += data.draw(st.sampled_from([0.0, 1.0, 3.0, 59.0, 60.0, 200.0, -1.0, -3600.0]))
        busy = frozenset(data.draw(st.sets(st.sampled_from(IDS), max_size=3)))
        everything = msgspec.structs.replace(told, jobs=kept.all(), busy=busy)
        jobs, resting = kept.told(now, busy)
        part = msgspec.structs.replace(everything, jobs=jobs, resting=resting)
        assert_alike(make_plan(part, now, allowed), make_plan(everything, now, allowed), is_exact=not busy)


def rested(kept: Roll, known: Known, job_id: str, until: float) -> Known:
    """Let a job rest, if it has an attempt; return what is known then."""
    age, job = known.get(job_id) or (None, None)
    if age is None or job is None or job.attempt is None:
        return known
    attempt = msgspec.structs.replace(job.attempt, due_at=until)
    kept.rest(job.attempt, until)
    kept.rest(msgspec.structs.replace(job.attempt, version=job.attempt.version - 1), until + 1.0)  # as it was once
    return {**known, job_id: (age, msgspec.structs.replace(job, attempt=attempt))}


def assert_alike(part: Plan, whole: Plan, *, is_exact: bool) -> None:
    """Assert that the plan of a part does what that of the whole does."""
    assert part.actions == whole.actions
    assert part.queues == whole.queues
    assert (part.slots, part.in_flight, part.slot_waits) == (whole.slots, whole.in_flight, whole.slot_waits)
    assert (part.too_few, part.files) == (whole.too_few, whole.files)
    assert {one: hold.kind for one, hold in part.jobs.items()}.items() <= {
        one: hold.kind for one, hold in whole.jobs.items()
    }.items()
    if is_exact:
        assert part.wake_at == whole.wake_at
    elif whole.wake_at is not None:
        assert part.wake_at is not None
        assert part.wake_at <= whole.wake_at


def test_of_a_long_queue_the_first_are_told():
    """Thousands that wait or run are not looked at, and each of them has its turn."""
    jobs = [plain(number, JobState.QUEUED) for number in range(3000)]
    jobs += [plain(number, JobState.DONE) for number in range(3000, 6000)]
    jobs += [plain(number, JobState.RUNNING) for number in range(6000, 9000)]
    kept = Roll(60.0)
    kept.take({job.id: ((NOW, number), job) for number, job in enumerate(jobs)})
    told, resting = kept.told(NOW, frozenset())
    queued = [job.id for job in jobs if job.state is JobState.QUEUED]
    assert [job.id for job in told if job.state is JobState.QUEUED] == queued[:70]
    assert len(told) < 200
    assert len(resting[URL].there) == 3000
    assert resting[URL].until == NOW + 1.0
    kept.take(dict.fromkeys(queued[:50]))
    told, _ = kept.told(NOW + 1.0, frozenset({queued[50]}))
    assert [job.id for job in told if job.state is JobState.QUEUED] == queued[50:121]
    assert sum(job.state is JobState.RUNNING for job in told) == 60


def test_after_a_jump_of_the_clock_nobody_rests_for_long():
    """Whose rest would be longer than any can be is told at once; so is whom a wrong clock gave it."""
    kept = Roll(60.0)
    kept.take({"a": ((NOW, 1), plain(1, JobState.RUNNING)), "b": ((NOW, 2), plain(2, JobState.RUNNING))})
    assert kept.told(NOW, frozenset())[0] == ()
    told, resting = kept.told(NOW - 3600.0, frozenset())
    assert [job.id for job in told] == ["j00001", "j00002"]
    assert resting == {}
    kept.take({"c": ((NOW, 3), plain(3, JobState.RUNNING))})
    assert len(kept.told(NOW - 3599.0, frozenset())[0]) == 3
