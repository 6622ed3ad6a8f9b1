"""A real Slurm for these tests, and a place for trainings on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.slurm import Cluster, cluster
from support.tries import Tries


@pytest.fixture
def anyio_backend() -> str:
    """One event loop: what is waited for here is real."""
    return "asyncio"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that the tests of a module share."""
    with cluster(tmp_path_factory.mktemp("slurm")) as one:
        yield one


@pytest.fixture
def tries(slurm: Cluster, tmp_path: Path) -> Iterator[Tries]:
    """Tries on the shared cluster, on which nothing of them is left."""
    one = Tries(slurm, tmp_path)
    yield one
    if one.jobs():
        slurm.run("scancel", *(number for number, _, _ in one.jobs()), check=False)
