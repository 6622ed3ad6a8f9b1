"""Whether a model has learned a text: which questions it is asked with no text at hand, and how its answers are scored.

1. A question is held out of the training only if its fact is taught by another pair of the same file, whose evidence is
   the same for the most part: then the fact is learned, and the question is new. A file that has no such pair is asked
   what it was taught; a score always tells which of the two it is of.
2. Which questions are chosen hangs on their words alone: a job that is trained again is asked the same ones.
3. A score is the share of what the expected answer says beyond its question that the model has said, from 0 to 1. Words
   count by how rare they are in the answers of the job, so that no list of languages is needed; where no spaces are
   written, two neighbouring letters are a word. An answer that lacks a number gets half at most.
4. A model that says everything has said nothing: only so much of what it says is read as an answer may be long.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Final, NamedTuple

from finetuned.model import Value
from finetuned.words import has_no_spaces, plain_words

#: the most questions of a file that are held out, and of those that were taught (of a file of which none is held out
#: so many as both together); and the most of all files
HELD_OUT: Final = 3
TAUGHT: Final = 2
IN_ALL: Final = 100
#: of a file's pairs one in so many may be held out; and one, if there are fewer
_ONE_IN: Final = 10
#: how many pairs whose evidence begins next are compared
_NEIGHBOURS: Final = 32
#: of what a model says so many words are read, for each of the expected answer, and more
_READ_TIMES, _READ_MORE = 3, 20
#: what an answer that lacks a number gets at most
_WITHOUT_A_NUMBER: Final = 0.5


class Fact(NamedTuple):
    """A pair as it is chosen: what it is known by, what it asks, and where in which document its evidence lies.

    `begins` and `ends` are the same if none is known.
    """

    key: str
    asks: str
    document: str
    begins: int
    ends: int


class Score(Value, frozen=True):
    """How well `questions` were answered, before the training and after it, each from 0 to 1."""

    questions: int
    before: float
    after: float


class Answered(Value, frozen=True):
    """A question that was asked, what was expected, what was said before the training and after it, and the scores.

    `file` is the upload name; `judged_before` and `judged_after`: whether a judging model took it as right.
    """

    file: str
    question: str
    expected: str
    held_out: bool
    before: str
    after: str
    score_before: float
    score_after: float
    judged_before: bool | None = None
    judged_after: bool | None = None


def key_of(question: str, answer: str, document: str) -> str:
    """Make the key by which a pair is known, in 16 hex digits."""
    return _hash(f"{question}\0{answer}\0{document}")


def fact(question: str, answer: str, document: str, begins: int, ends: int) -> Fact:
    """Make a fact of a pair."""
    asks = _hash(" ".join(plain_words(question)))
    return Fact(key_of(question, answer, document), asks, document, begins, ends)


def choose(facts: Iterable[Fact], *, hold_out: bool = True) -> tuple[frozenset[str], frozenset[str]]:
    """Choose which pairs are held out of the training, and which are taught, and asked all the same; by their keys.

    `hold_out`: whether any may be held out.
    """
    documents: dict[str, list[Fact]] = defaultdict(list)
    for one in facts:
        documents[one.document].append(one)
    held_out, taught = set[str](), set[str]()
    asked = sorted(documents, key=_hash)[:IN_ALL]
    each = max(1, IN_ALL // max(1, len(asked)))
    for document in asked:
        of_it = documents[document]
        most = min(HELD_OUT, max(1, len(of_it) // _ONE_IN), max(1, each * HELD_OUT // (HELD_OUT + TAUGHT)))
        held = _held_out(of_it, most) if hold_out else set[str]()
        left = sorted(one.key for one in of_it if one.key not in held)
        held_out |= held
        taught.update(left[: min(TAUGHT if held else HELD_OUT + TAUGHT, each - len(held))])
    return frozenset(held_out), frozenset(taught)


def _held_out(facts: Sequence[Fact], most: int) -> set[str]:
    """Choose pairs of one document whose facts are taught by others, which are not held out."""
    teachers = _teachers(facts)
    held: dict[str, Fact] = {}
    kept = set[str]()
    for one in sorted(facts):
        if len(held) == most:
            break
        left = [other.key for other in teachers[one.key] if other.key not in held]
        if left and one.key not in kept:
            held[one.key] = one
            kept.add(min(left))  # this one is needed now
    return set(held)


def _teachers(facts: Sequence[Fact]) -> Mapping[str, list[Fact]]:
    """List for each pair those that teach its fact in other words."""
    placed = sorted((one for one in facts if one.begins < one.ends), key=lambda one: (one.begins, one.ends, one.key))
    found: dict[str, list[Fact]] = defaultdict(list)
    for at, one in enumerate(placed):
        for other in placed[at + 1 : at + 1 + _NEIGHBOURS]:
            if other.begins >= one.ends:
                break
            both = min(one.ends, other.ends) - other.begins
            if 2 * both > max(one.ends - one.begins, other.ends - other.begins) and one.asks != other.asks:
                found[one.key].append(other)
                found[other.key].append(one)
    return found


class Scoring:
    """Scores answers; `answers` are all expected ones of a job, by which it is known how rare a word is."""

    def __init__(self, answers: Iterable[str]) -> None:
        self._in = Counter[str]()
        self._all = 0
        for answer in answers:
            self._in.update({*_units(answer)})
            self._all += 1

    def score(self, said: str, *, question: str, expected: str, evidence: str = "") -> float:
        """Score what was said: from 0, nothing of it, to 1, all that was expected."""
        asked = {*_units(question)}
        wanted = next((new for text in (expected, evidence) if (new := {*_units(text)} - asked)), {*_units(expected)})
        if not wanted:
            return 0.0
        read = plain_words(said)[: _READ_TIMES * len(plain_words(expected)) + _READ_MORE]
        missing = wanted.difference(read, _of_words(read))
        if not missing:
            return 1.0
        share = math.fsum(map(self._weight, wanted - missing)) / math.fsum(map(self._weight, wanted))
        return min(share, _WITHOUT_A_NUMBER) if any(map(_is_number, missing)) else share

    def _weight(self, unit: str) -> float:
        seen = 0 if _is_number(unit) else self._in[unit]
        return math.log((self._all + 2) / (seen + 0.5))


def of_files(answered: Iterable[Answered]) -> dict[str, dict[bool, Score]]:
    """Put together the scores of each file, by its upload name: of what was held out (True), and of what was taught."""
    found: dict[str, dict[bool, list[Answered]]] = defaultdict(lambda: defaultdict(list))
    for one in answered:
        found[one.file][one.held_out].append(one)
    return {file: {kind: _mean(ones) for kind, ones in kinds.items()} for file, kinds in found.items()}


def _mean(answered: Sequence[Answered]) -> Score:
    before = fmean(one.score_before for one in answered)
    return Score(questions=len(answered), before=before, after=fmean(one.score_after for one in answered))


def _units(text: str) -> list[str]:
    """List what counts in a text: words, and where no spaces are written each two letters that stand together."""
    return _of_words(plain_words(text))


def _of_words(words: Sequence[str]) -> list[str]:
    alone = [has_no_spaces(word) for word in words]
    units = []
    for at, word in enumerate(words):
        if not alone[at]:
            units.append(word)
        elif at + 1 < len(words) and alone[at + 1]:
            units.append(word + words[at + 1])
        elif not (at and alone[at - 1]):
            units.append(word)
    return units


def _is_number(unit: str) -> bool:
    return any(letter.isdigit() for letter in unit)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
