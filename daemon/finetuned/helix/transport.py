"""Connections that read an answer which comes while the request is still on its way.

1. A proxy that takes no request so large answers after the head, and hangs up. The rest of the body is written into a
   closed connection then: that fails, and the answer, which had come, is lost with it.
2. So the connection is read while a large piece is written. What is read ends the writing, and is the answer's
   beginning: the library reads on from there, whatever became of the writing.
3. What only says “go on” (100 Continue, 103 Early Hints) is no answer: proxies say it unasked. It is left out, and the
   writing goes on.
4. The answer is read through the stream, not guessed from the socket, on which TLS says more than answers.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
from collections.abc import Iterable
from typing import Any, Final

import anyio
import anyio.lowlevel
import httpcore
import httpx

#: smaller pieces go into the system's own buffer at once, and their answer is read after them
LARGE_BYTES: Final = 32 * 1024
_READ_BYTES: Final = 64 * 1024
_GO_ON: Final = re.compile(rb"(?:HTTP/1\.\d 1(?!01)\d\d.*?\r?\n\r?\n)+", re.DOTALL)
_STATUS_BYTES: Final = len("HTTP/1.1 200")


class EarlyAnswerTransport(httpx.AsyncHTTPTransport):
    """The library's own transport, over these connections."""

    def __init__(self, trusted: ssl.SSLContext, *, connections: int, idle_seconds: float) -> None:
        super().__init__(verify=trusted, trust_env=False)
        # the library offers no other door to its connections; what it made itself holds nothing yet
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=idle_seconds,
            network_backend=_Backend(),
        )


class _Backend(httpcore.AnyIOBackend):
    """Makes these streams."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's own signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return EarlyAnswerStream(await super().connect_tcp(host, port, timeout, local_address, socket_options))


class EarlyAnswerStream(httpcore.AsyncNetworkStream):
    """A stream that is read while a large piece is written to it."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._early = b""
        self._answered = False
        self._socket: socket.socket = inner.get_extra_info("socket")
        self._arrivals = select.poll()
        self._arrivals.register(self._socket, select.POLLIN)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Read what came early, or else the next bytes."""
        if self._early:
            piece, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return piece
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Write. Raises WriteError once an answer begins, which is to be read then."""
        if len(buffer) < LARGE_BYTES:
            await self._inner.write(buffer, timeout)
            return
        failed: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_early, tasks.cancel_scope)
            await anyio.lowlevel.checkpoint()  # what has come already is read first
            try:
                await self._inner.write(buffer, timeout)
            except (httpcore.NetworkError, httpcore.TimeoutException, ssl.SSLError) as error:
                failed = error
            tasks.cancel_scope.cancel()
        if self._answered:
            raise httpcore.WriteError("the server answered before it had the whole request")
        if failed is not None:
            raise failed

    async def _read_early(self, writing: anyio.CancelScope) -> None:
        """Read until an answer begins. What was read of one that only says “go on” waits for its end."""
        while True:
            try:
                piece = await self._inner.read(_READ_BYTES)
            except (httpcore.NetworkError, ssl.SSLError):  # the writing finds out
                return
            self._early = _without_go_on(self._early + piece)
            if self._early and (not piece or not _may_say_go_on(self._early)):
                self._answered = True
                writing.cancel()
            if self._answered or not piece:
                return

    async def aclose(self) -> None:
        """Close the stream."""
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        """Go on over TLS."""
        return EarlyAnswerStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Tell what the stream knows of itself."""
        if info == "is_readable":  # asked of each connection before each request; the library looks for the socket anew
            return self._socket.fileno() < 0 or bool(self._arrivals.poll(0))
        return self._inner.get_extra_info(info)


def _without_go_on(early: bytes) -> bytes:
    found = _GO_ON.match(early)
    return early[found.end() :] if found else early


def _may_say_go_on(early: bytes) -> bool:
    """Tell whether this is too little to know, or the beginning of what only says “go on”."""
    status = early[_STATUS_BYTES - 3 : _STATUS_BYTES]
    return len(status) < 3 or (status[:1] == b"1" and status != b"101" and len(early) < _READ_BYTES)
