"""Reads pairs out of whatever a model answers.

1. It never raises, and takes time in proportion to the answer, which is looked at up to `LONGEST_ANSWER`.
2. Where the pairs stand does not matter: in JSON of any shape and any nesting, in a fence, in lines, among prose, after
   thoughts; or, if there is no JSON with a pair in it, as text with labels (`Q:`, `Answer:`).
3. JSON is read as models write it: with commas too many or too few, other quotes or none, quotes and line ends within
   strings that nobody escaped. (`json-repair` was weighed: it guesses a value for what is cut, and we must not.)
4. Of an answer that is cut what is whole is kept: a text that does not end is none.
5. What was not understood is told in words (`problem`); an answer that says that there is nothing to ask is understood.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from finetuned.making.values import Draft
from finetuned.model import Value

#: so much of an answer is looked at, in characters: that is half a second's work at worst, and a thousand pairs
LONGEST_ANSWER: Final = 256 * 1024
#: so many pairs are taken of one answer: a model that goes round in circles makes more
MOST_PAIRS: Final = 256
#: JSON of pairs is not nested deeper
DEEPEST: Final = 32

_ROLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        word: role
        for role, words in {
            "question": """question q prompt instruction query ask user human frage f pregunta p pergunta domanda d
                vraag вопрос pytanie soru 问题 問題 质问 質問 问 問 سؤال السؤال प्रश्न 질문""",
            "input": "input",
            "answer": """answer a response output completion reply assistant gpt antwort réponse reponse r respuesta
                resposta risposta antwoord ответ odpowiedź cevap 答案 回答 答え 答 جواب الجواب उत्तर 답변 답""",
            "evidence": """evidence quote quotation citation support excerpt proof span source context beleg zitat
                nachweis preuve citation evidencia cita prueba evidência prova citazione bewijs доказательство цитата
                证据 証拠 證據 引用 دليل प्रमाण 근거 인용""",
        }.items()
        for word in words.split()
    }
)
_KEY: Final = re.compile(r"[\s_*#-]*(.*?)[\s_*#-]*(\d*)[\s_*.)]*", re.DOTALL)
_THOUGHTS: Final = re.compile(
    r"<(?:think|thinking|thought|thoughts|reasoning|reflection)>|\[THINK\]"
    r"|</(?:think|thinking|thought|thoughts|reasoning|reflection)>|\[/THINK\]|<\|(?:message|end_of_thought)\|>",
    re.IGNORECASE,
)
_SPACE: Final = re.compile(r"[\s,]*")
_OPENS: Final = re.compile(r"[\[{]")
_BARE: Final = re.compile(r"[^,{}\[\]\n]+")
_BARE_KEY: Final = re.compile(r"[^,:{}\[\]\n\"]+")
_COLON: Final = re.compile(r"\s*(?:[:：]|=>)")
#: what follows a text that ends: the end of what it is in, or what comes next there
_AFTER: Final = re.compile(
    r"""\s*(?:\Z|[}\]]|,\s*(?:["'“„«{}\[\]\d-]|\Z|true\b|false\b|null\b|\w{1,40}\s*:)|["'“][\w ]{1,40}["'”]\s*:)"""
)
_CLOSING: Final[Mapping[str, str]] = MappingProxyType({'"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "`": "`"})
_UP_TO: Final = {quote: re.compile(rf"(?:[^\\{quote}]++|\\.)*+{quote}", re.DOTALL) for quote in {*_CLOSING.values()}}
_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES: Final[Mapping[str, str]] = MappingProxyType({"n": "\n", "t": "\t", "r": "\r", "b": "", "f": ""})
_TAG: Final = re.compile(r"<(/?)(question|answer|evidence|quote)>", re.IGNORECASE)
#: a label at the beginning of a line, with its number and its marks
_LABEL: Final = re.compile(
    r"[\s>*_#\-•]{0,12}(?:\d{1,3}\s?[.)]\s?)?[*_\s]{0,6}([^\W\d_]{1,20})\s?(\d{0,3})[*_\s]{0,4}[:：][*_]{0,3}"
)


class Reading(Value, frozen=True):
    """What was read: pairs, and in words what was not understood (null: all was). `cut`: the answer ends too early."""

    pairs: tuple[Draft, ...] = ()
    problem: str | None = None
    cut: bool = False


def read(raw: str) -> Reading:
    """Read the pairs of an answer."""
    text, is_open = without_thoughts(raw[:LONGEST_ANSWER])
    if not text.strip():
        return Reading(problem="it holds nothing but thoughts" if raw.strip() else "it is empty", cut=is_open)
    said = _Json(text)
    pairs = _distinct(said.pairs) or _distinct(labelled(text))
    if not pairs:
        if said.says_nothing:
            return Reading()
        return Reading(problem=f"no pair was found in it; it begins: {_beginning(text)}", cut=said.cut)
    return Reading(pairs=pairs, problem="it is cut short" if said.cut else None, cut=said.cut)


def _beginning(text: str) -> str:
    words = " ".join(text[:400].split())
    return words if len(words) <= 80 else f"{words[:78]} …"


def without_thoughts(raw: str) -> tuple[str, bool]:
    """Return an answer without the thoughts before it, and whether these do not end."""
    marks = list(_THOUGHTS.finditer(raw))
    if not marks:
        return raw, False
    last = marks[-1]
    if last[0].startswith(("</", "[/", "<|")):
        return raw[last.end() :], False
    closed = [mark for mark in marks if mark[0].startswith(("</", "[/"))]
    before = raw[closed[-1].end() if closed else 0 : last.start()]
    return before, True


def _distinct(pairs: Iterable[Draft]) -> tuple[Draft, ...]:
    return tuple(dict.fromkeys(pairs))[:MOST_PAIRS]


# -- JSON, as models write it


@dataclass(slots=True)
class _Frame:
    """A list or an object that is being read; `key`: the one whose value comes next; `void`: too deep, and ignored."""

    value: list[Any] | dict[str, Any]
    key: str | None = None


class _Json:
    """The pairs in all JSON that stands in a text; `says_nothing`: there is a list for them, and nothing in it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._stack: list[_Frame] = []
        self._open_kinds: Counter[type] = Counter()
        self._too_deep = 0
        self._unended: set[str] = set()
        self.pairs: list[Draft] = []
        self.cut = False
        self._has_empty = False
        self._has_other = False
        while len(self.pairs) < MOST_PAIRS and (found := _OPENS.search(text, self._at)):
            self._at = found.start()
            self._value()

    @property
    def says_nothing(self) -> bool:
        return self._has_empty and not self._has_other and not self.cut

    def _value(self) -> None:
        """Read what begins here, up to its end or that of the text."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            mark = self._text[self._at : self._at + 1]
            if not mark:
                self._end_of_text()
                return
            if mark in "[{":
                self._open(mark)
            elif mark in "]}":
                self._close(mark)
            else:
                self._word(mark)
            if not self._stack:
                return

    def _end_of_text(self) -> None:
        self.cut = self.cut or self._open_kinds[dict] > 0 or self._text.rstrip(" \n`").endswith(("[", ","))
        while self._stack:
            self._pop()

    def _open(self, mark: str) -> None:
        self._at += 1
        if len(self._stack) >= DEEPEST:
            self._too_deep += 1
        else:
            self._stack.append(_Frame([] if mark == "[" else {}))
            self._open_kinds[type(self._stack[-1].value)] += 1

    def _close(self, mark: str) -> None:
        self._at += 1
        if self._too_deep:
            self._too_deep -= 1
            return
        kind = list if mark == "]" else dict
        if not self._open_kinds[kind]:
            return  # it closes nothing
        while not isinstance(self._stack[-1].value, kind):
            self._pop()
        self._pop()

    def _pop(self) -> None:
        """End the innermost list or object: see what it holds, and put it where it belongs."""
        value = self._stack.pop().value
        self._open_kinds[type(value)] -= 1
        in_a_list = bool(self._stack) and isinstance(self._stack[-1].value, list)
        found = list(_pairs_of(value, in_a_list=in_a_list))
        self.pairs += found
        self._has_empty = self._has_empty or value == []
        self._has_other = self._has_other or bool(isinstance(value, dict) and self._stack and value and not found)
        if self._stack:
            self._put(None if found else value)

    def _put(self, value: Any) -> None:
        frame = self._stack[-1]
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is not None:
            frame.value.setdefault(frame.key, value)
            frame.key = None

    def _word(self, mark: str) -> None:
        """Read a text, a number or a word: a key, or a value."""
        frame = self._stack[-1]
        is_key = isinstance(frame.value, dict) and frame.key is None
        if mark in _CLOSING:
            self._at += 1
            word: str | None = self._quoted(_CLOSING[mark], is_key=is_key)
        else:
            found = (_BARE_KEY if is_key else _BARE).match(self._text, self._at)
            self._at = found.end() if found else self._at + 1
            word = _bare(found[0].strip()) if found else None
        if is_key:
            colon = _COLON.match(self._text, self._at)
            frame.key = word if colon else None
            self._at = colon.end() if colon else self._at
        elif not self._too_deep:
            self._put(word)

    def _quoted(self, quote: str, *, is_key: bool) -> str | None:
        """Read up to the quote that ends a text, which one within it does not; null: it does not end."""
        begin = self._at
        while quote not in self._unended and (found := _UP_TO[quote].match(self._text, self._at)):
            self._at = found.end()
            if (_COLON if is_key else _AFTER).match(self._text, self._at):
                return _unescaped(self._text[begin : self._at - 1])
            if is_key and "\n" in found[0]:
                return None
        self._unended.add(quote)  # nobody looks for its end once more
        if not is_key:
            self._at, self.cut = len(self._text), True
        return None


def _bare(word: str) -> str | None:
    return None if word in {"null", "None", "undefined", ""} else word


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        plain: str = json.loads(f'"{text}"', strict=False)
    except ValueError:
        plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else _escaped(found[2]), text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escaped(letter: str) -> str:
    return _ESCAPES.get(letter, letter)


# -- what is a pair


def _pairs_of(value: list[Any] | dict[str, Any], *, in_a_list: bool) -> Iterator[Draft]:
    """Yield the pairs that a list or an object is."""
    if isinstance(value, list):
        match value:
            case [str(question), str(answer)] if in_a_list and _asks(question) and not _asks(answer):
                yield _draft(question, answer)
        yield from _in_turns(value)
        return
    groups: dict[str, dict[str, Any]] = {}
    for key, said in value.items():
        found = _KEY.fullmatch(key)
        role = _ROLES.get(found[1].casefold()) or _ROLES.get(found[1].casefold().removesuffix("s")) if found else None
        if found and role:
            groups.setdefault(found[2], {}).setdefault(role, said)
    if not groups and value and all(_asks(key) for key in value):
        yield from (_draft(key, _words(said)) for key, said in value.items() if _words(said))
    for group in groups.values():
        yield from _of_roles(group)


def _in_turns(value: list[Any]) -> Iterator[Draft]:
    """Yield the pairs of the turns of a talk."""
    for one, other in pairwise(value):
        match one, other:
            case (
                {"role": "user", "content": str(question)} | {"from": "human", "value": str(question)},
                {"role": "assistant", "content": str(answer)} | {"from": "gpt", "value": str(answer)},
            ):
                yield _draft(question, answer)


def _asks(text: str) -> bool:
    return text.rstrip().endswith(("?", "？", "؟"))


def _of_roles(group: Mapping[str, Any]) -> Iterator[Draft]:
    """Yield the pair, or the pairs in columns, of an object's values by what they are."""
    question, answer, evidence = group.get("question"), group.get("answer"), group.get("evidence")
    if isinstance(question, list) and isinstance(answer, list) and len(question) == len(answer):
        proofs = evidence if isinstance(evidence, list) and len(evidence) == len(question) else [None] * len(question)
        for asked, said, proof in zip(question, answer, proofs, strict=True):
            if _words(asked) or _words(said):
                yield _draft(_words(asked), _words(said), _words(proof))
        return
    asked = "\n".join(words for words in (_words(question), _words(group.get("input"))) if words)
    if asked and "answer" in group and answer is not None:
        yield _draft(asked, _words(answer), _words(evidence))


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(word for word in value if isinstance(word, str))
    return value if isinstance(value, str) else ""


