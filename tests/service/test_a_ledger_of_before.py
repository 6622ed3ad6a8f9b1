"""The real daemon goes on with a ledger of an older release, in whatever moment that one was stopped or killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.older import CASES, OlderLedger


@pytest.mark.parametrize("archive", CASES)
def test_it_comes_to_the_same_end(archive: Path, tmp_path: Path) -> None:
    """Every file becomes what the older release would have made of it, and the server has as many sessions."""
    older = OlderLedger(archive, tmp_path)
    assert older.works_on() == older.end
