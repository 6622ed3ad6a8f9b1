"""The end of `run --until-idle`: whether anything is left to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from finetuned.lifecycle import JOB_ENDS
from finetuned.model import Job
from finetuned.plan.values import Action, Awaited, Facts, Hold, Rest
from finetuned.settings import Settings

#: how often such a run itself asks for what does not come: for a job's session, or for one to be removed
PATIENT_TRIES: Final = 3
#: how often in a row something is tried in vain for a job, before it is not waited for any more
PATIENT_CALLS: Final = 8
#: what no run can bring about
_NOT_OURS: Final = frozenset({Awaited.FOLDER, Awaited.OTHER_SERVER, Awaited.PERSON, Awaited.RESUME, Awaited.REVIEWS})


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
    if actions or too_few or facts.busy or facts.settling:
        return Rest.WORK
    held = {job_id for job_id, hold in jobs.items() if hold.kind in _NOT_OURS}
    unfinished = [job for job in facts.jobs if job.state not in JOB_ENDS and job.id not in held]
    holds = [files[file.id] for file in facts.waiting]
    waiting = any(
        hold.kind not in {Awaited.FOLDER, Awaited.RESUME, Awaited.RETRY} and hold.of not in held for hold in holds
    )
    discards = any(s.tries < PATIENT_TRIES and s.url == rules.service.url for s in facts.discards)
    if not (unfinished or waiting or discards):
        held_back = any(hold.kind is Awaited.REVIEWS for hold in jobs.values())
        return Rest.SERVER if held_back else Rest.IDLE
    server = facts.server
    failed_twice = server.paused_because is not None and server.tries > 1
    if failed_twice and (server.next_try_at or 0.0) > now:
        return Rest.SERVER
    in_vain = all(_was_in_vain(job, facts) and (job.next_at or 0.0) > now for job in unfinished)
    return Rest.SERVER if unfinished and in_vain and not waiting else Rest.WORK


def _was_in_vain(job: Job, facts: Facts) -> bool:
    """Tell whether a job was tried often enough, and often in this run: kills of earlier runs have counted, too."""
    return job.in_vain >= PATIENT_CALLS and facts.asked.get(job.id, 0) >= PATIENT_TRIES