def _draft(question: str, answer: str, evidence: str = "") -> Draft:
    return Draft(question=question.strip(), answer=answer.strip(), evidence=evidence.strip())


# -- text with labels


@dataclass(slots=True)
class _Talk:
    """What the labels of a text have told so far of one pair."""

    said: dict[str, list[str]] = field(default_factory=dict)
    role: str | None = None

    def draft(self) -> Draft | None:
        """Return the pair, if it is one."""
        question, answer, evidence = ("\n".join(self.said.get(role, [])) for role in ("question", "answer", "evidence"))
        return (
            _draft(question, answer, evidence.strip().strip('"“”„«»')) if question.strip() and answer.strip() else None
        )


def labelled(text: str) -> Iterator[Draft]:
    """Yield the pairs of a text such as `Q: … A: …`; a label begins its line, or follows a question mark."""
    talk = _Talk()
    lines = _TAG.sub(lambda tag: "\n\n" if tag[1] else f"\n{tag[2]}: ", text)
    for line in re.sub(r"([?？])\s{1,4}(A|Answer|Antwort|R)(?=\s?[:：])", r"\1\n\2", lines).splitlines():
        label = _LABEL.match(line)
        role = _ROLES.get(label[1].casefold()) if label else None
        if label and role:
            if role == "question" and (draft := talk.draft()):
                yield draft
            if role == "question":
                talk = _Talk()
            talk.role = role
            talk.said.setdefault(role, []).append(line[label.end() :].strip(" *_"))
        elif not line.strip():
            talk.role = None
        elif talk.role:
            talk.said[talk.role].append(line.strip())
    if draft := talk.draft():
        yield draft
