"""Questions and answers as servers tell them, read one by one; no I/O.

1. A pair keeps the server's exact words beside the readable ones. Pairs usually come from the conversations call; those
   that a server puts into the session itself are found as well (`qa_pairs`, `conversations`).
2. What stands among pairs and is none is not passed over in silence: an `Odd` is told in its place, so that somebody
   counts it. So is a pair whose question or answer is longer than `LONGEST_TEXT`: everything that shows pairs would
   have to hold it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from finetuned.backend import LONGEST_TEXT, Entry, Odd, Pair
from finetuned.pieces import TOO_LONG, NotThat, Pieces

#: where servers may put pairs inside a session's answer
PAIR_KEYS: Final = frozenset({"qa_pairs", "conversations"})
TURNS_KEY: Final = "interactions"
_QUESTION_PREFIX: Final = re.compile(r"In document ([^\s()]+) \(document group [^\s()]+\), ")
_ANSWER_PREFIX: Final = re.compile(r"\[DOC_ID:([^\s\[\]]+)\] \[DOC_GROUP:[^\s\[\]]+\]\n\n")
_ASKS: Final = frozenset({"human", "user"})
_ANSWERS: Final = frozenset({"gpt", "assistant"})


def conversations(body: bytes | Pieces) -> tuple[Pair, ...]:
    """Read the pairs of the conversations call, all into memory. Raises NotThat."""
    return tuple(one for one in in_conversations(opened(body)) if isinstance(one, Pair))


def in_conversations(answer: Pieces) -> Iterator[Entry]:
    """Read what the conversations call tells, null when there are no pairs. Raises NotThat."""
    if answer.begins() == "[":
        yield from _entries(answer.items(lenient=True))
    elif answer.value() is not None:
        raise NotThat("pairs come as a list")
    answer.end()


def in_session(answer: Pieces) -> Iterator[Entry]:
    """Read the pairs that a session tells itself, if any. Raises NotThat."""
    for key in answer.members():
        if key == TURNS_KEY and answer.begins() == "[":
            for _ in answer.elements():
                if answer.begins() != "{":
                    answer.value()
                    continue
                for inner in answer.members():
                    yield from _under(inner, answer)
        else:
            yield from _under(key, answer)
    answer.end()


def _under(key: str, answer: Pieces) -> Iterator[Entry]:
    """Read what a member of a session tells; pass it over if it tells no pairs."""
    if key in PAIR_KEYS and answer.begins() == "[":
        yield from _entries(answer.items(lenient=True))
    else:
        answer.value()


def opened(body: bytes | Pieces) -> Pieces:
    """Open an answer, to be read value by value."""
    return body if isinstance(body, Pieces) else Pieces.of(body)


def pair(raw_question: str, raw_answer: str) -> Pair:
    """Make a pair, without the prefixes that name its document; words without a prefix stay untouched."""
    asked = _QUESTION_PREFIX.match(raw_question)
    answered = _ANSWER_PREFIX.match(raw_answer)
    named = asked or answered
    return Pair(
        raw_question=raw_question,
        raw_answer=raw_answer,
        question=raw_question[asked.end() :] if asked else raw_question,
        answer=raw_answer[answered.end() :] if answered else raw_answer,
        document=named[1] if named else None,
    )


def dressed(question: str, answer: str, document: str, group: str) -> Pair:
    """Make a pair in the server's own words, with the prefixes that name its document and that `pair` takes off."""
    return pair(
        f"In document {document} (document group {group}), {question}",
        f"[DOC_ID:{document}] [DOC_GROUP:{group}]\n\n{answer}",
    )


def as_conversations(pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    """Make pairs what the conversations call has, ready to be written there."""
    return [
        {"conversations": [{"from": "human", "value": p.raw_question}, {"from": "gpt", "value": p.raw_answer}]}
        for p in pairs
    ]


def _entries(rows: Iterable[Any]) -> Iterator[Entry]:
    """Read a list of conversations, of plain questions with answers, or of single turns."""
    turns = _Turns()
    for row in rows:
        if row is TOO_LONG:
            yield Odd.TOO_LONG
        elif not isinstance(row, dict):
            yield Odd.NO_PAIR
        elif isinstance(row.get("conversations"), list):
            yield from _conversation(row["conversations"])
        elif isinstance(row.get("question"), str) and isinstance(row.get("answer"), str):
            yield _pair(row["question"], row["answer"])
        elif _is_turn(row):
            yield from turns.next(row)
        else:
            yield Odd.NO_PAIR
    yield from turns.end()


def _conversation(rows: Iterable[Any]) -> Iterator[Entry]:
    """Pair each question with the answer that follows it; where there is none at all, that is odd."""
    turns = _Turns()
    told = False
    for row in rows:
        for one in turns.next(row) if isinstance(row, dict) and _is_turn(row) else ():
            told = True
            yield one
    for one in turns.end():
        told = True
        yield one
    if not told:
        yield Odd.NO_PAIR


def _is_turn(row: dict[str, Any]) -> bool:
    return isinstance(row.get("value"), str) and (row.get("from") in _ASKS or row.get("from") in _ANSWERS)


class _Turns:
    """Makes pairs of turns; a question without an answer is odd, and so is an answer without a question."""

    def __init__(self) -> None:
        self._asked: str | None = None

    def next(self, turn: dict[str, Any]) -> Iterator[Entry]:
        """Take one more turn; tell what it makes whole."""
        asked, self._asked = self._asked, None
        if turn["from"] in _ASKS:
            self._asked = turn["value"]
            if asked is not None:
                yield Odd.NO_PAIR
        else:
            yield Odd.NO_PAIR if asked is None else _pair(asked, turn["value"])

    def end(self) -> Iterator[Entry]:
        """Tell what is left over."""
        if self._asked is not None:
            yield Odd.NO_PAIR


def _pair(question: str, answer: str) -> Entry:
    return Odd.TOO_LONG if max(len(question), len(answer)) > LONGEST_TEXT else pair(question, answer)


#: how the pairs of an answer are read
ReadPairs = Callable[[Pieces], Iterator[Entry]]
