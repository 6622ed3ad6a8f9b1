"""What the pages cost: they wait for nobody, and many rows are not counted at each look."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from finetuned.daemon.context import Context
from finetuned.ledger.writer import Ledger
from finetuned.metrics.collector import AGAIN, QUICK, Figures
from finetuned.metrics.service import Pages
from finetuned.runtime import Aside, SystemRuntime, Wake
from finetuned.settings import parse
from support.lives import Life


class Clock(SystemRuntime):
    """A clock on which each look at it takes so many seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0
        self.takes = 0.0

    def steady(self) -> float:
        """The next instant."""
        self.at += self.takes
        return self.at


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """A ledger and the steps of a life."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield Life(ledger)


def context_of(life: Life) -> Context:
    """A daemon's that has this ledger and nothing else."""
    return Context(
        settings=parse({"folder": [{"name": "notes", "path": "/srv/notes"}]}, base="/srv"),
        ledger=life.ledger,
        folders={},
        backends={},
        runtime=Clock(),
        wake=Wake(),
    )


class Slow(Collector):
    """Figures that take until they are let go."""

    def __init__(self) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield one."""
        self.asked.set()
        self.let_go.wait(timeout=60)
        yield GaugeMetricFamily("slow", "took its time", value=1)


@pytest.mark.anyio
async def test_health_does_not_wait_for_figures(life: Life):
    """It answers while somebody's figures are still being counted, and they come, too."""
    slow, registry = Slow(), CollectorRegistry()
    registry.register(slow)
    slow.let_go.set()
    pages, texts = Pages(context_of(life), registry, Aside(), Aside()), []
    slow.asked.clear(), slow.let_go.clear()

    async def scrape() -> None:
        texts.append((await pages.metrics("")).body.decode())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scrape)
        assert await anyio.to_thread.run_sync(slow.asked.wait, 60)
        assert json.loads((await pages.health("")).body)["healthy"]
        assert texts == []
        slow.let_go.set()
    assert "slow 1.0" in texts[0]


def shown(figures: Figures) -> float:
    """How many files wait, as the figures have it."""
    return sum(
        sample.value
        for family in figures.collect()
        for sample in family.samples
        if sample.name == "finetuned_files" and sample.labels["state"] == "waiting"
    )


@pytest.mark.parametrize("takes", [pytest.param(QUICK / 9, id="quick"), pytest.param(QUICK * 2, id="slow")])
def test_figures_that_take_long_are_shown_for_a_while(life: Life, takes: float):
    """Quick ones are new at each look; what took half a second is counted again after ten."""
    context = context_of(life)
    clock, figures = context.runtime, Figures(context)
    assert isinstance(clock, Clock)
    life.waits("/srv/notes/1.txt")
    clock.takes = takes
    assert shown(figures) == 1
    life.waits("/srv/notes/2.txt")
    clock.takes = 0.0
    assert shown(figures) == (1 if takes > QUICK else 2)
    clock.at += AGAIN * takes * 3
    assert shown(figures) == 2
