"""A way to the server that fails on purpose: a proxy on a real socket, told which request to strike and how.

1. Each connection carries one request and is closed: what strikes one never touches the next.
2. A fault is seeded by the request that it strikes, `METHOD /path?query` as a pattern and the how-manieth it is; all
   others pass unharmed.
3. What outlasts the client ends when the client hangs up, and who sent the server away brings it back: no clock of the
   test runs against one of the client.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Final

import msgspec
from anyio.from_thread import start_blocking_portal

from finetuned.runtime import SystemRuntime, Wake

SELF_SIGNED: Final = Path(__file__).with_name("self_signed.pem")
PAGE: Final = "<!doctype html><html><body>Back in a minute</body></html>"
JSON: Final = "Content-Type: application/json"


class Fault(StrEnum):
    """What may go wrong on the way, in the order in which it strikes."""

    GOES_AWAY = "the server goes away, until it is brought back"
    CUT_BEFORE = "cut before the request was forwarded"
    RESET_BEFORE = "reset before the request was forwarded"
    CUT_DURING = "cut while the request was forwarded"
    BUSY_429 = "429 with Retry-After"
    BUSY_503 = "503 with Retry-After"
    ERROR = "500 with unknown words, not acted on"
    ERROR_ACTED = "500 with unknown words, acted on"
    PAGE = "200 with a web page"
    GARBAGE = "200 with garbage, not acted on"
    GARBAGE_ACTED = "200 with garbage, acted on"
    TRUNCATED = "200 with half of the JSON, as long as it says"
    DROPPED = "acted on, the answer dropped"
    RESET = "acted on, then reset"
    CUT_ANSWER = "cut in the middle of the answer"
    HALF_CLOSED = "half of the answer, then closed from that side only"
    LATE_ANSWER = "acted on, the answer beyond the time-out"
    HELD = "held beyond the time-out, then forwarded"
    STALLED = "the answer drips, then stalls beyond the time-out"
    DRIPS = "the answer drips, to its end"


#: faults that take longer than the client waits
BEYOND_THE_TIMEOUT: Final = frozenset({Fault.LATE_ANSWER, Fault.HELD, Fault.STALLED})


#: what is answered (status, text, header) where the server never hears of the request
INSTEAD: Final = {
    Fault.BUSY_429: (429, "later", "Retry-After: 1"),
    Fault.BUSY_503: (503, "later", "Retry-After: 1"),
    Fault.ERROR: (500, "something is odd today"),
    Fault.PAGE: (200, PAGE, "Content-Type: text/html"),
    Fault.GARBAGE: (200, "\x00\x01 }{ \x7f", JSON),
}


@dataclass
class Strike:
    """Which request is struck: the `nth` that fits, and whatever number of `times` from there on.

    What is held goes on once the client has given it up; `until_again`: once it was made again, and answered.
    """

    fault: Fault
    request: re.Pattern[str]
    nth: int
    times: int
    until_again: bool = False
    seen: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def strikes(self, request: str) -> bool:
        """Whether this request is struck."""
        if not self.fits(request):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times

    def fits(self, request: str) -> bool:
        """Whether it is of the kind that is struck."""
        return self.request.match(request) is not None


class FaultProxy:
    """Between a client and the server at `upstream`, a port of this machine."""

    def __init__(self, upstream: int, *, tls: bool = False) -> None:
        self.requests: list[str] = []
        self.struck: list[str] = []
        #: sessions are missing from lists until they are so old, in seconds
        self.lists_after = 0.0
        self.port = 0
        self._upstream = upstream
        self._tls = tls
        self._strikes: list[Strike] = []
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._born: dict[str, float] = {}

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def strike(self, fault: Fault, request: str, *, nth: int = 1, times: int = 1, until_again: bool = False) -> None:
        """Seed a fault: `request` is a pattern of `METHOD /path?query`."""
        self._strikes.append(Strike(fault, re.compile(request), nth, times, until_again))

    async def come_back(self) -> None:
        """Serve again at the former port, after the server went away."""
        await self._listen()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Serve, on the port that is `port` from now on."""
        await self._listen()
        try:
            yield
        finally:
            self._hang_up()
            for handler in self._handlers:
                handler.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _listen(self) -> None:
        context = None
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(SELF_SIGNED)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.ensure_future(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readexactly(4)
            if not head.isalpha() and head[3:] != b" ":  # no method of HTTP: somebody speaks TLS to a plain port
                writer.write(_answer(400, "Invalid HTTP request received."))
                return
            head += await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            request = head.split(b" HTTP/", 1)[0].decode("ascii")
            self.requests.append(request)
            strike = next((s for s in self._strikes if s.strikes(request)), None)
            if strike is None:
                writer.write(await self._forward(head, body))
                for fitting in self._strikes:
                    if fitting.fits(request):
                        fitting.answered.set()
            else:
                self.struck.append(request)
                await self._strike(strike, head, body, reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):  # the client hung up first
            pass
        finally:
            writer.close()

    async def _strike(
        self, strike: Strike, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match strike.fault:
            case Fault.CUT_BEFORE:
                pass
            case Fault.RESET_BEFORE:
                _reset(writer)
            case Fault.GOES_AWAY:
                self._hang_up()
                _reset(writer)
            case Fault.CUT_DURING:
                await self._forward(head, body[: len(body) // 2], whole=False)
            case Fault.HELD:
                await _given_up(reader)
                if strike.until_again:
                    await strike.answered.wait()
                await self._forward(head, body)
            case fault if fault in INSTEAD:
                writer.write(_answer(*INSTEAD[fault]))
            case fault:
                await self._spoil(fault, await self._forward(head, body), reader, writer)

    async def _spoil(
        self, fault: Fault, answer: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """The server did what it was asked; this is what becomes of its answer."""
        half = answer[: len(answer) - len(answer.partition(b"\r\n\r\n")[2]) // 2 - 1]
        match fault:
            case Fault.ERROR_ACTED:
                writer.write(_answer(*INSTEAD[Fault.ERROR]))
            case Fault.GARBAGE_ACTED:
                writer.write(_answer(*INSTEAD[Fault.GARBAGE]))
            case Fault.TRUNCATED:
                writer.write(_answer(200, half.partition(b"\r\n\r\n")[2].decode("utf-8", "replace"), JSON))
            case Fault.RESET:
                _reset(writer)
            case Fault.CUT_ANSWER:
                writer.write(half)
            case Fault.HALF_CLOSED:
                writer.write(half)
                writer.write_eof()
                await reader.read()
            case Fault.LATE_ANSWER:
                await _given_up(reader)
                writer.write(answer)
            case Fault.STALLED:
                await self._drip(half, writer)
                await _given_up(reader)
            case Fault.DRIPS:
                await self._drip(answer, writer)

    async def _forward(self, head: bytes, body: bytes, *, whole: bool = True) -> bytes:
        """What the server answers; nothing if it was given a part of a request only."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            writer.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
            await writer.drain()
            answer = await reader.read() if whole else b""
        finally:
            writer.close()
        return self._without_the_young(answer) if head.startswith(b"GET /api/v1/sessions?") else answer

    def _without_the_young(self, answer: bytes) -> bytes:
        """A list of sessions as a slow server gives it."""
        head, _, body = answer.partition(b"\r\n\r\n")
        if not self.lists_after or not head.startswith(b"HTTP/1.1 200"):
            return answer
        told, now = msgspec.json.decode(body), SystemRuntime().steady()
        for row in told["sessions"]:
            self._born.setdefault(row["session_id"], now)
        told["sessions"] = [r for r in told["sessions"] if now - self._born[r["session_id"]] >= self.lists_after]
        return _answer(200, msgspec.json.encode(told).decode(), JSON)

    async def _drip(self, answer: bytes, writer: asyncio.StreamWriter) -> None:
        step = len(answer) // 20 + 1
        for place in range(0, len(answer), step):
            writer.write(answer[place : place + step])
            await writer.drain()
            await SystemRuntime().wait(Wake(), 0.01)


@contextmanager
def on_the_way(upstream: int) -> Iterator[FaultProxy]:
    """A proxy at work in a thread of its own, for tests that wait for processes."""
    proxy = FaultProxy(upstream)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(proxy.listening()):
        yield proxy


def _answer(status: int, text: str, header: str = "Content-Type: text/plain") -> bytes:
    body = text.encode()
    lines = [f"HTTP/1.1 {status} Odd", f"Content-Length: {len(body)}", "Connection: close", header]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _given_up(reader: asyncio.StreamReader) -> None:
    """Wait until the client hangs up."""
    with suppress(OSError):
        await reader.read()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Hang up without a good-bye: the other side gets an RST."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
