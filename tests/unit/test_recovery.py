"""What is due for a session that seems stuck: the table, row by row, and the clock that it rests on."""

from __future__ import annotations

import pytest

from finetuned.backend import Observation
from finetuned.helix.observe import capabilities, observe
from finetuned.helix.session import Chunk, SessionView, Turn
from finetuned.lifecycle import SessionState
from finetuned.model import Attempt
from finetuned.recovery import History, Standstill, Step, after_poll, due, outlook
from finetuned.settings import PollSettings

RULES = PollSettings()
MINUTE, HOUR = 60.0, 3600.0
FAILED = {"a.txt": (Chunk(questions=2, error=""), Chunk(questions=0, error="no answer"))}


def seen(state: str = "waiting", stage: str = "generate_questions", *, lora: str = "", **words: object) -> Observation:
    """A session in this state and stage."""
    blank = dict.fromkeys(("id", "message", "status", "error", "lora_dir", "created", "updated", "completed"), "")
    known = blank | {"creator": "system", "mode": "finetune", "progress": 1, "finished": False} | words
    turn = Turn(**(known | {"state": state, "stage": stage}))
    mode = "inference" if lora else "finetune"
    return observe(SessionView(id="s", name="", mode=mode, type="text", lora_dir=lora, documents={}, turns=(turn,)))


def still(seconds: float, **words: object) -> History:
    """Nothing moved for so long, in looks enough."""
    return History(still_for=seconds, polls=99, **words)


@pytest.mark.parametrize(
    ("view", "past", "step"),
    [
        (seen(stage="extract_text"), still(10 * MINUTE - 1), Step.NOTHING),
        (seen(stage="extract_text"), still(10 * MINUTE), Step.RESTART),
        (seen(), still(10 * MINUTE), Step.RESTART),
        (seen(state="", stage=""), still(10 * MINUTE), Step.RESTART),
        (seen(), still(10 * MINUTE, restarts=2), Step.RESTART),
        (seen(), still(10 * MINUTE, restarts=3), Step.GIVE_UP),
        (seen(), still(10 * MINUTE, restarts=3, retrained=1), Step.RESTART),
        (seen(stage="finetune"), still(10 * MINUTE - 1), Step.NOTHING),
        (seen(stage="finetune"), still(10 * MINUTE), Step.REQUEUE),
        (seen(stage="finetune"), still(10 * MINUTE, restarts=9), Step.REQUEUE),
        (seen(stage="finetune"), still(20 * MINUTE - 1, requeued=1), Step.NOTHING),
        (seen(stage="finetune"), still(20 * MINUTE, requeued=1), Step.REQUEUE),
        (seen(stage="finetune"), still(6 * HOUR - 1, requeued=99), Step.NOTHING),
        (seen(stage="finetune"), still(6 * HOUR, requeued=99), Step.REQUEUE),
        (seen(stage="finetune", progress=2), still(6 * HOUR - 1), Step.NOTHING),
        (seen(stage="finetune", progress=2), still(6 * HOUR), Step.RESTART),
        (seen(stage="finetune", progress=2), still(6 * HOUR, restarts=3), Step.GIVE_UP),
        (seen(stage="finetune"), still(99 * HOUR, tended=True), Step.NOTHING),
        (seen("complete", "finetune", error="CUDA", finished=True), History(tended=True), Step.RETRAIN),
        (seen("editing", "edit_questions"), History(still_for=31, polls=2), Step.NOTHING),
        (seen("editing", "edit_questions"), History(still_for=29, polls=9), Step.NOTHING),
        (seen("editing", "edit_questions"), History(still_for=30, polls=3, review=True), Step.REVIEW),
        (seen("editing", "edit_questions"), History(still_for=30, polls=3), Step.START),
        (seen("editing", "edit_questions", made=FAILED), History(still_for=30, polls=3), Step.RETRY_CHUNKS),
        (seen("editing", "edit_questions", made=FAILED), History(still_for=30, polls=3, kicks=2), Step.RETRY_CHUNKS),
        (seen("editing", "edit_questions", made=FAILED), History(still_for=30, polls=3, kicks=3), Step.START),
        (seen("editing", "edit_questions", made=FAILED), History(still_for=30, polls=3, kicks=6), Step.GIVE_UP),
        (seen("complete", "finetune", error="CUDA", finished=True), History(), Step.RETRAIN),
        (seen("complete", "finetune", error="CUDA", finished=True), History(restarts=3), Step.RETRAIN),
        (seen("complete", "finetune", error="CUDA", finished=True), History(restarts=1, retrained=1), Step.FAIL),
        (seen("complete", "finetune", error="CUDA"), History(restarts=2, retrained=2, untouched=True), Step.RETRAIN),
        (seen("complete", "finetune", error="CUDA"), History(restarts=3, retrained=3, untouched=True), Step.FAIL),
        (seen("error", error="bad text"), History(), Step.FAIL),
        (seen("complete", "complete", lora="l", finished=True), still(30 * HOUR), Step.NOTHING),
        (seen("waiting", "complete", lora="l"), still(30 * HOUR), Step.NOTHING),
        (seen("waiting", "complete"), still(6 * HOUR - 1), Step.NOTHING),
        (seen("waiting", "complete"), still(6 * HOUR), Step.GIVE_UP),
        (seen("pondering", "generate_questions"), still(6 * HOUR), Step.GIVE_UP),
        (seen("waiting", "dreaming"), still(6 * HOUR - 1), Step.NOTHING),
        (seen("waiting", "generate_questions", finished=True), still(1 * HOUR), Step.NOTHING),
        (observe(SessionView(id="s", name="", mode="finetune", type="text", lora_dir="", documents={}, turns=())),
         still(6 * HOUR), Step.GIVE_UP),
    ],
)  # fmt: skip
def test_what_is_due(view: Observation, past: History, step: Step) -> None:
    """Each row of the table, on both sides of its bounds."""
    assert due(view, past, RULES).step is step


