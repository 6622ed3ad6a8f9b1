"""The real process, the real sandbox on a socket, real files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.process import Home, Sandbox, wait_for


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


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[Callable[..., Home]]:
    """Makes servers that go wrong, each with a daemon at work; at the end all stop in order, and ledgers are whole."""
    homes: list[Home] = []

    def make(*faults: str, dialect: str = "form", plan: str = "free", speed: float = 20.0, **words: Any) -> Home:
        root = tmp_path / str(len(homes))
        server = Sandbox(root, faults=faults, dialect=dialect, plan=plan, speed=speed)
        homes.append(home := Home(root / "home", server.url, **words))
        home.server = server
        home.start()
        wait_for(home.is_watched, "daemon at work")
        return home

    yield make
    try:
        for home in homes:
            assert home.stop() == 0
            home.audit()
    finally:
        for home in homes:
            home.close()
            home.server.close()
