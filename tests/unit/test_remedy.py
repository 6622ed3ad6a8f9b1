"""What is due for a session that seems stuck: the table, row by row, and the clock that it rests on."""

from __future__ import annotations

import pytest

from finetuned.lifecycle import JobState
from finetuned.model import Chunk, Interaction, Job, SessionView
from finetuned.remedy import Deed, Past, Watch, outlook, remedy, watched
from finetuned.settings import PollSettings

RULES = PollSettings()
MINUTE, HOUR = 60.0, 3600.0
FAILED = {"a.txt": (Chunk(questions=2, error=""), Chunk(questions=0, error="no answer"))}


def seen(state: str = "waiting", stage: str = "generate_questions", *, lora: str = "", **words: object) -> SessionView:
    """A session in this state and stage."""
    blank = dict.fromkeys(("id", "message", "status", "error", "lora_dir", "created", "updated", "completed"), "")
    known = blank | {"creator": "system", "mode": "finetune", "progress": 1, "finished": False} | words
    turn = Interaction(**(known | {"state": state, "stage": stage}))
    mode = "inference" if lora else "finetune"
    return SessionView(id="s", name="", mode=mode, type="text", lora_dir=lora, documents={}, interactions=(turn,))


def still(seconds: float, **words: object) -> Past:
    """Nothing moved for so long, in looks enough."""
    return Past(still_for=seconds, looks=99, **words)


@pytest.mark.parametrize(
    ("view", "past", "deed"),
    [
        (seen(stage="extract_text"), still(10 * MINUTE - 1), Deed.NOTHING),
        (seen(stage="extract_text"), still(10 * MINUTE), Deed.RESTART),
        (seen(), still(10 * MINUTE), Deed.RESTART),
        (seen(state="", stage=""), still(10 * MINUTE), Deed.RESTART),
        (seen(), still(10 * MINUTE, restarts=2), Deed.RESTART),
        (seen(), still(10 * MINUTE, restarts=3), Deed.GIVE_UP),
        (seen(), still(10 * MINUTE, restarts=3, retrained=1), Deed.RESTART),
        (seen(stage="finetune"), still(10 * MINUTE - 1), Deed.NOTHING),
        (seen(stage="finetune"), still(10 * MINUTE), Deed.REQUEUE),
        (seen(stage="finetune"), still(10 * MINUTE, restarts=9), Deed.REQUEUE),
        (seen(stage="finetune"), still(20 * MINUTE - 1, requeued=1), Deed.NOTHING),
        (seen(stage="finetune"), still(20 * MINUTE, requeued=1), Deed.REQUEUE),
        (seen(stage="finetune"), still(6 * HOUR - 1, requeued=99), Deed.NOTHING),
        (seen(stage="finetune"), still(6 * HOUR, requeued=99), Deed.REQUEUE),
        (seen(stage="finetune", progress=2), still(6 * HOUR - 1), Deed.NOTHING),
        (seen(stage="finetune", progress=2), still(6 * HOUR), Deed.RESTART),
        (seen(stage="finetune", progress=2), still(6 * HOUR, restarts=3), Deed.GIVE_UP),
        (seen("editing", "edit_questions"), Past(still_for=31, looks=2), Deed.NOTHING),
        (seen("editing", "edit_questions"), Past(still_for=29, looks=9), Deed.NOTHING),
        (seen("editing", "edit_questions"), Past(still_for=30, looks=3, review=True), Deed.REVIEW),
        (seen("editing", "edit_questions"), Past(still_for=30, looks=3), Deed.START),
        (seen("editing", "edit_questions", chunks=FAILED), Past(still_for=30, looks=3), Deed.RETRY_CHUNKS),
        (seen("editing", "edit_questions", chunks=FAILED), Past(still_for=30, looks=3, nudges=2), Deed.RETRY_CHUNKS),
        (seen("editing", "edit_questions", chunks=FAILED), Past(still_for=30, looks=3, nudges=3), Deed.START),
        (seen("editing", "edit_questions", chunks=FAILED), Past(still_for=30, looks=3, nudges=6), Deed.GIVE_UP),
        (seen("complete", "finetune", error="CUDA", finished=True), Past(), Deed.RETRAIN),
        (seen("complete", "finetune", error="CUDA", finished=True), Past(restarts=3), Deed.RETRAIN),
        (seen("complete", "finetune", error="CUDA", finished=True), Past(restarts=1, retrained=1), Deed.FAIL),
        (seen("complete", "finetune", error="CUDA"), Past(restarts=2, retrained=2, untouched=True), Deed.RETRAIN),
        (seen("complete", "finetune", error="CUDA"), Past(restarts=3, retrained=3, untouched=True), Deed.FAIL),
        (seen("error", error="bad text"), Past(), Deed.FAIL),
        (seen("complete", "complete", lora="l", finished=True), still(30 * HOUR), Deed.NOTHING),
        (seen("waiting", "complete", lora="l"), still(30 * HOUR), Deed.NOTHING),
        (seen("waiting", "complete"), still(6 * HOUR - 1), Deed.NOTHING),
        (seen("waiting", "complete"), still(6 * HOUR), Deed.GIVE_UP),
        (seen("pondering", "generate_questions"), still(6 * HOUR), Deed.GIVE_UP),
        (seen("waiting", "dreaming"), still(6 * HOUR - 1), Deed.NOTHING),
        (seen("waiting", "generate_questions", finished=True), still(1 * HOUR), Deed.NOTHING),
        (SessionView(id="s", name="", mode="finetune", type="text", lora_dir="", documents={}, interactions=()),
         still(6 * HOUR), Deed.GIVE_UP),
    ],
)  # fmt: skip
def test_what_is_due(view: SessionView, past: Past, deed: Deed) -> None:
    """Each row of the table, on both sides of its bounds."""
    assert remedy(view, past, RULES).deed is deed


