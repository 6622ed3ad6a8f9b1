"""What lies beside the parts of an export: its manifest, a card for a hub, a `dataset_info.json` for LLaMA-Factory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from finetuned import __version__
from finetuned.amounts import counted
from finetuned.cli.output import Row

MANIFEST: Final = "manifest.json"
CARD: Final = "README.md"
DATASET_INFO: Final = "dataset_info.json"

#: how LLaMA-Factory is told to read a format; its own formatting "openai" puts words into the system's mouth
_READ_AS: Final[Mapping[str, Row]] = MappingProxyType(
    {
        "openai": {
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
                "system_tag": "system",
            },
        },
        "sharegpt": {
            "formatting": "sharegpt",
            "columns": {"messages": "conversations"},
            "tags": {
                "role_tag": "from",
                "content_tag": "value",
                "user_tag": "human",
                "assistant_tag": "gpt",
                "system_tag": "system",
            },
        },
        "alpaca": {
            "formatting": "alpaca",
            "columns": {"prompt": "instruction", "query": "input", "response": "output"},
        },
    }
)
_CARD: Final = """\
---
task_categories:
- text-generation
tags:
- finetuned
configs:
- config_name: default
  data_files:
{data_files}
---

# {name}

{words}, written by finetuned {version}.

A row is a talk of one or more turns: `messages` are its turns, as `role` (`system`, `user`, `assistant`) and `content`;
`file` is the path of the file that it was made of, from its drop folder on, `job_id` and `session_id` tell when,
`ordinal` is the place of its first pair there. What was left out, and the hash of each file, is in `manifest.json`. No
file here tells where anything lay on the machine that wrote them.
"""


def papers(form: str, name: str, parts: Sequence[tuple[str, list[str]]], pairs: int) -> dict[str, bytes]:
    """Make by name what lies in a folder beside its parts, which have `pairs`: by part the names of its files."""
    if form == "huggingface":
        return {CARD: card(name, [part for part, _ in parts], pairs).encode()}
    if form in _READ_AS:
        told = {
            (name if number == 0 else f"{name}_{part}"): {"file_name": files[0], **_READ_AS[form]}
            for number, (part, files) in enumerate(parts)
        }
        return {DATASET_INFO: json.dumps(told, indent=2).encode() + b"\n"}
    return {}


def card(name: str, parts: Sequence[str], pairs: int) -> str:
    """Write the card of a data set for a hub."""
    files = "\n".join(f"  - split: {part}\n    path: data/{part}-*" for part in parts)
    words = counted(pairs, "question-answer pair")
    return _CARD.format(data_files=files, name=name, words=words, version=__version__)


def names_in(folder: str) -> set[str]:
    """List the files of an earlier export in its folder, as its manifest tells; none if there is no manifest."""
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            return {MANIFEST, *(str(one["file"]) for one in json.load(file)["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
