"""Requests go over connections that are kept, as long as these can be trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream

from finetuned.local.wire import Wire, new_wire

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#: what a server does with its n-th connection
Deed = Callable[[SocketStream, int], Awaitable[None]]


@asynccontextmanager
async def a_server(deed: Deed) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server, with its address, and what it received with each look."""
    got: list[bytes] = []
    number = 0

    async def serve(stream: SocketStream) -> None:
        nonlocal number
        number += 1
        async with stream:
            await deed(_Listened(stream, got), number)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - no Django
        yield f"http://127.0.0.1:{port}/v1", got
        tasks.cancel_scope.cancel()


class _Listened:
    """A stream that keeps what is received."""

    def __init__(self, stream: SocketStream, got: list[bytes]) -> None:
        self._stream = stream
        self._got = got
        self.send = stream.send
        self.send_eof = stream.send_eof

    async def receive(self) -> bytes:
        self._got.append(await self._stream.receive())
        return self._got[-1]


async def ask(wire: Wire, url: str) -> bytes:
    """Send a request; its answer."""
    response = await wire.handle_async_request(httpx.Request("POST", url, content=b"{}"))
    try:
        return b"".join([piece async for piece in response.stream])
    finally:
        await response.aclose()


async def test_a_request_is_sent_in_one_piece_over_one_connection():
    """Head and body together; the next goes over the same connection."""

    async def deed(stream: SocketStream, number: int) -> None:
        while True:
            await stream.receive()
            await stream.send(ANSWER.replace(b"hello", b"con-%d" % number))

    async with a_server(deed) as (url, got), new_wire(url) as wire:
        assert [await ask(wire, url) for _ in range(3)] == [b"con-1"] * 3
    assert len(got) == 3
    assert all(one.startswith(b"POST /v1 HTTP/1.1\r\n") and one.endswith(b"\r\n\r\n{}") for one in got)


@pytest.mark.parametrize("more", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_a_connection_at_which_anything_was_heard_is_not_used_again(more: bytes):
    """Be it that it is over, or what nobody asked for: the request goes over another one, once."""
    heard = anyio.Event()

    async def deed(stream: SocketStream, number: int) -> None:
        await stream.receive()
        await stream.send(ANSWER)
        if number == 1:
            if more:
                await stream.send(more)
            else:
                await stream.send_eof()
            heard.set()
        await anyio.sleep_forever()

    async with a_server(deed) as (url, got), new_wire(url) as wire:
        assert await ask(wire, url) == b"hello"
        await heard.wait()
        assert await ask(wire, url) == b"hello"
    assert len(got) == 2


async def test_a_connection_that_was_left_in_the_middle_is_not_used_again():
    """Who goes away before the answer is over leaves nothing for the next."""

    async def deed(stream: SocketStream, number: int) -> None:
        await stream.receive()
        if number == 1:
            await stream.send(ANSWER[:-1])
            await anyio.sleep_forever()
        await stream.send(ANSWER)
        await anyio.sleep_forever()

    async with a_server(deed) as (url, got), new_wire(url) as wire:
        response = await wire.handle_async_request(httpx.Request("POST", url, content=b"{}"))
        await response.aclose()
        assert await ask(wire, url) == b"hello"
    assert len(got) == 2


async def test_an_answer_that_never_comes_is_broken_off():
    """With the patience that the request has."""

    async def deed(stream: SocketStream, _: int) -> None:
        await stream.receive()
        await anyio.sleep_forever()

    async with a_server(deed) as (url, _), new_wire(url) as wire:
        request = httpx.Request("POST", url, extensions={"timeout": {"read": 0.05}})
        with pytest.raises(httpx.ReadTimeout):
            await wire.handle_async_request(request)
