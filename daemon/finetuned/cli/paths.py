"""What a path that a person typed has to do with a folder, with a job, or with files that were dropped.

People ask about the file that they gave to `drop`, or copied; what the ledger knows is the copy in the folder. It is
found by its content, else by its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from finetuned.cli import wiring
from finetuned.cli.output import Row, first_of
from finetuned.errors import FileProblem

if TYPE_CHECKING:
    from finetuned.ledger import Reader
    from finetuned.settings import FolderSettings, Settings

MOST_NAMED: Final = 3


def as_configured(path: str, settings: Settings) -> str:
    """The path as the folders' own paths are written, should it lead into one of them by another way."""
    if rules_of(path, settings) is not None:
        return path
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    for rules in settings.folders:
        root = os.path.realpath(rules.path)
        if real == root or real.startswith(root.rstrip("/") + "/"):
            return rules.path + real[len(root) :]
    return path


def rules_of(path: str, settings: Settings) -> FolderSettings | None:
    """The folder that the path lies in, or is."""
    for rules in settings.folders:
        if path == rules.path or path.startswith(rules.path.rstrip("/") + "/"):
            return rules
    return None


def job_in(path: str) -> str | None:
    """The job whose own folder the path may lie in: `…/done/<job>/…`."""
    from finetuned.model import RESERVED

    parts = path.split("/")
    return next((after for part, after in pairwise(parts) if part in RESERVED), None)


class Dropped(NamedTuple):
    """Files of the folders that have the content, or else the name (`by`), of another file."""

    by: str
    files: list[Row]

    def words(self, show: Callable[[str], str]) -> str:
        """A sentence that names them; `show` writes a path."""
        named = [
            f"{show(file['path'])} ({', job '.join(filter(None, (file['state'], file['job_id'])))})"
            for file in self.files
        ]
        return f"a file with this {self.by} was dropped as {first_of(named, MOST_NAMED)}"


def dropped_as(reader: Reader, settings: Settings, path: str) -> Dropped | None:
    """The files that were dropped with the content of `path`, else with its name; null: none."""
    if found := reader.of_content(_contents(settings, path)):
        return Dropped("content", found)
    found = reader.of_name(os.path.basename(path))
    return Dropped("name", found) if found else None


def _contents(settings: Settings, path: str) -> set[str]:
    """By each folder's rules what the ledger would know this content by; empty if it can be read by none."""
    found = set()
    if os.path.isfile(path):
        for folder in wiring.drop_folders(settings).values():
            with suppress(OSError, FileProblem):
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    content = folder.content(fd, path)
                    found |= {content.sha256, content.text_sha256}
                finally:
                    os.close(fd)
    return found
