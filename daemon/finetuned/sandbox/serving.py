"""The sandbox on a socket: uvicorn, embedded, quiet, and gone when its task is cancelled.

1. It alone holds the connections, so it tells the app with each request how to cut one, and how to go down.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar, cast

import uvicorn
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from finetuned.sandbox.trouble import CUT, END

GRACE: Final = 2  # seconds for answers that are on their way when the server is stopped


Peer = tuple[str, int]
T = TypeVar("T")


class CrashedError(Exception):
    """The server went down, as a fault wanted it to."""


class _Server(uvicorn.Server):
    """A server that says when it listens and leaves signals to whoever runs it."""

    def __init__(self, app: Starlette, announce: Callable[[], None]) -> None:
        self.crashed = False
        self._app = app
        self._announce = announce
        self._lines: dict[Peer, asyncio.BaseTransport] = {}
        super().__init__(
            uvicorn.Config(
                self._plugged,
                interface="asgi3",
                http=self._line(),
                proxy_headers=False,  # a connection is known by its own address
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=GRACE,
            )
        )

    async def _plugged(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The app, told how to cut the connection that a request came over."""
        if scope["type"] == "http":
            client: Peer = scope["client"]

            async def cut() -> None:
                self._abort(client)
                # the protocol hears of it in the loop's next turn, and then sends no apology
                await asyncio.sleep(0)

            async def end() -> None:
                self.crashed = self.should_exit = True
                for peer in list(self._lines):
                    self._abort(peer)
                await asyncio.sleep(0)

            scope["extensions"] = {**scope.get("extensions", {}), CUT: cut, END: end}
        await self._app(scope, receive, send)

    def _abort(self, peer: Peer) -> None:
        line = self._lines.get(peer)
        if isinstance(line, asyncio.WriteTransport):
            line.abort()

    def _line(self) -> type[H11Protocol]:
        """The protocol of a connection, which writes itself down here."""
        lines = self._lines

        class Line(H11Protocol):
            peer: Peer = ("", 0)

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(cast("asyncio.Transport", transport))
                # asyncio does so only for sockets that name their protocol; without it an answer waits 40 ms
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.peer = transport.get_extra_info("peername")[:2]
                lines[self.peer] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                lines.pop(self.peer, None)
                super().connection_lost(exc)

        return Line

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        try:
            self._announce()
        except OSError:  # nothing takes what it says
            await self.shutdown(sockets)
            raise


async def serve(
    app: Starlette, *, host: str = "127.0.0.1", port: int = 8585, ready: Callable[[int], None] | None = None
) -> None:
    """Serve until cancelled; `ready` is called with the port as soon as it listens; port 0 is any free one.

    An OSError says that the address can't be had, a CrashedError that the fault `crash` has struck.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    actual = listener.getsockname()[1]
    server = _Server(app, lambda: None if ready is None else ready(actual))
    serving = asyncio.ensure_future(server.serve([listener]))
    try:
        # shielded: uvicorn's own loop must end by its flag, or connections and lifespan stay open
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving
        listener.close()
    if server.crashed:
        raise CrashedError("the sandbox went down, as the fault crash wants it: what it had in its memory is forgotten")


@asynccontextmanager
async def serving(app: Starlette) -> AsyncIterator[int]:
    """Serve on any free port of this machine while something is done; yield the port. Raises what `serve` raises."""
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(serve(app, port=0, ready=listening.set_result))
    either: list[asyncio.Future[Any]] = [task, listening]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield listening.result()
    finally:
        task.cancel()  # once: the server's own end must not be cut short
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def unless_stopped(work: Coroutine[Any, Any, T]) -> T | None:
    """Return what the work returns; None if SIGINT or SIGTERM came before. It is cancelled once, and can end well."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await asyncio.wait([task])
    return None if task.cancelled() else task.result()
