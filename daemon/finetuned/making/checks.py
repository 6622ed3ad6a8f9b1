"""Judges drafts without a model: each is kept with its proof, or dropped with a reason.

1. A pair is proved by a piece of its passage (`evidence`), and one whose proof lies in what the passage repeats belongs
   to the passage before it, which was asked about the same.
2. Who is asked later has no text at hand (`phrases`). A question that is easily freed of it is kept so.
3. What a run knows already (`Seen`) is not kept once more, of whichever file it is: the same pair, one much like it, or
   the same question with another answer, of which a reader would not know which holds.
4. The judging model comes between the two, as it costs money: `examine`, then `Seen.drop_of`, then the model, then
   `Seen.admit`.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from typing import Final
from unicodedata import name

import msgspec

from finetuned.likeness import Repeats
from finetuned.making.evidence import Passage
from finetuned.making.phrases import answer_without_the_text, names_nobody, question_without_the_text
from finetuned.making.reading import labelled
from finetuned.making.values import Chunk, Draft, Drop
from finetuned.words import plain_words

#: what is longer was not understood, or copied out: in characters
LONGEST_QUESTION: Final = 1000
LONGEST_ANSWER: Final = 4000
#: an answer that has only words of its question says nothing if it has this share of them
_ECHOES: Final = 0.5
#: counts a question: "3. Who …", "Q2: Who …"
_COUNTED: Final = re.compile(r"\A(?:q(?:uestion)? ?\d{1,2} ?[.:)]|\d{1,2}[.)]) (?=\D)(?!\w+ \d{4}\b)", re.IGNORECASE)
_NO_LETTERS: Final = bytes(code for code in range(128) if not chr(code).isalpha())
_ASKS: Final = re.compile(r"[?？؟;՞…]|_")
#: a script is one of the passage's if so much of it is written in it; and fewer letters tell nothing
_SHARE_OF_SCRIPT: Final = 0.1
_FEW_LETTERS: Final = 8


class Examiner:
    """Judges the drafts of one passage, each by itself. `any_language`: they may be written in another script."""

    def __init__(self, chunk: Chunk, *, any_language: bool = False) -> None:
        self._chunk = chunk
        own = len(chunk.text) - len(chunk.own_text)
        self._passage = Passage(chunk.text, own)
        self._scripts = None if any_language else _scripts(chunk.text)
        self._is_latin = (
            self._scripts is not None and self._scripts["LATIN"] >= _SHARE_OF_SCRIPT * self._scripts.total()
        )

    def examine(self, draft: Draft) -> Draft:
        """Return a draft as it is to be kept, with its proof, or with the reason why it is not."""
        question, answer = _COUNTED.sub("", " ".join(draft.question.split())), draft.answer.strip()
        drop = _useless(question, answer)
        if drop is None and self._is_no_question(question):
            drop = Drop.EMPTY
        if drop is None:
            asked, said = question_without_the_text(question), answer_without_the_text(answer)
            if asked is None or said is None or names_nobody(asked):
                drop = Drop.NEEDS_TEXT
            elif self._is_foreign(asked) or self._is_foreign(said):
                drop = Drop.LANGUAGE
            else:
                return self._proved(msgspec.structs.replace(draft, question=asked, answer=said))
        return msgspec.structs.replace(draft, drop=drop, begins=0, ends=0)

    def _is_no_question(self, question: str) -> bool:
        """Tell whether it is a piece of the passage, as small models say, that is not a question there, either."""
        if _ASKS.search(question) or not self._passage.has(question):
            return False
        return all(" ".join(one.question.split()) != question for one in labelled(self._chunk.text))

    def _proved(self, draft: Draft) -> Draft:
        span, text = self._chunk.span, self._chunk.text
        place = self._place(draft) or self._passage.proof(draft.evidence, draft.answer)
        if place is None or self._passage.lacks_a_number(draft.answer, draft.question):
            return msgspec.structs.replace(draft, drop=Drop.NO_EVIDENCE, begins=0, ends=0)
        evidence = text[place[0] : place[1]]
        begins = span.begins + len(text[: place[0]].encode())
        ends = begins + len(evidence.encode())
        drop = Drop.NOT_OWN if ends <= span.own else None
        return msgspec.structs.replace(draft, evidence=evidence, begins=begins, ends=ends, drop=drop)

    def _place(self, draft: Draft) -> tuple[int, int] | None:
        """Return where a draft says that its evidence is, in characters, if that is so."""
        data, span = self._chunk.text.encode(), self._chunk.span
        begin, end = draft.begins - span.begins, draft.ends - span.begins
        if not 0 <= begin < end or data[begin:end] != draft.evidence.encode():
            return None
        at = len(data[:begin].decode())
        return at, at + len(draft.evidence)

    def _is_foreign(self, text: str) -> bool:
        """Tell whether hardly anything of the passage is written in the script of a text."""
        if self._scripts is None or (text.isascii() and self._is_latin):
            return False
        scripts, letters = _scripts(text), self._scripts.total()
        if scripts.total() < _FEW_LETTERS or letters < _FEW_LETTERS:
            return False
        return sum(self._scripts[script] for script in scripts) < _SHARE_OF_SCRIPT * letters


def _useless(question: str, answer: str) -> Drop | None:
    """Tell why no pair of this question and answer teaches anything; null: nothing is wrong with them."""
    if len(question) > LONGEST_QUESTION or len(answer) > LONGEST_ANSWER:
        return Drop.TOO_LONG
    asked, said = {*plain_words(question)}, {*plain_words(answer)}
    if not asked or not said:
        return Drop.EMPTY
    return Drop.ECHO if said <= asked and len(said) >= _ECHOES * len(asked) else None


def _scripts(text: str) -> Counter[str]:
    """Count the letters of a text by their script."""
    if text.isascii():  # in a twentieth of the time
        return Counter(LATIN=len(text.encode().translate(None, _NO_LETTERS)))
    counts: Counter[str] = Counter()
    for letter, count in Counter(text).items():
        if letter.isalpha():
            counts[_script(letter)] += count
    return counts


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """Name the script of a letter, as Unicode's name of it begins."""
    return name(letter, "?").partition(" ")[0]


