"""What is due for a session that seems stuck: a pure function of one observation, and of what was seen and done before.

1. What has finished is never put to work again: the backend would obey, and the session would hang for ever.
2. Stalled time counts only between two polls that went well and lie no further apart than twice the longest pause; it
   starts anew after a gap (sleep, an outage, our own restart), and after each step.
3. Queueing for a trainer is no fault: a restart puts the session into the queue again, harmlessly, in case the backend
   has forgotten it. It never counts, and is asked for ever more rarely.
4. A pause before the training flashes by in a healthy run: only what several polls have shown is one. A session that
   says itself that its pairs wait for a person is paused at once, whatever the configuration says by now: none is
   trained unreviewed.
5. A backend that tends its sessions itself knows better: only what it says has failed is trained again.
6. What we have no word for is still running, and given up only after the patience that a training has.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum
from typing import Final

from finetuned.amounts import rough_span
from finetuned.backend import Capabilities, Observation, Phase, Status
from finetuned.model import Attempt, Value
from finetuned.paths import escape
from finetuned.settings import PollSettings
from finetuned.verdict import errors_of

#: polls that show the same, and the seconds between the first and the last of them, before a pause is believed
PAUSE_POLLS: Final = 3
PAUSE_SECONDS: Final = 30.0
#: how often failed chunks are made again; and how often a pause is ended at all, before the session is given up
CHUNK_RETRIES: Final = 3
KICKS: Final = 6
#: the longest wait before a session is put into the queue for a trainer once more
LONGEST_QUEUE: Final = 6 * 3600.0
#: restarts of a failed training whose answers were lost and that had no effect, before it is left at that
LOST_RESTARTS: Final = 3


class Step(StrEnum):
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


class Recovery(Value, frozen=True):
    """The step that is due, and what people are told of it."""

    step: Step
    words: str = ""


class History(Value, frozen=True):
    """What was seen and done of an attempt until now.

    `still_for` are the seconds without a sign of life that count, `polls` those that showed the same. Of `restarts`
    those that were `retrained` (a training had ended with an error) do not count against the rules, nor does what was
    `requeued`; `kicks` ended a pause before the training. `untouched`: the failed training is, by its own times, what
    it was when it was restarted. `review`: pairs wait for a person in this folder. `tended`: the backend sees to it.
    """

    still_for: float = 0.0
    polls: int = 1
    restarts: int = 0
    retrained: int = 0
    requeued: int = 0
    kicks: int = 0
    untouched: bool = False
    review: bool = False
    tended: bool = False


class Standstill(Value, frozen=True):
    """How long a session has shown the same: its signs, since when that counts, the newest poll, and how many.

    The hash of the signs will do: there may be ten thousand sessions.
    """

    signs: Hashable
    since: float
    at: float
    polls: int = 1

    @property
    def still_for(self) -> float:
        """Seconds without a sign of life, as far as they count."""
        return self.at - self.since


def after_poll(before: Standstill | None, signs: Hashable, now: float, rules: PollSettings) -> Standstill:
    """Make the standstill after a poll at `now`; it begins anew when something moved, or after a gap in the polls."""
    if before is None or before.signs != signs or not 0 <= now - before.at <= 2 * rules.slowest:
        return Standstill(signs=signs, since=now, at=now)
    return Standstill(signs=signs, since=before.since, at=now, polls=before.polls + 1)


def due(seen: Observation, history: History, rules: PollSettings) -> Recovery:
    """Decide what is due for a session."""
    match seen.status:
        case Status.TRAINED:
            return Recovery(step=Step.NOTHING)
        case Status.FAILED:
            return _failed(seen, history)
        case Status.PAUSED:
            return _paused(seen, history)
        case _:
            return _running(seen, history, rules)


def _failed(seen: Observation, history: History) -> Recovery:
    """Retrain once; again only while a restart surely was lost (the failed training is what it was)."""
    lost = history.untouched and history.retrained < LOST_RESTARTS
    if seen.can_retrain and not (history.retrained and not lost):
        return Recovery(step=Step.RETRAIN, words=f"trained again after an error: {seen.complaint}")
    return Recovery(step=Step.FAIL, words=seen.complaint)


def _paused(seen: Observation, history: History) -> Recovery:
    believed = history.polls >= PAUSE_POLLS and history.still_for >= PAUSE_SECONDS
    if seen.awaits_review or (history.review and believed):
        return Recovery(step=Step.REVIEW, words="its pairs wait for a person")
    if not believed:
        return Recovery(step=Step.NOTHING)
    errors = errors_of(seen)[:500]
    if errors and history.kicks < CHUNK_RETRIES:
        times = f"{history.kicks + 1} of {CHUNK_RETRIES}"
        return Recovery(step=Step.RETRY_CHUNKS, words=f"failed chunks are made again, {times}: {errors}")
    if history.kicks >= KICKS:
        return Recovery(step=Step.GIVE_UP, words="it rests before its training, whatever it is asked")
    words = f"trained without the chunks that failed: {errors}" if errors else "it rested before its training"
    return Recovery(step=Step.START, words=f"its training is started; {words}")


def _running(seen: Observation, history: History, rules: PollSettings) -> Recovery:
    if history.tended or history.still_for < patience(seen.phase, history.requeued, rules):
        return Recovery(step=Step.NOTHING)
    still = f"no sign of life for {rough_span(history.still_for)} in {escape(seen.stage[:40]) or 'waiting'}"
    used = history.restarts - history.retrained
    if seen.phase is Phase.QUEUED:
        return Recovery(step=Step.REQUEUE, words=f"queued for a trainer once more: {still}")
    if seen.phase is Phase.UNKNOWN:
        return Recovery(step=Step.GIVE_UP, words=f"{still}, and nothing that would help")
    if used >= rules.restarts:
        return Recovery(step=Step.GIVE_UP, words=f"{still}, and its restarts ({rules.restarts}) are used up")
    return Recovery(step=Step.RESTART, words=f"restarted {used + 1} of {rules.restarts}: {still}")


def patience(phase: Phase, requeued: int, rules: PollSettings) -> float:
    """Tell how many seconds a session in this phase may stand still before a step is due."""
    if phase is Phase.PREPARING:
        return rules.stalled_after
    if phase is Phase.QUEUED:
        return min(rules.stalled_after * 2.0 ** min(requeued, 30), LONGEST_QUEUE)
    return rules.training_stalled_after


def outlook(attempt: Attempt, rules: PollSettings, can: Capabilities) -> tuple[float, Step]:
    """Tell how many seconds an attempt may stand still, and which step is due then, by its last poll."""
    phase = can.phase(attempt.stage or "", attempt.progress or 0)
    used_up = phase is Phase.UNKNOWN or attempt.restarts - attempt.retrained >= rules.restarts
    step = Step.REQUEUE if phase is Phase.QUEUED else Step.GIVE_UP if used_up else Step.RESTART
    return patience(phase, attempt.requeued, rules), step
