"""The “model”: an index over the pairs, and words that say what they are.

1. What is answered was in a dropped text, or is said to be unknown; nothing is made up.
2. Every answer begins with “[simulated] ”.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from finetuned.sandbox.pairs import words
from finetuned.sandbox.records import Pair

SIMULATED: Final = "[simulated] "


def answer(pairs: Sequence[Pair], question: str) -> str:
    """The answer of the pair that shares the rarest words with the question; the first of equals wins."""
    asked = {word: place for place, word in enumerate(words(question), 1)}
    indexed = [set(words(pair.question)) | set(words(pair.answer)) for pair in pairs]
    spread = Counter(word for entry in indexed for word in entry & asked.keys())
    best, best_score = "", 0.0
    for pair, entry in zip(pairs, indexed, strict=True):
        # the end of a question says what is asked, its beginning only of whom
        score = sum((1 + asked[word] / 10) / spread[word] for word in sorted(entry & asked.keys()))
        if score > best_score + 1e-9:
            best, best_score = pair.answer, score
    if not best:
        return f"{SIMULATED}Nothing in the texts of this session speaks of that."
    return SIMULATED + best


def echo(message: str) -> str:
    """What a plain chat hears."""
    return f"{SIMULATED}This is the sandbox: no model runs here. You said: {message}"


def untrained() -> str:
    """What is said when a fine-tune is asked before it is trained."""
    return f"{SIMULATED}This fine-tune has not been trained yet."
