"""What is asked of an export: its format, and all else that was typed."""

from __future__ import annotations

import os
import sys
from types import MappingProxyType
from typing import Final, NamedTuple

#: rows of a shard of a data set for a hub
SHARD_ROWS: Final = 200_000


class Format(NamedTuple):
    """A format: the suffix of its files, how people are told of it, and what a folder of it calls its second part."""

    suffix: str
    words: str
    second: str = "valid"
    is_folder: bool = False
    #: whether it is made to be uploaded, and so tells no path of this machine
    is_public: bool = False


FORMATS: Final = MappingProxyType(
    {
        "openai": Format(".jsonl", "messages of role and content; the usual choice"),
        "sharegpt": Format(".jsonl", "conversations of from and value"),
        "alpaca": Format(".jsonl", "instruction, input, output; no talks", second="val"),
        "chatml": Format(".jsonl", "one text, with ChatML's marks in it"),
        "trl": Format(".jsonl", "prompt and completion, so that answers alone are trained"),
        "mlx": Format(".jsonl", "a folder for mlx-lm, as openai", is_folder=True),
        "csv": Format(".csv", "for people, not for trainers"),
        "parquet": Format(".parquet", "a table of strings"),
        "huggingface": Format(
            ".parquet", "a folder that load_dataset and a hub take", second="test", is_folder=True, is_public=True
        ),
    }
)


class Asked(NamedTuple):
    """What was typed."""

    form: str
    target: str | None
    split: float | None
    job_id: str | None
    folder: str | None
    pattern: str | None
    since: str | None
    until: str | None
    dedupe: bool
    min_quality: float | None
    force: bool
    as_json: bool

    @property
    def format(self) -> Format:
        """The format."""
        return FORMATS[self.form]

    @property
    def second(self) -> str:
        """What the second part is called: a folder's as its readers want it."""
        return self.format.second if self.is_folder else "test"

    @property
    def most_rows(self) -> int:
        """How many rows a file has at most."""
        return SHARD_ROWS if self.form == "huggingface" else sys.maxsize

    @property
    def is_folder(self) -> bool:
        """Whether a folder is wanted."""
        target = self.target or ""
        return self.format.is_folder or target.endswith("/") or os.path.isdir(os.path.expanduser(target))

    @property
    def filters(self) -> list[str]:
        """The options that were given to choose among the pairs."""
        given = {"job": self.job_id, "folder": self.folder, "file": self.pattern}
        given |= {"since": self.since, "until": self.until}
        return [f"--{name}" for name, value in given.items() if value is not None]
