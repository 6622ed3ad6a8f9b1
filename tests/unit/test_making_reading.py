"""Pairs are read out of whatever a model answers, and what it does wrong costs as little as possible."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuned.making.reading import LONGEST_ANSWER, MOST_PAIRS, read
from finetuned.making.values import Draft

ONE = '{"question": "What swims?", "answer": "An otter.", "evidence": "otters swim"}'
PAIR = ("What swims?", "An otter.", "otters swim")


def pairs(raw: str) -> list[tuple[str, ...]]:
    """The pairs of an answer, without evidence if they have none."""
    return [tuple(word for word in (d.question, d.answer, d.evidence) if word) for d in read(raw).pairs]


@pytest.mark.parametrize(
    "raw",
    [
        f'{{"facts": ["Otters swim."], "pairs": [{ONE}]}}',
        f"[{ONE}]",
        ONE,
        f"```json\n[{ONE}]\n```",
        f"Sure! Here's what I found:\n\n{ONE}\n\nI hope that it isn't wrong {{really}}.",
        f"Here's a list [of one pair, which I don't doubt:\n{ONE}",
        f'<think>Perhaps {{"question": "no?", "answer": "no"}}?</think>\n{ONE}',
        f"[THINK]what, [this]?[/THINK]{ONE}",
        f"<|channel|>analysis<|message|>hm<|channel|>final<|message|>{ONE}",
        f'{{"data": {{"deep": [[{ONE}]]}}}}',
        ONE[:-1] + ",}",
        ONE.replace(", ", " "),
        ONE.replace('"', "'"),
        ONE.replace('{"', "{“").replace('": "', "”: “").replace('", "', "”, “").replace('"}', "”}"),
        '{question: "What swims?", answer: An otter., evidence: "otters swim"}',
        '{"Q": "What swims?", "A": "An otter.", "Quote": "otters swim"}',
        '{"Frage": "What swims?", "Antwort": "An otter.", "Beleg": "otters swim"}',
        '{"prompt": "What swims?", "response": "An otter.", "source": "otters swim"}',
        '{"instruction": "What swims?", "input": "", "output": "An otter.", "context": "otters swim"}',
        '{"question_1": "What swims?", "answer_1": "An otter.", "evidence_1": "otters swim"}',
        '{"questions": ["What swims?"], "answers": ["An otter."], "evidence": ["otters swim"]}',
        "Q: What swims?\nA: An otter.\nEvidence: otters swim",
        '1. **Question:** What swims?\n   **Answer:** An otter.\n   **Evidence:** "otters swim"\n',
        "<question>What swims?</question><answer>An otter.</answer><quote>otters swim</quote>",
        "### Question 1: What swims?\n\nAnswer 1: An otter.\n\nQuote: “otters swim”",
    ],
)
def test_a_pair_is_read_in_any_shape(raw: str) -> None:
    """Models keep to a shape as they like."""
    assert pairs(raw) == [PAIR]
    assert read(raw).problem is None


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (f"{ONE}\n{ONE.replace('swim', 'dive')}", [PAIR, ("What dives?", "An otter.", "otters dive")]),
        (
            '{"What swims?": "An otter.", "What flies?": "An owl."}',
            [("What swims?", "An otter."), ("What flies?", "An owl.")],
        ),
        ('[["What swims?", "An otter."], ["What?", "Why?"]]', [("What swims?", "An otter.")]),
        ('{"instruction": "Translate.", "input": "Hund", "output": "dog"}', [("Translate.\nHund", "dog")]),
        ('{"question": "Which?", "answer": ["owls", "otters", 3]}', [("Which?", "owls, otters, 3")]),
        ('{"question": "How many?", "answer": 42, "evidence": null}', [("How many?", "42")]),
        ('{"questions": ["a?", ""], "answers": ["b", ""]}', [("a?", "b")]),
        (
            '{"role": 1, "messages": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}]}',
            [("a?", "b")],
        ),
        ('[{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}]', [("a?", "b")]),
        (
            "Q: Who swims? A: Otters.\nThey dive, too.\n\nbetween\nQ: Who flies?\nA: Owls",
            [("Who swims?", "Otters.\nThey dive, too."), ("Who flies?", "Owls")],
        ),
        ("问题：谁游泳？\n答案：水獭。", [("谁游泳？", "水獭。")]),
        ("Q: unanswered\nQ: Who?\nA: He.", [("Who?", "He.")]),
        (r'{"question": "caf\u00e9 \ud83d\ude00?", "answer": "line\nend"}', [("café 😀?", "line\nend")]),
        (r'{"question": "a \quite \n odd \u00e9?", "answer": "\ud800"}', [("a quite \n odd é?", "\ufffd")]),
        (
            '{"question": "Who said "no" to it?", "answer": "He said "no", and left."}',
            [('Who said "no" to it?', 'He said "no", and left.')],
        ),
        ("{'question': 'What is Ann's dog?', 'answer': 'It's a pug'}", [("What is Ann's dog?", "It's a pug")]),
        ('{"question": "two\nlines?", "answer": "yes\tso"}', [("two\nlines?", "yes\tso")]),
    ],
)
def test_several_shapes_of_pairs(raw: str, found: list[tuple[str, ...]]) -> None:
    """What stands in them is kept as it was said."""
    assert pairs(raw) == found


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (f'{{"facts": ["x"], "pairs": [{ONE}, {{"question": "Who?", "answer": "Half a', [PAIR]),
        (f'[{ONE}, {{"question": "Who?", "answer": "He.", "evidence": "ha', [PAIR, ("Who?", "He.")]),
        (f"[{ONE}, {{", [PAIR]),
        (f"[{ONE},", [PAIR]),
        (f'[{ONE}, {{"ques', [PAIR]),
        (f"{{'it', [{ONE}, {{“ques", [PAIR]),
    ],
)
def test_what_is_whole_in_an_answer_that_is_cut_is_kept(raw: str, found: list[tuple[str, ...]]) -> None:
    """Half a text is none: it would teach what is not so."""
    assert pairs(raw) == found
    assert read(raw).cut
    assert read(raw).problem == "it is cut short"


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("<think>I wonder", "it holds nothing but thoughts"),
        ("<think>one</think><think>two", "it holds nothing but thoughts"),
        ("I cannot help with that {private} text.", "no pair was found in it; it begins: I cannot help with"),
        ("<html><body>502</body></html>", "no pair was found in it; it begins: <html>"),
        ('[{"name": "x"}]', "no pair was found in it"),
        ('{"facts": [], "pairs": [{"weird": "x"}]}', "no pair was found in it"),
        ('{"question": "What', "no pair was found in it"),
        ('{"question": "a?"}', "no pair was found in it"),
        ('{"answer": "a"}', "no pair was found in it"),
        ('{"What?": 3, "x": "y"}', "no pair was found in it"),
        ("x" * 100, f"no pair was found in it; it begins: {'x' * 78} …"),
    ],
)
def test_what_is_not_understood_is_told(raw: str, problem: str) -> None:
    """A person sees what the model said instead."""
    assert read(raw).pairs == ()
    assert (read(raw).problem or "").startswith(problem)


@pytest.mark.parametrize(
    "raw", ["[]", '{"facts": [], "pairs": []}', '```json\n{"pairs": []}\n```', '{"facts": ["x"], "pairs": []}']
)
def test_a_model_may_say_that_there_is_nothing_to_ask(raw: str) -> None:
    """That is an answer, and no trouble."""
    assert read(raw).pairs == ()
    assert read(raw).problem is None


def test_the_same_pair_again_and_again_is_one() -> None:
    """A model that goes round in circles fills what it may say."""
    assert pairs(f"[{', '.join([ONE] * 500)}]") == [PAIR]
    assert len(read("\n".join(ONE.replace("What", f"What {n}") for n in range(300))).pairs) == MOST_PAIRS


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "{",
        '[{"a":',
        '["',
        "']",
        '["  ',
        ", ",
        "]}",
        "\\",
        "Q: a? A: b\n",
        "<think>",
        "</think>",
        "*",
        " ",
        '{"q":"a" , b',
        "#\n",
        "<question>",
        '{"a',
        '{"a" ',
        "_",
        "{{]",
        "[[}",
        "'",
        "“",
        "\u0301",
        "}",
        "1. ",
        "{“",
        "{'",
        "{'\n",
        "{[}",
    ],
)
@pytest.mark.parametrize("before", ["", '["', "[" * 40])
def test_hostile_answers_cost_little(before: str, piece: str) -> None:
    """Whatever is said a hundred thousand times over is passed over in one go."""
    read(before + piece * (LONGEST_ANSWER // 4 // len(piece)))


@given(st.text(alphabet="{}[]\":,'“”\\ \nqaQA?:x1<>/thinku`*", max_size=200) | st.text())
def test_nothing_raises(raw: str) -> None:
    """A model says anything."""
    reading = read(raw)
    assert reading.pairs or reading.problem is not None or "[" in raw


@given(st.lists(st.tuples(st.text(min_size=1), st.text(), st.text()), min_size=1, max_size=5))
def test_sound_json_is_read_as_it_is(said: list[tuple[str, str, str]]) -> None:
    """What is well written loses nothing, whatever the texts are."""
    said = [(asked, answer, proof) for asked, answer, proof in said if asked.strip()]
    raw = json.dumps([dict(zip(("question", "answer", "evidence"), one, strict=True)) for one in said])
    wanted = [Draft(question=q.strip(), answer=a.strip(), evidence=e.strip()) for q, a, e in said]
    assert list(read(raw).pairs) == list(dict.fromkeys(wanted))
