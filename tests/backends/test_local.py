"""The backend of our own does what any backend must do; its pairs and its trainings are tried beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.benches import LocalBench
from backends.conformance import Bench, Conformance


class TestLocal(Conformance):
    """With a maker and a trainer that take their time on the bench's clock."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[..., Bench]:
        """Makes a backend over a folder of its own."""
        return lambda *faults: LocalBench(tmp_path, *faults)
