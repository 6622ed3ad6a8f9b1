"""Acceptance tests run in virtual time: on trio, whose clock jumps to the next deadline when nobody can go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio.testing

from support.place import Place


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """A clock that jumps."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.fixture
def a_place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes places; at the end of the test each one's ledger is audited."""
    places: list[Place] = []

    def make(**words: Any) -> Place:
        places.append(Place(tmp_path / f"place{len(places)}", **words))
        return places[-1]

    yield make
    for place in places:
        place.app.state.store.close()
        place.audit()
