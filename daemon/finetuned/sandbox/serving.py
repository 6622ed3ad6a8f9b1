"""The sandbox on a socket: uvicorn, embedded, quiet, and gone when its task is cancelled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.applications import Starlette

GRACE: Final = 2  # seconds for answers that are on their way when the server is stopped


class _Server(uvicorn.Server):
    """A server that says when it listens and leaves signals to whoever runs it."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()


async def serve(
    app: Starlette, *, host: str = "127.0.0.1", port: int = 8585, ready: Callable[[int], None] | None = None
) -> None:
    """Serve until cancelled; `ready` is called with the port as soon as it listens; port 0 is any free one.

    An OSError says that the address can't be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    actual = listener.getsockname()[1]
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE)
    server = _Server(config, lambda: None if ready is None else ready(actual))
    serving = asyncio.ensure_future(server.serve([listener]))
    try:
        # shielded: uvicorn's own loop must end by its flag, or connections and lifespan stay open
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving
        listener.close()
