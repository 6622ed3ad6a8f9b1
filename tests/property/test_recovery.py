"""Whatever a session shows and whatever was done before: what is due is sane."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetuned.backend import Status
from finetuned.helix.observe import observe
from finetuned.helix.session import Chunk, SessionView, Turn
from finetuned.recovery import KICKS, History, Standstill, Step, after_poll, due
from finetuned.settings import PollSettings

WORDS = st.sampled_from(["", "CUDA out of memory"])
STATES = st.sampled_from(["", "waiting", "editing", "complete", "error", "pondering"])
STAGES = st.sampled_from(
    ["", "edit_files", "extract_text", "index_rag", "generate_questions", "edit_questions", "finetune", "complete", "?"]
)
COUNTS = st.integers(0, 9)
ACTS_ON_THE_SESSION = {Step.RESTART, Step.REQUEUE, Step.RETRAIN, Step.RETRY_CHUNKS, Step.START, Step.GIVE_UP}


@st.composite
def views(draw) -> SessionView:
    """A session in any state, even one that no server should show."""
    mode, lora = draw(st.sampled_from(["finetune", "inference"])), draw(st.sampled_from(["", "dev/lora"]))
    chunks = {"a.txt": (Chunk(questions=1, error=draw(WORDS)),)}
    blank = dict.fromkeys(("id", "message", "status", "created", "updated", "completed"), "")
    turn = Turn(
        **blank, creator="system", mode="finetune", state=draw(STATES), stage=draw(STAGES), error=draw(WORDS),
        progress=draw(st.integers(0, 100)), finished=draw(st.booleans()), lora_dir=draw(st.sampled_from(["", "l"])),
        made=chunks,
    )  # fmt: skip
    turns = (turn,) if draw(st.booleans()) else ()
    return SessionView(id="s", name="", mode=mode, type="text", lora_dir=lora, documents={}, turns=turns)


PASTS = st.builds(
    History, still_for=st.floats(0, 1e6), polls=st.integers(1, 99), restarts=COUNTS, retrained=COUNTS, requeued=COUNTS,
    kicks=COUNTS, untouched=st.booleans(), review=st.booleans(),
)  # fmt: skip
RULES = st.builds(
    PollSettings, stalled_after=st.floats(1, 1e5), training_stalled_after=st.floats(1, 1e5), restarts=st.integers(0, 5)
)


@given(view=views(), past=PASTS, rules=RULES)
def test_what_has_finished_is_never_put_to_work_again(view: SessionView, past: History, rules: PollSettings) -> None:
    """A trained session is left alone, and one that may have finished is at most given up."""
    deed = due(observe(view), past, rules).step
    tuning = view.tuning
    if observe(view).status is Status.TRAINED:
        assert deed is Step.NOTHING
    elif tuning is None or tuning.stage == "complete" or tuning.finished or view.lora_dir or tuning.lora_dir:
        assert deed not in {Step.RESTART, Step.REQUEUE}


@given(view=views(), past=PASTS, rules=RULES)
def test_never_more_than_allowed(view: SessionView, past: History, rules: PollSettings) -> None:
    """Restarts that count stay within the rules, rests are ended so often and no more."""
    step = due(observe(view), past, rules)
    if step.step is Step.RESTART:
        assert past.restarts - past.retrained < rules.restarts
    if step.step in {Step.RETRY_CHUNKS, Step.START}:
        assert past.kicks < KICKS
    if step.step in ACTS_ON_THE_SESSION:
        assert step.words


@given(view=views(), past=PASTS, rules=RULES)
def test_nothing_waits_for_ever(view: SessionView, past: History, rules: PollSettings) -> None:
    """Who stands still long enough is helped, given up, failed, or shown to a person."""
    patient = History(still_for=1e6, polls=99, restarts=past.restarts, requeued=past.requeued, kicks=past.kicks)
    assert (due(observe(view), patient, rules).step is Step.NOTHING) == (observe(view).status is Status.TRAINED)


@given(times=st.lists(st.floats(0, 300), max_size=20), rules=st.builds(PollSettings, slowest=st.floats(1, 200)))
def test_no_more_time_counts_than_was_watched(times: list[float], rules: PollSettings) -> None:
    """Whatever the pauses between looks, only those that are short enough add up."""
    now, counted, watch = 0.0, 0.0, after_poll(None, (), 0.0, rules)
    for pause in times:
        now += pause
        watch = after_poll(watch, (), now, rules)
        counted = counted + pause if pause <= 2 * rules.slowest else 0.0
        assert abs(watch.still_for - counted) < 1e-6
    assert isinstance(watch, Standstill)
