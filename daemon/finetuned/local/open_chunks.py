"""The chunks of a run that are left to be made, prepared for those who work on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

import anyio

from finetuned.errors import FinetunedError, Refused
from finetuned.local import texts
from finetuned.local.machine import Machine
from finetuned.making.notes import ChunkRow, ChunkState, Notes
from finetuned.making.values import Chunk

#: rows that are read of the notes at a time
_PAGE: Final = 128
#: and chunks, and bytes of their texts, that are prepared at a time
_AT_ONCE: Final = 16
_AT_ONCE_BYTES: Final = 1024 * 1024


class Work(NamedTuple):
    """A chunk that is not at its end: its row, its text, and the answer about it if one was known `at` that time."""

    row: ChunkRow
    chunk: Chunk
    raw: str | None
    at: float


class OpenChunks:
    """The chunks of a run that are not at their end, each once, for any number of workers.

    Their texts are read, and known answers looked up, for several at a time: what waits for ledger and disk is shared.
    """

    def __init__(self, notes: Notes, machine: Machine, run: str, files: Mapping[str, str], *, known: bool) -> None:
        self._notes = notes
        self._machine = machine
        self._looks_up = known
        self._run = run
        self._files = files
        self._page: deque[ChunkRow] = deque()
        self._ready: deque[Work] = deque()
        self._after = 0
        self._is_end = False
        self._trouble: FinetunedError | None = None
        self._reading = anyio.Lock(fast_acquire=True)

    async def next(self) -> Work | None:
        """Return one that nobody had; null: there is none. Raises Refused if its text is not there."""
        async with self._reading:
            if not self._ready:
                await self._read_on()
            return self._ready.popleft() if self._ready else None

    async def _read_on(self) -> None:
        if not self._page and not self._is_end:
            self._page.extend(await self._notes.open_chunks(self._run, after=self._after, most=_PAGE))
            self._is_end = not self._page
        rows, size = list[ChunkRow](), 0
        while self._page and len(rows) < _AT_ONCE and size < _AT_ONCE_BYTES:
            rows.append(self._page.popleft())
            size += rows[-1].span.bytes
            self._after = rows[-1].id
        if not rows:
            return
        chunks = await self._machine.in_thread(lambda: [self._passage(row) for row in rows])
        known: dict[int, str | None] = {}
        at = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for row in rows:
                if self._looks_up and row.state is not ChunkState.ANSWERED:
                    tasks.start_soon(self._look_up, row, known)
        if self._trouble is not None:
            raise self._trouble
        self._ready.extend(
            Work(row, chunk, known.get(row.id, row.raw), at) for row, chunk in zip(rows, chunks, strict=True)
        )

    def _passage(self, row: ChunkRow) -> Chunk:
        return texts.passage(text_of(self._run, row.document, self._files), row.span)

    async def _look_up(self, row: ChunkRow, known: dict[int, str | None]) -> None:
        try:
            known[row.id] = await self._notes.answer_known(row.made_by, row.span.sha256)
        except FinetunedError as error:  # not to know is no reason to pay
            self._trouble = error


def text_of(run: str, document: str, files: Mapping[str, str]) -> str:
    """Find the text of a document. Raises Refused."""
    if document not in files:
        raise Refused(f"the run {run} has no text {document} any more", remedy="`finetuned retry` begins anew")
    return files[document]
