"""Answers that come while the request is still on its way, on real sockets: heard, whatever becomes of the writing."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

import anyio
import anyio.lowlevel
import httpcore
import httpx
import pytest
from anyio.streams.tls import TLSListener

from finetuned.backend import Submission
from finetuned.errors import TooLarge, Unreachable
from finetuned.helix.client import ApiKey, new_http
from finetuned.helix.sessions import Sessions
from finetuned.helix.transport import EarlyAnswerStream
from finetuned.settings import HelixSettings
from support.fault_proxy import SELF_SIGNED
from support.replies import KEY, Bytes, a_session, disk, part

TOO_LARGE = b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge"
SIZES = pytest.mark.parametrize("size", [1_000, 100_000, 1_000_000, 30_000_000])


@asynccontextmanager
async def server(handle, *, tls: bool = False) -> AsyncIterator[int]:
    """Serves connections with `handle`; the port."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra_attributes[anyio.abc.SocketAttribute.local_port]()
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(SELF_SIGNED)
        listener = TLSListener(listener, context, standard_compatible=False)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield port
        tasks.cancel_scope.cancel()


async def upload(http: httpx.AsyncClient, url: str, size: int):
    """Send a file of this size."""
    content = b"x" * size
    helix = Sessions(http, url=url, key=ApiKey("", lambda: KEY), disk=disk(Bytes(content)), dialect="form")
    order = Submission(marker="job.1", parts=(part("job.1-0001-a.txt", content),))
    return await helix.submit(order, on_progress=lambda _: None)


async def refuses(stream) -> None:
    """A proxy that reads the head, says no, and hangs up, whatever is still to come."""
    async with stream:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive()
        await stream.send(TOO_LARGE)


@SIZES
async def test_a_proxy_that_says_no_and_hangs_up_is_understood(size: int):
    """The answer is read although the connection breaks, however much was still to be sent."""
    for _ in range(5):
        async with server(refuses) as port, new_http(HelixSettings()) as http:
            with pytest.raises(TooLarge, match="413") as caught:
                await upload(http, f"http://127.0.0.1:{port}", size)
        assert size < caught.value.bytes < size + 1000


@SIZES
async def test_an_upload_over_tls_is_whole(size: int, monkeypatch: pytest.MonkeyPatch):
    """What TLS says on a connection is no answer: the whole request arrives."""
    trusting = ssl.create_default_context(cafile=str(SELF_SIGNED))
    trusting.check_hostname = False
    monkeypatch.setattr(httpx, "create_ssl_context", lambda **_: trusting)
    got = 0

    async def takes(stream) -> None:
        nonlocal got
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            head, _, body = head.partition(b"\r\n\r\n")
            length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))[15:])
            got = len(body)
            while got < length:
                got += len(await stream.receive())
            answer = json.dumps(a_session()).encode()
            reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
            await stream.send(reply + answer)

    async with server(takes, tls=True) as port, new_http(HelixSettings(url="https://127.0.0.1")) as http:
        view = await upload(http, f"https://127.0.0.1:{port}", size)
    assert view.id
    assert got > size


INTERIM = (
    [b"HTTP/1.1 100 Continue\r\n\r\n"],
    [b"HTTP/1.1 100 Continue\r\n\r\n" * 5000],
    [b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early", b" Hints\r\nLink: </a>; rel=preload\r\n", b"\r\n"],
)


def taking(words: Sequence[bytes], last: bytes, got: list[int]):
    """A server that says `words` while the body is on its way, then reads all of it and says `last`."""

    async def handle(stream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            head, _, body = head.partition(b"\r\n\r\n")
            length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))[15:])
            size = len(body)
            for word in words:
                await stream.send(word)
                size += len(await stream.receive())
            while size < length:
                size += len(await stream.receive())
            got.append(size)
            await stream.send(last)

    return handle


@pytest.mark.parametrize("words", INTERIM)
async def test_what_only_says_go_on_is_no_answer_yet(words: Sequence[bytes]):
    """A proxy that says 100 Continue unasked, or 103, while the body is on its way gets the whole body."""
    answer = json.dumps(a_session()).encode()
    last = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
    got: list[int] = []
    async with server(taking(words, last + answer, got)) as port, new_http(HelixSettings()) as http:
        view = await upload(http, f"http://127.0.0.1:{port}", 8_000_000)
    assert view.id
    assert got[0] > 8_000_000


async def test_a_refusal_behind_words_that_say_go_on_is_heard():
    """The answer itself ends the writing, though it came together with others that were none."""

    async def handle(stream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 1")
            await stream.receive()
            await stream.send(b"02 Processing\r\n\r\n" + TOO_LARGE)
            with anyio.move_on_after(30):
                async for _ in stream:  # hanging up at once would take the answer along
                    pass

    async with server(handle) as port, new_http(HelixSettings()) as http:
        with pytest.raises(TooLarge, match="413"):
            await upload(http, f"http://127.0.0.1:{port}", 8_000_000)


async def test_a_proxy_that_hangs_up_without_a_word_was_no_answer():
    """The form never was whole: nothing came of it, and it counts as begun."""

    async def hangs_up(stream) -> None:
        await stream.receive()
        await stream.aclose()

    async with server(hangs_up) as port, new_http(HelixSettings()) as http:
        with pytest.raises(Unreachable, match="while the request was on its way") as caught:
            await upload(http, f"http://127.0.0.1:{port}", 30_000_000)
    assert caught.value.begun


class BrokenTls(httpcore.AsyncNetworkStream):
    """A connection whose next record cannot be read, or written."""

    def __init__(self, broken: str, one: socket.socket) -> None:
        self._broken = broken
        self._socket = one

    async def _meet(self, what: str) -> None:
        if what == self._broken:
            raise ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed or bad record mac")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """Fail, or wait."""
        await self._meet("read")
        await anyio.sleep_forever()
        return b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Fail, or be done after a while."""
        await anyio.lowlevel.checkpoint()
        await self._meet("write")

    def get_extra_info(self, info: str) -> Any:
        """A socket, to be looked at."""
        return self._socket if info == "socket" else None


async def test_a_broken_record_is_told_as_it_is_whoever_meets_it():
    """What reads beside a large piece leaves it to the writing; that raises the very error, and no group of them."""
    one, other = socket.socketpair()
    with one, other:
        await EarlyAnswerStream(BrokenTls("read", one)).write(b"x" * 10**6)
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            await EarlyAnswerStream(BrokenTls("write", one)).write(b"x" * 10**6)


async def test_what_never_had_a_connection_has_not_begun():
    """A server that is down costs nothing."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        async with new_http(HelixSettings()) as http:
            with pytest.raises(Unreachable) as caught:
                await upload(http, f"http://127.0.0.1:{taken.getsockname()[1]}", 1000)
    assert not caught.value.begun
