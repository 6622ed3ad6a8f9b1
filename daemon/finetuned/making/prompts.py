"""What a model is asked: to make pairs of a passage, and to judge pairs that were made of one.

1. All is said in one turn of the user, as some models have no place for a system's words; what is the same for each
   passage stands first, so that a server reads it once.
2. How many pairs are asked for depends on the passage alone, by its words: the end of a long file is asked about as
   much as its beginning.
3. A person's own instructions stand in the place of ours. In them `{passage}`, `{document}`, `{heading}`
   and `{pairs}` are filled in, once; all other braces are text. Without `{passage}` it follows them.
4. `fingerprint` names who makes pairs, and how: what is known under one name is never paid for again.
5. Answers of a judge are read as `reading` reads pairs: what cannot be understood is no verdict.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final

from finetuned.making.reading import without_thoughts
from finetuned.making.values import Chunk, Draft
from finetuned.words import plain_words

#: a turn of a chat, as the wire has it
Message = dict[str, str]

#: for so many words of a passage one pair is asked for; in scripts without spaces each letter counts as one
WORDS_A_PAIR: Final = 60
#: an answer with more pairs would not fit into what most models say at a time
MOST_PAIRS_ASKED: Final = 40
#: a pair costs about so many tokens, with the fact that it is made of and its evidence
TOKENS_A_PAIR: Final = 160
#: what an answer may have besides its pairs, in tokens: some models think first
_THOUGHTS: Final = 2048
#: how long an answer may be, in tokens: a model that stops at what it needs costs no more, and few can say more
LEAST_TOKENS: Final = 4096
MOST_TOKENS: Final = 8192
#: changes whenever the same instructions would be sent in another form
_FORM: Final = 2
#: a list of an answer is let grow to the first of these that is enough: a small model repeats itself until it is
#: stopped, and endpoints get a schema ready anew for each that they see
_MOST_ITEMS: Final = (4, 8, 16, MOST_PAIRS_ASKED)

INSTRUCTIONS: Final = """\
You make question-answer pairs, with which a language model is to learn what a document says.

Work in this order:
1. "facts": list the facts that the passage states, each in a few words. Leave out what is only hinted at.
2. "pairs": write {pairs} of the facts as pairs, the important ones first, spread over the whole passage.
Fewer are right if it does not say as much, and an empty list if it says nothing.

Each pair:
- "question": asks for one fact, and can be understood by somebody who has never seen the document. It names its
subject (people, places, things) in full instead of "he", "it" or "this", and never speaks of a passage, a text, a
document or an author.
- "answer": answers it in a full sentence or two, with nothing but what the passage says.
- "evidence": the piece of the passage that proves the answer, copied letter for letter, as short as it can be.
Vary the questions: who, what, when, where, how, how many, why.
Write questions and answers in the language of the passage.

Answer with JSON and nothing else:
{"facts": ["…"], "pairs": [{"question": "…", "answer": "…", "evidence": "…"}]}
"""

#: what an endpoint that takes `response_format: json_schema` is sent
SCHEMA: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "type": "object",
        "properties": {
            "facts": {"type": "array", "items": {"type": "string"}},
            "pairs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in ("question", "answer", "evidence")},
                    "required": ["question", "answer", "evidence"],
                    "additionalProperties": False,
                },
            },
        },
        "required": ["facts", "pairs"],
        "additionalProperties": False,
    }
)

_JUDGE: Final = """\
You check question-answer pairs against a passage. A pair is right if the passage itself says what its answer says,
and the answer answers its question. What you know from elsewhere does not count.

<passage>
{passage}
</passage>

{pairs}

For each pair write one line, with its number and one word: YES if it is right, NO if it is not. Like this:
1: YES
2: NO
"""
_PLACE: Final = re.compile(r"\{(passage|document|heading|pairs)\}")


def schema_for(pairs: int, instructions: str = "") -> dict[str, Any]:
    """Return the schema of an answer of so many pairs; if a person's own words count them, of as many as may be."""
    wanted = _counted(pairs, instructions)
    most = {"maxItems": next((most for most in _MOST_ITEMS if most >= wanted), MOST_PAIRS_ASKED)}
    lists = {name: {**kind, **most} for name, kind in SCHEMA["properties"].items()}
    return {**SCHEMA, "properties": lists}


def _counted(pairs: int, instructions: str) -> int:
    """Tell how many pairs there may be, if so many are asked for, and a person's own words may count them instead."""
    return MOST_PAIRS_ASKED if instructions and "{pairs}" not in instructions else pairs


def pairs_for(text: str) -> int:
    """Tell how many pairs are asked for of what a passage has of its own."""
    return min(max(round(len(plain_words(text)) / WORDS_A_PAIR), 1), MOST_PAIRS_ASKED)


