"""Whatever JSON comes in: every meaningful word goes out, or the line is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from finetuned.readymade import CHANGES_MEANING, NoPair, sharegpt

#: each word is its own, so that what is missing is seen
WORD = st.integers(0, 10**9).map(lambda n: f"w{n:09}")
NOTHING: st.SearchStrategy[Any] = st.sampled_from([None, "", " ", []])
TEXT = WORD | st.lists(WORD.map(lambda w: {"type": "text", "text": w}), max_size=2)
SPEAKER = st.sampled_from(["human", "gpt", "User", "assistant", "system", "model", "tool", "x"])
TURN = st.fixed_dictionaries(
    {},
    optional={
        "from": SPEAKER,
        "role": SPEAKER,
        "value": TEXT | NOTHING,
        "content": TEXT | NOTHING,
        "text": TEXT | NOTHING,
    },
)
TALK = st.lists(TURN, max_size=5) | st.lists(st.tuples(WORD, WORD), max_size=2).map(
    lambda both: [turn for q, a in both for turn in ({"role": "user", "content": q}, {"role": "gpt", "content": a})]
)
HISTORY = st.lists(st.lists(WORD, min_size=2, max_size=2), max_size=2)
WORDS = ("system", "system_prompt", "instruction", "prompt", "query", "question", "input", "context")
ANSWERS = ("output", "completion", "response", "answer", "generation")
LINE = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys((*WORDS, *ANSWERS), TEXT | NOTHING)
    | dict.fromkeys(("conversations", "messages", "conversation"), TALK | NOTHING)
    | {"history": HISTORY | NOTHING, "id": st.integers()},
)


def words_in(value: object) -> list[str]:
    """Every word of a value, however deep."""
    if isinstance(value, dict):
        return [word for one in value.values() for word in words_in(one)]
    if isinstance(value, list):
        return [word for one in value for word in words_in(one)]
    return [value] if isinstance(value, str) and value.startswith("w") else []


@given(LINE)
def test_every_word_goes_out_or_the_line_is_refused(said: dict[str, Any]) -> None:
    """Whichever of the shapes are mixed."""
    try:
        sent = sharegpt(json.dumps(said).encode())
    except NoPair:
        return
    assert all(word in sent.decode() for word in words_in(said))
    turns = json.loads(sent)["conversations"]
    assert [turn["from"] for turn in turns if turn["from"] != "system"] == ["human", "gpt"] * (len(turns) // 2)


@given(
    st.sampled_from(sorted(CHANGES_MEANING)),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)),
)
def test_what_changes_the_meaning_is_nothing_or_refused(key: str, value: object) -> None:
    """Whatever value it has, nothing is both taken and left out."""
    assume(key != "label")
    turns = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Otters.", key: value}]
    try:
        sharegpt(json.dumps({"conversations": turns}).encode())
    except NoPair:
        return
    words = words_in(value) if not isinstance(value, str) else [value.strip().strip("[]{}").replace("null", "")]
    assert not any(words)
    assert value in (None, "", 0, 1, [], {}) or isinstance(value, str)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i)
    )
)
def test_whatever_json_there_is_has_an_answer(said: object) -> None:
    """A pair or a reason, and no other error."""
    with suppress(NoPair):
        assert sharegpt(json.dumps(said).encode()).startswith(b'{"conversations":[')
