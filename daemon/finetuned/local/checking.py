"""Checks what was read of answers, in threads: each answer by itself, and then against what its run has kept.

Answers wait a moment for each other: they share a thread, which takes a while to change to, and the questions that
follow them at the endpoint go first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from finetuned.local.machine import Machine
from finetuned.making import rules
from finetuned.making.checks import Examiner, Seen
from finetuned.making.reading import Reading, read
from finetuned.making.values import Chunk, Draft

#: how long an answer waits for others, in seconds
MOMENT: Final = 0.05


@dataclass(slots=True, eq=False)
class _Answer:
    """An answer that waits to be read."""

    chunk: Chunk
    raw: str
    is_last: bool
    reading: Reading | None = None
    drafts: list[Draft] = field(default_factory=list)


class Checking:
    """The checks of one run."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._seen = Seen()
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._waiting: list[_Answer] = []

    async def recall(self, drafts: Sequence[Draft]) -> None:
        """Remember drafts that were kept before."""
        await self._machine.in_thread(self._admitted, drafts)

    async def read(self, chunk: Chunk, raw: str, *, is_last: bool) -> tuple[Reading, list[Draft]]:
        """Read an answer about a passage, and judge each draft by itself; `distinct` follows at once if `is_last`."""
        answer = _Answer(chunk, raw, is_last)
        self._waiting.append(answer)
        async with self._one_at_a_time:
            if answer.reading is None:
                with anyio.move_on_after(MOMENT):
                    await anyio.sleep_forever()
                waiting, self._waiting = self._waiting, []
                await self._machine.in_thread(self._read_all, waiting)
        return answer.reading or Reading(), answer.drafts

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

    def _read_all(self, answers: Sequence[_Answer]) -> None:
        for one in answers:
            one.reading, drafts = _read(one.chunk, one.raw)
            one.drafts = self._admitted(drafts) if one.is_last else drafts

    def _admitted(self, drafts: Sequence[Draft]) -> list[Draft]:
        return [self._seen.admit(draft) for draft in drafts]


def _read(chunk: Chunk, raw: str) -> tuple[Reading, list[Draft]]:
    reading = read(raw)
    examiner = Examiner(chunk)
    return reading, [examiner.examine(draft) for draft in reading.pairs]
