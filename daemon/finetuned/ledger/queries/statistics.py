"""Figures about files that came to an end: how many, how much, how long it took, what went wrong.

1. A file counts in the week (UTC, from Monday on) and in the span of time in which it came to its end.
2. How long it took: until it was learned from when it was first seen; of that, the wait until its job's last attempt
   was sent, and the time with the server from then to the job's end.
3. A percentile is the least value that so many percent of the values do not exceed (nearest rank): one that was seen.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Final

from finetuned.ledger.reasons import FAILURES, fold_reason
from finetuned.ledger.rows import WEEK
from finetuned.lifecycle import FILE_ENDS, FileState
from finetuned.model import Value
from finetuned.times import iso

if TYPE_CHECKING:
    from finetuned.ledger.queries import Reader

_ENDED: Final = "f.finished_at is not null"
_TABLES: Final = (
    "from files f left join jobs j on j.id = f.job_id left join sessions a on a.job_id = j.id and a.current = 1 "
    "left join recalls r on r.file_id = f.id and r.held_out = (select max(held_out) from recalls where file_id = f.id)"
)
_SPAN: Final = "(julianday({1}) - julianday({0})) * 86400"
_FILES: Final = (
    f"select f.folder, {WEEK.format('f.finished_at')} as week, f.state, f.bytes, f.pairs, "
    f"{_SPAN.format('f.seen_at', 'f.finished_at')} as learned_s, {_SPAN.format('f.seen_at', 'a.intent_at')} as wait_s, "
    f"{_SPAN.format('a.intent_at', 'j.finished_at')} as server_s, r.untuned, r.tuned {_TABLES}"
)


class Spans(Value, frozen=True):
    """Seconds that half (`p50`) and 95 percent (`p95`) of the files took at most; null: there is no such file."""

    p50: float | None
    p95: float | None


class Recalled(Value, frozen=True):
    """How well questions about so many `files` were answered on average, before the training and after it (0 to 1).

    Of each file that could be asked new ones those alone count.
    """

    files: int
    untuned: float
    tuned: float


class Figures(Value, frozen=True):
    """The files of a group that came to an end, by state; what the learned ones held and taught, how long they took."""

    states: dict[str, int]
    bytes: int
    pairs: int
    learned: Spans
    waiting: Spans
    server: Spans
    recalled: Recalled | None = None

    @property
    def files(self) -> int:
        """How many files came to an end."""
        return sum(self.states.values())

    @property
    def pairs_per_file(self) -> float | None:
        """How many pairs a learned file taught on average; null: none was learned."""
        learned = self.states[FileState.LEARNED]
        return self.pairs / learned if learned else None


class Failure(Value, frozen=True):
    """Files that were not learned, for one reason; `last_at` is when the last of them came to its end (ISO).

    Reasons that differ in names and numbers alone are one, with `…` in their place.
    """

    state: str
    reason: str
    files: int
    last_at: str


class Statistics(Value, frozen=True):
    """The files that came to an end in a span of time: all, by folder, by week (its Monday); why some were lost.

    `tokens` are those that pairs cost which were made here in that time, by week.
    """

    total: Figures
    folders: dict[str, Figures]
    weeks: dict[str, Figures]
    failures: list[Failure]
    tokens: dict[str, int]


class _Group:
    """What is counted of one group."""

    def __init__(self) -> None:
        self._states: Counter[str] = Counter()
        self._bytes = self._pairs = 0
        self._spans = (array("d"), array("d"), array("d"))
        self._untuned, self._tuned = array("d"), array("d")

    def add(self, state: str, size: int | None, pairs: int | None, spans: Sequence[float | None]) -> None:
        self._states[state] += 1
        if state == FileState.LEARNED:
            self._bytes += size or 0
            self._pairs += pairs or 0
            for kept, span in zip(self._spans, spans, strict=True):
                if span is not None:
                    kept.append(max(0.0, span))  # a clock may have been set back

    def asked(self, untuned: float, tuned: float) -> None:
        self._untuned.append(untuned)
        self._tuned.append(tuned)

    def figures(self) -> Figures:
        files = len(self._tuned)
        learned, waiting, server = (_percentiles(spans) for spans in self._spans)
        return Figures(
            states={state: self._states[state] for state in sorted(FILE_ENDS)},
            bytes=self._bytes,
            pairs=self._pairs,
            learned=learned,
            waiting=waiting,
            server=server,
            recalled=Recalled(files=files, untuned=fmean(self._untuned), tuned=fmean(self._tuned)) if files else None,
        )


def statistics(
    reader: Reader, *, folder: str | None = None, since: float | None = None, until: float | None = None
) -> Statistics:
    """Count the files that came to an end since then and before `until`. Raises LedgerError."""
    conditions = {"f.folder = ?": folder, "f.finished_at >= ?": since, "f.finished_at < ?": until}
    given = {words: value for words, value in conditions.items() if value is not None}
    where = " and ".join((_ENDED, *given))
    values = [iso(value) if isinstance(value, float) else value for value in given.values()]
    total, folders, weeks = _Group(), dict[str, _Group](), dict[str, _Group]()
    for row in reader.rows(f"{_FILES} where {where}", *values):
        spans = (row["learned_s"], row["wait_s"], row["server_s"])
        for group in (total, folders.setdefault(row["folder"], _Group()), weeks.setdefault(row["week"], _Group())):
            group.add(row["state"], row["bytes"], row["pairs"], spans)
            if row["tuned"] is not None:
                group.asked(row["untuned"], row["tuned"])
    reader.connection.create_function("fold_reason", 1, fold_reason, deterministic=True)
    failures = reader.rows(FAILURES.format(where), *values)
    return Statistics(
        total=total.figures(),
        folders={name: folders[name].figures() for name in sorted(folders)},
        weeks={week: weeks[week].figures() for week in sorted(weeks)},
        failures=[Failure(**row) for row in failures],
        tokens=reader.spent_by_week(folder=folder, since=since, until=until),
    )


def _percentiles(spans: Sequence[float]) -> Spans:
    ordered = sorted(spans)
    if not ordered:
        return Spans(p50=None, p95=None)
    half, most = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
    return Spans(p50=half, p95=most)
