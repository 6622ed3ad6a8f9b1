"""Ready-made pairs: what a line of a `.jsonl` file may be, and what the server is given for it.

1. A line is a JSON object that holds a talk (`conversations` or `messages`, of `from` and `value` or of `role` and
   `content`), or a question and its answer (`instruction`, `prompt`, `query` or `question`, with `output`,
   `completion`, `response` or `answer`). null, an empty list and blanks are as good as absent.
2. A talk begins with a question and ends with an answer, in turns; a system's words may stand before it. A line with
   anything else in it is no pair: nothing is ever trained on half a line. Nor is one with a NUL, which garbles a
   text's pairs and which many a database cannot hold.
3. The server's shape holds words, and who said them. What the line says besides is one of three things. Words that
   belong to the talk (`system`, `history`, `input`, `context`) are put into it. What changes what the pair means
   (`CHANGES_MEANING`: an answer that is not to be trained, a tool, a picture, hidden reasoning) refuses the line. All
   else is about the line, not of it (an id, a source, a score): no list of such names would ever be whole, so it is
   left out, and its names are told (`left_out`).
4. The server gets sharegpt, whatever the shape was. It trains on the one file that has the name of its own data set,
   and on no other `.jsonl` (from its public source; observed up to the training queue only).
5. A line is a whole talk, but for our own pairs (`pairs.jsonl`): each turn of theirs has a line, with the number of its
   talk and its own, and `Talks` makes one talk of them. A turn that does not follow the one before it is no pair.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from finetuned.paths import escape

SUFFIX: Final = ".jsonl"
#: names that hold pairs
_SUFFIXES: Final = (SUFFIX, ".ndjson")
#: who speaks, in the words of trainers and of chat exports, and in those that are sent
_SPEAKERS: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(("human", "user", "prompter"), "human")
    | dict.fromkeys(("gpt", "assistant", "model", "bot", "ai", "chatgpt", "bing", "bard"), "gpt")
    | dict.fromkeys(("system", "developer"), "system")
)
_TALKS: Final = ("conversations", "messages", "conversation")
_SPEAKER_KEYS: Final = ("from", "role")
_WORD_KEYS: Final = ("value", "content", "text")
_QUESTIONS: Final = ("instruction", "prompt", "query", "question")
#: what a question is about, and follows it
_MATERIAL: Final = ("input", "context")
_ANSWERS: Final = ("output", "completion", "response", "answer", "generation")
_SYSTEM: Final = ("system", "system_prompt", "system_message")
_LINE_KEYS: Final = frozenset((*_TALKS, *_QUESTIONS, *_MATERIAL, *_ANSWERS, *_SYSTEM, "history"))
_TURN_KEYS: Final = frozenset((*_SPEAKER_KEYS, *_WORD_KEYS))
#: which talk a line of our own pairs is a turn of, and which turn
_OUR_TALK: Final = ("job_id", "session_id", "talk")
_OUR_TURN: Final = "turn"

_EXCLUDED: Final = "an answer that is not to be trained, or only in part, would be trained whole"
_PREFERENCE: Final = "a preference is no pair, and the worse answer would be trained"
_TOOL: Final = "a talk that calls tools cannot be sent"
_PICTURE: Final = "only words can be sent"
_THOUGHT: Final = "there is no place for it; write it into the words, or take it out"
#: hidden reasoning: text of it would be lost, and a switch (`reasoning: "off"`, `thinking: true`) holds none
_REASONING: Final = frozenset(
    (
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "thinking",
        "thought",
        "thoughts",
        "chain_of_thought",
        "cot",
    )
)
#: whether a turn is trained: nobody trains what is asked, whatever its turn says
_TRAINED: Final = frozenset(
    ("weight", "loss", "loss_weight", "loss_scale", "loss_mask", "train", "training", "trainable")
)
_NOT_TRAINED: Final = frozenset(("mask", "masked", "train_detail", "training_detail"))
#: what changes the meaning of a pair and cannot be sent, in a line or in a turn, with the reason
CHANGES_MEANING: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys((*sorted(_TRAINED | _NOT_TRAINED), "ignore", "exclude"), _EXCLUDED)
    | dict.fromkeys(("kto_tag", "label", "chosen", "rejected", "rejected_response", "rejected_messages"), _PREFERENCE)
    | dict.fromkeys(("preferred_output", "non_preferred_output"), _PREFERENCE)
    | dict.fromkeys(("tools", "functions", "tool_calls", "function_call", "tool_call_id"), _TOOL)
    | dict.fromkeys(("image", "images", "image_url", "video", "videos", "audio", "audios"), _PICTURE)
    | dict.fromkeys((*sorted(_REASONING), "refusal", "suffix", "prefix", "prefill"), _THOUGHT)
)
#: the same, whatever follows: `image_path`, `video_id`, `audio_file`
_PICTURED: Final = ("image_", "video_", "audio_")
#: what says yes: true and 1 change nothing
_YES: Final = _TRAINED | {"kto_tag"}
#: of so many keys a line without a shape is told
MOST_NAMED: Final = 8
#: what a file of pairs may hold, for a person who has to mend one
SHAPES: Final = (
    "a .jsonl file holds ready-made pairs, each line a JSON object with conversations (sharegpt), messages (openai), "
    "or a question and its answer (instruction and output, prompt and completion, question and answer)"
)


class NoPair(ValueError):
    """A line is no pair; the words say why."""


def is_ready_made(path: str) -> bool:
    """Tell whether a file of this name holds pairs, and not text."""
    return path.lower().endswith(_SUFFIXES)


def lines_of(first_line: bytes) -> str | None:
    """Say what makes lines of a JSON file that begins with `first_line` and is not written in lines; None: it is."""
    first_line = first_line.strip()
    if first_line.startswith(b"["):
        return "it is a JSON array, not lines; make lines of it: jq -c '.[]' FILE > NEW.jsonl"
    if first_line.startswith(b"{") and first_line.endswith((b"{", b"[", b",", b":")) and not first_line.endswith(b"},"):
        return "its objects run over several lines; make one line of each: jq -c . FILE > NEW.jsonl"
    return None


def sharegpt(line: bytes, left_out: set[str] | None = None) -> bytes:
    """Turn a line of any of the shapes into what the server expects, without a line's end. Raises NoPair.

    The names of what is not sent, and changes nothing, are added to `left_out`.
    """
    return _written(_read(line, left_out).turns)


class _Line(NamedTuple):
    """What a line says: who says what, and (of our own pairs) which turn of which talk that is."""

    turns: list[tuple[str, str]]
    talk: tuple[object, ...] | None
    turn: int


class Talks:
    """Turns lines into talks, as the server expects them; one that has several lines has `most` characters."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: _Line | None = None
        self._length = 0

    def add(self, line: bytes, left_out: set[str] | None = None) -> bytes | None:
        """Take the next line; return the talk before it, which is whole now. Raises NoPair, as `sharegpt` does."""
        read, before = _read(line, left_out), self._open
        if read.turn == 1:
            self._open, self._length = read, 0
            return None if before is None else _written(before.turns)
        if before is None or (before.talk, before.turn + 1) != (read.talk, read.turn):
            raise NoPair(f"turn {read.turn} of a talk, and the turn before it is not in the line before")
        self._length += sum(len(words) for _, words in read.turns)
        if self._length > self._most:
            raise NoPair(f"its talk is longer than {self._most} characters; split it")
        self._open = read._replace(turns=before.turns + read.turns)
        return None

    def end(self) -> bytes | None:
        """Return the last talk; null: there is none."""
        before, self._open = self._open, None
        return None if before is None else _written(before.turns)


