"""Ready-made pairs keep their meaning: it is carried over, or the line is refused; nothing is dropped in silence."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from finetuned.readymade import CHANGES_MEANING, NoPair, is_ready_made, sharegpt

U, A = {"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Otters."}
S = {"from": "system", "value": "Be brief."}
ASKED, ANSWERED = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Otters."}
MORE = [{"from": "human", "value": "And why?"}, {"from": "gpt", "value": "Fish."}]


def sent(said: object) -> list[dict[str, str]]:
    """The turns that the server is given for a line."""
    turns: list[dict[str, str]] = json.loads(sharegpt(json.dumps(said).encode()))["conversations"]
    return turns


@pytest.mark.parametrize(
    ("said", "turns"),
    [
        # a system's words beside the talk, and none that say nothing
        ({"system": "Be brief.", "conversations": [U, A]}, [S, U, A]),
        ({"system": "Be brief.", "messages": [ASKED, ANSWERED]}, [S, U, A]),
        ({"system": "Be brief.", "instruction": "Who?", "output": "Otters."}, [S, U, A]),
        ({"system_prompt": "Be brief.", "instruction": "Who?", "generation": "Otters."}, [S, U, A]),
        ({"system": "Be brief.", "conversations": [S, U, A]}, [S, U, A]),
        ({"messages": [{"role": "system", "content": ""}, ASKED, ANSWERED]}, [U, A]),
        ({"messages": [{"role": "system", "content": None}, ASKED, ANSWERED]}, [U, A]),
        ({"system": " ", "conversations": [U, A]}, [U, A]),
        ({"messages": [{"role": "developer", "content": "Be brief."}, ASKED, ANSWERED]}, [S, U, A]),
        # what was said before
        ({"history": [["Who?", "Otters."]], "instruction": "And why?", "output": "Fish."}, [U, A, *MORE]),
        ({"history": [ASKED, ANSWERED], "query": "And why?", "response": "Fish."}, [U, A, *MORE]),
        ({"system": "Be brief.", "history": [["Who?", "Otters."]], "query": "And why?", "response": "Fish."},
         [S, U, A, *MORE]),
        ({"history": [], "instruction": "Who?", "output": "Otters."}, [U, A]),
        # null and nothing are as good as absent: what a union of two sets looks like
        ({"conversations": None, "messages": [ASKED, ANSWERED]}, [U, A]),
        ({"conversations": [], "messages": [ASKED, ANSWERED]}, [U, A]),
        ({"messages": None, "instruction": "Who?", "input": None, "output": "Otters."}, [U, A]),
        ({"messages": [ASKED, ANSWERED], "instruction": None, "output": ""}, [U, A]),
        ({"instruction": "Who?", "input": "  ", "output": "Otters."}, [U, A]),
        ({"instruction": "", "input": "Who?", "output": "Otters."}, [U, A]),
        # other names of a question, of what it is about, and of an answer
        ({"prompt": "Who?", "completion": "Otters."}, [U, A]),
        ({"query": "Who?", "response": "Otters."}, [U, A]),
        ({"question": "Who?", "answer": "Otters."}, [U, A]),
        ({"instruction": "Who?", "context": "", "response": "Otters.", "category": "open_qa"}, [U, A]),
        ({"instruction": "Who?", "context": "In rivers.", "response": "Otters."},
         [{"from": "human", "value": "Who?\n\nIn rivers."}, A]),
        ({"input": "Who?", "output": "Otters."}, [U, A]),
        ({"prompt": [ASKED], "completion": [ANSWERED]}, [U, A]),
        ({"prompt": [{"role": "system", "content": "Be brief."}, ASKED], "completion": "Otters."}, [S, U, A]),
        # what ultrachat, distilabel and our own ledger write
        ({"prompt": "Who?", "prompt_id": "7", "messages": [ASKED, ANSWERED]}, [U, A]),
        ({"instruction": "Who?", "generation": "Otters.", "prompt": "Who?", "messages": [ASKED, ANSWERED]}, [U, A]),
        ({"job_id": "j", "session_id": "s", "file": "/a.txt", "ordinal": 1, "question": "Who?", "answer": "Otters.",
          "raw_question": "In document d, Who?", "raw_answer": "[DOC_ID:d]\nOtters."}, [U, A]),
        # the same said twice
        ({"conversations": [U, A], "messages": [ASKED, ANSWERED]}, [U, A]),
        ({"messages": [{**ASKED, "text": "Who?"}, ANSWERED]}, [U, A]),
        # other names of the talk, of its turns and of who speaks
        ({"conversation": [ASKED, ANSWERED]}, [U, A]),
        ({"conversations": [ASKED, ANSWERED]}, [U, A]),
        ({"messages": [U, A]}, [U, A]),
        ({"messages": [{"role": "prompter", "text": "Who?"}, {"role": "assistant", "text": "Otters."}]}, [U, A]),
        *(
            ({"conversations": [{"from": asks, "value": "Who?"}, {"from": says, "value": "Otters."}]}, [U, A])
            for asks, says in (("Human", "GPT"), ("user", "model"), ("USER", "ChatGPT"), ("human", " bot "),
                               ("human", "bing"), ("human", "bard"), ("human", "ai"))
        ),
        # content in parts
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Who?"}]}, ANSWERED]}, [U, A]),
        ({"messages": [{"role": "user", "content": [{"type": "input_text", "text": "Who"}, "?"]}, ANSWERED]},
         [{"from": "human", "value": "Who\n?"}, A]),
        # what says that nothing is special
        ({"messages": [ASKED, {**ANSWERED, "weight": 1, "loss": True, "tool_calls": [], "reasoning_content": ""}]},
         [U, A]),
        ({"messages": [{**ASKED, "weight": 0, "loss": False}, ANSWERED], "tools": "[]", "images": []}, [U, A]),
        ({"prompt": "Who?", "completion": "Otters.", "label": True, "kto_tag": True}, [U, A]),
        ({"question": "Who?", "answer": "Otters.", "label": "animals"}, [U, A]),
        ({"question": "Who?", "answer": "Otters.", "label": 0}, [U, A]),
        # the same, as tables and other programs write it: NeMo, verl, torchtune, Nemotron
        ({"messages": [ASKED, {**ANSWERED, "weight": "1", "train": "True", "loss_mask": 1}], "kto_tag": "true"},
         [U, A]),
        ({"mask": "User", "system": "", "conversations": [{"from": "User", "value": "Who?", "label": None}, A]},
         [U, A]),
        ({"messages": [{**ASKED, "masked": True, "loss_mask": 0, "weight": 0.5}, ANSWERED]}, [U, A]),
        ({"input": [ASKED], "output": "Otters.", "reasoning": "off", "system_prompt": ""}, [U, A]),
        ({"messages": [ASKED, ANSWERED], "thinking": True, "reasoning": "On", "tools": "None", "image_url": "nan"},
         [U, A]),
        ({"question": "Who?", "answer": ["Otters."]}, [U, A]),
        ({"question": "Who?", "answer": "null"}, [U, {"from": "gpt", "value": "null"}]),
    ],
)  # fmt: skip
def test_what_is_said_is_sent(said: object, turns: list[dict[str, str]]) -> None:
    """Words that belong to the talk go into it, under whatever names people's sets have them."""
    assert sent(said) == turns


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"messages": [ASKED, {**ANSWERED, "weight": 0}]}, "weight 0: an answer that is not to be trained"),
        ({"messages": [ASKED, {**ANSWERED, "weight": 0.5}]}, "weight 0.5: an answer"),
        ({"messages": [ASKED, {**ANSWERED, "loss": False}]}, "loss false: an answer"),
        ({"conversations": [U, {**A, "train": False}]}, "train false: an answer"),
        ({"messages": [ASKED, {**ANSWERED, "mask": True}]}, "mask true: an answer"),
        ({"messages": [ASKED, ANSWERED], "weight": 0}, "weight 0: an answer"),
        ({"messages": [ASKED, ANSWERED], "kto_tag": False}, "kto_tag false: a preference"),
        ({"prompt": "Who?", "completion": "Cats.", "label": False}, "label false: a preference"),
        ({"prompt": "Who?", "completion": "Cats.", "label": "False"}, 'label "False": a preference'),
        ({"prompt": "Who?", "completion": "Cats.", "label": 0}, "label 0: a preference"),
        ({"messages": [ASKED, {**ANSWERED, "loss_mask": 0}]}, "loss_mask 0: an answer"),
        ({"messages": [ASKED, {**ANSWERED, "weight": "0"}]}, 'weight "0": an answer'),
        ({"messages": [ASKED, {**ANSWERED, "Weight": 0}]}, "Weight 0: an answer"),
        ({"messages": [ASKED, {**ANSWERED, "masked": "true"}]}, 'masked "true": an answer'),
        ({"mask": "Assistant", "conversations": [U, A]}, 'mask "Assistant": an answer'),
        ({"question": "What is it?", "answer": "Red.", "image_id": 42}, "image_id 42: only words can be sent"),
        ({"conversations": [U, A], "video_path": "a.mp4"}, "video_path .*: only words can be sent"),
        ({"question": "Who?", "answer": ["Otters.", "An otter."]}, "answer is no text but a list of 2; choose one"),
        ({"input": {"messages": [ASKED]}, "preferred_output": [ANSWERED], "non_preferred_output": []},
         "preferred_output .*: a preference is no pair"),
        ({"conversation": [{"human": "Who?", "assistant": "Otters."}]}, "neither role nor from .*human, assistant"),
        ({"messages": json.dumps([ASKED, ANSWERED])}, "messages is no list but a JSON string"),
        ({"prompt": "Who?", "chosen": "Otters.", "rejected": "Cats."}, "chosen .*: a preference is no pair"),
        ({"messages": [ASKED, ANSWERED], "tools": [{"name": "look"}]}, "tools .*: a talk that calls tools"),
        ({"messages": [ASKED, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]},
         "tool_calls .*: a talk that calls tools"),
        ({"messages": [ASKED, {**ANSWERED, "function_call": {"name": "look"}}]}, "function_call .*: a talk that"),
        ({"conversations": [U, {"from": "function_call", "value": "{}"}, {"from": "observation", "value": "x"}, A]},
         "'?from is none of human, .*\"function_call\"; a talk that calls tools"),
        ({"messages": [ASKED, {**ANSWERED, "reasoning_content": "Hm."}]}, 'reasoning_content "Hm.": there is no place'),
        ({"instruction": "Who?", "output": "Otters.", "thinking": "Hm."}, "thinking"),
        ({"messages": [ASKED, {**ANSWERED, "prefix": True}]}, "prefix true"),
        ({"conversations": [U, A], "images": ["a.png"]}, "images .*: only words can be sent"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Who?"},
          {"type": "image_url", "image_url": {"url": "a.png"}}]}, ANSWERED]}, 'a part of it is "image_url", and only'),
        ({"messages": [{"role": "user", "content": [7]}, ANSWERED]}, "content is no text: a part of it is a number"),
        ({"conversations": [{"from": "narrator", "value": "x"}, A]}, 'a turn\'s from is none of .*: "narrator"$'),
        ({"conversations": [U, A], "messages": [ASKED, {**ANSWERED, "content": "Cats."}]}, "are two talks"),
        ({"messages": [ASKED, ANSWERED], "instruction": "What?"}, "instruction stands beside messages, and says some"),
        ({"messages": [ASKED, ANSWERED], "context": "In rivers."}, "context stands beside messages"),
        ({"messages": [ASKED, ANSWERED], "history": [["a", "b"]]}, "history"),
        ({"question": "Who?", "answer": "Otters.", "response": "Cats."}, "stands beside question and"),
        ({"question": "Who?", "query": "What?", "answer": "Otters."}, "stands beside query and answer"),
        ({"system": "Be long.", "conversations": [S, U, A]}, "system says something else than the system's turn"),
        ({"history": "Who?", "instruction": "And why?", "output": "Fish."}, "history is no list"),
        ({"history": ["Who?"], "instruction": "And why?", "output": "Fish."}, "history is no list of questions"),
        ({"history": [["Who?", ""]], "instruction": "And why?", "output": "Fish."}, "an answer in history is no text"),
        ({"prompt": [ASKED], "input": "otter", "completion": "Otters."}, "prompt is no text"),
        ({"conversations": [{**U, "role": "gpt"}, A]}, "from and role are two speakers"),
        ({"conversations": [{**U, "content": "What?"}, A]}, "value and content of a turn say two things"),
        ({"instruction": "How many?", "output": 4}, r"output is no text but a number \(4\); write it as text"),
        ({"instruction": "Is it?", "output": True}, "output is no text but true or false"),
        ({"instruction": "Who?", "output": {"a": 1}}, "output is no text but a JSON object"),
        ({"text": "Otters."}, r"no shape that is known \(its keys: text\)"),
        ({"messages": [{"role": "user", "content": [{"type": ["text"], "text": "a"}]}, ANSWERED]}, "a part of it is"),
        ({"messages": [{"role": "user", "content": [{"text": ["Who?"]}]}, ANSWERED]}, "a part of it is a JSON array"),
        ({f"a\n{n}": 1 for n in range(20)}, r"its keys: a\\n0, a\\n1, .*, a\\n7\)$"),
        (["a"], "not a JSON object but a JSON array"),
        ("a", "not a JSON object but a JSON string"),
        (None, "not a JSON object but null"),
    ],
)  # fmt: skip
def test_what_cannot_be_sent_refuses_the_line(said: object, why: str) -> None:
    """The reason names the word that was found, and what would be lost."""
    with pytest.raises(NoPair, match=why):
        sent(said)


