"""How a try on Slurm stands, by what lies in its folder and what Slurm says. Pure.

1. An exit code 0 that the runner left is a success, whatever Slurm says.
2. Of a try that was told to end, Slurm knows better who told it: a time limit, another job, a person.
3. A job that Slurm put back in its queue after it began has ended: its next start would find the start taken.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from finetuned.local import slurm_words as words
from finetuned.local.place import Cause, Look, State
from finetuned.local.slurm_files import NOBODY, Seen
from finetuned.local.slurm_words import Job
from finetuned.paths import escape
from finetuned.redaction import redact

#: what a runner says of an end for which Slurm may have had its reason
_TOLD_TO: Final = frozenset({Cause.STOPPED, Cause.SIGNAL, Cause.MEMORY})
_BEFORE: Final = "it was stopped before it began"
_NOT_LAUNCHED: Final = "its node did not launch it"
_PUT_BACK: Final = "Slurm put it back in its queue"
_NO_MEMORY: Final = re.compile(r"exceeded (?:job |step )?memory limit|oom[-_ ]kill|out of memory", re.IGNORECASE)


def settled(seen: Seen) -> Look | None:
    """Tell the end that needs no word of Slurm's; else null."""
    if seen.end and seen.end.succeeded:
        return replace(seen.end, handle=seen.job or seen.taken)
    return seen.verdict


def which(seen: Seen, jobs: Sequence[Job]) -> Job | None:
    """Choose the job that has the try's start; if none has, one that lives still, else the last."""
    if seen.taken and seen.taken != NOBODY:
        return next((job for job in jobs if job.number == seen.taken), None)
    alive = [job for job in jobs if words.meaning_of(job.state).state in (State.QUEUED, State.RUNNING)]
    last = alive or jobs
    return last[-1] if last else None


def waits(job: Job) -> bool:
    """Whether a job waits, as Slurm tells of it."""
    return words.meaning_of(job.state).state is State.QUEUED


def may_be_hidden(seen: Seen, job: Job) -> bool:
    """Whether a job that ended ran, so that its runner may have left an end which is not to be seen yet."""
    return seen.end is None and seen.taken != NOBODY and job.nodes != ""


def judge(seen: Seen, job: Job | None) -> Look:
    """Tell how a try stands that did not succeed, as far as can be seen."""
    return _of_an_end(seen, seen.end, job) if seen.end else _of_none(seen, job)


def look(state: State, reason: str, job: Job | None, cause: Cause | None = None) -> Look:
    """Make a look of Slurm's word."""
    return Look(state=state, reason=reason, cause=cause, handle=job.number if job else "")


def _of_an_end(seen: Seen, end: Look, job: Job | None) -> Look:
    if job is None:
        return end
    end = replace(end, handle=job.number)
    by_slurm = words.meaning_of(job.state)
    if end.cause in _TOLD_TO and (seen.again or by_slurm.state is State.QUEUED):
        return replace(end, cause=Cause.PLACE, reason=_PUT_BACK)
    if end.cause in _TOLD_TO and by_slurm.state is State.RUNNING:
        return look(State.RUNNING, words.STATES["COMPLETING"].words, job)
    if by_slurm.cause in {None, end.cause} or end.cause not in {*_TOLD_TO, Cause.CODE}:
        return end
    return replace(end, cause=by_slurm.cause, reason=words.told_of_end(by_slurm))


def _of_none(seen: Seen, job: Job | None) -> Look:
    if job is None:
        return _forgotten(seen)
    meaning = words.meaning_of(job.state)
    if meaning.state is State.RUNNING or (waits(job) and not seen.taken):
        return look(meaning.state, words.told(job), job)
    if seen.taken == NOBODY:
        return look(State.ENDED, _BEFORE, job, Cause.STOPPED)
    if waits(job) or seen.again:
        return look(State.ENDED, _PUT_BACK, job, Cause.PLACE)
    return _of_one_that_ended(seen, job)


def _of_one_that_ended(seen: Seen, job: Job) -> Look:
    meaning = words.meaning_of(job.state)
    if job.state == "CANCELLED" and job.nodes and not seen.taken:  # what Slurm makes of a prolog that failed
        return look(State.ENDED, _NOT_LAUNCHED, job, Cause.PLACE)
    if meaning.cause is None and not seen.started:
        return look(State.ENDED, _not_started(job), job, Cause.NOT_STARTED)
    return look(meaning.state, words.told_of_end(meaning), job, meaning.cause)


def _forgotten(seen: Seen) -> Look:
    number = seen.job if seen.taken in {"", NOBODY} else seen.taken
    if seen.taken == NOBODY:
        return Look(state=State.ENDED, cause=Cause.STOPPED, reason="it was stopped before it began", handle=number)
    if seen.started or seen.taken:
        return Look(
            state=State.LOST, reason="Slurm knows nothing of it any more, and its runner left no end", handle=number
        )
    if seen.job:
        return Look(state=State.LOST, reason="it left Slurm's queue before it began", handle=number)
    return Look(state=State.NONE)


def _not_started(job: Job) -> str:
    code = job.exit.partition(":")[0]
    return f"Slurm could not run it on {escape(job.nodes) or 'any node'}" + (f" (code {code})" if code else "")


def with_log(found: Look, log: str) -> Look:
    """Add what the job said, if it said anything: that memory ran out is a cause of its own."""
    if not log:
        return found
    told = replace(found, reason=f"{found.reason}; slurm.log: {escape(redact(log))}")
    return replace(told, state=State.ENDED, cause=Cause.MEMORY) if _NO_MEMORY.search(log) else told
