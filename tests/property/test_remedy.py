"""Whatever a session shows and whatever was done before: what is due is sane."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetuned.model import Chunk, Interaction, SessionView
from finetuned.remedy import NUDGES, Deed, Past, Watch, remedy, watched
from finetuned.settings import PollSettings
from finetuned.verdict import Standing, standing

WORDS = st.sampled_from(["", "CUDA out of memory"])
STATES = st.sampled_from(["", "waiting", "editing", "complete", "error", "pondering"])
STAGES = st.sampled_from(
    ["", "edit_files", "extract_text", "index_rag", "generate_questions", "edit_questions", "finetune", "complete", "?"]
)
COUNTS = st.integers(0, 9)
ACTS_ON_THE_SESSION = {Deed.RESTART, Deed.REQUEUE, Deed.RETRAIN, Deed.RETRY_CHUNKS, Deed.START, Deed.GIVE_UP}


@st.composite
def views(draw) -> SessionView:
    """A session in any state, even one that no server should show."""
    mode, lora = draw(st.sampled_from(["finetune", "inference"])), draw(st.sampled_from(["", "dev/lora"]))
    chunks = {"a.txt": (Chunk(questions=1, error=draw(WORDS)),)}
    blank = dict.fromkeys(("id", "message", "status", "created", "updated", "completed"), "")
    turn = Interaction(
        **blank, creator="system", mode="finetune", state=draw(STATES), stage=draw(STAGES), error=draw(WORDS),
        progress=draw(st.integers(0, 100)), finished=draw(st.booleans()), lora_dir=draw(st.sampled_from(["", "l"])),
        chunks=chunks,
    )  # fmt: skip
    turns = (turn,) if draw(st.booleans()) else ()
    return SessionView(id="s", name="", mode=mode, type="text", lora_dir=lora, documents={}, interactions=turns)


PASTS = st.builds(
    Past, still_for=st.floats(0, 1e6), looks=st.integers(1, 99), restarts=COUNTS, retrained=COUNTS, requeued=COUNTS,
    nudges=COUNTS, untouched=st.booleans(), review=st.booleans(),
)  # fmt: skip
RULES = st.builds(
    PollSettings, stalled_after=st.floats(1, 1e5), training_stalled_after=st.floats(1, 1e5), restarts=st.integers(0, 5)
)


@given(view=views(), past=PASTS, rules=RULES)
def test_what_has_finished_is_never_put_to_work_again(view: SessionView, past: Past, rules: PollSettings) -> None:
    """A trained session is left alone, and one that may have finished is at most given up."""
    deed = remedy(view, past, rules).deed
    tuning = view.tuning
    if standing(view) is Standing.TRAINED:
        assert deed is Deed.NOTHING
    elif tuning is None or tuning.stage == "complete" or tuning.finished or view.lora_dir or tuning.lora_dir:
        assert deed not in {Deed.RESTART, Deed.REQUEUE}


@given(view=views(), past=PASTS, rules=RULES)
def test_never_more_than_allowed(view: SessionView, past: Past, rules: PollSettings) -> None:
    """Restarts that count stay within the rules, rests are ended so often and no more."""
    due = remedy(view, past, rules)
    if due.deed is Deed.RESTART:
        assert past.restarts - past.retrained < rules.restarts
    if due.deed in {Deed.RETRY_CHUNKS, Deed.START}:
        assert past.nudges < NUDGES
    if due.deed in ACTS_ON_THE_SESSION:
        assert due.words


@given(view=views(), past=PASTS, rules=RULES)
def test_nothing_waits_for_ever(view: SessionView, past: Past, rules: PollSettings) -> None:
    """Who stands still long enough is helped, given up, failed, or shown to a person."""
    patient = Past(still_for=1e6, looks=99, restarts=past.restarts, requeued=past.requeued, nudges=past.nudges)
    assert (remedy(view, patient, rules).deed is Deed.NOTHING) == (standing(view) is Standing.TRAINED)


@given(times=st.lists(st.floats(0, 300), max_size=20), rules=st.builds(PollSettings, slowest=st.floats(1, 200)))
def test_no_more_time_counts_than_was_watched(times: list[float], rules: PollSettings) -> None:
    """Whatever the pauses between looks, only those that are short enough add up."""
    now, counted, watch = 0.0, 0.0, watched(None, (), 0.0, rules)
    for pause in times:
        now += pause
        watch = watched(watch, (), now, rules)
        counted = counted + pause if pause <= 2 * rules.slowest else 0.0
        assert abs(watch.still_for - counted) < 1e-6
    assert isinstance(watch, Watch)
