"""The pairs of a run as lessons: talks in the rows that all trainers read.

1. A row is `{"messages": [{"role", "content"}, …]}`: a system's words if there are any, then user and assistant.
2. Each document is trained: who drops a file wants it learned. What is measured with are the questions that are held
   out (`making.recall`), whose facts other pairs teach; those of one document are all in one part.
3. mlx-lm wants a whole `batch` of rows in each part, looks at whole batches only (the longest rows are those that it
   leaves out), and learns the last answer of a talk alone. So a part that is too small has rows of the training again,
   the training has some rows twice, and a talk is one row for each of its answers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, cycle, islice
from typing import Any, Final

import msgspec

from finetuned.errors import Refused
from finetuned.local.place import sync_folder
from finetuned.local.recalled import Chosen, chosen_beside
from finetuned.making.recall import key_of
from finetuned.model import Value

PARTS: Final = ("train", "valid", "test")


class Row(Value, frozen=True):
    """What is read of a line of `pairs.jsonl`."""

    question: str
    answer: str
    document: str
    talk: int | None = None
    turn: int | None = None
    system: str | None = None


class Split(Value, frozen=True):
    """How many talks are trained, of which documents, and of which there are questions to measure with."""

    rows: int
    train: tuple[str, ...]
    valid: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


Talk = Mapping[str, Any]


def lay_lessons(pairs: str, folder: str, *, batch: int = 0) -> Split:
    """Write `train.jsonl`, `valid.jsonl` and `test.jsonl` of a file of pairs; `batch` is that of mlx-lm (0: another).

    Raises Refused if there is no pair, OSError.
    """
    read = list(_read(pairs))
    taught = _talks(row for row, is_taught in read if is_taught)
    if not taught:
        raise Refused("there is no pair to train with", remedy="see why no pair was kept: finetuned why FILE")
    parts: dict[str, dict[str, list[Talk]]] = {"train": taught, "valid": {}, "test": {}}
    for document, talks in _talks(row for row, is_taught in read if not is_taught).items():
        parts[_part(document)][document] = talks
    rows = {part: list(chain.from_iterable(parts[part].values())) for part in PARTS}
    if batch:
        rows = {part: [begun for talk in rows[part] for begun in _to_each_answer(talk)] for part in PARTS}
    train, least = rows["train"], max(1, batch)
    os.makedirs(folder, exist_ok=True)
    _lay(folder, "train", islice(cycle(train), -(-len(train) // least) * least))
    for part in PARTS[1:]:
        enough = max(least, len(rows[part]))
        _lay(folder, part, islice(chain(rows[part], cycle(train)), enough))
    sync_folder(folder)
    return Split(rows=len(train), **{part: tuple(sorted(parts[part])) for part in PARTS})


def _read(path: str) -> Iterator[tuple[Row, bool]]:
    """Read the pairs, and whether each is taught: some are held out of the training."""
    decoder = msgspec.json.Decoder(Row)
    chosen = chosen_beside(os.path.dirname(path)) or Chosen()
    try:
        with open(path, "rb") as lines:
            for line in lines:
                row = decoder.decode(line)
                is_held_out = chosen.held_out and key_of(row.question, row.answer, row.document) in chosen.held_out
                yield row, not is_held_out
    except FileNotFoundError:
        return


def _talks(rows: Iterable[Row]) -> dict[str, list[Talk]]:
    """Put together, by document, what belongs to one talk: its turns in their order."""
    found: dict[str, dict[object, list[Row]]] = {}
    for number, row in enumerate(rows):
        key: object = ("alone", number) if row.talk is None else row.talk
        found.setdefault(row.document, {}).setdefault(key, []).append(row)
    return {document: [_talk(turns) for turns in talks.values()] for document, talks in found.items()}


def _talk(turns: list[Row]) -> Talk:
    turns = sorted(turns, key=lambda row: row.turn or 0)
    said = [("system", turns[0].system)] if turns[0].system else []
    for turn in turns:
        said += [("user", turn.question), ("assistant", turn.answer)]
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def _to_each_answer(talk: Talk) -> Iterator[Talk]:
    messages = talk["messages"]
    for number, message in enumerate(messages, 1):
        if message["role"] == "assistant":
            yield {"messages": messages[:number]}


def _part(document: str) -> str:
    return PARTS[1 + hashlib.sha256(document.encode("utf-8", "surrogateescape")).digest()[0] % 2]


def _lay(folder: str, part: str, talks: Iterable[Talk]) -> None:
    path = os.path.join(folder, f"{part}.jsonl")
    with open(f"{path}.new", "wb") as file:
        file.writelines(msgspec.json.encode(talk) + b"\n" for talk in talks)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)
