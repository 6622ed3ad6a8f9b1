"""The backend of our own does what any backend must do; its pairs and its trainings are tried beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.benches import LocalBench
from backends.conformance import LONG, Bench, Conformance
from finetuned.errors import Unreachable


class TestLocal(Conformance):
    """With a maker and a trainer that take their time on the bench's clock."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[..., Bench]:
        """Makes a backend over a folder of its own."""
        return lambda *faults: LocalBench(tmp_path, *faults)


@pytest.mark.anyio
async def test_pairs_that_cannot_be_read_are_trouble_that_passes(tmp_path: Path) -> None:
    """The daemon tries again: the folders of runs may lie on another machine's disk."""
    bench = LocalBench(tmp_path)
    born = await bench.submit()
    seen = await bench.after(LONG, born.id)
    pairs = tmp_path / "ledger.db.runs" / born.id / "pairs.jsonl"
    pairs.unlink()
    pairs.mkdir()
    with await bench.backend.harvest(seen) as harvest, pytest.raises(Unreachable, match="cannot be used"):
        tuple(harvest)


@pytest.mark.anyio
async def test_a_list_tells_of_the_wanted_alone(tmp_path: Path) -> None:
    """All the runs that ever were lie beside them; one that is gone is left out."""
    bench = LocalBench(tmp_path)
    first, *_ = [await bench.submit(f"job{number}.1") for number in range(3)]
    assert set(await bench.backend.list_marks(1000, wanted=[first.id, "gone.1"])) == {first.id}
