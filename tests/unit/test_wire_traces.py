"""Every exchange that was recorded on real servers, read by `wire`, against what people saw in it."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from finetuned.helix import qa, wire

TRACES = Path(__file__).parents[1] / "traces"
HOLDS_PAIRS = "/finetune/text/conversations/"

#: scenario: what each step shows; steps in a row that show the same are one
EXPECTED: dict[str, tuple[str, ...]] = {
    "form/add-documents": (
        "waiting/generate_questions",
        "waiting/complete",
        "waiting/finetune",
    ),
    "form/chat-image": (
        "chat image waiting",
        "chat image complete",
        "a file",
        "status 403",
    ),
    "form/chat-text": (
        "chat text waiting",
        "chat text complete",
        "chat text waiting",
        "chat text complete",
    ),
    "form/chat-with-the-finetuned-model": (
        "waiting/generate_questions",
        "complete/complete trained",
        "6 pairs of 1 files",
    ),
    "form/finetune-happy": (
        "waiting/generate_questions",
        "waiting/finetune",
        "6 pairs of 1 files",
        "1 of 1 sessions",
        "waiting/finetune",
        "complete/complete trained",
        "not a session",
        "6 pairs of 1 files",
        "refused: no_pairs",
        "1 of 1 sessions",
    ),
    "form/finetune-manual-review": (
        "waiting/generate_questions",
        "editing/edit_questions",
        "6 pairs of 1 files",
        "3 pairs of 1 files",
        "waiting/finetune",
        "complete/complete trained",
    ),
    "form/finetune-runner-error": (
        "waiting/generate_questions",
        "complete/finetune error CUDA out of memory",
        "6 pairs of 1 files",
        "waiting/finetune",
        "complete/complete trained",
    ),
    "form/list-delete-parent": (
        "waiting/generate_questions",
        "4 of 35 sessions",
        "2 of 35 sessions",
        "0 of 35 sessions",
        "6 of 35 sessions",
        "waiting/finetune",
        "refused: not_found",
    ),
    "form/odd-files": (
        "waiting/finetune",
        "waiting/extract_text",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/extract_text",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/extract_text",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
        "waiting/generate_questions",
        "waiting/finetune",
    ),
    "form/qa-generator-fails-for-all": (
        "waiting/generate_questions",
        "waiting/finetune",
        "0 pairs of 0 files",
    ),
    "form/qa-generator-fails-for-one-file": (
        "waiting/generate_questions",
        "waiting/finetune",
        "6 pairs of 1 files",
    ),
    "form/refusals": (
        "status 401",
        "refused: not_found",
        "refused: form",
        "waiting/finetune",
        "refused: cut",
        "refused: form",
        "not a session",
        "refused: not_found",
        "4 of 4 sessions",
    ),
    "form/restart-while-generating": (
        "waiting/generate_questions",
        "complete/complete trained",
        "6 pairs of 3 files",
    ),
    "form/retry-route": (
        "waiting/generate_questions",
        "editing/edit_questions",
        "waiting/finetune",
        "6 pairs of 1 files",
    ),
    "form/server-restarted-while-generating": (
        "waiting/generate_questions",
        "waiting/finetune",
        "6 pairs of 3 files",
    ),
    "form/server-restarted-while-queued": (
        "waiting/generate_questions",
        "waiting/finetune",
        "complete/complete trained",
        "waiting/complete trained",
    ),
    "form/start-of-a-finished-one": (
        "waiting/finetune trained",
        "complete/finetune trained",
    ),
    "learn/learn-happy": (
        "an upload",
        "waiting/generate_questions",
        "waiting/finetune",
        "complete/complete trained",
        "6 pairs of 2 files",
        "2 of 2 sessions",
    ),
    "learn/learn-quota-strict": (
        "an upload",
        "error/ error Sorry, too much da limited to 5 of 18",
        "refused: no_pairs",
        "1 of 1 sessions",
    ),
    "learn/learn-quota-truncates": (
        "an upload",
        "waiting/generate_questions limited to 5 of 36",
        "waiting/finetune limited to 5 of 36",
        "6 pairs of 2 files",
    ),
    "learn/learn-refusals": (
        "not a session",
        "refused: form",
        "refused: no_upload",
        "refused: not_found",
        "status 401",
        "refused: not_found",
        "an upload",
        "not a session",
        "status 401",
        "an upload",
        "waiting/generate_questions",
        "3 of 4 sessions",
        "an upload",
        "waiting/finetune",
        "waiting/",
    ),
}


def steps(scenario: str) -> list[dict[str, Any]]:
    """The steps of a scenario that are exchanges."""
    told = json.loads((TRACES / f"{scenario}.json").read_text("utf-8"))
    return [step for step in told["steps"] if "request" in step]


def seen(step: dict[str, Any]) -> str:
    """What a step shows, in a word or two."""
    request, response = step["request"], step["response"]
    said = response["body"]
    if response["status"] != 200:
        kind = wire.refusal(response["status"], said)
        return f"refused: {kind}" if kind else f"status {response['status']}"
    if response["content_type"] != "application/json":
        return "a file"
    body = json.dumps(said).encode()
    if HOLDS_PAIRS in request["path"]:
        pairs = qa.conversations(body)
        return f"{len(pairs)} pairs of {len({pair.document for pair in pairs})} files"
    if request["path"].endswith("/data_entities") and said:
        assert wire.entity(body) in said["config"]["filestore_path"]
        return "an upload"
    try:
        count, rows = wire.listing(body)
    except wire.NotThat:
        return shown_session(body)
    assert all(row.id and wire.moment(row.created) for row in rows)
    return f"{len(rows)} of {count} sessions"


def shown_session(body: bytes) -> str:
    """State and stage of a session's fine-tune, and whether it is trained."""
    try:
        view = wire.session(body)
    except wire.NotThat:
        return "not a session"
    tuning = view.tuning
    if tuning is None:
        assert view.answer is not None
        return f"chat {view.type} {view.answer.state}"
    words = f"{tuning.state}/{tuning.stage}"
    if tuning.error:
        words += f" error {tuning.error[:18]}"
    if tuning.limited:
        words += f" limited to {tuning.limit} of {tuning.total_chunks}"
    return words + (" trained" if view.lora_dir and view.mode == "inference" and not tuning.error else "")