def test_words_tell_what_and_how_often() -> None:
    """People read which restart it is, for how long nothing moved, and where."""
    assert (
        remedy(seen(), still(600), RULES).words == "restarted 1 of 3: no sign of life for 10 min in generate_questions"
    )
    assert remedy(seen(), still(42), PollSettings(stalled_after=40)).words.endswith("for 42 s in generate_questions")
    assert "for 6 h in finetune" in remedy(seen(stage="finetune", progress=9), still(6 * HOUR), RULES).words
    assert "no answer" in remedy(seen("editing", "", chunks=FAILED), Past(still_for=30, looks=3), RULES).words


def test_time_counts_between_looks_that_are_near() -> None:
    """Looks that show the same add up; a sign of life, a gap and a clock set back begin anew."""
    watch = watched(None, ("a",), 100.0, RULES)
    assert (watch.still_for, watch.looks) == (0, 1)
    watch = watched(watch, ("a",), 160.0, RULES)
    watch = watched(watch, ("a",), 280.0, RULES)
    assert (watch.still_for, watch.looks) == (180, 3)
    for signs, at in ((("b",), 281.0), (("a",), 280.0 + 121), (("a",), 279.0)):
        assert watched(watch, signs, at, RULES) == Watch(signs=signs, since=at, at=at)


@pytest.mark.parametrize("done", [{}, {"restarts": 3}, {"restarts": 3, "retrained": 1}, {"requeued": 2}])
@pytest.mark.parametrize(
    ("stage", "progress"), [("", 0), ("generate_questions", 40), ("finetune", 0), ("finetune", 40), ("odd", 0)]
)
def test_what_people_are_told_of_a_job_is_what_will_be_done(stage: str, progress: int, done: dict[str, int]) -> None:
    """The ledger's row of a job foretells the remedy of its session, and its time: not a second sooner, none later."""
    known = {"files": 1, "bytes": 1, "attempt": 1, "created_at": 0.0, "version": 1, "restarts": 0} | done
    row = Job(id="j", folder="notes", state=JobState.RUNNING, stage=stage or "waiting", progress=progress, **known)
    patience, deed = outlook(row, RULES)
    view = seen(stage=stage, progress=progress)
    assert remedy(view, still(patience - 1, **done), RULES).deed is Deed.NOTHING
    assert remedy(view, still(patience, **done), RULES).deed is deed