@pytest.mark.parametrize("key", sorted(CHANGES_MEANING))
@pytest.mark.parametrize("of_the_turn", [True, False])
def test_whatever_changes_the_meaning_is_refused_wherever_it_stands(key: str, of_the_turn: bool) -> None:
    """In a line as in an answer; null says nothing."""
    value: Any = False if key in {"kto_tag", "label"} else 0.3
    for said in (None, value):
        answer = {**A, key: said} if of_the_turn else A
        line = {"conversations": [U, answer]} | ({} if of_the_turn else {key: said})
        if said is None:
            assert sent(line) == [U, A]
        else:
            with pytest.raises(NoPair, match=f"^{key} "):
                sent(line)


def test_a_name_that_stands_twice_hides_no_words() -> None:
    """JSON's readers take one of the two, and not all the same one."""
    with pytest.raises(NoPair, match="output stands twice in one object"):
        sharegpt(b'{"instruction": "Who?", "output": "Cats.", "output": "Otters."}')


def test_a_comma_at_a_lines_end_is_named() -> None:
    """What is left of an array that was cut into lines by hand."""
    with pytest.raises(NoPair, match=r"not JSON .*; a comma ends the line, and must not"):
        sharegpt(b'{"instruction": "Who?", "output": "Otters."},')


@pytest.mark.parametrize("between", [b"", b" ", b"\r"])
def test_two_objects_in_a_line_are_named_with_the_way_out(between: bytes) -> None:
    """As a Mac's line ends make them, and programs that write none; half a line has no comma too many."""
    line = json.dumps({"instruction": "Who?", "output": "Otters."}).encode()
    with pytest.raises(NoPair, match=r"more follows the first object; .*jq -c \. FILE > NEW\.jsonl"):
        sharegpt(line + between + line)
    with pytest.raises(NoPair, match=r"^not JSON \([^()]*\)$"):
        sharegpt(b'{"instruction": "Who?",')


