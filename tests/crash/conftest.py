"""Crash tests use the same real processes as the service ring, and die where it is cheap."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from service.conftest import a_home, sandbox

__all__ = ["a_home", "sandbox"]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, if there is one: what a death leaves is the same there, and hundreds are died."""
    if os.access("/dev/shm", os.W_OK):
        with TemporaryDirectory(dir="/dev/shm") as folder:
            yield Path(folder)
    else:
        yield tmp_path
