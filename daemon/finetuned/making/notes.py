"""What is kept of the making of pairs, so that no answer is paid for twice: values, and the protocol of their store.

1. A run (`<job>.<attempt>`) is planned once, whole: a row for each passage of each of its documents. Planning it again
   changes nothing.
2. A chunk goes `waiting → asking → answered → judged`. `asking` is committed before its request is sent, `answered`
   before the next request and before a word of it is read. One that failed is `waiting` again, or `failed` for good.
3. After a crash a chunk that is `asking` is asked again: its answer never came. One that is `answered` is only judged.
4. An answer is known by who made it (`made_by`) and what was asked about (the passage's `sha256`), in whatever run: the
   same is never paid for twice. What could not be read is no such answer.
5. Each method is one transaction, and returns once it is committed. The store knows what time it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from finetuned.making.values import Draft, Drop, Span
from finetuned.model import Value


class ChunkState(StrEnum):
    """How far a chunk has come."""

    WAITING = "waiting"
    ASKING = "asking"
    ANSWERED = "answered"
    JUDGED = "judged"
    FAILED = "failed"


#: states in which something is left to do
CHUNK_OPEN = frozenset({ChunkState.WAITING, ChunkState.ASKING, ChunkState.ANSWERED})


class ChunkRow(Value, frozen=True):
    """A chunk as the store knows it: the passage `span` of `document` (an upload name).

    `tries` are requests that were intended; `raw` is the answer as it came (null: none, or one that could not be read),
    `tokens` what all its answers cost together. `reason`: why it failed the last time, or taught nothing. `kept` drafts
    were kept, `dropped` tells how many were not, by reason; both are empty until it is judged.
    """

    id: int
    run: str
    document: str
    made_by: str
    span: Span
    state: ChunkState = ChunkState.WAITING
    tries: int = 0
    tokens: int = 0
    raw: str | None = None
    reason: str | None = None
    kept: int = 0
    dropped: Mapping[Drop, int] = {}


class Kept(Value, frozen=True):
    """A draft that was kept, with the document and the passage (its number, from 1) that it was made of."""

    document: str
    number: int
    made_by: str
    draft: Draft


class Counts(Value, frozen=True):
    """How far a run has come: its chunks by state, its drafts, and the `tokens` of all its answers.

    `barren` chunks were judged, and no draft of theirs was kept; `reused` ones had an answer of another run's, which
    cost nothing.
    """

    chunks: int = 0
    waiting: int = 0
    asking: int = 0
    answered: int = 0
    judged: int = 0
    failed: int = 0
    barren: int = 0
    reused: int = 0
    kept: int = 0
    dropped: Mapping[Drop, int] = {}
    tokens: int = 0

    @property
    def left(self) -> int:
        """How many chunks are not at their end."""
        return self.waiting + self.asking + self.answered


class Notes(Protocol):
    """The store of the paid work. A run, or a chunk, that it does not have raises LookupError."""

    async def plan(self, run: str, made_by: str, documents: Mapping[str, Sequence[Span]]) -> None:
        """Note the chunks of a run by document, in their order; do nothing if the run is planned already."""
        ...

    async def take_over(self, run: str, made_by: str) -> None:
        """Note that what has no answer yet of a run is made by this maker from now on, whoever it was planned for."""
        ...

    async def is_planned(self, run: str) -> bool:
        """Tell whether it is."""
        ...

    async def open_chunks(self, run: str, *, after: int = 0, most: int = 1000) -> list[ChunkRow]:
        """List `most` chunks that are not at their end, by their ids, of those with an id over `after`."""
        ...

    async def asking(self, chunk: int) -> None:
        """Note that a chunk is asked about from now on: it is committed before the request goes. Counts a try."""
        ...

    async def answered(self, chunk: int, raw: str, tokens: int) -> None:
        """Keep an answer as it came, with what it cost; 0 tokens for one that was known (`answer_known`)."""
        ...

    async def judgement(self, chunk: int, judged_by: str, sha256: str, raw: str, tokens: int) -> None:
        """Keep what a judge answered about an answered chunk, before it is read; it is known as an answer of its own.

        `sha256` is that of what the judge was asked.
        """
        ...

    async def failed(self, chunk: int, reason: str, *, final: bool) -> None:
        """Note why a chunk was not answered, or its answer cannot be read; it waits again unless it is `final`.

        An answer that it has is its own no more, and is not known; what it cost stays counted.
        """
        ...

    async def judged(self, chunk: int, drafts: Sequence[Draft], *, reason: str | None = None) -> None:
        """Keep the drafts of a chunk, dropped ones too, in their order. `reason`: why it taught nothing.

        Judging it again (the ledger was older than the file of pairs) replaces them.
        """
        ...

    async def answer_known(self, made_by: str, sha256: str) -> str | None:
        """Return the answer that this maker gave for this passage, in any run; null: there is none."""
        ...

    async def spent(self, *, since: float = 0.0, run: str | None = None) -> int:
        """Count the tokens of all answers, of one run if it is named, that came at `since` (an instant) or later.

        It counts what was unreadable too, and what belongs to runs that are removed by now.
        """
        ...

    async def counts(self, run: str) -> Counts:
        """Count what a run's chunks and drafts have come to."""
        ...

    def kept(self, run: str) -> AsyncIterator[Kept]:
        """Yield the drafts that were kept, by document, chunk and their order in it."""
        ...

    def chunks(self, run: str) -> AsyncIterator[ChunkRow]:
        """Yield all chunks of a run by document and number, without their answers (`raw` is null)."""
        ...
