"""Pairs, from a server's answer into the ledger: in batches, of which none is large, whatever the answer holds.

1. The answer was read to its end before the first pair is written (`Harvest`).
2. Each batch of many is a commit of its own: others write in between, and a crash costs what was written so far, no
   more. What follows from the pairs is written after the last of them, in one commit, with the word that they are all
   here. A few are written in that commit, too: a job that ends gives its slot to the next. That many are fetched is
   noted before the first of them.
3. Long answers are gone through one at a time, so that a dozen of them take no more memory than one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Final

import anyio

from finetuned.backend import Entry, Harvest, Observation, Pair
from finetuned.daemon.context import Context
from finetuned.model import File, Job
from finetuned.verdict import Count, Tally, owner, tally

#: what one commit takes, in pairs and in characters; a talk that it begins with is taken to its end
BATCH_PAIRS: Final = 1000
BATCH_CHARS: Final = 1024 * 1024

Then = Callable[[Tally], None]


class Collecting:
    """Writes pairs down."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._one_long = anyio.Lock()

    async def collect(
        self,
        job: Job,
        seen: Observation,
        files: Sequence[File],
        *,
        url: str,
        then: Then,
        note: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Bring the pairs of a session at `url` into the ledger, count them, and write what follows from that.

        `note` writes down that they are fetched, of which there are many. Raises ServerError, LedgerStuck.
        """
        context = self._context
        with await context.backends[url].harvest(seen) as harvest:
            few = await harvest.few(BATCH_PAIRS)
            if few is not None:
                with context.turns[url].ending(job.id):
                    await context.in_ledger(self._write_at_once, job, seen, few, files, then)
                return
            if note is not None:
                await note()
            async with self._one_long if harvest.is_long else nullcontext():
                here = await context.in_ledger(context.ledger.pairs.here, seen.id)
                counted: Tally | None = None
                if here is not None:
                    counted = await context.runtime.in_thread(tally, seen, harvest)
                if counted is None or here != counted.pairs:
                    counted = await self._write(job, seen, harvest, files)
                await context.in_ledger(then, counted)

    async def _write(self, job: Job, seen: Observation, harvest: Harvest, files: Sequence[File]) -> Tally:
        """Write many pairs, a batch at a visit, and count them meanwhile: to read a long answer takes a second."""
        context, count = self._context, Count(seen)
        while await context.in_ledger(context.ledger.pairs.take_some_away, seen.id):
            pass
        batches = _batches(count.pairs(harvest))
        while batch := await context.runtime.in_thread(next, batches, ()):
            await context.in_ledger(context.ledger.pairs.add, job, seen.id, batch, owner(seen, files))
        return count.tally

    def _write_at_once(
        self, job: Job, seen: Observation, told: Sequence[Entry], files: Sequence[File], then: Then
    ) -> None:
        """Write a few pairs, and what follows."""
        pairs, counted = self._context.ledger.pairs, tally(seen, told)
        with self._context.ledger.together():
            if pairs.here(seen.id) != counted.pairs:
                while pairs.take_some_away(seen.id):
                    pass
                for batch in _batches(one for one in told if isinstance(one, Pair)):
                    pairs.add(job, seen.id, batch, owner(seen, files))
            then(counted)


def _batches(pairs: Iterable[Pair]) -> Iterator[Sequence[Pair]]:
    """Yield the pairs in batches; the turns of a talk are in one, so that none of another session is between them."""
    batch: list[Pair] = []
    size = 0
    for one in pairs:
        is_full = len(batch) >= BATCH_PAIRS or size >= BATCH_CHARS
        if is_full and (one.talk is None or one.talk != batch[-1].talk):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.raw_question) + len(one.raw_answer)
    if batch:
        yield batch
