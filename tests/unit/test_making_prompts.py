"""What a model is asked, what it costs, and what a judge says."""

from __future__ import annotations

import pytest

from finetuned.making.chunks import cut
from finetuned.making.prompts import (
    INSTRUCTIONS,
    LEAST_TOKENS,
    MOST_PAIRS_ASKED,
    MOST_TOKENS,
    SCHEMA,
    TOKENS_A_PAIR,
    ask,
    ask_judge,
    cost,
    fingerprint,
    pairs_for,
    read_verdicts,
    room_for,
    schema_for,
    tokens_of,
)
from finetuned.making.reading import read
from finetuned.making.values import Chunk, Draft

TEXT = "# Otters\n\n" + " ".join(f"Otter {n} eats {n} fish a day." for n in range(200))
FIRST, SECOND, *_ = cut([TEXT], 600)


def said(chunk: Chunk, instructions: str = "", pairs: int | None = None) -> str:
    """The words of a request."""
    (message,) = ask(chunk, document="otters.md", instructions=instructions, pairs=pairs)
    assert message["role"] == "user"
    return message["content"]


def test_a_model_is_told_what_the_passage_is() -> None:
    """Its document, its heading, and apart from it what stands before it."""
    words = said(SECOND)
    assert words.startswith(INSTRUCTIONS.partition("{pairs}")[0])
    assert "Document: otters.md" in words
    assert "Heading: Otters" in words
    before, own = words.partition("<before>")[2].split("</before>")
    assert before.strip() == "Otter 19 eats 19 fish a day. Otter 20 eats 20 fish a day."
    assert own.partition("<passage>\n")[2].partition("\n</passage>")[0] == SECOND.own_text.strip()
    assert "write 2 of the facts" in words
    assert "write 7 of the facts" in said(SECOND, pairs=7)


def test_the_first_passage_has_nothing_before_it() -> None:
    """Nor has one below no heading a heading."""
    assert "<before>" not in said(FIRST)
    (plain,) = cut(["Otters swim."], 600)
    assert "Heading" not in said(plain)


def test_ones_own_instructions_stand_in_the_place_of_ours() -> None:
    """Braces that mean something else are left as they are, and so are those of the passage."""
    (chunk,) = cut(["Otters {pairs} swim {x}."], 600)
    words = said(chunk, 'Make {pairs} from "{document}" {like this} {"q": 1}: {passage} {heading}|', 3)
    assert words == 'Make 3 from "otters.md" {like this} {"q": 1}: Otters {pairs} swim {x}. |'
    assert said(chunk, "Make {pairs}, {x}.", 3).startswith(
        "Make 3, {x}.\n\nDocument: otters.md\n\n<passage>\nOtters {pairs}"
    )


def test_as_many_pairs_are_asked_for_as_the_words_are_worth() -> None:
    """In any script, and at least one."""
    assert pairs_for("…") == pairs_for("Otters swim.") == 1
    assert pairs_for("word " * 600) == 10
    assert pairs_for("水獭在河里游泳。" * 60) == 7
    assert pairs_for("word " * 60000) == MOST_PAIRS_ASKED


def test_an_answer_may_be_as_long_as_its_pairs_need() -> None:
    """Few pairs leave room for thoughts all the same; nobody is asked for more than models can say."""
    rooms = [room_for(pairs) for pairs in range(MOST_PAIRS_ASKED + 1)]
    assert rooms == sorted(rooms)
    assert rooms[0] == rooms[6] == LEAST_TOKENS < rooms[12]
    assert rooms[-1] == MOST_TOKENS > MOST_PAIRS_ASKED * TOKENS_A_PAIR
    assert room_for(1, "Write 20 pairs.") == MOST_TOKENS
    assert room_for(1, "Write {pairs} pairs.") == room_for(1)


def test_the_schema_is_what_is_read() -> None:
    """Who keeps to it says pairs, or that there are none, and cannot repeat himself for ever."""
    lists = schema_for(3)["properties"]
    assert {**schema_for(3), "properties": SCHEMA["properties"]} == SCHEMA
    assert [lists[name].pop("maxItems") for name in ("facts", "pairs")] == [4, 4]
    assert lists == SCHEMA["properties"]
    assert [schema_for(pairs)["properties"]["pairs"]["maxItems"] for pairs in (1, 4, 5, 17, 99)] == [4, 4, 8, 40, 40]
    assert schema_for(1, "Write 20 pairs.")["properties"]["pairs"]["maxItems"] == MOST_PAIRS_ASKED
    assert schema_for(1, "Write {pairs} pairs.") == schema_for(1)
    assert read('{"facts": [], "pairs": []}').problem is None


def test_a_fingerprint_changes_with_who_makes_pairs_and_how() -> None:
    """And with nothing else, so that the same is not paid for again."""
    ours = fingerprint("chat", model="m", size=4096)
    assert ours == fingerprint("chat", model="m", size=4096)
    assert len(ours) == 16
    assert int(ours, 16) >= 0
    others = {
        fingerprint("rules", model="m", size=4096),
        fingerprint("chat", model="n", size=4096),
        fingerprint("chat", model="m", instructions="x", size=4096),
        fingerprint("chat", model="m", size=4095),
    }
    assert len(others | {ours}) == 5


def test_what_a_request_costs_is_estimated() -> None:
    """Within a third of what usual tokenizers make of it."""
    assert tokens_of("The otter is a mammal of the rivers. " * 100) == pytest.approx(900, rel=0.33)
    assert tokens_of("水獭是河里的动物。" * 100) == pytest.approx(700, rel=0.33)
    assert cost(ask(SECOND, document="x"), 5) > cost(ask(SECOND, document="x"), 1) > tokens_of(SECOND.text)


def test_a_judge_sees_the_passage_and_all_pairs() -> None:
    """At once, since the passage costs the most; braces in them are text."""
    drafts = [Draft(question="Who {passage}?", answer="Otters."), Draft(question="What?", answer="Fish {x}.")]
    (message,) = ask_judge("Otters eat {pairs} fish.", drafts)
    assert "<passage>\nOtters eat {pairs} fish.\n</passage>" in message["content"]
    assert "Pair 1\nQuestion: Who {passage}?\nAnswer: Otters.\n\nPair 2\nQuestion: What?" in message["content"]


@pytest.mark.parametrize(
    ("raw", "count", "verdicts"),
    [
        ("1: YES\n2: NO", 2, [True, False]),
        ("<think>1: NO</think>\n**1:** Yes\n**2.** no, it is not", 2, [True, False]),
        ('{"1": "yes", "2": "NO"}', 2, [True, False]),
        ("1: ja\n2: нет\n3: 是", 3, [True, False, True]),
        ("2 - YES", 3, [None, True, None]),
        ("1: YES\n1: NO", 1, [None]),
        ("1: maybe", 1, [None]),
        ("YES", 1, [True]),
        ("No, the passage says nothing of it.", 1, [False]),
        ("Perhaps", 1, [None]),
        ("", 1, [None]),
        ("YES", 2, [None, None]),
        ("7: YES", 0, []),
    ],
)
def test_what_a_judge_says(raw: str, count: int, verdicts: list[bool | None]) -> None:
    """What is not understood is no verdict."""
    assert read_verdicts(raw, count) == verdicts
