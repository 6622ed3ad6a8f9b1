"""The pages on a socket of this machine: uvicorn, quiet, and gone with Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

#: the only address that is listened on
HOST: Final = "127.0.0.1"
#: seconds for answers that are on their way when the server is stopped
GRACE: Final = 2
#: the names that this machine's own address has; any port of theirs will do, as one that is forwarded has another
_NAMES: Final = frozenset({b"127.0.0.1", b"localhost"})
_METHODS: Final = ("GET", "HEAD")
#: said with each answer: nothing from elsewhere, in no frame of another page, and no word of where one comes from
_HEADERS: Final = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
            b"img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class _Server(uvicorn.Server):
    """A server that says when it listens, and leaves signals to whoever runs it."""

    def __init__(self, app: App, ready: Callable[[], None]) -> None:
        self._ready = ready
        super().__init__(
            uvicorn.Config(
                app, proxy_headers=False, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE, ws="none"
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def stop(self) -> None:
        self.should_exit = True


def _refusal(scope: Message) -> tuple[int, str] | None:
    """Tell why a request is not answered, as a status and in words; null if it is."""
    told = {name: value.lower() for name, value in reversed(scope["headers"])}
    host = told.get(b"host", b"")
    if host not in _NAMES and host.rpartition(b":")[0] not in _NAMES:
        return 421, "this server answers to 127.0.0.1 and localhost"
    if told.get(b"sec-fetch-site") == b"cross-site":
        return 403, "another site asks for this page; to see it, type its address"
    if scope["method"] not in _METHODS:
        return 405, "the ledger is only read here: GET and HEAD"
    return None


def guarded(app: App) -> App:
    """Answer only those who ask for this machine by its own name, and tell browsers what the pages may load."""

    async def asked(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        if (refusal := _refusal(scope)) is None:
            await app(scope, receive, answer)
        else:
            status, why = refusal
            headers = [(b"content-type", b"text/plain"), (b"allow", b", ".join(map(str.encode, _METHODS)))]
            await answer({"type": "http.response.start", "status": status, "headers": headers})
            await answer({"type": "http.response.body", "body": f"{why}\n".encode()})

    return asked


async def serve(app: App, port: int, *, ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called with the port once it listens; port 0 is any free one.

    Raises OSError: the port cannot be had.
    """
    with socket.create_server((HOST, port)) as listener:
        server = _Server(guarded(app), lambda: ready(listener.getsockname()[1]))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, server.stop)
        await server.serve([listener])
