"""Sketches of the texts that were learned: an export puts near-duplicates on one side by them.

They are made while the texts surely lie at hand, as the pairs come in: what lies in `done` may go, and not everybody
who reads the ledger may read it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Final

from finetuned.daemon.context import Context
from finetuned.errors import FileProblem, FolderError
from finetuned.folders.folder import DropFolder
from finetuned.likeness import sketch_of
from finetuned.model import Content, File, Job

_BLOCK: Final = 256 * 1024


def sketches(context: Context, job: Job, files: Sequence[File]) -> dict[int, bytes]:
    """Sketch the texts of a job's files, by the file's id; one that cannot be read now is left out."""
    folder = context.folders.get(job.folder)
    found: dict[int, bytes] = {}
    if folder is None:
        return found
    with folder.together():
        for file in files:
            if file.location and file.content:
                location = folder.part_location(file.location, job.id, str(file.id))
                with suppress(FileProblem, FolderError, OSError):
                    found[file.id] = sketch_of(_text(folder, location, file.content))
    return found


def _text(folder: DropFolder, location: str, content: Content) -> Iterator[str]:
    """Yield a text as it was sent. Raises FileProblem, FolderError, OSError."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    with closing(folder.open_text(location, content)) as text:
        while block := text.read(_BLOCK):
            yield decode(block)
