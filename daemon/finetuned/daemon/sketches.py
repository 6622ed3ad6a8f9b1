"""Sketches of the texts that are learned: an export puts near-duplicates on one side by them.

They are made while the texts surely lie at hand: of a short one as it is read first, of others as the pairs come in.
What lies in `done` may go, and not everybody who reads the ledger may read it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Final

from finetuned.daemon.context import Context
from finetuned.errors import FileProblem, FolderError
from finetuned.folders.folder import DropFolder
from finetuned.likeness import sketch_of, sketch_of_short
from finetuned.model import Content, File, Job

_BLOCK: Final = 256 * 1024
#: a text of so few bytes is sketched as it is read first, which takes less than to open it once more; a longer one
#: would be sent later for it
SHORT: Final = 4096
#: of a longer text the beginning is sketched: a second goes for each 10 MiB, while the next job waits for the slot
LONGEST: Final = 4 * 1024 * 1024


def sketch_as_read(pieces: Iterable[bytes]) -> bytes:
    """Sketch a short text of the pieces in which it will be sent."""
    return sketch_of_short(b"".join(pieces).decode())


def sketches(context: Context, job: Job, files: Sequence[File]) -> dict[int, bytes] | None:
    """Sketch the texts of a job's files that have no sketch, by the file's id; one that cannot be read is left out.

    null: the daemon is to stop, which does not wait for the rest of them.
    """
    folder = context.folders.get(job.folder)
    found: dict[int, bytes] = {}
    left = context.ledger.files.unsketched(job.id)
    if folder is None or not left:
        return found
    with folder.together():
        for file in files:
            if context.stopping:
                return None
            if file.id in left and file.location and file.content:
                location = folder.part_location(file.location, job.id, str(file.id))
                with suppress(FileProblem, FolderError, OSError):
                    found[file.id] = sketch_of(_text(folder, location, file.content))
    return found


def _text(folder: DropFolder, location: str, content: Content) -> Iterator[str]:
    """Yield a text as it was sent; of one longer than `LONGEST` its beginning, unproved, as only an end proves a text.

    Raises FileProblem, FolderError, OSError.
    """
    decode = codecs.getincrementaldecoder("utf-8")().decode
    left = LONGEST
    with closing(folder.open_text(location, content)) as text:
        while left > 0 and (block := text.read(_BLOCK)):
            left -= len(block)
            yield decode(block)
