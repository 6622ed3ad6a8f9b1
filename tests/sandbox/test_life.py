"""The life of a fine-tune and of an answer as a function of time."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from finetuned.sandbox import Faults, Pace
from finetuned.sandbox.faults import Limit
from finetuned.sandbox.life import look
from finetuned.sandbox.records import Session
from sandbox.kit import ORIGIN, TEXT, Desk, desk, form, pairs_path

# one file is 9 chunks: generated after 0.9 s, queued from 1.0, taken at 2.0, trained at 11.9
QUEUED, TAKEN, TRAINED = 1.0, 2.0, 11.9


async def seen(at: Desk, session: dict[str, Any], seconds: float) -> tuple[str, str, int, str]:
    """State, stage, progress and status at a moment."""
    at.clock.at(seconds)
    last = await at.last(session)
    return last["state"], last["data_prep_stage"], last["progress"], last["status"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, ("waiting", "generate_questions", 1, "converting 9 text chunks to question answer pairs")),
        (0.1, ("waiting", "generate_questions", 11, "9 total, 1 converted and 0 errors")),
        (0.55, ("waiting", "generate_questions", 55, "9 total, 5 converted and 0 errors")),
        (0.95, ("waiting", "generate_questions", 100, "9 total, 9 converted and 0 errors")),
        (QUEUED, ("waiting", "finetune", 1, "fine tuning on data...")),
        (TAKEN, ("waiting", "finetune", 1, "fine tuning on data...")),
        (TAKEN + 0.1, ("waiting", "finetune", 2, "fine tuning")),
        (TRAINED - 0.01, ("waiting", "finetune", 99, "fine tuning")),
        (TRAINED, ("complete", "complete", 0, "")),
    ],
)
async def test_the_state_is_that_of_the_moment(seconds: float, expected: tuple[str, str, int, str]) -> None:
    """A first look at any moment finds the state of that moment, whatever was looked at before."""
    async with desk() as at:
        session = await at.post()
        assert await seen(at, session, seconds) == expected


async def test_what_training_changes_at_its_end() -> None:
    """Mode, lora_dir and the four times change when the training ends, in session, interaction and summary."""
    async with desk() as at:
        session = await at.post()
        at.clock.at(TRAINED - 0.01)
        before = await at.get(session)
        at.clock.at(TRAINED + 100)
        after = await at.get(session)
        assert (before["mode"], before["lora_dir"]) == ("finetune", "")
        assert after["mode"] == "inference"
        assert after["lora_dir"] == f"dev/users/u1/sessions/{session['id']}/results/lora"
        last = after["interactions"][-1]
        assert (last["finished"], last["lora_dir"]) == (True, after["lora_dir"])
        assert last["completed"] == last["updated"] == "2026-11-23T04:00:11.9Z"
        row = (await at.client.get(f"/sessions/{session['id']}/summary")).json()
        assert row["completed"] == last["completed"]
        assert row["summary"] == "marker"


async def test_updated_moves_only_from_training_on() -> None:
    """Signs of life: `updated` stays still while pairs are made, and moves with every progress afterwards."""
    async with desk() as at:
        session = await at.post()
        updates: dict[str, set[str]] = {}
        progress = set()
        for tick in range(130):
            at.clock.at(tick * 0.1)
            body = await at.get(session)
            last = body["interactions"][-1]
            row = (await at.client.get("/sessions")).json()["sessions"][0]
            assert body["updated"] == last["updated"] == row["updated"]
            updates.setdefault(last["data_prep_stage"], set()).add(last["updated"])
            if last["data_prep_stage"] == "finetune":
                progress.add(last["progress"])
        assert updates["generate_questions"] == {"2026-11-23T04:00:00Z"}
        # one more than the steps: the moment it was queued and the moment it was taken both have progress 1
        assert len(updates["finetune"]) == len(progress) + 1
        assert updates["complete"] == {"2026-11-23T04:00:11.9Z"}


async def test_a_review_rests_until_start() -> None:
    """A session to be reviewed waits in editing for ever, and trains what was written back."""
    async with desk() as at:
        session = await at.post(manuallyReviewQuestions="yes")
        rest = ("editing", "edit_questions", 0, "converted 9 text chunks")
        assert await seen(at, session, QUEUED) == rest
        assert await seen(at, session, 1_000_000) == rest
        pairs = await at.pairs(session)
        kept = pairs[:2]
        assert (await at.client.put(pairs_path(session), json=kept)).json() == kept
        started = (await at.client.post(f"/sessions/{session['id']}/finetune/start")).json()
        assert started["interactions"][-1]["status"] == "fine tuning on data..."
        assert (await seen(at, session, 1_000_020))[:2] == ("complete", "complete")
        assert await at.pairs(session) == kept


async def test_text_retry_and_restart_train_without_a_review() -> None:
    """Retry and restart do not wait for a person: they start the training."""
    for deed in ("/finetune/text/retry", "/restart"):
        async with desk() as at:
            session = await at.post(manuallyReviewQuestions="yes")
            at.clock.at(5)
            assert (await at.put(session, deed)).status_code == 200
            assert (await seen(at, session, 30))[:2] == ("complete", "complete")


async def test_a_runner_that_works_can_not_be_interrupted() -> None:
    """While a runner has the session a restart is refused; in the queue it does no harm."""
    async with desk() as at:
        session = await at.post()
        at.clock.at(QUEUED + 0.5)
        again = (await at.put(session, "/restart")).json()["interactions"][-1]
        assert again["status"] == "restarted: fine tuning on data..."
        at.clock.at(QUEUED + 0.5 + 1 + 3)
        refused = await at.put(session, "/restart")
        assert (refused.status_code, refused.text) == (500, "session is currently active\n")


async def test_a_finished_session_hangs_when_restarted() -> None:
    """The server obeys: waiting/complete for ever, with what was trained still there; a start trains again."""
    async with desk() as at:
        session = await at.post()
        at.clock.at(20)
        for _ in range(2):
            assert (await at.put(session, "/restart")).status_code == 200
        assert (await seen(at, session, 1_000_000))[:2] == ("waiting", "complete")
        body = await at.get(session)
        assert body["lora_dir"]
        assert body["mode"] == "inference"
        await at.client.post(f"/sessions/{session['id']}/finetune/start")
        assert (await seen(at, session, 1_000_020))[:2] == ("complete", "complete")


async def test_a_restart_while_generating_doubles_pairs() -> None:
    """A second generator writes down once more what was open when it began."""
    async with desk() as at:
        session = await at.post()
        at.clock.at(0.35)
        assert (await at.put(session, "/restart")).json()["interactions"][-1]["status"] == ""
        assert (await seen(at, session, 0.4))[3] == "converting 6 text chunks to question answer pairs"
        at.clock.at(60)
        assert len(await at.pairs(session)) == 18 + 2 * 6


async def test_a_restart_in_the_last_beat_queues() -> None:
    """When every chunk is converted there is nothing left to generate twice."""
    async with desk() as at:
        session = await at.post()
        at.clock.at(0.95)
        last = (await at.put(session, "/restart")).json()["interactions"][-1]
        assert last["data_prep_stage"] == "finetune"
        assert len(await at.pairs(session)) == 18


async def test_documents_can_be_added_to_what_is_trained() -> None:
    """Added files are generated after what is there, and all is trained again."""
    async with desk() as at:
        session = await at.post()
        at.clock.at(20)
        parts = {"files": ("b.txt", b"Bees make honey. Bees are insects.")}
        answer = await at.put(session, "/finetune/documents", files=parts)
        assert answer.json()["mode"] == "finetune"
        assert await seen(at, session, 20.5) == (
            "waiting",
            "generate_questions",
            55,
            "9 total, 5 converted and 0 errors",
        )
        at.clock.at(60)
        body = await at.get(session)
        assert list(body["interactions"][1]["data_prep_chunks"]) == ["a.txt", "b.txt"]
        assert body["mode"] == "inference"
        assert len(await at.pairs(session)) == 36


async def test_deeds_for_fine_tunes_are_refused_for_chats() -> None:
    """A chat has nothing to start, to retry or to read pairs of."""
    async with desk() as at:
        chat = await at.chat("yo")
        for method, path in [
            ("POST", "/finetune/start"),
            ("PUT", "/finetune/text/retry"),
            ("PUT", "/finetune/documents"),
            ("GET", "/finetune/text/conversations/x"),
        ]:
            answer = await at.client.request(method, f"/sessions/{chat['id']}{path}")
            assert answer.status_code == 500
        fine_tune = await at.post()
        same = await at.put(fine_tune, "/finetune/text/retry")
        assert same.json()["interactions"][-1]["data_prep_stage"] == "generate_questions"


async def test_an_answer_grows_and_stays() -> None:
    """The words of an answer come one after the other within the reply time; then it does not change."""
    async with desk() as at:
        chat = await at.chat("hello there")
        messages = []
        for tick in range(30):
            at.clock.at(tick * 0.05)
            messages.append((await at.last(chat))["message"])
        assert messages[0] == ""
        assert messages[-1].startswith("[simulated] ")
        assert messages[-1].endswith("hello there")
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(messages))
        assert len(set(messages)) > 5
        assert (await at.last(chat))["finished"]


async def test_a_chat_can_be_restarted_only_at_rest() -> None:
    """A queued answer is queued again, a growing one is refused, a finished one hangs."""
    async with desk() as at:
        chat = await at.chat("hello there")
        at.clock.at(0.05)
        assert (await at.put(chat, "/restart")).status_code == 200
        at.clock.at(0.5)
        assert (await at.put(chat, "/restart")).text == "session is currently active\n"
        at.clock.at(5)
        assert (await at.put(chat, "/restart")).status_code == 200
        at.clock.at(500)
        last = await at.last(chat)
        assert (last["state"], last["finished"]) == ("waiting", False)


async def test_a_chat_needs_words() -> None:
    """A turn without a message is refused in the server's words."""
    async with desk() as at:
        chat = await at.chat("yo")
        refused = await at.put(chat, "", files=form({"mode": "inference"}))
        assert (refused.status_code, refused.text) == (500, "inference sessions require a message\n")


