"""The pairs of a run: made of its texts by a maker, or ready in them; laid as one file once the last is judged.

1. What the maker has made is read from the store of its work, so that a run that was killed goes on where it was.
2. A text of ready-made pairs is nobody's work: its talks are taken as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from typing import Any, Final

import msgspec

from finetuned.local.machine import Machine
from finetuned.local.maker import Maker
from finetuned.local.runs import Lessons, Made, Run, Text, Written
from finetuned.local.values import OnProgress
from finetuned.making.notes import ChunkState
from finetuned.readymade import is_ready_made

#: pairs that are written at a time
_BATCH: Final = 1000


class Making:
    """Makes the pairs of runs."""

    def __init__(self, maker: Maker, machine: Machine) -> None:
        self._maker = maker
        self._notes = maker.notes
        self._machine = machine

    async def probe(self) -> None:
        """Return if pairs can be made now. Raises ServerError."""
        await self._maker.probe()

    async def make(self, run: Run, on_progress: OnProgress) -> Made:
        """Make the pairs of a run's texts, lay them, and tell what was made of each. Raises Refused."""
        order = await self._machine.in_thread(lambda: run.order)
        texts = {text.upload_name: text for text in order.texts}
        documents = {name: run.text(text) for name, text in texts.items() if not is_ready_made(name)}
        if documents:
            await self._maker.make(run.id, documents, on_progress)
        written = self._written(run, texts)
        counts: dict[str, int] = defaultdict(int)
        with closing(await self._machine.in_thread(run.new_pairs)) as file:
            async for batch in _batches(written):
                for name, _ in batch:
                    counts[name] += 1
                await self._machine.in_thread(file.write, [one for _, one in batch])
            await self._machine.in_thread(file.lay)
        lessons = await self._lessons(run)
        return Made(
            lessons={name: msgspec.structs.replace(lessons.get(name, Lessons()), pairs=counts[name]) for name in texts}
        )

    async def _written(self, run: Run, texts: Mapping[str, Text]) -> AsyncIterator[tuple[str, Written]]:
        """Yield every pair with the upload name of its text: in the order of the texts, and of what stands in them."""
        async for kept in self._notes.kept(run.id):
            draft = kept.draft
            yield (
                kept.document,
                Written(
                    question=draft.question,
                    answer=draft.answer,
                    document=texts[kept.document].sha256,
                    begins=draft.begins,
                    ends=draft.ends,
                    evidence=draft.evidence,
                    made_by=kept.made_by,
                ),
            )
        talk = 0
        for name, text in texts.items():
            if is_ready_made(name):
                for said in await self._machine.in_thread(_talks, run.text(text)):
                    talk += 1
                    for one in _turns(said, text.sha256, talk):
                        yield name, one

    async def _lessons(self, run: Run) -> dict[str, Lessons]:
        """Tell by upload name how many chunks were made of a text, and which failed."""
        chunks: dict[str, int] = defaultdict(int)
        failed: dict[str, int] = defaultdict(int)
        errors: dict[str, dict[str, None]] = defaultdict(dict)
        async for row in self._notes.chunks(run.id):
            chunks[row.document] += 1
            if row.state is ChunkState.FAILED:
                failed[row.document] += 1
                errors[row.document][row.reason or "no reason was given"] = None
        return {
            name: Lessons(chunks=number, failed=failed[name], errors=tuple(errors[name])[:5])
            for name, number in chunks.items()
        }


async def _batches(pairs: AsyncIterator[tuple[str, Written]]) -> AsyncIterator[list[tuple[str, Written]]]:
    batch: list[tuple[str, Written]] = []
    async for one in pairs:
        batch.append(one)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _talks(path: str) -> list[list[Mapping[str, Any]]]:
    """Read the talks of a text of ready-made pairs, as it was sent: `from` and `value`, a talk a line."""
    with open(path, "rb") as lines:
        return [msgspec.json.decode(line)["conversations"] for line in lines if line.strip()]


def _turns(said: list[Mapping[str, Any]], document: str, talk: int) -> Iterator[Written]:
    """Yield the turns of a talk: a question, and its answer."""
    system = said[0]["value"] if said and said[0]["from"] == "system" else None
    spoken = said[1:] if system is not None else said
    for turn, (asked, answered) in enumerate(zip(spoken[::2], spoken[1::2], strict=True), 1):
        yield Written(
            question=asked["value"],
            answer=answered["value"],
            document=document,
            talk=talk,
            turn=turn,
            system=system if turn == 1 else None,
        )
