"""The end of `run --until-idle`: whether anything is left to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from finetuned.lifecycle import JOB_ENDS
from finetuned.model import Job
from finetuned.plan.sides import url_of, urls
from finetuned.plan.values import Action, Awaited, BackendFacts, Facts, Hold, Rest
from finetuned.settings import Settings

#: how often such a run itself asks for what does not come: for a job's session, or for one to be removed
PATIENT_TRIES: Final = 3
#: how often in a row something is tried in vain for a job, before it is not waited for any more
PATIENT_CALLS: Final = 8
#: how long a job is held at its backend before it is not waited for any more, in seconds: much passes sooner
PATIENT_SECONDS: Final = 60.0
#: what no run can bring about
_NOT_OURS: Final = frozenset({Awaited.FOLDER, Awaited.OTHER_SERVER, Awaited.PERSON, Awaited.RESUME, Awaited.REVIEWS})
#: why a file waits that no run has to wait for
_PASSED_OVER: Final = frozenset({Awaited.FOLDER, Awaited.RESUME, Awaited.RETRY})
_UNKNOWN: Final = BackendFacts()


@dataclass(slots=True)
class _Left:
    """What is left to do at one backend: jobs, and whether files wait, or sessions are to be removed."""

    jobs: list[Job] = field(default_factory=list)
    files: bool = False
    discards: bool = False


def rest(
    facts: Facts,
    now: float,
    rules: Settings,
    *,
    actions: Sequence[Action],
    too_few: Collection[str],
    jobs: Mapping[str, Hold],
    files: Mapping[int, Hold],
) -> Rest:
    """Tell whether anything is left to do, or only what the server prevents; `jobs` and `files` are a plan's."""
    if actions or too_few or facts.busy or facts.settling or facts.resting:
        return Rest.WORK
    held = {job_id for job_id, hold in jobs.items() if hold.kind in _NOT_OURS}
    at = urls(facts.folders, rules)
    left: defaultdict[str | None, _Left] = defaultdict(_Left)
    for job in facts.jobs:
        if job.state not in JOB_ENDS and job.id not in held:
            left[url_of(job, at)].jobs.append(job)
    for file in facts.waiting:
        hold = files[file.id]
        if hold.kind not in _PASSED_OVER and hold.of not in held:
            left[at.get(file.folder)].files = True
    for session in facts.discards:
        if session.tries < PATIENT_TRIES and session.url in facts.backends:
            left[session.url].discards = True
    if not left:
        held_back = any(hold.kind is Awaited.REVIEWS for hold in jobs.values())
        return Rest.SERVER if held_back else Rest.IDLE
    return Rest.SERVER if all(_is_prevented(url, each, facts, now) for url, each in left.items()) else Rest.WORK


def _is_prevented(url: str | None, left: _Left, facts: Facts, now: float) -> bool:
    """Tell whether what is left to do at one backend is what its server prevents."""
    server = facts.backends.get(url or "", _UNKNOWN).server
    failed_twice = server.paused_because is not None and server.tries > 1
    if failed_twice and (server.next_try_at or 0.0) > now:
        return True
    in_vain = all(
        (_was_in_vain(job, facts) or _is_held(job, facts, url, now)) and (job.next_at or 0.0) > now for job in left.jobs
    )
    return bool(left.jobs) and in_vain and not left.files


def _is_held(job: Job, facts: Facts, url: str | None, now: float) -> bool:
    """Tell whether a job waits, at its backend, for what no run can bring about, and has for a while."""
    can = facts.backends.get(url or "", _UNKNOWN).can
    attempt = job.open
    if attempt is None or attempt.stage not in can.held_stages:
        return False
    return now - (attempt.moved_at or now) >= PATIENT_SECONDS and facts.asked.get(job.id, 0) >= PATIENT_TRIES


def _was_in_vain(job: Job, facts: Facts) -> bool:
    """Tell whether a job was tried often enough, and often in this run: kills of earlier runs have counted, too."""
    return job.in_vain >= PATIENT_CALLS and facts.asked.get(job.id, 0) >= PATIENT_TRIES