def test_a_chat_has_no_training_to_look_at() -> None:
    """Asking for the training of a chat is a mistake of ours, and says so."""
    chat = Session(id="x", number=1, name="", created=ORIGIN, parent="", mode="inference", type="text")
    with pytest.raises(ValueError, match="not a fine-tune"):
        look(chat, ORIGIN, Pace())


async def test_a_runner_error_is_complete_and_no_success() -> None:
    """Training that fails is complete with an error; a restart trains again."""
    async with desk(faults=["runner-error:1"]) as at:
        session = await at.post()
        at.clock.at(20)
        body = await at.get(session)
        last = body["interactions"][-1]
        assert (last["state"], last["error"], last["finished"]) == ("complete", "CUDA out of memory", True)
        assert (body["mode"], body["lora_dir"]) == ("finetune", "")
        await at.put(session, "/restart")
        assert (await seen(at, session, 60))[:2] == ("complete", "complete")
        other = await at.post()
        at.clock.at(120)
        assert (await at.last(other))["error"] == ""


async def test_a_fault_without_a_count_strikes_every_time() -> None:
    """Every training fails, the one after a restart and the one of a new session too."""
    async with desk(faults=["runner-error"]) as at:
        session = await at.post()
        for round_number in range(1, 4):
            at.clock.at(round_number * 100)
            assert (await at.last(session))["error"] == "CUDA out of memory"
            await at.put(session, "/restart")


