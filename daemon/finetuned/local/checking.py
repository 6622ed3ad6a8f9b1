"""Checks what was read of answers, in threads: each answer by itself, and then against what its run has kept."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from finetuned.local.machine import Machine
from finetuned.making import rules
from finetuned.making.checks import Examiner, Seen
from finetuned.making.reading import Reading, read
from finetuned.making.values import Chunk, Draft


class Checking:
    """The checks of one run."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._seen = Seen()
        self._one_at_a_time = anyio.Lock(fast_acquire=True)

    async def recall(self, drafts: Sequence[Draft]) -> None:
        """Remember drafts that were kept before."""
        await self._machine.in_thread(self._admitted, drafts)

    async def read(self, chunk: Chunk, raw: str, *, is_last: bool) -> tuple[Reading, list[Draft]]:
        """Read an answer about a passage, and judge each draft by itself; `distinct` follows at once if `is_last`."""
        if not is_last:
            return await self._machine.in_thread(_read, chunk, raw)
        async with self._one_at_a_time:
            return await self._machine.in_thread(self._read_and_admit, chunk, raw)

    async def by_rules(self, chunk: Chunk, document: str) -> list[Draft]:
        """Make the pairs of a passage that need no model."""
        async with self._one_at_a_time:
            return await self._machine.in_thread(lambda: self._admitted(rules.make(chunk, document)))

    async def distinct(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Drop what is like something that was kept, and remember the rest."""
        async with self._one_at_a_time:
            return await self._machine.in_thread(self._admitted, drafts)

    def worth_judging(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Choose those that may be kept."""
        return [draft for draft in drafts if draft.drop is None and self._seen.drop_of(draft) is None]

    def _read_and_admit(self, chunk: Chunk, raw: str) -> tuple[Reading, list[Draft]]:
        reading, drafts = _read(chunk, raw)
        return reading, self._admitted(drafts)

    def _admitted(self, drafts: Sequence[Draft]) -> list[Draft]:
        return [self._seen.admit(draft) for draft in drafts]


def _read(chunk: Chunk, raw: str) -> tuple[Reading, list[Draft]]:
    reading = read(raw)
    examiner = Examiner(chunk)
    return reading, [examiner.examine(draft) for draft in reading.pairs]