class Seen:
    """The pairs that a run keeps, of all its files: what is like one of them is not kept.

    It costs some 500 bytes of memory for each.
    """

    def __init__(self) -> None:
        self._texts: list[tuple[str, str]] = []
        self._asked: dict[bytes, int] = {}
        self._repeats = Repeats(lambda number: [self._texts[number]])

    def drop_of(self, draft: Draft) -> Drop | None:
        """Tell why a draft is not kept beside those that are, as far as its question tells (null: it is)."""
        earlier = self._asked.get(_key(draft.question))
        if earlier is None:
            return None
        ours, its = plain_words(draft.answer), plain_words(self._texts[earlier][1])
        if ours == its:
            return Drop.DUPLICATE
        alike = len({*ours} & {*its}) >= 0.5 * max(len({*ours} | {*its}), 1)
        return Drop.NEAR_DUPLICATE if alike else Drop.CONTRADICTED

    def admit(self, draft: Draft) -> Draft:
        """Return a draft as it is to be kept, and remember it; or with the reason why it is not."""
        if draft.drop is not None:
            return draft
        drop = self.drop_of(draft)
        if drop is None:
            self._texts.append((draft.question, draft.answer))
            number = len(self._texts) - 1
            if self._repeats.is_one(number, [self._texts[number]]):
                self._texts.pop()
                drop = Drop.NEAR_DUPLICATE
            else:
                self._asked[_key(draft.question)] = number
        return msgspec.structs.replace(draft, drop=drop)


def _key(question: str) -> bytes:
    """Name a question in a few bytes: case, blanks and marks do not count."""
    return blake2b(" ".join(plain_words(question)).encode(), digest_size=8).digest()