def test_words_tell_what_and_how_often() -> None:
    """People read which restart it is, for how long nothing moved, and where."""
    assert due(seen(), still(600), RULES).words == "restarted 1 of 3: no sign of life for 10 min in generate_questions"
    assert due(seen(), still(42), PollSettings(stalled_after=40)).words.endswith("for 42 s in generate_questions")
    assert "for 6 h in finetune" in due(seen(stage="finetune", progress=9), still(6 * HOUR), RULES).words
    assert "no answer" in due(seen("editing", "", made=FAILED), History(still_for=30, polls=3), RULES).words


def test_time_counts_between_looks_that_are_near() -> None:
    """Looks that show the same add up; a sign of life, a gap and a clock set back begin anew."""
    watch = after_poll(None, ("a",), 100.0, RULES)
    assert (watch.still_for, watch.polls) == (0, 1)
    watch = after_poll(watch, ("a",), 160.0, RULES)
    watch = after_poll(watch, ("a",), 280.0, RULES)
    assert (watch.still_for, watch.polls) == (180, 3)
    for signs, at in ((("b",), 281.0), (("a",), 280.0 + 121), (("a",), 279.0)):
        assert after_poll(watch, signs, at, RULES) == Standstill(signs=signs, since=at, at=at)


@pytest.mark.parametrize("done", [{}, {"restarts": 3}, {"restarts": 3, "retrained": 1}, {"requeued": 2}])
@pytest.mark.parametrize(
    ("stage", "progress"), [("", 0), ("generate_questions", 40), ("finetune", 0), ("finetune", 40), ("odd", 0)]
)
def test_what_people_are_told_of_a_job_is_what_will_be_done(stage: str, progress: int, done: dict[str, int]) -> None:
    """The ledger's row of a job foretells the remedy of its session, and its time: not a second sooner, none later."""
    known = {"state": SessionState.LIVE, "stage": stage or "waiting", "progress": progress} | done
    row = Attempt(id=1, job_id="j", number=1, url="", session_id="s", **known)
    patience, step = outlook(row, RULES, capabilities("form"))
    view = seen(stage=stage, progress=progress)
    assert due(view, still(patience - 1, **done), RULES).step is Step.NOTHING
    assert due(view, still(patience, **done), RULES).step is step