def test_every_trace_is_in_the_table():
    """A trace that nobody looked at is no test."""
    found = {f"{path.parent.name}/{path.stem}" for path in TRACES.glob("*/*.json")}
    assert found == set(EXPECTED)


@pytest.mark.parametrize("scenario", EXPECTED)
def test_a_trace_reads_as_people_saw_it(scenario: str):
    """State, stage, training, pairs and refusals of each recorded answer come out as they were seen."""
    assert tuple(words for words, _ in groupby(map(seen, steps(scenario)))) == EXPECTED[scenario]


@pytest.mark.parametrize("scenario", EXPECTED)
def test_every_session_of_a_trace_has_its_keys(scenario: str):
    """A fine-tune has an id, the user's turn (the key to its pairs) and the server's, apart from chats."""
    for step in steps(scenario):
        try:
            view = wire.session(json.dumps(step["response"]["body"]).encode())
        except wire.NotThat:
            continue
        if any(turn.mode == "finetune" for turn in view.turns):
            assert view.asked is not None
            assert wire.safe_id(view.asked.id)
            assert view.tuning is not None
            assert view.tuning.creator in {"system", "assistant"}
        assert all(wire.moment(turn.updated) for turn in view.turns)


def test_a_pair_finds_its_file():
    """The document of a pair is the short id of one of the session's uploads; its text has no prefix left."""
    happy = steps("form/finetune-happy")
    view = wire.session(json.dumps(happy[0]["response"]["body"]).encode())
    assert view.documents == {"0001-alpha.txt": "6e66e3ca37", "0002-beta.txt": "7b63c09ee9"}
    told = next(
        step for step in reversed(happy) if HOLDS_PAIRS in step["request"]["path"] and step["response"]["status"] == 200
    )
    pairs = qa.conversations(json.dumps(told["response"]["body"]).encode())
    assert {pair.document for pair in pairs} <= set(view.documents.values())
    assert pairs[0].question == "what about document number 0?"
    assert pairs[0].answer == "It is night #0."


def test_chunks_are_counted_by_file():
    """A file that taught nothing shows: its chunks made no question and carry no error."""
    told = steps("form/qa-generator-fails-for-one-file")[1]
    tuning = wire.session(json.dumps(told["response"]["body"]).encode()).tuning
    assert tuning is not None
    made = {name: sum(chunk.questions for chunk in chunks) for name, chunks in tuning.made.items()}
    assert made == {"0001-good.txt": 18, "0002-bad.txt": 0}
    assert not any(chunk.error for chunks in tuning.made.values() for chunk in chunks)


def test_a_drawn_picture_names_its_file():
    """The path of a picture is among the files of the server's newest turn."""
    told = steps("form/chat-image")[2]
    view = wire.session(json.dumps(told["response"]["body"]).encode())
    assert view.answer is not None
    assert [path.rpartition("/")[2] for path in view.answer.files] == ["img_0.png"]
