"""What it will cost to have files learned on this machine: requests, tokens, and the days that a budget makes of them.

1. All of it is an estimate, made without asking anybody: texts are cut as they will be, and what is asked is written.
2. A passage about which the same maker was asked already costs nothing.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from finetuned import clock
from finetuned.amounts import counted
from finetuned.cli import learning, wiring
from finetuned.errors import LedgerMissing
from finetuned.model import Value

if TYPE_CHECKING:
    from finetuned.folders.folder import DropFolder
    from finetuned.ledger.queries import Reader
    from finetuned.model import Content
    from finetuned.settings import Settings

_BLOCK: Final = 256 * 1024
#: how much of a pair a judge is sent, in tokens
_JUDGED: Final = 60


class Cost(Value, frozen=True):
    """How many passages a text has; of these about how many `requests` and `tokens` are needed, and what is `known`."""

    passages: int = 0
    requests: int = 0
    tokens: int = 0
    known: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class Costs:
    """Tells what files cost. The ledger, if it is there, is read; `close` lets go of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._maker = settings.maker

    @cached_property
    def _reader(self) -> Reader | None:
        try:
            return wiring.open_ledger(self._settings)
        except LedgerMissing:
            return None

    @cached_property
    def _instructions(self) -> str:
        return learning.instructions(self._settings)

    @cached_property
    def _made_by(self) -> str:
        return learning.made_by(self._settings)

    def close(self) -> None:
        """Let go of the ledger."""
        if "_reader" in self.__dict__ and self._reader is not None:
            self._reader.close()

    def of(self, folder: DropFolder, path: str, content: Content) -> Cost:
        """Estimate what a file costs. Raises FileProblem, LedgerError, ConfigurationError."""
        from finetuned.making import prompts
        from finetuned.making.chunks import cut, teaches_nothing

        cost, name = Cost(), path.rpartition("/")[2]
        for chunk in cut(_blocks(folder, path, content), self._maker.chunk_bytes):
            passage = Cost(passages=1)
            if self._maker.kind == "chat" and teaches_nothing(chunk.text) is None:
                if self._reader is not None and self._reader.is_answered(self._made_by, chunk.span.sha256):
                    passage = Cost(passages=1, known=1)
                else:
                    pairs = prompts.pairs_for(chunk.own_text)
                    asked = prompts.ask(chunk, document=name, instructions=self._instructions)
                    passage = Cost(passages=1, requests=1, tokens=prompts.cost(asked, pairs))
                    if self._maker.judge_model:
                        passage += Cost(requests=1, tokens=prompts.tokens_of(chunk.text) + pairs * _JUDGED)
            cost += passage
        return cost

    def sentences(self, jobs: Iterable[Cost]) -> Iterator[str]:
        """Yield for people what all of these jobs cost together, and whether the budgets allow it."""
        each = list(jobs)
        cost = sum(each, Cost())
        if not cost.passages:
            return
        words = f"learned on this machine: {counted(cost.passages, 'passage')}"
        if self._maker.kind == "chat":
            words += f", {counted(cost.requests, 'request')} and about {cost.tokens:,} tokens"
        if cost.known:
            words += f"; {counted(cost.known, 'passage')} of them cost nothing: the answers are known"
        yield words
        day, job = self._maker.max_tokens_a_day, self._maker.max_tokens_a_job
        if day and cost.tokens:
            yield f"the budget of {day:,} tokens a day (maker.max_tokens_a_day) {self._days(cost.tokens, day)}"
        if job and (over := sum(one.tokens > job for one in each)):
            held = "1 job needs" if over == 1 else f"{over} jobs need"
            yield f"{held} more than {job:,} tokens (maker.max_tokens_a_job), and will wait until that is raised"

    def _days(self, tokens: int, day: int) -> str:
        midnight = datetime.fromtimestamp(clock.now(), UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        spent = 0 if self._reader is None else self._reader.spent(midnight.timestamp())
        days = -(-(min(spent, day) + tokens) // day)
        left = f", of which {spent:,} are spent today" if spent else ""
        return f"is enough for that today{left}" if days == 1 else f"makes that take {days} days{left}"


def _blocks(folder: DropFolder, path: str, content: Content) -> Iterator[str]:
    """Read the text of a file as it would be sent."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with closing(folder.open_text(path, content)) as text:
        while block := text.read(_BLOCK):
            yield decoder.decode(block)
