"""The way of a request to an endpoint and of its answer back: HTTP/1.1 over connections that are kept for the next.

1. A connection serves one request at a time; the one used last is used first. There is no limit but who asks.
2. One that was idle for long, or at which anything is heard meanwhile, is closed: the endpoint has hung up, or will.
3. It goes straight there: no proxy, no redirect, no cookie. A request is sent once, in one piece, and never again.
4. Errors are httpx's (`httpx.TransportError`). What its own transport takes for a request is twice to four times this.
"""

from __future__ import annotations

import select
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final, Self, cast

import anyio
import h11
import httpx
from anyio.abc import ByteStream, SocketAttribute

#: shorter than what servers grant (uvicorn: 5 s), so that we never write into a connection they just closed
IDLE_SECONDS: Final = 2.0
_PIECE: Final = 64 * 1024
#: the longest head of an answer, in bytes
_HEAD_BYTES: Final = 100 * 1024


class Wire(httpx.AsyncBaseTransport):
    """The connections to endpoints, each for one request at a time."""

    def __init__(self, trusted: ssl.SSLContext) -> None:
        self._trusted = trusted
        self._free: dict[tuple[str, str, int | None], list[_Line]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return how its answer begins. Raises httpx.TransportError."""
        patience: dict[str, float | None] = request.extensions.get("timeout", {})
        where = request.url.scheme, request.url.host, request.url.port
        free = self._free.setdefault(where, [])
        line = await self._idle(free) or await self._connected(request.url, patience.get("connect"))
        try:
            await line.send(request, await request.aread())
            head = await line.head(patience.get("read"))
        except BaseException:
            await line.close()
            raise
        body = _Body(line, patience.get("read"), free.append)
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=body)

    @staticmethod
    async def _idle(free: list[_Line]) -> _Line | None:
        while free:
            line = free.pop()
            if line.is_sound():
                return line
            await line.close()
        return None

    async def _connected(self, url: httpx.URL, patience: float | None) -> _Line:
        is_tls = url.scheme == "https"
        if not is_tls and url.scheme != "http":
            raise httpx.UnsupportedProtocol(f"{url.scheme or 'nothing'}:// is no way to an endpoint")
        host, port = url.raw_host.decode("ascii"), url.port or (443 if is_tls else 80)
        try:
            with anyio.fail_after(patience):
                if not is_tls:
                    return _Line(await anyio.connect_tcp(host, port))
                return _Line(
                    await anyio.connect_tcp(
                        host, port, tls=True, ssl_context=self._trusted, tls_standard_compatible=False
                    )
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout(str(error)) from error
        except (OSError, ValueError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            raise httpx.ConnectError(str(error)) from error

    async def aclose(self) -> None:
        """Close what is idle; the rest is closed by whoever reads from it."""
        for free in self._free.values():
            while free:
                await free.pop().close()


class _Line:
    """One connection, and the talk over it."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._talk = self._new_talk()
        self._idle_until = 0.0
        self._sight = select.poll()
        self._sight.register(stream.extra(SocketAttribute.raw_socket), select.POLLIN)  # noqa: S610 - no Django

    @staticmethod
    def _new_talk() -> h11.Connection:
        return h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)

    def is_sound(self) -> bool:
        """Tell whether another request may go: it was idle for a short time, and nothing was heard."""
        try:
            return anyio.current_time() < self._idle_until and not self._sight.poll(0)
        except OSError:
            return False

    async def send(self, request: httpx.Request, body: bytes) -> None:
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            said = [self._talk.send(head), self._talk.send(h11.Data(data=body)), self._talk.send(h11.EndOfMessage())]
        except h11.LocalProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        # an endpoint may have answered, and hung up, before it has heard all: then its answer tells why
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._stream.send(b"".join(piece for piece in said if piece))

    async def head(self, patience: float | None) -> h11.Response:
        """Return how the answer begins."""
        while not isinstance(event := await self._next(patience), h11.Response):
            pass
        return event

    async def piece(self, patience: float | None) -> bytes | None:
        """Return the next bytes of the answer; null: that was all."""
        event = await self._next(patience)
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def _next(self, patience: float | None) -> h11.Event | type[h11.PAUSED]:
        try:
            while (event := self._talk.next_event()) is h11.NEED_DATA:
                heard = await self._heard(patience)
                if not heard and self._talk.their_state is h11.SEND_RESPONSE:
                    raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
                self._talk.receive_data(heard)
        except h11.RemoteProtocolError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        return cast("h11.Event | type[h11.PAUSED]", event)

    async def _heard(self, patience: float | None) -> bytes:
        try:
            if patience is None:
                return await self._stream.receive(_PIECE)
            with anyio.fail_after(patience):
                return await self._stream.receive(_PIECE)
        except anyio.EndOfStream:
            return b""
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            raise httpx.ReadError(str(error)) from error

    async def rest(self) -> bool:
        """Make ready for the next request; False: it had to be closed, as the talk was not over, or went on."""
        is_over = self._talk.our_state is h11.DONE and self._talk.their_state is h11.DONE
        if not is_over or self._talk.trailing_data[0]:
            await self.close()
            return False
        self._talk.start_next_cycle()
        self._idle_until = anyio.current_time() + IDLE_SECONDS
        return True

    async def close(self) -> None:
        """Hang up."""
        with anyio.CancelScope(shield=True), suppress(OSError):
            await anyio.aclose_forcefully(self._stream)


class _Body(httpx.AsyncByteStream, AsyncIterator[bytes]):
    """What follows the head of an answer; closed, it gives its connection back."""

    def __init__(self, line: _Line, patience: float | None, give_back: Callable[[Any], None]) -> None:
        self._line: _Line | None = line
        self._patience = patience
        self._give_back = give_back

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = None if self._line is None else await self._line.piece(self._patience)
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        line, self._line = self._line, None
        if line is not None and await line.rest():
            self._give_back(line)


def new_wire(url: str) -> Wire:
    """Make the way to an endpoint; to be closed."""
    if url.startswith("https:"):
        trusted = httpx.create_ssl_context(trust_env=False)
        trusted.load_default_certs()  # an endpoint at home has a certificate of the machine's own authority
    else:
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody: authorities that are never asked cost 2 MB
    return Wire(trusted)
