"""What can be told of a pair without understanding it: how much of its answer is in its source, and what looks odd.

1. `share_in` is a cheap measure of words, no judge of truth: a right answer in words of its own has a low share, a
   wrong one in the words of its source a high one. It is good for finding what to look at first.
2. Words are compared as `plain_words` has them; endings count, so that an answer that bends its words loses a little.
3. A doubt is a reason to look, and no verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from finetuned.words import plain_words

#: an answer of fewer words is short, and one of fewer may say all that there is to say
SHORT: Final = 3
#: an answer that is cut is one that ran into a limit, so it is long: in words
LONG: Final = 30
#: marks that end a sentence, or close what was opened around one
_ENDS: Final = frozenset(".!?:;…。！？．｡؟۔।॥)]}»”’\"'`|>*_~")


class Doubt(StrEnum):
    """Why one should look at a pair."""

    EMPTY = "empty"
    SHORT = "short"
    CUT = "cut"
    CONTRADICTED = "contradicted"


#: each doubt in words
DOUBTS: Final[Mapping[Doubt, str]] = MappingProxyType(
    {
        Doubt.EMPTY: "question or answer has no word",
        Doubt.SHORT: f"the answer has fewer than {SHORT} words",
        Doubt.CUT: f"the answer has {LONG} words or more and ends within a sentence",
        Doubt.CONTRADICTED: "the same question has another answer elsewhere",
    }
)


def vocabulary(text: str) -> frozenset[str]:
    """List the different words of a text."""
    return frozenset(plain_words(text))


def share_in(source: Collection[str], answer: str) -> float | None:
    """Tell which share of the answer's different words (0 to 1) its source's vocabulary has; null: it has no words."""
    words = vocabulary(answer)
    return len([word for word in words if word in source]) / len(words) if words else None


def same_question(question: str) -> str:
    """Return what two questions share if they differ in case, blanks and marks alone."""
    return " ".join(plain_words(question))


def doubts(question: str, answer: str) -> list[Doubt]:
    """List what looks odd in a pair by itself; whether another contradicts it, one has to know all pairs for."""
    if not plain_words(question) or not (words := plain_words(answer)):
        return [Doubt.EMPTY]
    if len(words) < SHORT:
        return [Doubt.SHORT]
    if len(words) >= LONG and answer.rstrip()[-1] not in _ENDS:
        return [Doubt.CUT]
    return []