def _read(line: bytes, left_out: set[str] | None) -> _Line:
    rest = set() if left_out is None else left_out
    try:
        said = _object(line)
        _check_meaning(said, "")
        turns = list(_with_system(said, _turns(said, rest)))
    except RecursionError as error:
        raise NoPair("not JSON that can be read: it is nested too deeply") from error
    turn = said.get(_OUR_TURN)
    known, read = _LINE_KEYS, _Line(turns, None, 1)
    if isinstance(turn, int) and turn > 0 and all(said.get(key) is not None for key in _OUR_TALK):
        known, read = known | {_OUR_TALK[-1], _OUR_TURN}, _Line(turns, tuple(said[key] for key in _OUR_TALK), turn)
    rest.update(key for key, value in said.items() if key not in known and not _is_blank(value))
    _check_order([speaker for speaker, _ in turns])
    return read


def _written(turns: Iterable[tuple[str, str]]) -> bytes:
    return msgspec.json.encode({"conversations": [{"from": speaker, "value": words} for speaker, words in turns]})


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(line)
        if isinstance(said, dict):
            json.loads(line, object_pairs_hook=_once)  # msgspec takes the last of two that have the same name
            return said
    except NoPair:
        raise
    except ValueError as error:  # msgspec's own errors are ValueErrors
        hint = "; a comma ends the line, and must not" if line.rstrip().endswith(b"},") else ""
        if not hint and "trailing" in str(error):
            hint = "; more follows the first object; one line for each: jq -c . FILE > NEW.jsonl"
        raise NoPair(f"not JSON ({error}){hint}") from error
    raise NoPair(f"not a JSON object but {_kind(said)}")


