"""Questions and answers as servers tell them, read one by one; no I/O.

1. A pair keeps the server's exact words beside the readable ones. Pairs usually come from the conversations call; those
   that a server puts into the session itself are found as well (`qa_pairs`, `conversations`).
2. What stands among pairs and is none is not passed over in silence: an `Odd` is told in its place, so that somebody
   counts it. So is a pair whose question or answer is longer than `LONGEST_TEXT`: everything that shows pairs would
   have to hold it.
3. A conversation is a talk, of as many turns as it has questions with answers, and ready-made ones may have several,
   after a system's words. What is lost of a talk (an odd entry, words of a speaker that we do not know) counts as a
   turn, so that what follows it is not taken for the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Final

from finetuned.backend import LONGEST_TEXT, Entry, Odd, Pair
from finetuned.pieces import TOO_LONG, NotThat, Pieces

#: where servers may put pairs inside a session's answer
PAIR_KEYS: Final = frozenset({"qa_pairs", "conversations"})
TURNS_KEY: Final = "interactions"
_QUESTION_PREFIX: Final = re.compile(r"In document ([^\s()]+) \(document group [^\s()]+\), ")
_ANSWER_PREFIX: Final = re.compile(r"\[DOC_ID:([^\s\[\]]+)\] \[DOC_GROUP:[^\s\[\]]+\]\n\n")
#: of who speaks; whatever stands in a row in the place of a name can be looked for in a tuple
_ASKS: Final = ("human", "user")
_ANSWERS: Final = ("gpt", "assistant")
_SYSTEM: Final = "system"


def conversations(body: bytes | Pieces) -> tuple[Pair, ...]:
    """Read the pairs of the conversations call, all into memory. Raises NotThat."""
    return tuple(one for one in in_conversations(opened(body)) if isinstance(one, Pair))


def in_conversations(answer: Pieces) -> Iterator[Entry]:
    """Read what the conversations call tells, null when there are no pairs. Raises NotThat."""
    if answer.begins() == "[":
        yield from _entries(answer.items(lenient=True), count(1))
    elif answer.value() is not None:
        raise NotThat("pairs come as a list")
    answer.end()


def in_session(answer: Pieces) -> Iterator[Entry]:
    """Read the pairs that a session tells itself, if any. Raises NotThat."""
    talks = count(1)
    for key in answer.members():
        if key == TURNS_KEY and answer.begins() == "[":
            for _ in answer.elements():
                if answer.begins() != "{":
                    answer.value()
                    continue
                for inner in answer.members():
                    yield from _under(inner, answer, talks)
        else:
            yield from _under(key, answer, talks)
    answer.end()


def _under(key: str, answer: Pieces, talks: Iterator[int]) -> Iterator[Entry]:
    """Read what a member of a session tells; pass it over if it tells no pairs."""
    if key in PAIR_KEYS and answer.begins() == "[":
        yield from _entries(answer.items(lenient=True), talks)
    else:
        answer.value()


def opened(body: bytes | Pieces) -> Pieces:
    """Open an answer, to be read value by value."""
    return body if isinstance(body, Pieces) else Pieces.of(body)


def pair(
    raw_question: str, raw_answer: str, *, talk: int | None = None, turn: int | None = None, system: str | None = None
) -> Pair:
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
        talk=talk,
        turn=turn,
        system=system,
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


def _entries(rows: Iterable[Any], talks: Iterator[int]) -> Iterator[Entry]:
    """Read a list of conversations, of plain questions with answers, or of single turns, of whichever talk.

    `talks` numbers the conversations.
    """
    turns = _Turns()
    for row in rows:
        if row is TOO_LONG:
            yield Odd.TOO_LONG
        elif not isinstance(row, dict):
            yield Odd.NO_PAIR
        elif isinstance(said := row.get("conversations"), list):
            if len(said) == 2 and _asks(said[0]) and _answers(said[1]):  # as nearly all are: in a third of the time
                yield _pair(said[0]["value"], said[1]["value"], talk=next(talks), turn=1)
            else:
                yield from _conversation(said, next(talks))
        elif isinstance(row.get("question"), str) and isinstance(row.get("answer"), str):
            yield _pair(row["question"], row["answer"], talk=next(talks), turn=1)
        elif _is_turn(row):
            yield from turns.next(row)
        else:
            yield Odd.NO_PAIR
    yield from turns.end()


def _conversation(rows: list[Any], talk: int) -> Iterator[Entry]:
    """Pair each question with the answer that follows it; where there is none at all, that is odd."""
    turns = _Turns(talk)
    told = False
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("value"), str):
            continue
        if not _is_turn(row):
            turns.hear(row["value"], is_system=number == 0 and row.get("from") == _SYSTEM)
            continue
        for one in turns.next(row):
            told = True
            yield one
    for one in turns.end():
        told = True
        yield one
    if not told:
        yield Odd.NO_PAIR


def _is_turn(row: dict[str, Any]) -> bool:
    return _asks(row) or _answers(row)


def _asks(row: Any) -> bool:
    return isinstance(row, dict) and row.get("from") in _ASKS and isinstance(row.get("value"), str)


def _answers(row: Any) -> bool:
    return isinstance(row, dict) and row.get("from") in _ANSWERS and isinstance(row.get("value"), str)


class _Turns:
    """Makes pairs of turns; a question without an answer is odd, and so is an answer without a question.

    They are of the `talk` of this number; null: it is not told what belongs together.
    """

    def __init__(self, talk: int | None = None) -> None:
        self._asked: str | None = None
        self._talk = talk
        self._turn = 0
        self._system: str | None = None

    def hear(self, words: str, *, is_system: bool) -> None:
        """Take what is neither asked nor answered: the system's words before the talk, or what is lost of it."""
        if is_system:
            self._system = words or None
        else:
            self._turn += 1

    def next(self, turn: dict[str, Any]) -> Iterator[Entry]:
        """Take one more turn; tell what it makes whole."""
        asked, self._asked = self._asked, None
        if turn["from"] in _ASKS:
            self._asked = turn["value"]
            if asked is None:
                return
        self._turn += 1
        if turn["from"] in _ASKS or asked is None:
            yield Odd.NO_PAIR
            return
        number = None if self._talk is None else self._turn
        system = self._system if number == 1 else None
        yield _pair(asked, turn["value"], talk=self._talk, turn=number, system=system)

    def end(self) -> Iterator[Entry]:
        """Tell what is left over."""
        if self._asked is not None:
            yield Odd.NO_PAIR


def _pair(question: str, answer: str, *, talk: int | None, turn: int | None, system: str | None = None) -> Entry:
    if len(question) > LONGEST_TEXT or len(answer) > LONGEST_TEXT or (system and len(system) > LONGEST_TEXT):
        return Odd.TOO_LONG
    return pair(question, answer, talk=talk, turn=turn, system=system)


#: how the pairs of an answer are read
ReadPairs = Callable[[Pieces], Iterator[Entry]]
