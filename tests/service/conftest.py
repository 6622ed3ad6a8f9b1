"""The real process, the real sandbox on a socket, real files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.box import Box
from support.fault_proxy import on_the_way
from support.installed import Service, install
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
    """Makes servers that go wrong, each with a daemon at work; at the end all stop in order, and ledgers are whole.

    `path` follows the server's address; `proxied` puts a proxy between the two.
    """
    homes: list[Home] = []

    def make(
        *faults: str,
        dialect: str = "form",
        plan: str = "free",
        speed: float = 20.0,
        path: str = "",
        proxied: bool = False,
        **words: Any,
    ) -> Home:
        root = tmp_path / str(len(homes))
        server = Sandbox(root, faults=faults, dialect=dialect, plan=plan, speed=speed)
        ending.callback(server.close)
        proxy = ending.enter_context(on_the_way(server.port)) if proxied else None
        homes.append(home := Home(root / "home", (proxy.url if proxy else server.url) + path, **words))
        ending.callback(home.close)
        home.server, home.url = server, server.url
        if proxy:
            home.proxy = proxy
        home.start()
        wait_for(home.is_watched, "daemon at work")
        return home

    with ExitStack() as ending:
        yield make
        for home in homes:
            assert home.stop() == 0
            home.audit()


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A machine of its own with systemd, on which finetuned is installed and not started."""
    running = Box(tmp_path_factory.mktemp("box") / "box")
    try:
        install(running)
        yield running
    finally:
        running.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Box]:
    """A machine with the program, which nobody has made a service yet, and with two people."""
    fresh = Box(tmp_path / "box")
    try:
        for person in ("ann", "bob"):
            fresh.run("useradd", "-m", person)
        yield fresh
    finally:
        fresh.close()


@pytest.fixture(scope="session")
def server_of_the_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A stand-in server for tests that do nothing to it."""
    running = Sandbox(tmp_path_factory.mktemp("server"))
    yield running
    running.close()


@pytest.fixture
def a_service(box: Box, server_of_the_box: Sandbox) -> Iterator[Callable[..., Service]]:
    """Makes services of the box, for one test; at the end all stop in order, and ledgers are whole."""
    services: list[Service] = []

    def make(server: Sandbox = server_of_the_box, **words: Any) -> Service:
        services.append(Service(box, server.url, **words))
        return services[-1]

    yield make
    for service in reversed(services):
        service.close()