def _once(items: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in items]
    twice = next((name for name in names if names.count(name) > 1), None) if len({*names}) < len(names) else None
    if twice is not None:
        raise NoPair(f"{named([twice])} stands twice in one object")


def _turns(said: dict[str, Any], rest: set[str]) -> list[tuple[str, str]]:
    """Read the turns of the one talk that the line holds."""
    talks = [name for name in _TALKS if said.get(name) not in (None, [])]
    if not talks:
        return _asked_and_answered(said, rest)
    turns = _talk(said[talks[0]], talks[0], rest)
    for name in talks[1:]:
        if _talk(said[name], name, rest) != turns:
            raise NoPair(f"{talks[0]} and {name} are two talks")
    _check_said_too(said, (*_QUESTIONS, *_MATERIAL, *_ANSWERS, "history"), turns, talks[0])
    return turns


def _asked_and_answered(said: dict[str, Any], rest: set[str]) -> list[tuple[str, str]]:
    """Read a question, perhaps with what it is about and what was said before, and its answer."""
    question, answer = _one_of(said, _QUESTIONS), _one_of(said, _ANSWERS)
    material = [key for key in _MATERIAL if not _is_blank(said.get(key))]
    if answer is None or not (question or material):
        if any(name in said for name in _TALKS):
            _check_order([])
        raise NoPair("no shape that is known" + (f" (its keys: {named(said)})" if said else ""))
    asked = [key for key in (question, *material) if key and not (material and _is_blank(said.get(key)))]
    if (question, answer) == ("prompt", "completion") and _meant(said.get("label")) == 0:  # just so trl writes it
        raise NoPair(f"label {_brief(said['label'])}: {_PREFERENCE}")
    if len(asked) == 1:
        turns = _spoken(said, asked[0], "human", rest)
    else:
        turns = [("human", "\n\n".join(_some_words(said[key], key) for key in asked))]
    turns = [*_history(said.get("history"), rest), *turns, *_spoken(said, answer, "gpt", rest)]
    others = [key for key in (*_QUESTIONS, *_ANSWERS) if key not in {question, answer}]
    _check_said_too(said, others, turns, f"{asked[0]} and {answer}")
    return turns


def _one_of(said: dict[str, Any], keys: Sequence[str]) -> str | None:
    """Return the first of `keys` that holds something, else the first that is there."""
    there = [key for key in keys if said.get(key) is not None]
    return next((key for key in there if not _is_blank(said[key])), there[0] if there else None)


