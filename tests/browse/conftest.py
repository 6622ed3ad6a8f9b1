"""What the tests of the browser's pages share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import Desk, MakeDesk, desks


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[MakeDesk]:
    """Makes desks, each with a place of its own."""
    with desks(tmp_path) as make:
        yield make


@pytest.fixture
def learned(make_desk: MakeDesk) -> Desk:
    """A desk whose daemon learned two files a minute ago, and refused one."""
    desk = make_desk()
    desk.to_the_present()
    desk.place.drop("otter.txt")
    desk.place.drop("<b>fox</b>.txt", "Foxes are red. They run.")
    desk.place.drop("bad.txt", b"\xe9")
    desk.run()
    return desk
