"""What a path that a person typed has to do with a folder, with a job, or with files that were dropped.

People ask about the file that they gave to `drop`, or copied; what the ledger knows is the copy in the folder. It is
found by its content, else by its name.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from finetuned.cli import place
from finetuned.cli.fitting import seen
from finetuned.cli.showing import Row
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


def dropped_as(reader: Reader, settings: Settings, path: str) -> str | None:
    """A sentence that names the files of the folders with the content of `path`, else with its name; null: none."""
    by = "content"
    found = reader.of_content(_contents(settings, path))
    if not found:
        by, found = "name", reader.of_name(os.path.basename(path))
    if not found:
        return None
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"a file with this {by} was dropped as {', '.join(map(_named, found[:MOST_NAMED]))}{more}"


def _named(file: Row) -> str:
    in_job = f", job {file['job_id']}" if file["job_id"] else ""
    return f"{seen(file['path'])} ({file['state']}{in_job})"


def _contents(settings: Settings, path: str) -> set[str]:
    """By each folder's rules what the ledger would know this content by; empty if it can be read by none."""
    found = set()
    if os.path.isfile(path):
        for folder in place.drop_folders(settings).values():
            with suppress(OSError, FileProblem):
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    found.add(folder.content(fd, path).sha256)
                finally:
                    os.close(fd)
    return found