def _spoken(said: dict[str, Any], key: str, speaker: str, rest: set[str]) -> list[tuple[str, str]]:
    """Read a question or an answer: words, or (trl) a list of turns; not a list of answers to choose from."""
    value = said[key]
    if isinstance(value, list) and len(value) > 1 and all(isinstance(one, str) for one in value):
        raise NoPair(f"{key} is no text but a list of {len(value)}; choose one, or join them")
    if isinstance(value, list) and any(
        isinstance(turn, dict) and not turn.keys().isdisjoint(_SPEAKER_KEYS) for turn in value
    ):
        return _talk(value, key, rest)
    return [(speaker, _some_words(value, key))]


def _history(history: object, rest: set[str]) -> Iterator[tuple[str, str]]:
    """Read what was said before: questions with their answers, or a list of turns."""
    if _is_blank(history):
        return
    if not isinstance(history, list):
        raise NoPair(f"history is no list but {_kind(history)}")
    if all(isinstance(turn, dict) for turn in history):
        yield from _talk(history, "history", rest)
        return
    for both in history:
        if not isinstance(both, list) or len(both) != 2:
            raise NoPair("history is no list of questions with their answers")
        yield "human", _some_words(both[0], "a question in history")
        yield "gpt", _some_words(both[1], "an answer in history")


