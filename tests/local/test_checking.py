"""Answers are checked in threads, and wait a moment for each other."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import anyio

from finetuned.local.checking import Checking
from finetuned.making.values import Chunk, Drop, Span
from support.endpoint import Question, a_text, pairs_of
from support.virtual import VirtualRuntime


class Counted(VirtualRuntime):
    """Counts what is done in a thread."""

    hops = 0

    async def in_thread(self, work: Callable[..., Any], *args: Any, **words: Any) -> Any:
        self.hops += 1
        return await super().in_thread(work, *args, **words)


def a_chunk(seed: int) -> tuple[Chunk, str]:
    """A passage, and what a good model answers about it."""
    text = a_text(2, seed)
    raw = text.encode()
    chunk = Chunk(span=Span(number=1, begins=0, own=0, ends=len(raw), sha256=sha256(raw).hexdigest()), text=text)
    asked = {"messages": [{"role": "user", "content": f"<passage>\n{text.strip()}\n</passage>"}]}
    return chunk, pairs_of(Question(method="POST", path="/", headers={}, body=asked))


async def test_answers_that_come_together_share_a_thread():
    """Each is read by itself, and of what is said twice one is kept, whichever."""
    machine = Counted()
    checking = Checking(machine)
    found = []

    async def read(seed: int) -> None:
        chunk, raw = a_chunk(seed)
        reading, drafts = await checking.read(chunk, raw, is_last=True)
        assert not reading.problem
        found.append([draft.drop for draft in drafts])

    async with anyio.create_task_group() as tasks:
        for seed in (1, 2, 3, 1):
            tasks.start_soon(read, seed)
    assert machine.hops == 1
    assert sorted(found, key=str) == [[Drop.DUPLICATE, Drop.DUPLICATE], [None, None], [None, None], [None, None]]
