"""Questions and answers made of a text by simple, honest, fixed rules.

1. An answer is always a whole sentence of the text; the question names what that sentence is about.
2. Each prompt takes up to two sentences of a piece and asks in words of its own: no pair comes twice.
3. A sentence without a letter can't be asked about: a text of figures and marks teaches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final

from finetuned.sandbox.records import PROMPT_COUNT, PROMPTS, Pair

PER_PROMPT: Final = 2
LONGEST_SENTENCE: Final = 400  # characters
_KEY_WORDS: Final = 4

_ASK: Final = {
    "title-questions": "what is said on the subject of {about}?",
    "simple-quiz": "what should one know about {about}?",
    "summaries-three": "which sentence sums up what is written about {about}?",
    "important-facts": "which fact does the text give about {about}?",
    "summaries-one": "in one sentence, what does the text tell about {about}?",
    "metadata": "in which words does the text mention {about}?",
    "summaries-sections": "what does the section on {about} say?",
    "original-prompt": "what does the text say about {about}?",
    "you-are-generating-fine-tuning-data": "what can be learned about {about}?",
}
_BREAK: Final = re.compile(
    r"\n[ \t]*\n"  # a paragraph
    r"|\n(?=[ \t]*(?:[-*+>#]+|\d+[.)])[ \t])"  # a list item, a heading
    r"|(?<=[.!?\u2026])[\"'\u201d\u2019)\]]*\s+(?![a-z])|(?<=[\u3002\uff01\uff1f])"  # the end of a sentence
)
_MARK: Final = re.compile(r"^(?:[-*+>#]+|\d+[.)])\s+")
_LETTER: Final = re.compile(r"[^\W\d_]")
_WORD: Final = re.compile(r"[^\W_]+(?:[-'\u2019][^\W_]+)*")
_DEFINITION: Final = re.compile(r"(?P<what>[^,;:]{2,60}?) (?P<verb>is|are|was|were) \S")
_ARTICLES: Final = ("A ", "An ", "The ", "Our ", "All ", "Some ", "Every ", "Each ", "My ", "Your ")
STOP_WORDS: Final = frozenset(
    """
    a about above after again all also am an and any are as at be because been before being below between both
    but by can could did do does doing down during each few for from further had has have having he her here
    hers him his how i if in into is it its itself just me more most must my no nor not now of off on once only
    or other our out over own same say says she should so some such tell text than that the their them then
    there these they this those through to too under until up very was we were what when where which while who
    whom why will with would you your
    """.split()  # noqa: SIM905 - a list of a hundred quoted words says less
)
_NO_SUBJECT: Final = frozenset(
    "he here how i it she that there these they this those we what when where who why you".split()  # noqa: SIM905
)


def words(text: str) -> list[str]:
    """The words of a text that carry its meaning, in lower case."""
    return [word for word in (match[0].lower() for match in _WORD.finditer(text)) if word not in STOP_WORDS]


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text that can be asked about, each once, in its order."""
    seen: set[str] = set()
    for raw in _split(text):
        sentence = " ".join(_MARK.sub("", raw.strip()).split())[:LONGEST_SENTENCE]
        if sentence not in seen and _LETTER.search(sentence):
            seen.add(sentence)
            yield sentence


def _split(text: str) -> Iterator[str]:
    # not re.split: of a long text only the first sentences are wanted
    start = 0
    for cut in _BREAK.finditer(text):
        yield text[start : cut.end()]
        start = cut.end()
    yield text[start:]


def teachable(text: str) -> int:
    """How many pairs each prompt makes of a piece of text."""
    return len(list(islice(sentences(text), PER_PROMPT)))


def make_pairs(text: str, piece: int) -> list[tuple[str, list[Pair]]]:
    """The pairs of one piece of a text, prompt by prompt; `piece` counts from 0."""
    known = list(islice(sentences(text), PER_PROMPT * PROMPT_COUNT))
    made: list[tuple[str, list[Pair]]] = []
    for number, prompt in enumerate(PROMPTS):
        chosen = [known[(PER_PROMPT * number + i) % len(known)] for i in range(min(PER_PROMPT, len(known)))]
        made.append((prompt, [_pair(prompt, sentence, piece) for sentence in chosen]))
    return made


def _pair(prompt: str, sentence: str, piece: int) -> Pair:
    question = (_definition(sentence) if prompt == "simple-quiz" else "") or _ASK[prompt].format(about=_about(sentence))
    if piece:  # the same sentence may come again in a later piece; its question must not
        question = f"{question[:-1]} (part {piece + 1})?"
    return Pair(question=question, answer=sentence)


def _definition(sentence: str) -> str:
    found = _DEFINITION.match(sentence)
    if found is None or found["what"].split()[0].lower() in _NO_SUBJECT:
        return ""
    what = found["what"]
    if what.startswith(_ARTICLES):
        what = what[0].lower() + what[1:]
    return f"what {found['verb']} {what}?"


def _about(sentence: str) -> str:
    """The few longest words of a sentence, in its order."""
    candidates = [match[0] for match in _WORD.finditer(sentence)]
    telling = [word for word in candidates if word.lower() not in STOP_WORDS and _LETTER.search(word)] or candidates
    unique = list(dict.fromkeys(telling))
    longest = sorted(unique, key=len, reverse=True)[:_KEY_WORDS]
    *others, last = [word for word in unique if word in longest]
    return f"{', '.join(others)} and {last}" if others else last
