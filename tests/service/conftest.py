"""The real process, the real sandbox on a socket, real files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.process import Home, Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A running stand-in server."""
    running = Sandbox(tmp_path)
    yield running
    running.close()


@pytest.fixture
def a_home(tmp_path: Path, sandbox: Sandbox) -> Iterator[Callable[..., Home]]:
    """Makes homes for daemons; ends what still runs."""
    homes: list[Home] = []

    def make(name: str = "home", url: str | None = None, **words: str) -> Home:
        homes.append(Home(tmp_path / name, url or sandbox.url, **words))
        return homes[-1]

    yield make
    for home in homes:
        home.close()
