"""Pairs in the shapes that programs train with: from rows of the ledger to talks, and from talks to lines and rows.

1. A talk stays a talk: `talks` puts the turns together again that belong together. A turn is never told without those
   before it: what was lost of a talk ends it there, and what follows is left out, and counted.
2. A line of a format has the same keys as every other, and none is null: readers guess the columns' types by the first.
3. What a format has no place for is left out of it, and counted (`Loss`), never written in part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec


class Turn(NamedTuple):
    """A pair of the ledger; `talk` and `turn` are null if it is not known what it belongs to."""

    id: int
    session_id: str
    file_id: int | None
    ordinal: int
    question: str
    answer: str
    talk: int | None
    turn: int | None
    system: str | None


#: the turns of one talk in their order, the first among them
Talk = Sequence[Turn]


class Loss(StrEnum):
    """Why a pair is left out."""

    EMPTY = "empty"
    BROKEN = "broken"
    NO_PLACE = "no_place"
    MARKS = "marks"
    NEAR = "near_duplicates"
    BETWEEN = "between_the_parts"
    WORSE = "below_min_quality"
    UNMEASURED = "without_their_file"


#: how people are told of pairs that are left out
LOSSES: Final = MappingProxyType(
    {
        Loss.EMPTY: "without a question or an answer",
        Loss.BROKEN: "that go on from a turn that is not there",
        Loss.NO_PLACE: "of talks of several turns, or with a system's words, for which this format has no place",
        Loss.MARKS: "with <|im_ in them, which this format means something else by",
        Loss.NEAR: "much like one before them",
        Loss.BETWEEN: "of documents that are much like documents on both sides of the split",
        Loss.WORSE: "with an answer of whose words too few are in its file",
        Loss.UNMEASURED: "whose file cannot be read any more, so that nothing can be measured",
    }
)
#: what ChatML's marks begin with
MARK: Final = "<|im_"
#: the columns of a table, in their order; `MESSAGES` is there if there are talks
COLUMNS: Final = ("question", "answer", "file", "job_id", "session_id", "ordinal")
MESSAGES: Final = "messages"

#: makes lines, or rows, of talks; of many at a time, as a million of them have to be made
Shape = Callable[[Iterable[Talk]], list[Any]]


class Origin(NamedTuple):
    """Where a turn comes from: its file's path, for people (empty: not known), and its job."""

    path: str
    job_id: str


#: tells where a turn comes from
OriginOf = Callable[[Turn], Origin]


def talks(batches: Iterable[list[Turn]], lost: Counter[Loss]) -> Iterator[list[Talk]]:
    """Yield the talks that turns make, many at a time; the turns of one follow each other. Count lost turns.

    A million turns go through here. Nearly all are talks by themselves, and batches of such take a way of their own;
    of what is not known to belong to a talk none goes on.
    """
    held: list[Turn] = []  # what may go on in the next batch
    for batch in batches:
        turns = held + batch
        if {turn.turn for turn in turns} <= {None, 1}:
            whole: list[Talk] = [(turn,) for turn in turns[:-1] if not _is_blank(turn)]
            lost[Loss.EMPTY] += len(turns) - 1 - len(whole)
            held = turns[-1:]
        else:
            *complete, held = _grouped(turns)
            whole = [talk for turns in complete if (talk := _whole(turns, lost))]
        if whole:
            yield whole
    if held and (talk := _whole(held, lost)):
        yield [talk]


def _grouped(turns: Iterable[Turn]) -> list[list[Turn]]:
    """Put the turns of each talk together."""
    groups: list[list[Turn]] = []
    for turn in turns:
        first = groups[-1][0] if groups else None
        if first and turn.turn and (turn.session_id, turn.talk) == (first.session_id, first.talk):
            groups[-1].append(turn)
        else:
            groups.append([turn])
    return groups


def _whole(talk: list[Turn], lost: Counter[Loss]) -> Talk:
    """Return what of a talk can be told: from its first turn to the first that is missing or empty."""
    for before, turn in enumerate(talk):
        is_empty = _is_blank(turn)
        if is_empty or turn.turn not in {None, before + 1}:
            lost[Loss.EMPTY] += is_empty
            lost[Loss.BROKEN] += len(talk) - before - is_empty
            return talk[:before]
    return talk


