"""The paid work of a backend of our own, kept in the ledger: each command is committed when it is back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, ParamSpec, Protocol, TypeVar

from finetuned.ledger.chunks import Chunks
from finetuned.making.notes import ChunkRow, Counts, Kept
from finetuned.making.values import Draft, Span

P = ParamSpec("P")
T = TypeVar("T")
#: rows that one visit to the ledger reads
_PAGE: Final = 1000


class InLedger(Protocol):
    """Runs a command of the ledger beside the loop (`Context.in_ledger`)."""

    async def __call__(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Return the value of `work(*args, **words)` once what it wrote is committed."""
        ...


class PaidWork:
    """`making.notes.Notes` over the ledger's table of chunks."""

    def __init__(self, chunks: Chunks, in_ledger: InLedger) -> None:
        self._chunks = chunks
        self._in_ledger = in_ledger

    def through(self, in_ledger: InLedger) -> None:
        """Go through another queue to the ledger from now on: that of the daemon that works now."""
        self._in_ledger = in_ledger

    async def plan(self, run: str, made_by: str, documents: Mapping[str, Sequence[Span]]) -> None:
        await self._in_ledger(self._chunks.plan, run, made_by, documents)

    async def take_over(self, run: str, made_by: str) -> None:
        await self._in_ledger(self._chunks.take_over, run, made_by)

    async def is_planned(self, run: str) -> bool:
        return await self._in_ledger(self._chunks.is_planned, run)

    async def open_chunks(self, run: str, *, after: int = 0, most: int = _PAGE) -> list[ChunkRow]:
        return await self._in_ledger(self._chunks.open_chunks, run, after=after, most=most)

    async def asking(self, chunk: int) -> None:
        await self._in_ledger(self._chunks.asking, chunk)

    async def answered(self, chunk: int, raw: str, tokens: int) -> None:
        await self._in_ledger(self._chunks.answered, chunk, raw, tokens)

    async def judgement(self, chunk: int, judged_by: str, sha256: str, raw: str, tokens: int) -> None:
        await self._in_ledger(self._chunks.judgement, chunk, judged_by, sha256, raw, tokens)

    async def failed(self, chunk: int, reason: str, *, final: bool) -> None:
        await self._in_ledger(self._chunks.failed, chunk, reason, final=final)

    async def judged(self, chunk: int, drafts: Sequence[Draft], *, reason: str | None = None) -> None:
        await self._in_ledger(self._chunks.judged, chunk, drafts, reason=reason)

    async def answer_known(self, made_by: str, sha256: str) -> str | None:
        return await self._in_ledger(self._chunks.answer_known, made_by, sha256)

    async def spent(self, *, since: float = 0.0, run: str | None = None) -> int:
        return await self._in_ledger(self._chunks.spent, since=since, run=run)

    async def counts(self, run: str) -> Counts:
        return await self._in_ledger(self._chunks.counts, run)

    async def kept(self, run: str) -> AsyncIterator[Kept]:
        after = ("", 0, 0)
        while page := await self._in_ledger(self._chunks.kept, run, after=after, most=_PAGE):
            for one, ordinal in page:
                yield one
                after = (one.document, one.number, ordinal)

    async def chunks(self, run: str) -> AsyncIterator[ChunkRow]:
        after = ("", 0)
        while page := await self._in_ledger(self._chunks.chunks, run, after=after, most=_PAGE):
            for row in page:
                yield row
            after = (page[-1].document, page[-1].span.number)