def test_what_is_about_a_line_is_left_out_and_told() -> None:
    """Ids, sources and scores change nothing; what is null is not there."""
    rest: set[str] = set()
    sharegpt(json.dumps({"id": 7, "score": None, "conversations": [{**U, "lang": "en"}, A]}).encode(), rest)
    assert rest == {"id", "lang"}


def test_ndjson_is_jsonl() -> None:
    """Two names of one thing."""
    assert is_ready_made("/notes/A.NDJSON")
    assert not is_ready_made("/notes/a.json")


@pytest.mark.parametrize("depth", [100, 400, 900])
def test_a_bottomless_line_has_an_answer(depth: int) -> None:
    """However its parts are nested: who drops it must not stop the daemon."""
    for inner in ('{"text": [' * depth + "]}" * depth, "[" * depth + "]" * depth):
        for key in ("content", "weight"):
            line = f'{{"messages": [{{"role": "user", "content": "a", "{key}": {inner}}}]}}'
            with pytest.raises(NoPair):
                sharegpt(line.encode().replace(b'"content": "a", "content"', b'"content"'))


def test_a_line_that_can_just_be_read_has_an_answer_too() -> None:
    """Some depths can be read and not be told: which ones depends on who asks, so all of them near the limit are."""
    limit = sys.getrecursionlimit()
    whys = set()
    for depth in range(limit // 2, limit):
        deep = "[" * depth + "]" * depth
        with pytest.raises(NoPair) as refused:
            sharegpt(f'{{"question": "Q?", "answer": "A.", "weight": {deep}}}'.encode())
        whys.add(str(refused.value))
    assert "not JSON that can be read: it is nested too deeply" in whys
