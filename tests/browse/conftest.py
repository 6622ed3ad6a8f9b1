"""What the tests of the browser's pages share."""

from __future__ import annotations

import gc
import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cli import Desk, MakeDesk, desks

with warnings.catch_warnings():  # see below: as it is imported, it opens the first of them
    warnings.simplefilter("ignore", ResourceWarning)
    import datasette.app  # noqa: F401

    gc.collect()


@pytest.fixture(autouse=True)
def _what_datasette_leaves_open(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what Datasette never does, its databases in memory: from 3.13 on Python warns of each. Ours are files."""
    connect, opened = sqlite3.connect, []

    def connected(where: str, *args: Any, **words: Any) -> sqlite3.Connection:
        if where != ":memory:" and not where.endswith("?mode=memory&cache=shared"):
            return connect(where, *args, **words)
        opened.append(connect(where, *args, **words | {"check_same_thread": False}))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connected)
    yield
    for db in opened:
        db.close()


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
