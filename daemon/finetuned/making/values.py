"""What pairs are made of and become: passages, drafts, and why a draft is not kept.

Places are bytes of the text as it was sent (UTF-8), from `begins` to before `ends`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from finetuned.model import Value


class Span(Value, frozen=True):
    """Where a passage lies in its text: the `number`-th, from 1.

    From `begins` to before `own` it repeats the end of the passage before it, so that no fact is cut in two; what
    is there in whole belongs to that one. `heading` is what it stands below, from the outermost (empty: nothing).
    `sha256` (hex) is that of its bytes.
    """

    number: int
    begins: int
    own: int
    ends: int
    sha256: str
    heading: str = ""

    @property
    def bytes(self) -> int:
        """How long it is, with what it repeats."""
        return self.ends - self.begins


class Chunk(Value, frozen=True):
    """A passage that is asked about in one request: where it lies, and its text."""

    span: Span
    text: str

    @property
    def own_text(self) -> str:
        """What no passage before it has."""
        return self.text.encode()[self.span.own - self.span.begins :].decode()


class Drop(StrEnum):
    """Why a draft is not kept."""

    EMPTY = "empty"
    TOO_LONG = "too_long"
    ECHO = "echo"
    NEEDS_TEXT = "needs_text"
    NO_EVIDENCE = "no_evidence"
    NOT_OWN = "not_own"
    LANGUAGE = "language"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    CONTRADICTED = "contradicted"
    JUDGED = "judged"


#: each reason in words that go on from "not kept, because "
DROPS: Final[Mapping[Drop, str]] = MappingProxyType(
    {
        Drop.EMPTY: "its question asks nothing, or its answer has no word",
        Drop.TOO_LONG: "its question or its answer is too long",
        Drop.ECHO: "its answer says no more than its question",
        Drop.NEEDS_TEXT: "it speaks of the text, or of somebody whom it does not name, and is no use without the text",
        Drop.NO_EVIDENCE: "nothing in the passage was found that proves it",
        Drop.NOT_OWN: "what proves it belongs to the passage before, which was asked about it",
        Drop.LANGUAGE: "it is written in another script than the passage",
        Drop.DUPLICATE: "the same pair was kept already",
        Drop.NEAR_DUPLICATE: "a pair much like it was kept already",
        Drop.CONTRADICTED: "its question was kept already, with another answer",
        Drop.JUDGED: "the judging model said that the passage does not prove it",
    }
)


class Draft(Value, frozen=True):
    """One pair as it was made, kept or not.

    `evidence` is a piece of the text, word for word as it stands from `begins` to before `ends`; both are 0 if it was
    not found, and it is then what the maker said. `drop`: why it is not kept (null: it is kept).
    """

    question: str
    answer: str
    evidence: str = ""
    begins: int = 0
    ends: int = 0
    drop: Drop | None = None
