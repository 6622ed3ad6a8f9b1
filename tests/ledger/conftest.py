"""What the tests of the ledger share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the ledger is to lie."""
    return str(tmp_path / "state" / "ledger.db")