def ask(chunk: Chunk, *, document: str, instructions: str = "", pairs: int | None = None) -> list[Message]:
    """Write what a model is asked about a passage of a document; `instructions`: a person's own (empty: ours).

    `pairs`: how many to ask for, if not as many as its words are worth.
    """
    own = chunk.own_text
    wanted = str(pairs_for(own) if pairs is None else pairs)
    before = chunk.text[: len(chunk.text) - len(own)]
    known = {"document": document, "heading": chunk.span.heading, "pairs": wanted}
    if "{passage}" in instructions:
        return [_user(_filled(instructions, {**known, "passage": chunk.text}))]
    parts = [_filled(instructions or INSTRUCTIONS, known), f"Document: {document}"]
    if chunk.span.heading:
        parts.append(f"Heading: {chunk.span.heading}")
    if before.strip():
        parts.append(f"What stands before the passage; ask nothing about it:\n<before>\n{before.strip()}\n</before>")
    parts.append(f"<passage>\n{own.strip()}\n</passage>")
    return [_user("\n\n".join(part.strip() for part in parts))]


def _user(words: str) -> Message:
    return {"role": "user", "content": words}


def _filled(text: str, known: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda found: known.get(found[1], found[0]), text)


def fingerprint(kind: str, *, model: str = "", instructions: str = "", size: int) -> str:
    """Name in 16 hex digits who makes pairs and how: the kind of maker, its model, or program, or set of rules.

    `instructions`: a person's own (empty: ours); `size`: that of the passages, in bytes.
    """
    how = [_FORM, kind, model, instructions or [INSTRUCTIONS, WORDS_A_PAIR], size]
    return digest(how)[:16]


def digest(said: object) -> str:
    """Return the SHA-256 of what JSON can say, in hex digits."""
    return sha256(json.dumps(said).encode()).hexdigest()


def tokens_of(text: str) -> int:
    """Estimate the tokens of a text: a quarter of its Latin letters and blanks, and most letters of other scripts."""
    plain = len(text.encode("ascii", "ignore"))
    return plain // 4 + (len(text) - plain) * 3 // 4 + 1


def cost(messages: Sequence[Message], pairs: int) -> int:
    """Estimate the tokens of a request and its answer."""
    return sum(tokens_of(message["content"]) for message in messages) + pairs * TOKENS_A_PAIR


def room_for(pairs: int, instructions: str = "") -> int:
    """Tell how many tokens an answer of so many pairs may have: twice what it needs, and room for thoughts."""
    wanted = _THOUGHTS + 2 * TOKENS_A_PAIR * _counted(pairs, instructions)
    return min(max(wanted, LEAST_TOKENS), MOST_TOKENS)


# -- the judge


def judged_by(model: str) -> str:
    """Name in 16 hex digits the model that judges, as `fingerprint` names who makes pairs."""
    return fingerprint("judge", model=model, instructions=_JUDGE, size=0)


def ask_judge(passage: str, drafts: Sequence[Draft]) -> list[Message]:
    """Write what a judging model is asked about drafts of a passage: all at once, as the passage costs the most."""
    pairs = "\n\n".join(
        f"Pair {number}\nQuestion: {draft.question}\nAnswer: {draft.answer}" for number, draft in enumerate(drafts, 1)
    )
    return [_user(_filled(_JUDGE, {"passage": passage, "pairs": pairs}))]


_SAID: Final[Mapping[bool, str]] = MappingProxyType(
    {
        True: "yes true right correct supported ja oui sí si sim да 是 はい 正确 是的 예 نعم हाँ",
        False: "no false wrong incorrect unsupported nein non não nao нет 否 不 いいえ 不是 错误 아니오 لا नहीं",
    }
)
_VERDICTS: Final = MappingProxyType({word: verdict for verdict, words in _SAID.items() for word in words.split()})
_NUMBERED: Final = re.compile(r"(?<!\d)(\d{1,3})[\"*_\s]{0,4}[:：.)=-][\"*_\s]{0,6}([^\W\d_]{1,12})")
_FIRST: Final = re.compile(r"[^\W\d_]{1,12}")


def read_verdicts(raw: str, count: int) -> list[bool | None]:
    """Read what a judge says of `count` drafts, in their order; null: it does not say, or not so that it is understood.

    A draft that is said to be right and to be wrong is said nothing about.
    """
    text, _ = without_thoughts(raw)
    said: dict[int, set[bool]] = {}
    for number, word in _NUMBERED.findall(text):
        if (verdict := _VERDICTS.get(word.casefold())) is not None:
            said.setdefault(int(number), set()).add(verdict)
    if (
        count == 1
        and 1 not in said
        and (word := _FIRST.search(text))
        and (verdict := _VERDICTS.get(word[0].casefold())) is not None
    ):
        said[1] = {verdict}
    found = (said.get(number, set()) for number in range(1, count + 1))
    return [next(iter(verdicts)) if len(verdicts) == 1 else None for verdicts in found]
