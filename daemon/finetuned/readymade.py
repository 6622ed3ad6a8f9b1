"""Ready-made pairs: what a line of a `.jsonl` file may be, and what the server is given for it.

1. A line is a JSON object in one of three shapes: sharegpt (`conversations` of `from` and `value`), openai-messages
   (`messages` of `role` and `content`), alpaca (`instruction`, perhaps `input`, `output`). What else it holds is left
   out.
2. A talk begins with a question and ends with an answer, in turns; a system's words may stand before it. A line with
   anything else in it is no pair: nothing is ever trained on half a line. Nor is one with a NUL, which garbles a
   text's pairs and which many a database cannot hold.
3. The server gets sharegpt, whatever the shape was. It trains on the one file that has the name of its own data set,
   and on no other `.jsonl` (from its public source; observed up to the training queue only).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

SUFFIX: Final = ".jsonl"
#: the only name under which the server reads pairs: it is the server's own
DATASET: Final = "finetune_dataset.jsonl"
#: who speaks, in the words of either shape, and in those that are sent
_SPEAKERS: Final[Mapping[str, str]] = {
    "human": "human",
    "user": "human",
    "gpt": "gpt",
    "assistant": "gpt",
    "system": "system",
}
#: the shapes that are lists of turns: the list's name, the speaker's, the words'
_TURNS: Final = (("conversations", "from", "value"), ("messages", "role", "content"))
#: for whoever has to mend a file
SHAPES: Final = (
    "a .jsonl file holds ready-made pairs, each line a JSON object with conversations (sharegpt), messages (openai), "
    "or instruction and output (alpaca)"
)


class NoPair(ValueError):
    """A line is no pair; the words say why."""


def is_ready_made(path: str) -> bool:
    """Whether a file of this name holds pairs, and not text."""
    return path.lower().endswith(SUFFIX)


def names_on_server(upload_name: str) -> tuple[str, ...]:
    """The names under which a file is sent: pairs go twice, as ours to be known again, as the server's to be read."""
    return (upload_name, DATASET) if is_ready_made(upload_name) else (upload_name,)


def sharegpt(line: bytes) -> bytes:
    """A line of any of the three shapes, as the server expects it; without a line's end. Raises NoPair."""
    try:
        said = msgspec.json.decode(line)
    except (ValueError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        raise NoPair(f"not JSON ({error})") from error
    if not isinstance(said, dict):
        raise NoPair("not a JSON object")
    turns = _turns(said)
    _check_order([speaker for speaker, _ in turns])
    return msgspec.json.encode({"conversations": [{"from": speaker, "value": words} for speaker, words in turns]})


def _turns(said: dict[str, Any]) -> list[tuple[str, str]]:
    for name, speaker, words in _TURNS:
        if name in said:
            if not isinstance(said[name], list):
                raise NoPair(f"{name} is no list")
            return [_turn(turn, speaker, words) for turn in said[name]]
    if "instruction" not in said or "output" not in said:
        raise NoPair("no shape that is known")
    asked = [_words(said, "instruction")]
    if said.get("input"):
        asked.append(_words(said, "input"))
    return [("human", "\n\n".join(asked)), ("gpt", _words(said, "output"))]


def _turn(turn: object, speaker: str, words: str) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise NoPair("a turn is no JSON object")
    who = _SPEAKERS.get(turn[speaker]) if isinstance(turn.get(speaker), str) else None
    if who is None:
        raise NoPair(f"a turn's {speaker} is none of {', '.join(_SPEAKERS)}")
    return who, _words(turn, words)


def _words(said: dict[str, Any], key: str) -> str:
    words = said.get(key)
    if not isinstance(words, str) or not words.strip():
        raise NoPair(f"{key} is no text, or an empty one")
    if "\0" in words:
        raise NoPair(f"a NUL in {key}")
    return words


def _check_order(speakers: Sequence[str]) -> None:
    talk = speakers[1:] if speakers[:1] == ["system"] else speakers
    if not talk or len(talk) % 2 or any(who != ("human", "gpt")[n % 2] for n, who in enumerate(talk)):
        raise NoPair("the turns are not question, answer, question, answer")
