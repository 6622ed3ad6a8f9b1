"""Two backends at a time, each with a folder: what one is like changes nothing for the other."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from finetuned.lifecycle import JOB_IN_FLIGHT, JobState, SessionState
from finetuned.model import Attempt, Job, ServerFacts
from finetuned.plan import (
    SENDS,
    Action,
    Archive,
    Awaited,
    BackendFacts,
    Cancel,
    Claim,
    Doubt,
    Facts,
    Plan,
    Poll,
    Probe,
    Rest,
    Seal,
    Search,
    Submit,
    make_plan,
)
from finetuned.settings import Settings, TrainerSettings
from property.facts import CAN, NAMES, NOW, URL, facts, rules, servers

LOCAL = "local"
OF_JOBS = (Claim, Archive, Cancel, Submit, Doubt, Search, Poll)
#: the first folder's jobs go to the server, the second one's are learned here
AT = dict(zip(NAMES, (URL, LOCAL), strict=True))


@st.composite
def allowed(draw: st.DrawFn) -> Settings:
    """Rules of two folders with a backend each."""
    drawn = draw(rules())
    folders = tuple(replace(f, backend="local" if AT[f.name] == LOCAL else "") for f in drawn.folders)
    return replace(drawn, folders=folders, trainer=TrainerSettings(max_in_flight=draw(st.integers(1, 3))))


@st.composite
def both(draw: st.DrawFn, **words: Any) -> Facts:
    """Facts of two backends; some jobs are at the one that is not their folder's any more, or at one that is gone."""
    told = draw(facts(**words))
    jobs = []
    for job in told.jobs:
        url = draw(st.sampled_from([None, None, URL, LOCAL, "http://old.test"]))
        if url is None or job.state not in JOB_IN_FLIGHT | {JobState.REVIEW}:
            jobs.append(job)
            continue
        attempt = Attempt(
            id=1, job_id=job.id, number=1, state=SessionState.LIVE, url=url, session_id=job.id, due_at=job.due_at
        )
        jobs.append(replace(job, attempt=attempt))
    here = draw(servers())
    return replace(
        told,
        jobs=tuple(jobs),
        backends={**told.backends, LOCAL: BackendFacts(server=here, can=CAN)},
        suspects=tuple(replace(s, url=draw(st.sampled_from([URL, LOCAL]))) for s in told.suspects),
    )


def where(job: Job) -> str:
    """The backend that a job is at, or goes to."""
    return AT[job.folder] if job.open is None else job.open.url


def at(told: Facts, plan: Plan, url: str) -> list[Action]:
    """What the plan does for the jobs of one backend."""
    urls = {job.id: where(job) for job in told.jobs}
    jobs = [action for action in plan.actions if isinstance(action, OF_JOBS)]
    return [action for action in jobs if urls[action.job_id] == url]


def with_local(told: Facts, server: ServerFacts) -> Facts:
    """The same, but for what is known of the second backend."""
    return replace(told, backends={**told.backends, LOCAL: BackendFacts(server=server, can=CAN)})


@given(told=both(), rules=allowed(), other=servers())
def test_an_outage_of_one_delays_nothing_on_the_other(told: Facts, rules: Settings, other: ServerFacts) -> None:
    """Whatever becomes of the second one: each job of the first, and its server, is treated the same."""
    plan, another = (make_plan(one, NOW, rules) for one in (told, with_local(told, other)))
    assert at(told, plan, URL) == at(told, another, URL)
    ids = [job.id for job in told.jobs if where(job) == URL]
    assert [plan.jobs.get(one) for one in ids] == [another.jobs.get(one) for one in ids]
    assert (Probe(url=URL) in plan.actions) is (Probe(url=URL) in another.actions)


@given(told=both(), rules=allowed())
def test_each_session_is_asked_for_where_it_is(told: Facts, rules: Settings) -> None:
    """Not one request goes to a backend that cannot be used, or is not there, nor for a job that is elsewhere."""
    plan = make_plan(told, NOW, rules)
    usable = {url for url, known in told.backends.items() if known.server.paused_because is None}
    usable &= {url for url, known in told.backends.items() if known.server.reachable}
    for job in told.jobs:
        asked = [a for a in plan.actions if isinstance(a, Submit | Search | Poll) and a.job_id == job.id]
        assert not asked or where(job) in usable
    assert {action.url for action in plan.actions if isinstance(action, Probe)} <= told.backends.keys() - usable


@given(told=both(states=(JobState.QUEUED, JobState.QUEUED, JobState.RUNNING, JobState.SUBMITTING)), rules=allowed())
def test_slots_are_counted_apart(told: Facts, rules: Settings) -> None:
    """Jobs at a backend, and those that are sent there now, are no more than its own slots."""
    plan = make_plan(told, NOW, rules)
    busy = [job for job in told.jobs if job.state in JOB_IN_FLIGHT or job.id in told.busy]
    by_id = {job.id: job for job in told.jobs}
    there = Counter(where(job) for job in busy)
    sends = Counter(where(j) for j in told.jobs if Submit(job_id=j.id) in plan.actions)
    most = {URL: rules.helix.max_in_flight, LOCAL: rules.trainer.max_in_flight + 2}
    for url, slots in most.items():
        assert plan.slots[url] <= slots
        assert sends[url] <= max(0, min(slots - there[url], SENDS))
        begun = sum(job.state is JobState.SUBMITTING and where(job) == url for job in told.jobs)
        if any(hold.kind is Awaited.TURN and where(by_id[name]) == url for name, hold in plan.jobs.items()):
            assert sends[url] == max(0, min(plan.slots[url] - there[url], SENDS - begun))


@given(told=both(states=(JobState.DONE,), ready=True), rules=allowed())
def test_what_one_seals_does_not_hold_up_the_other(told: Facts, rules: Settings) -> None:
    """A round seals for free slots first, and what is left of either is looked at in the next, which comes at once."""
    plan = make_plan(told, NOW, rules)
    alone = {
        name: make_plan(replace(told, waiting=tuple(f for f in told.waiting if f.folder == name)), NOW, rules)
        for name in NAMES
    }
    sealed = {s for s in plan.actions if isinstance(s, Seal)}
    by_itself = {s for one in alone.values() for s in one.actions if isinstance(s, Seal)}
    assert sealed <= by_itself
    assert sealed == by_itself or (sealed and plan.wake_at == NOW)


@given(told=both(), rules=allowed())
def test_a_run_goes_on_while_one_of_them_has_work(told: Facts, rules: Settings) -> None:
    """That one cannot be used ends no run while something can be done for the other."""
    told = replace(told, busy=frozenset(), settling=False, waiting=())
    plan = make_plan(told, NOW, rules)
    parts = [
        make_plan(replace(told, jobs=tuple(job for job in told.jobs if where(job) == url)), NOW, rules)
        for url in (URL, LOCAL)
    ]
    if any(part.rest is Rest.WORK for part in parts):
        assert plan.rest is Rest.WORK
