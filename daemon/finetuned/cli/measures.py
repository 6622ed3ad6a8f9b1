"""What is told of pairs by measure: how much of each answer is in its file's text, and what looks odd.

1. The text is the one that was sent: it is found by where its file lies now, and proved by its hash.
2. Where it cannot be read any more (removed, changed, in a folder that is not configured), that is said, and nothing is
   measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from finetuned.cli import wiring
from finetuned.cli.output import Row
from finetuned.errors import FinetunedError
from finetuned.model import Content
from finetuned.paths import path_of
from finetuned.quality import Doubt, doubts, same_question, share_in, vocabulary

if TYPE_CHECKING:
    from finetuned.folders.text import TextReader
    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings

#: pairs of one file mostly follow each other
_TEXTS: Final = 64
_BLOCK: Final = 64 * 1024


class Sources:
    """The texts that pairs were made of, as far as they can still be read."""

    def __init__(self, settings: Settings, reader: Reader) -> None:
        self._folders = wiring.drop_folders(settings)
        self._reader = reader
        self._vocabulary_of = lru_cache(maxsize=_TEXTS)(self._read)

    def share_of(self, file_id: int, answer: str) -> float | None:
        """Tell which share of an answer's words the file of this number has; null: it cannot be read, or has none."""
        words = self._vocabulary_of(file_id)
        return None if words is None else share_in(words, answer)

    def _read(self, file_id: int) -> frozenset[str] | None:
        row = self._reader.stored(file_id)
        folder = self._folders.get(row["folder"])
        if folder is None or row["location"] is None or row["sha256"] is None:
            return None
        content = Content(sha256=row["sha256"], bytes=row["bytes"], sent_bytes=row.get("sent_bytes") or row["bytes"])
        with suppress(FinetunedError, OSError):
            return vocabulary(_whole(folder.open_text(path_of(row["location"], row.get("location_b64")), content)))
        return None


def _whole(text: TextReader) -> str:
    with closing(text):
        return b"".join(iter(partial(text.read, _BLOCK), b"")).decode()


def contradicted(
    questions: Iterable[tuple[int, str]], answers_of: Callable[[Iterable[int]], Iterable[tuple[int, str]]]
) -> set[int]:
    """Find the questions (by `hash_of`) that have several answers; marks and case do not count.

    Each has a number, by which the answers are fetched of those that are asked more than once.
    """
    first: dict[int, int] = {}
    repeated: dict[int, int] = {}
    for number, question in questions:
        asked = hash_of(question)
        before = first.setdefault(asked, number)
        if before != number:
            repeated[before] = repeated[number] = asked
    answers: dict[int, int] = {}
    found = set()
    for number, answer in answers_of(repeated):
        said = hash_of(answer)
        if answers.setdefault(repeated[number], said) != said:
            found.add(repeated[number])
    return found


def hash_of(text: str) -> int:
    """Return what a text is known by; the same in one process alone."""
    return hash(same_question(text))


def measured(pairs: Iterable[Row], sources: Sources, odd: Collection[int]) -> Iterator[Row]:
    """Yield pairs with `quality`, the share, and `doubts`, in words, in the place of their `file_id`."""
    for pair in pairs:
        found = doubts(pair["question"], pair["answer"])
        if hash_of(pair["question"]) in odd and Doubt.EMPTY not in found:
            found.append(Doubt.CONTRADICTED)
        file_id = pair.pop("file_id")
        share = None if file_id is None else sources.share_of(file_id, pair["answer"])
        yield pair | {"quality": None if share is None else round(share, 3), "doubts": list(map(str, found))}