def _with_system(said: dict[str, Any], turns: list[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    """Put the system's words that stand beside the turns before them."""
    for key in _SYSTEM:
        words = _words(said.get(key), key)
        if words and turns[:1] != [("system", words)]:
            if turns[:1] and turns[0][0] == "system":
                raise NoPair(f"{key} says something else than the system's turn")
            turns = [("system", words), *turns]
    return turns


def _check_said_too(said: dict[str, Any], keys: Iterable[str], turns: list[tuple[str, str]], where: str) -> None:
    """Raise NoPair if something stands beside the talk and not in it: nothing that was said is left out."""
    for key in keys:
        words = _words(said.get(key), key)
        if not any(words in spoken for _, spoken in turns):
            raise NoPair(f"{key} stands beside {where}, and says something else")


def _talk(turns: object, name: str, rest: set[str]) -> list[tuple[str, str]]:
    if not isinstance(turns, list):
        raise NoPair(f"{name} is no list but {_kind(turns)}")
    return [spoken for turn in turns if (spoken := _turn(turn, rest)) is not None]


def _turn(turn: object, rest: set[str]) -> tuple[str, str] | None:
    """Read who says what; None for a system that says nothing."""
    if not isinstance(turn, dict):
        raise NoPair("a turn is no JSON object")
    key = next((key for key in _SPEAKER_KEYS if turn.get(key) is not None), "role")
    if turn.get(key) is None:
        raise NoPair(f"a turn has neither role nor from (its keys: {named(turn)})")
    who = _speaker(turn[key], key)
    if any(_speaker(turn[other], other) != who for other in _SPEAKER_KEYS if turn.get(other) is not None):
        raise NoPair("from and role are two speakers")
    _check_meaning(turn, who)
    rest.update(key for key, value in turn.items() if key not in _TURN_KEYS and not _is_blank(value))
    there = [word for word in _WORD_KEYS if not _is_blank(turn.get(word))]
    if not there and who == "system":
        return None
    name = there[0] if there else ("value" if key == "from" else "content")
    words = _some_words(turn.get(name), name)
    for other in there[1:]:
        if _words(turn[other], other) != words:
            raise NoPair(f"{name} and {other} of a turn say two things")
    return who, words


def _speaker(word: object, key: str) -> str:
    who = _SPEAKERS.get(word.strip().lower()) if isinstance(word, str) else None
    if who is None:
        tool = isinstance(word, str) and word.strip().lower() in {"tool", "function", "observation", "function_call"}
        hint = f"; {_TOOL}" if tool else ""
        raise NoPair(f"a turn's {key} is none of {', '.join(_SPEAKERS)}: {_brief(word)}{hint}")
    return who


def _some_words(value: object, name: str) -> str:
    words = _words(value, name)
    if not words:
        raise NoPair(f"{name} is no text, or an empty one")
    return words


def _words(value: object, name: str) -> str:
    """Read a text, or the text in parts of content; blanks are nothing."""
    if value is None:
        return ""
    if isinstance(value, list):
        value = "\n".join(_part(part, name) for part in value)
    if not isinstance(value, str):
        raise NoPair(f"{name} is no text but {_kind(value)}; write it as text, in quotes")
    if "\0" in value:
        raise NoPair(f"a NUL in {name}")
    return value if value.strip() else ""


def _part(part: object, name: str) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise NoPair(f"{name} is no text: a part of it is {_kind(part)}")
    text = part.get("text")
    if part.get("type", "text") not in ("text", "input_text", "output_text"):  # of any type, also one without a hash
        raise NoPair(f"{name} is no text: a part of it is {_brief(part['type'])}, and {_PICTURE}")
    _check_meaning(part, "")
    if text is not None and not isinstance(text, str):
        raise NoPair(f"{name} is no text: a part of it is {_kind(text)}")
    return text or ""


def _check_meaning(said: dict[str, Any], speaker: str) -> None:
    """Refuse what would be lost, in a line or in a turn of `speaker`'s."""
    for key, value in said.items():
        name = key.lower()
        why = CHANGES_MEANING.get(name, _PICTURE if name.startswith(_PICTURED) else None)
        if why is not None and not _changes_nothing(name, value, speaker):
            raise NoPair(f"{key} {_brief(value)}: {why}")


def _changes_nothing(key: str, value: object, speaker: str) -> bool:
    value = _meant(value)
    if key == "label":  # any set may have labels; trainers know one that is false as a bad answer
        return value is not False
    if speaker in {"human", "system"} and key in _TRAINED | _NOT_TRAINED:
        return True
    if key in _YES:
        return value in (None, True, 1)
    if key in _REASONING and (value is True or value in ("on", "off", "yes", "no")):
        return True
    if (
        key == "mask" and isinstance(value, str) and _SPEAKERS.get(value) == "human"
    ):  # NeMo: whose turns are not trained
        return True
    return value in (None, False, 0, [], {})


def _meant(value: object) -> object:
    """Read what a table wrote as text: `"False"`, `"0"`, a list of tools; other texts in lower case."""
    if not isinstance(value, str):
        return value
    value = value.strip().lower()
    try:
        return None if value in {"", "none", "nan"} else json.loads(value)
    except ValueError:
        return value


def _is_blank(value: object) -> bool:
    return not value.strip() if isinstance(value, str) else value in (None, [], {})


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return f"a number ({_brief(value)})"
    if isinstance(value, list):
        return "a JSON array"
    return "a JSON object" if isinstance(value, dict) else "a JSON string" if isinstance(value, str) else "null"


def _brief(value: object) -> str:
    """Shorten a value for an error's words."""
    words = json.dumps(value, ensure_ascii=True)
    return words if len(words) <= 40 else f"{words[:36]} …"


def named(keys: Iterable[str], most: int = MOST_NAMED) -> str:
    """List names of keys for people: `most` of them, and harmless."""
    return ", ".join(escape(key)[:40] for key in list(keys)[:most])


def _check_order(speakers: Sequence[str]) -> None:
    talk = speakers[1:] if speakers[:1] == ["system"] else speakers
    if not talk or len(talk) % 2 or any(who != ("human", "gpt")[n % 2] for n, who in enumerate(talk)):
        found = f", but {', '.join(speakers[:6])}{', …' if len(speakers) > 6 else ''}" if speakers else ""
        raise NoPair(f"the turns are not question, answer, question, answer{found}")
