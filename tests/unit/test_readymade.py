"""Ready-made pairs: which lines are pairs, and what the server is given for them."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.helix import qa
from finetuned.marker import upload_name
from finetuned.readymade import NoPair, is_ready_made, sharegpt

ASKED = {"from": "human", "value": "What is an otter?"}
ANSWERED = {"from": "gpt", "value": "A mammal."}
TALK = {"conversations": [ASKED, ANSWERED]}
SYSTEM = {"from": "system", "value": "Be brief."}


def line(said: object) -> bytes:
    """A line of a file."""
    return json.dumps(said).encode()


@pytest.mark.parametrize(
    ("said", "turns"),
    [
        (TALK, [ASKED, ANSWERED]),
        ({**TALK, "id": "7", "source": None}, [ASKED, ANSWERED]),
        ({"conversations": [{**ASKED, "from": "user"}, {**ANSWERED, "from": "assistant"}]}, [ASKED, ANSWERED]),
        ({"conversations": [SYSTEM, ASKED, ANSWERED]}, [SYSTEM, ASKED, ANSWERED]),
        ({"conversations": [ASKED, ANSWERED, ASKED, ANSWERED]}, [ASKED, ANSWERED, ASKED, ANSWERED]),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "What is an otter?"},
                    {"role": "assistant", "content": "A mammal.", "weight": 1},
                ]
            },
            [SYSTEM, ASKED, ANSWERED],
        ),
        ({"instruction": "What is an otter?", "output": "A mammal."}, [ASKED, ANSWERED]),
        ({"instruction": "What is an otter?", "input": "", "output": "A mammal."}, [ASKED, ANSWERED]),
        (
            {"instruction": "Translate.", "input": "otter", "output": "Otter"},
            [{"from": "human", "value": "Translate.\n\notter"}, {"from": "gpt", "value": "Otter"}],
        ),
    ],
)
def test_every_shape_is_sent_as_the_server_expects_it(said: object, turns: list[dict[str, str]]) -> None:
    """Sharegpt, openai-messages and alpaca become the same line."""
    assert json.loads(sharegpt(line(said))) == {"conversations": turns}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"instruction":"\\ud800","output":"x"}', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"{}", "no shape that is known"),
        (line({"instruction": "a"}), "no shape that is known"),
        (line({"instruction": "a", "output": " "}), "output is no text, or an empty one"),
        (line({"instruction": "a", "input": 7, "output": "b"}), "input is no text"),
        (line({"conversations": {}}), "conversations is no list"),
        (line({"conversations": []}), "the turns are not question, answer"),
        (line({"conversations": ["a"]}), "a turn is no JSON object"),
        (line({"conversations": [ASKED]}), "the turns are not question, answer"),
        (line({"conversations": [ANSWERED, ASKED]}), "the turns are not question, answer"),
        (line({"conversations": [SYSTEM]}), "the turns are not question, answer"),
        (line({"conversations": [ASKED, ANSWERED, SYSTEM, ANSWERED]}), "the turns are not question, answer"),
        (line({"conversations": [{"from": "tool", "value": "x"}, ANSWERED]}), "a turn's from is none of human"),
        (line({"conversations": [{"from": ["human"], "value": "x"}, ANSWERED]}), "a turn's from is none of human"),
        (line({"messages": [{"role": "user", "content": [{"type": "text"}]}]}), "content is no text"),
        (line({"messages": [{"role": "user"}]}), "content is no text"),
        (line({"instruction": "a\0b", "output": "c"}), "a NUL in instruction"),
        (line({"conversations": [ASKED, {**ANSWERED, "value": "\0"}]}), "a NUL in value"),
    ],
)
def test_half_a_pair_is_none(said: bytes, why: str) -> None:
    """What is wrong with a line is said in its own words."""
    with pytest.raises(NoPair, match=why):
        sharegpt(said)


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(WORDS, WORDS)
def test_what_was_dropped_is_what_the_ledger_reads_back(question: str, answer: str) -> None:
    """Through our shape and the server's answer, words stay what they were."""
    sent = sharegpt(msgspec.json.encode({"instruction": question, "output": answer}))
    assert b"\n" not in sent
    (pair,) = qa.conversations(b"[" + sent + b"]")
    assert (pair.raw_question, pair.raw_answer) == (question, answer)


def test_a_name_tells_pairs_from_text() -> None:
    """The case of the suffix does not matter here; on the server it does."""
    assert is_ready_made("/notes/A.JSONL")
    assert not is_ready_made("/notes/a.jsonl.txt")
    assert upload_name("notes-1.1", 1, "/notes/A.JSONL") == "notes-1.1-0001-a.jsonl"