def _is_blank(turn: Turn) -> bool:
    return not (turn.question.strip() and turn.answer.strip())


def unfit(form: str, talk: Talk) -> Loss | None:
    """Tell why a format has no place for a talk; null: it has one."""
    if form == "alpaca" and (len(talk) > 1 or talk[0].system):
        return Loss.NO_PLACE
    if form == "chatml" and any(MARK in words for _, words in messages(talk)):
        return Loss.MARKS
    return None


def messages(talk: Talk, *, asks: str = "user", answers: str = "assistant") -> Iterator[tuple[str, str]]:
    """Yield who says what."""
    if talk[0].system:
        yield "system", talk[0].system
    for turn in talk:
        yield asks, turn.question
        yield answers, turn.answer


def _roles(talk: Talk) -> list[dict[str, str]]:
    first = talk[0]
    if len(talk) == 1 and not first.system:  # most are; the way below takes three times as long
        return [{"role": "user", "content": first.question}, {"role": "assistant", "content": first.answer}]
    return [{"role": role, "content": content} for role, content in messages(talk)]


def _openai(talks: Iterable[Talk]) -> list[Any]:
    return [{"messages": _roles(talk)} for talk in talks]


def _sharegpt(talks: Iterable[Talk]) -> list[Any]:
    said = (messages(talk, asks="human", answers="gpt") for talk in talks)
    return [{"conversations": [{"from": speaker, "value": words} for speaker, words in one]} for one in said]


def _alpaca(talks: Iterable[Talk]) -> list[Any]:
    return [{"instruction": turn.question, "input": "", "output": turn.answer} for (turn,) in talks]


def _trl(talks: Iterable[Talk]) -> list[Any]:
    """Make a line of each answer: what was said before it is the prompt, which is not trained."""
    made = []
    for talk in talks:
        said = _roles(talk)
        ends = range(len(said) - 2 * len(talk) + 1, len(said), 2)
        made += [{"prompt": said[:end], "completion": said[end : end + 1]} for end in ends]
    return made


def _chatml(talks: Iterable[Talk]) -> list[Any]:
    said = (messages(talk) for talk in talks)
    return [{"text": "\n".join(f"<|im_start|>{role}\n{words}<|im_end|>" for role, words in one)} for one in said]


#: by format what it makes of talks, as lines of JSON
LINES: Final[Mapping[str, Shape]] = MappingProxyType(
    {"openai": _openai, "sharegpt": _sharegpt, "alpaca": _alpaca, "chatml": _chatml, "mlx": _openai, "trl": _trl}
)


def rows(origin_of: OriginOf, *, with_messages: bool) -> Shape:
    """Make the shape of a table: a row of each pair, its columns as `COLUMNS`.

    With `with_messages` the talk as far as this answer, as JSON, is one column more.
    """

    def row(turn: Turn) -> tuple[Any, ...]:
        path, job_id = origin_of(turn)
        return turn.question, turn.answer, path, job_id, turn.session_id, turn.ordinal

    def plain(talks: Iterable[Talk]) -> list[Any]:
        return [row(turn) for talk in talks for turn in talk]

    def shape(talks: Iterable[Talk]) -> list[Any]:
        made = []
        for talk in talks:
            said = _roles(talk)
            for back, turn in enumerate(talk, 1 - len(talk)):
                made.append((*row(turn), msgspec.json.encode(said[: len(said) + 2 * back]).decode()))
        return made

    return shape if with_messages else plain


def records(origin_of: OriginOf) -> Shape:
    """Make the shape of a data set for a hub: a row of each talk: its messages, then `COLUMNS` from the third on."""

    def row(talk: Talk) -> tuple[Any, ...]:
        return _roles(talk), *origin_of(talk[0]), talk[0].session_id, talk[0].ordinal

    return lambda talks: [row(talk) for talk in talks]
