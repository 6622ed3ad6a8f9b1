"""What is due for a session that seems stuck: a pure function of one look, and of what was seen and done before.

1. What has finished is never put to work again: the server would obey, and the session would hang for ever.
2. Stalled time counts only between two looks that went well and lie no further apart than twice the longest pause; it
   starts anew after a gap (sleep, an outage, our own restart), and after each remedy.
3. Queueing for a trainer is no fault: a restart puts the session into the queue again, harmlessly, in case the server
   has forgotten it. It never counts, and is asked for ever more rarely.
4. `editing` flashes by in a healthy run: only what several looks have shown is a rest. A session that says itself that
   its pairs wait for a person rests at once, whatever the configuration says by now: none is trained unreviewed.
5. What we have no word for is still running, and given up only after the patience that a training has.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import chain
from typing import Final

from finetuned.model import Job, SessionView, Value, shown
from finetuned.settings import PollSettings
from finetuned.verdict import PREPARING, Standing, complaint, errors_of, lora_of, restart_helps, standing

#: looks that show the same, and the seconds between the first and the last of them, before `editing` is a rest
REST_LOOKS: Final = 3
REST_SECONDS: Final = 30.0
#: how often failed chunks are made again; and how often a rest is ended at all, before the session is given up
CHUNK_RETRIES: Final = 3
NUDGES: Final = 6
#: the longest wait before a session is put into the queue for a trainer once more
LONGEST_QUEUE: Final = 6 * 3600.0
#: restarts of a failed training whose answers were lost and that had no effect, before it is left at that
LOST_RESTARTS: Final = 3


class Deed(StrEnum):
    """What is to be done about a session."""

    NOTHING = "nothing"
    RESTART = "restart"
    REQUEUE = "requeue"
    RETRAIN = "retrain"
    RETRY_CHUNKS = "retry_chunks"
    START = "start"
    REVIEW = "review"
    GIVE_UP = "give_up"
    FAIL = "fail"


class _Place(StrEnum):
    """Where a session waits."""

    PREPARING = "preparing"
    QUEUEING = "queueing"
    TRAINING = "training"
    ELSEWHERE = "elsewhere"


class Remedy(Value, frozen=True):
    """What is due, and what people are told of it."""

    deed: Deed
    words: str = ""


class Past(Value, frozen=True):
    """What was seen and done of a job's newest attempt until now.

    `still_for` are the seconds without a sign of life that count, `looks` the looks that showed the same. Of `restarts`
    those that were `retrained` (a training had ended with an error) do not count against the rules, nor does what was
    `requeued`; `nudges` ended a rest in editing. `untouched`: the failed training is, by its own times, what it was
    when it was restarted. `review`: pairs wait for a person in this folder.
    """

    still_for: float = 0.0
    looks: int = 1
    restarts: int = 0
    retrained: int = 0
    requeued: int = 0
    nudges: int = 0
    untouched: bool = False
    review: bool = False


class Watch(Value, frozen=True):
    """How long a session has shown the same: its signs, since when that counts, the newest look, and how many."""

    signs: tuple[object, ...]
    since: float
    at: float
    looks: int = 1

    @property
    def still_for(self) -> float:
        """Seconds without a sign of life, as far as they count."""
        return self.at - self.since


def watched(before: Watch | None, signs: tuple[object, ...], now: float, rules: PollSettings) -> Watch:
    """The watch after a look at `now`; it begins anew when something moved, or nobody looked for too long."""
    if before is None or before.signs != signs or not 0 <= now - before.at <= 2 * rules.slowest:
        return Watch(signs=signs, since=now, at=now)
    return Watch(signs=signs, since=before.since, at=now, looks=before.looks + 1)


def remedy(view: SessionView, past: Past, rules: PollSettings) -> Remedy:
    """What is due for the session of `view`."""
    match standing(view):
        case Standing.TRAINED:
            return Remedy(deed=Deed.NOTHING)
        case Standing.BROKEN:
            return _broken(view, past)
        case Standing.RESTING:
            return _resting(view, past)
    return _waiting(view, past, rules)


def _broken(view: SessionView, past: Past) -> Remedy:
    """Once is enough; a restart that surely was lost (the failed training is what it was) counts only so often."""
    words = complaint(view)
    lost = past.untouched and past.retrained < LOST_RESTARTS
    if restart_helps(view) and not (past.retrained and not lost):
        return Remedy(deed=Deed.RETRAIN, words=f"trained again after an error: {words}")
    return Remedy(deed=Deed.FAIL, words=words)


def _resting(view: SessionView, past: Past) -> Remedy:
    rests = past.looks >= REST_LOOKS and past.still_for >= REST_SECONDS
    if view.review or (past.review and rests):
        return Remedy(deed=Deed.REVIEW, words="its pairs wait for a person")
    if not rests:
        return Remedy(deed=Deed.NOTHING)
    errors = errors_of(chain.from_iterable(view.tuning.chunks.values() if view.tuning else ()))[:500]
    if errors and past.nudges < CHUNK_RETRIES:
        times = f"{past.nudges + 1} of {CHUNK_RETRIES}"
        return Remedy(deed=Deed.RETRY_CHUNKS, words=f"failed chunks are made again, {times}: {errors}")
    if past.nudges >= NUDGES:
        return Remedy(deed=Deed.GIVE_UP, words="it rests before its training, whatever it is asked")
    words = f"trained without the chunks that failed: {errors}" if errors else "it rested before its training"
    return Remedy(deed=Deed.START, words=f"its training is started; {words}")


def _waiting(view: SessionView, past: Past, rules: PollSettings) -> Remedy:
    place = _place(view)
    if past.still_for < patience(view, past.requeued, rules):
        return Remedy(deed=Deed.NOTHING)
    stage = shown(view.tuning.stage[:40]) if view.tuning else ""
    still = f"no sign of life for {_span(past.still_for)} in {stage or 'waiting'}"
    used = past.restarts - past.retrained
    if place is _Place.QUEUEING:
        return Remedy(deed=Deed.REQUEUE, words=f"queued for a trainer once more: {still}")
    if place is _Place.ELSEWHERE:
        return Remedy(deed=Deed.GIVE_UP, words=f"{still}, and nothing that would help")
    if used >= rules.restarts:
        return Remedy(deed=Deed.GIVE_UP, words=f"{still}, and its restarts ({rules.restarts}) are used up")
    return Remedy(deed=Deed.RESTART, words=f"restarted {used + 1} of {rules.restarts}: {still}")


def patience(view: SessionView, requeued: int, rules: PollSettings) -> float:
    """How long a session that waits may stand still before anything is done about it, in seconds."""
    return _patience(_place(view), requeued, rules)


def outlook(job: Job, rules: PollSettings) -> tuple[float, Deed]:
    """How long a running job may stand still (seconds), and what is done then, as far as its last look tells."""
    stage = job.stage or ""
    place = _place_in("" if stage == "waiting" else stage, job.progress or 0)  # without a stage its state is told
    used_up = place is _Place.ELSEWHERE or job.restarts - job.retrained >= rules.restarts
    deed = Deed.REQUEUE if place is _Place.QUEUEING else Deed.GIVE_UP if used_up else Deed.RESTART
    return _patience(place, job.requeued, rules), deed


def _patience(place: _Place, requeued: int, rules: PollSettings) -> float:
    return {
        _Place.PREPARING: rules.stalled_after,
        _Place.QUEUEING: min(rules.stalled_after * 2.0 ** min(requeued, 30), LONGEST_QUEUE),
    }.get(place, rules.training_stalled_after)


def _place(view: SessionView) -> _Place:
    """Where a session waits; what may have finished, or says what we do not know, is elsewhere."""
    tuning = view.tuning
    if tuning is None or tuning.finished or tuning.state not in {"", "waiting"} or lora_of(view):
        return _Place.ELSEWHERE
    return _place_in(tuning.stage, tuning.progress)


def _place_in(stage: str, progress: int) -> _Place:
    if stage == "finetune":
        return _Place.QUEUEING if progress <= 1 else _Place.TRAINING
    return _Place.PREPARING if stage in PREPARING else _Place.ELSEWHERE


def _span(seconds: float) -> str:
    """A time for people, rounded down: `42 s`, `10 min`, `6 h`."""
    if seconds < 120:
        return f"{seconds // 1:.0f} s"
    return f"{seconds // 60:.0f} min" if seconds < 7200 else f"{seconds // 3600:.0f} h"
