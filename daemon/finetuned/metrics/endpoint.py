"""A small HTTP server: one request a connection, each client for a short time, not many at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import anyio
import h11
from anyio.abc import SocketStream, TaskStatus

from finetuned.model import Value
from finetuned.runtime import SystemRuntime, Wake

#: how long a client may take, from its connection to the end of the answer, in seconds
CLIENT_SECONDS: Final = 10.0
#: how many may be connected; more are sent away
MOST_CLIENTS: Final = 32
#: the most bytes of a request's head; its body is not read
MOST_HEAD: Final = 16 * 1024
#: how long nobody is let in after the system could not, in seconds
PAUSE: Final = 1.0
_PIECE: Final = 4096
_TEXT: Final = "text/plain; charset=utf-8"


class Page(Value, frozen=True):
    """An answer."""

    status: int
    body: bytes
    content_type: str = _TEXT


#: makes a page; it is told what the client accepts
Maker = Callable[[str], Awaitable[Page]]


class Endpoint:
    """Serves `pages`, by path, to whoever connects, for `patience` seconds each."""

    def __init__(self, pages: Mapping[str, Maker], *, patience: float = CLIENT_SECONDS) -> None:
        self._pages = pages
        self._patience = patience
        self._clients = 0

    async def serve(self, host: str, port: int, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Raises OSError if the address cannot be had."""
        async with await anyio.create_tcp_listener(local_host=host, local_port=port) as listener:
            task_status.started()
            while True:
                with suppress(OSError):  # no descriptor is left, for now
                    await listener.serve(self._client)
                await SystemRuntime().wait(Wake(), PAUSE)

    async def _client(self, stream: SocketStream) -> None:
        async with stream:
            if self._clients >= MOST_CLIENTS:
                return
            self._clients += 1
            try:
                with anyio.move_on_after(self._patience), suppress(anyio.BrokenResourceError, OSError):
                    await self._answer(stream)
            finally:
                self._clients -= 1

    async def _answer(self, stream: SocketStream) -> None:
        conversation = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
        with_body = True
        try:
            request = await _request(stream, conversation)
            if request is None:
                return
            page = await self._page(request)
            with_body = request.method != b"HEAD"
        except h11.RemoteProtocolError as error:
            page = Page(status=error.error_status_hint, body=b"this is no request that can be understood\n")
        headers = [
            ("content-type", page.content_type),
            ("content-length", str(len(page.body))),
            ("connection", "close"),
        ]
        answer = conversation.send(h11.Response(status_code=page.status, headers=headers)) or b""
        await stream.send(answer + page.body if with_body else answer)
        await stream.send_eof()
        with suppress(anyio.EndOfStream):  # what it still sends is heard out, or it would lose the answer
            while True:
                await stream.receive(_PIECE)

    async def _page(self, request: h11.Request) -> Page:
        path = request.target.partition(b"?")[0].decode("ascii")
        make = self._pages.get(path)
        if make is None:
            return Page(status=404, body=f"there are {' and '.join(self._pages)}\n".encode())
        if request.method not in {b"GET", b"HEAD"}:
            return Page(status=405, body=b"it can be read only\n")
        accepts = b",".join(value for name, value in request.headers if name == b"accept")
        return await make(accepts.decode("ascii", "replace"))


async def _request(stream: SocketStream, conversation: h11.Connection) -> h11.Request | None:
    """Read the head of a request; null if the client leaves. Raises RemoteProtocolError."""
    while not isinstance(event := conversation.next_event(), h11.Request):
        if event is not h11.NEED_DATA:
            return None
        try:
            conversation.receive_data(await stream.receive(_PIECE))
        except anyio.EndOfStream:
            return None
    return event