async def test_pairs_that_fail_leave_no_error() -> None:
    """Chunks without pairs say nothing about why, and training goes on; `null` is all there is."""
    async with desk(faults=["qa-fails"]) as at:
        session = await at.post()
        at.clock.at(60)
        body = await at.get(session)
        chunks = body["interactions"][-1]["data_prep_chunks"]["a.txt"]
        assert {(chunk["question_count"], chunk["error"]) for chunk in chunks} == {(0, "")}
        assert body["mode"] == "inference"
        assert await at.pairs(session) is None


async def test_one_file_that_teaches_nothing() -> None:
    """Only the first file of a session is without pairs."""
    async with desk(faults=["qa-fails-one"]) as at:
        session = await at.post([("a.txt", TEXT), ("b.txt", b"Bees make honey. Bees are insects.")])
        at.clock.at(60)
        documents = (await at.get(session))["config"]["document_ids"]
        second = next(value for path, value in documents.items() if path.endswith("b.txt"))
        pairs = await at.pairs(session)
        assert len(pairs) == 18
        assert all(second in pair["conversations"][0]["value"] for pair in pairs)


async def test_a_state_error_has_its_text_twice() -> None:
    """State “error” carries its text in error and status; a restart resumes."""
    async with desk(faults=["state-error:1"]) as at:
        session = await at.post()
        at.clock.at(60)
        last = await at.last(session)
        assert (last["state"], last["finished"]) == ("error", True)
        assert last["error"] == last["status"] != ""
        await at.put(session, "/restart")
        at.clock.at(120)
        assert (await at.get(session))["mode"] == "inference"
        assert len(await at.pairs(session)) == 18


