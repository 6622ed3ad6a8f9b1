"""The figures of one daemon, as the library's metric families: made at each scrape."""

from __future__ import annotations

import platform
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from finetuned import __version__
from finetuned.daemon import Context
from finetuned.errors import LedgerError
from finetuned.ledger.measures import Measures, measure, sizes
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.lifecycle import JOB_ENDS, JOB_IN_FLIGHT, Cause, FileState, JobState
from finetuned.metrics import catalogue as c
from finetuned.metrics.catalogue import Kind, Metric
from finetuned.metrics.health import of_the_loop

K = TypeVar("K", bound=tuple[str, ...])
Family = GaugeMetricFamily | CounterMetricFamily
#: figures that took longer than so many seconds are shown again for so many times as long, and for so many seconds at
#: most: a year's rows are counted one by one, and who asks every few seconds would have a core do nothing else
QUICK: Final = 0.25
AGAIN: Final = 20.0
LONGEST: Final = 60.0
#: what the daemon asks for when a session stands still
_RESTARTS: Final = (Cause.RESTART, Cause.REQUEUE)


class Figures(Collector):
    """Collects from the ledger what was written since the last time, and what the daemon tells of itself.

    One thread at a time.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._measures: Measures | None = None
        self._changes = -1
        self._good_until = -inf
        self._events: Counter[tuple[str, str]] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()

    def follow(self, context: Context) -> None:
        """Go on with the next daemon of the process, after a reload: its counters go on, too."""
        self._context, self._changes, self._good_until = context, -1, -inf

    def collect(self) -> Iterator[Family]:
        """Yield each family but those whose figures are not known."""
        yield from self._of_the_daemon()
        path = self._context.ledger.path
        try:
            file, log = sizes(path)
            known = self._measured(path)
        except LedgerError:
            yield _one(c.READABLE, 0)
            yield _one(c.HEALTHY, 0)
            return
        yield _one(c.READABLE, 1)
        yield _one(c.HEALTHY, not of_the_loop(self._context))
        yield _one(c.LEDGER, file)
        yield _one(c.LOG, log)
        yield from self._of_files(known)
        yield from self._of_jobs(known)
        yield from self._of_doors(known)

    def _measured(self, path: str) -> Measures:
        context = self._context
        steady, settings = context.runtime.steady, context.settings
        begun = steady()
        changes = context.ledger.changes  # first: what is written meanwhile is read the next time
        if self._measures is None or (changes != self._changes and begun >= self._good_until):
            since = None if self._measures is None else self._measures.last
            hooks = {name: (hook.key, hook.on) for name, hook in settings.named_hooks.items()}
            known = measure(path, [s.url for s in settings.services.values()], hooks=hooks, since=since)
            self._events.update(known.events)
            self._ended.update(known.ended)
            self._measures = known
            if context is self._context:  # else the next daemon's settings may want others
                self._changes, took = changes, steady() - begun
                self._good_until = begun + took + (min(took * AGAIN, LONGEST) if took > QUICK else 0.0)
        return self._measures

    def _of_the_daemon(self) -> Iterator[Family]:
        context = self._context
        versions = (__version__, platform.python_version(), sqlite3.sqlite_version, str(SCHEMA_VERSION))
        yield _many(c.BUILD, {versions: 1})
        runtime = context.runtime
        yield _one(c.LAST_TURN, runtime.now() - (runtime.steady() - context.turned_at))
        yield _one(c.STUCK, context.stuck is not None)

    def _of_files(self, known: Measures) -> Iterator[Family]:
        folders = self._folders()
        now = self._context.runtime.now()
        yield _many(c.FILES, _zeros(folders, FileState) | known.files)
        yield _by_label(
            c.OLDEST, dict.fromkeys(folders, 0.0) | {name: max(0.0, now - at) for name, at in known.oldest.items()}
        )
        yield _by_label(c.PAIRS, dict.fromkeys(folders, 0) | known.pairs)

    def _of_jobs(self, known: Measures) -> Iterator[Family]:
        folders = self._folders()
        services = self._context.settings.services.values()
        most = (min(each.max_in_flight, known.max_sessions.get(each.url, each.max_in_flight)) for each in services)
        yield _many(c.JOBS, _zeros(folders, JobState) | known.jobs)
        yield _many(c.FINISHED, _zeros(folders, sorted(JOB_ENDS)) | self._ended)
        yield _one(c.IN_FLIGHT, sum(n for (_, state), n in known.jobs.items() if state in JOB_IN_FLIGHT))
        yield _one(c.MOST_IN_FLIGHT, sum(most))
        yield _one(c.RESTARTS, sum(self._events["job", cause] for cause in _RESTARTS))
        yield _many(c.EVENTS, self._events)

    def _of_doors(self, known: Measures) -> Iterator[Family]:
        watched = {name: known.folders.get(name) for name in self._folders()}
        yield _by_label(c.AWAY, {name: state == "away" for name, state in watched.items()})
        yield _by_label(c.PAUSED_FOLDER, {name: state == "paused" for name, state in watched.items()})
        yield _one(c.PAUSED, known.paused)
        if known.reachable is not None:
            yield _one(c.REACHABLE, known.reachable)
        yield _by_label(c.HOOK_WAITING, {name: hook.waiting for name, hook in known.hooks.items()})
        yield _by_label(c.HOOK_FAILING, {name: hook.failing for name, hook in known.hooks.items()})
        yield _by_label(c.HOOK_GIVEN_UP, {name: hook.given_up for name, hook in known.hooks.items()})

    def _folders(self) -> list[str]:
        return [rules.name for rules in self._context.settings.folders]


def _zeros(folders: Iterable[str], states: Iterable[str]) -> dict[tuple[str, str], int]:
    return dict.fromkeys(((folder, str(state)) for folder in folders for state in states), 0)


def _one(metric: Metric, value: float) -> Family:
    return _many(metric, {(): value})


def _by_label(metric: Metric, values: Mapping[str, float]) -> Family:
    return _many(metric, {(name,): value for name, value in values.items()})


def _many(metric: Metric, values: Mapping[K, float]) -> Family:
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(metric.name, metric.words, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family
