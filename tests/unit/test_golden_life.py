"""The whole life of every recorded session, step by step: where it stands, whether it moved, what it came to."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import pytest

from finetuned.backend import Observation, Pair, Status
from finetuned.helix import qa, wire
from finetuned.helix.observe import capabilities, observe
from finetuned.lifecycle import FileState
from finetuned.model import File
from finetuned.verdict import judge, tally

TRACES = Path(__file__).parents[1] / "traces"
PAIRS = "/finetune/text/conversations/"

#: scenario: by step, where the session of its answer stands; `+`: it moved since the last look at it, `-`: it is no
#: session; where pairs were recorded, a trained one's verdict follows; the same some times in a row is `word xN`
EXPECTED: dict[str, str] = {
    "form/add-documents": "running +running x2",
    "form/chat-image": "running x3 - x2",
    "form/chat-text": "running x5",
    "form/chat-with-the-finetuned-model": "running +trained=done trained=done x2 -",
    "form/finetune-happy": "running x2 +running x3 - x2 +running x2 +trained=partial trained=partial - x4",
    "form/finetune-manual-review": "running +paused - x3 +running running +trained=done",
    "form/finetune-runner-error": "running +failed - +running x2 +trained=done",
    "form/list-delete-parent": "running x4 - x6 +running running +running - x2",
    "form/odd-files": (
        "running x5 +running running +running running +running running +running running x11 +running "
        "running +running running +running running x5 +running running +running running +running running "
        "+running"
    ),
    "form/qa-generator-fails-for-all": "running +running -",
    "form/qa-generator-fails-for-one-file": "running +running -",
    "form/refusals": "- x10 running - x5",
    "form/restart-while-generating": "running +running x2 +trained=partial -",
    "form/retry-route": "running +paused +running -",
    "form/server-restarted-while-generating": "running +running running x2 +running x2 -",
    "form/server-restarted-while-queued": "running +running running - +running x2 +trained x2 trained",
    "form/start-of-a-finished-one": "trained +trained trained",
    "learn/learn-happy": "- running +running x2 +trained=done trained=done - x2",
    "learn/learn-quota-strict": "- failed x3 - x2",
    "learn/learn-quota-truncates": "- running +running -",
    "learn/learn-refusals": "- x10 running x2 - x3 running x3",
}


def bodies(scenario: str) -> list[tuple[str, bytes]]:
    """Each step's path and the answer to it; nothing where the step is a remark or went wrong."""
    told = json.loads((TRACES / f"{scenario}.json").read_bytes())
    steps = [(step.get("request", {"path": ""}), step.get("response", {"status": 0})) for step in told["steps"]]
    return [
        (asked["path"], json.dumps(said["body"]).encode() if said["status"] == 200 else b"") for asked, said in steps
    ]


def session(body: bytes) -> Observation | None:
    """The session of an answer, if it is one."""
    try:
        return observe(wire.session(body))
    except wire.NotThat:
        return None


def recorded_pairs(scenario: str) -> tuple[Pair, ...]:
    """The pairs that were asked for last (the recordings keep the first six)."""
    told = [qa.conversations(body) for path, body in bodies(scenario) if PAIRS in path and body.startswith(b"[")]
    return told[-1] if told else ()


def uploads(view: Observation) -> list[File]:
    """A job's files, as this session has them."""
    return [
        File(
            id=number,
            folder="notes",
            path=f"/srv/notes/{name}",
            location=None,
            state=FileState.PACKED,
            signature=None,
            version=1,
            upload_name=name,
        )
        for number, name in enumerate(sorted(name for name, taught in view.files.items() if taught.document), 1)
    ]


def life(scenario: str) -> str:
    """What the table says of a scenario, from what was recorded."""
    words, last = [], {}
    pairs = recorded_pairs(scenario)
    for _, body in bodies(scenario):
        view = session(body)
        if view is None:
            words.append("-")
            continue
        signs = view.signs
        moved = "+" if last.get(view.id, signs) != signs else ""
        last[view.id] = signs
        stands = view.status
        verdict = (
            f"={judge(view, tally(view, pairs), uploads(view), capabilities(None)).state}"
            if pairs and stands is Status.TRAINED
            else ""
        )
        words.append(f"{moved}{stands}{verdict}")
    runs = ((word, len(list(same))) for word, same in groupby(words))
    return " ".join(word if count == 1 else f"{word} x{count}" for word, count in runs)


def test_every_trace_has_its_life():
    """A trace that is not in the table was not thought about."""
    assert {f"{path.parent.name}/{path.stem}" for path in TRACES.glob("*/*.json")} == set(EXPECTED)


@pytest.mark.parametrize("scenario", EXPECTED)
def test_a_recorded_life_is_read_right(scenario: str):
    """Each step of what real servers answered stands where the table says."""
    assert life(scenario) == EXPECTED[scenario]


@pytest.mark.parametrize("scenario", EXPECTED)
def test_only_a_session_with_a_tuned_model_is_trained(scenario: str):
    """No step is taken for trained unless its lora_dir is there and no error is."""
    for _, body in bodies(scenario):
        view = session(body)
        if view is not None and view.status is Status.TRAINED:
            assert view.model
            assert view.turn is not None
            assert not view.turn.error