async def test_a_chunk_error_rests_until_it_is_retried_or_passed_over() -> None:
    """One chunk with an error keeps the session in editing; retry makes its pairs, start goes on without."""
    for deed, count in (("retry", 18), ("start", 16)):
        async with desk(faults=["chunk-error:1"]) as at:
            session = await at.post()
            assert await seen(at, session, 0.95) == (
                "waiting",
                "generate_questions",
                100,
                "9 total, 8 converted and 1 errors",
            )
            assert (await seen(at, session, 60))[0] == "editing"
            errors = [chunk["error"] for chunk in (await at.last(session))["data_prep_chunks"]["a.txt"]]
            assert [bool(error) for error in errors] == [False] * 8 + [True]
            assert len(await at.pairs(session)) == 16
            if deed == "retry":
                await at.put(session, "/finetune/text/retry")
            else:
                await at.client.post(f"/sessions/{session['id']}/finetune/start")
            assert (await seen(at, session, 120))[:2] == ("complete", "complete")
            assert len(await at.pairs(session)) == count


async def test_forgotten_work_waits_for_a_restart() -> None:
    """A forgotten session looks like any other and never moves; a restart resumes without doubles."""
    async with desk(faults=["forget-work:1"]) as at:
        session = await at.post()
        stuck = ("waiting", "generate_questions", 44, "9 total, 4 converted and 0 errors")
        assert await seen(at, session, 60) == stuck
        assert await seen(at, session, 1_000_000) == stuck
        await at.put(session, "/restart")
        assert (await seen(at, session, 1_000_060))[:2] == ("complete", "complete")
        assert len(await at.pairs(session)) == 18


def test_faults_are_read_from_names() -> None:
    """Unknown names and counts that are none are told, with what there is."""
    assert Faults.parse(["runner-error:2", "qa-fails", "html@0.25", "busy:3@1"]).limits == {
        "runner-error": Limit(count=2),
        "qa-fails": Limit(),
        "html": Limit(chance=0.25),
        "busy": Limit(count=3),
    }
    for entry in ("html@", "html@often", "html@1.5", "html@-0.1", "html@nan"):
        with pytest.raises(ValueError, match="the chance in"):
            Faults.parse([entry])
    with pytest.raises(ValueError, match="unknown fault 'nonesuch'; there are: runner-error, "):
        Faults.parse(["nonesuch"])
    with pytest.raises(ValueError, match="not a number"):
        Faults.parse(["qa-fails:often"])


def test_a_pace_of_nothing_is_done_at_once() -> None:
    """A pace of zero seconds does not divide by it."""
    pace = Pace().faster(2)
    assert (pace.queue, pace.reply) == (0.3, 0.25)


async def test_work_that_takes_no_time_is_done_at_the_first_look() -> None:
    """With a pace of nothing a fine-tune is trained when it is created."""
    async with desk() as at:
        at.app.state.store.pace = Pace(queue=0, chunk=0, train=0, reply=0)
        session = await at.post()
        assert session["mode"] == "inference"
        assert (await at.chat("yo"))["interactions"][-1]["finished"]
