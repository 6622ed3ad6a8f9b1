"""Failures as sockets make them: cut answers, cut uploads, garbage, silence; under asyncio and trio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread
import httpx
import msgspec
import pytest

from finetuned.backend import Submission
from finetuned.errors import Changed, KeyRefused, NotTheServer, ReplyLost, ServerError, Unreachable
from finetuned.helix import client
from finetuned.helix.client import CONNECTIONS, LOOKS, ApiKey, new_http
from finetuned.helix.sessions import Sessions
from finetuned.plan import SENDS
from finetuned.settings import HelixSettings
from support.replies import KEY, Bytes, a_session, disk, part

Handler = Callable[[anyio.abc.SocketStream], Awaitable[None]]
BIG = b"0123456789abcde\n" * (8 * 65536)  # 8 MiB: more than the buffers between us hold
SMALL = b"alpha"
ANSWER = msgspec.json.encode(a_session())


async def in_thread(work: Callable[..., Any], /, *args: object) -> Any:
    """A real thread."""
    return await anyio.to_thread.run_sync(work, *args)


@asynccontextmanager
async def served(
    handler: Handler, *files: Bytes, patience: float = 30.0, scheme: str = "http"
) -> AsyncIterator[Sessions]:
    """A service whose server is `handler`, called with each connection."""

    async def closing(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await handler(stream)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610
    async with listener, anyio.create_task_group() as tasks, new_http(HelixSettings(timeout=patience)) as http:
        tasks.start_soon(listener.serve, closing)
        yield Sessions(
            http,
            url=f"{scheme}://127.0.0.1:{port}",
            key=ApiKey("", lambda: KEY),
            disk=disk(*files, in_thread=in_thread),
            dialect="form",
        )
        tasks.cancel_scope.cancel()


def order(content: bytes) -> Submission:
    """An order of one file."""
    return Submission(marker="job.1", parts=(part("job.1-0001-a.txt", content),))


async def asked(helix: Sessions, content: bytes | None) -> ServerError:
    """What a look raises, or an upload of `content`."""
    with pytest.raises(ServerError) as caught:
        await (helix.observe("s-1") if content is None else helix.submit(order(content), on_progress=lambda _: None))
    assert KEY not in str(caught.value)
    return caught.value


async def whole_request(stream: anyio.abc.SocketStream) -> bytes:
    """All that is sent, to the end of a form or of a request without a body."""
    got = b""
    while not (got.endswith(b"--\r\n") or (got.startswith(b"GET") and got.endswith(b"\r\n\r\n"))):
        got += await stream.receive()
    return got


def after_request(reply: bytes) -> Handler:
    """A server that reads a whole request, sends `reply` and hangs up."""

    async def handler(stream: anyio.abc.SocketStream) -> None:
        await whole_request(stream)
        await stream.send(reply)

    return handler


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


async def test_a_whole_answer_is_read():
    """The form goes over a real socket, and its answer is a session."""
    received: list[bytes] = []

    async def handler(stream: anyio.abc.SocketStream) -> None:
        received.append(await whole_request(stream))
        await stream.send(HEAD % len(ANSWER) + ANSWER)

    heard: list[int] = []
    async with served(handler, Bytes(BIG)) as helix:
        view = await helix.submit(order(BIG), on_progress=heard.append)
    assert view.id == "s-1"
    head, _, body = received[0].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert heard[-1] == len(body) > len(BIG)


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nConte",
        HEAD % len(ANSWER) + ANSWER[:20],
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"',
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02\xff" * 100,
        b"HTTP/1.1 99999 What\r\n\r\n",
    ],
)
@pytest.mark.parametrize(("content", "kind"), [(None, Unreachable), (SMALL, ReplyLost), (BIG, ReplyLost)])
async def test_a_cut_or_garbled_answer(reply: bytes, content: bytes | None, kind: type[ServerError]):
    """A look was no more than a look; a form that went out whole may have taken effect."""
    async with served(after_request(reply), Bytes(content or b"")) as helix:
        assert type(await asked(helix, content)) is kind


async def test_an_upload_that_the_server_cuts_never_took_effect():
    """The connection breaks before the final boundary was handed over."""

    async def handler(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()

    file = Bytes(BIG)
    async with served(handler, file) as helix:
        assert type(await asked(helix, BIG)) is Unreachable
    assert file.closed


async def test_a_refusal_in_the_middle_of_an_upload_is_heard():
    """A server that says no early is believed, although it took not all of the form."""
    refusal = b"HTTP/1.1 401 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"

    async def handler(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(refusal)
        await stream.send_eof()
        with anyio.move_on_after(30):
            async for _ in stream:
                pass

    async with served(handler, Bytes(BIG), Bytes(BIG)) as helix:
        assert type(await asked(helix, BIG)) is KeyRefused


async def test_a_changed_file_cuts_the_connection():
    """The server sees the connection end before the final boundary: it creates nothing."""
    received: list[bytes] = []
    ended = anyio.Event()

    async def handler(stream: anyio.abc.SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            while True:
                received.append(await stream.receive())
        ended.set()

    file = Bytes(BIG, Changed("it changed"))
    async with served(handler, file) as helix:
        with pytest.raises(Changed):
            await helix.submit(order(BIG), on_progress=lambda _: None)
        with anyio.fail_after(30):
            await ended.wait()
    assert file.closed
    assert BIG[:1000] in b"".join(received)
    assert not b"".join(received).endswith(b"--\r\n")


async def test_a_cancelled_upload_lets_go_of_its_file():
    """Being stopped in the middle of an upload closes the file and the connection."""
    started = anyio.Event()

    async def handler(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        started.set()
        await anyio.sleep_forever()

    file = Bytes(BIG)
    async with served(handler, file) as helix, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: helix.submit(order(BIG), on_progress=lambda _: None))
        await started.wait()
        tasks.cancel_scope.cancel()
    assert file.closed


async def silent(stream: anyio.abc.SocketStream) -> None:
    """A server that takes everything and says nothing."""
    async for _ in stream:
        pass


async def test_the_connections_are_few():
    """Six polls are on their way at a time, and the seventh after one of them; what is sent waits for none of them."""
    came = {b"GET": 0, b"POST": 0}
    some_came, answer = anyio.Event(), anyio.Event()

    async def handler(stream: anyio.abc.SocketStream) -> None:
        nonlocal some_came
        came[(await whole_request(stream)).partition(b" ")[0]] += 1
        some_came.set()
        some_came = anyio.Event()
        await answer.wait()
        await stream.send(HEAD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % len(ANSWER) + ANSWER)

    async def until(expected: list[int]) -> None:
        while [*came.values()] != expected:
            await some_came.wait()
        await anyio.wait_all_tasks_blocked()
        assert [*came.values()] == expected

    async with served(handler, *(Bytes(SMALL) for _ in range(SENDS))) as helix, anyio.create_task_group() as tasks:
        for _ in range(LOOKS + 1):
            tasks.start_soon(helix.observe, "s-1")
        await until([LOOKS, 0])
        for _ in range(SENDS):
            tasks.start_soon(partial(helix.submit, order(SMALL), on_progress=lambda _: None))
        await until([LOOKS, SENDS])
        answer.set()
    assert [*came.values()] == [LOOKS + 1, SENDS]
    assert LOOKS + SENDS == CONNECTIONS == 12


@pytest.mark.parametrize(("content", "kind"), [(None, Unreachable), (SMALL, ReplyLost)])
async def test_silence_ends_in_a_time_out(content: bytes | None, kind: type[ServerError]):
    """The configured patience ends a request that nobody answers."""
    async with served(silent, Bytes(content or b""), patience=0.05) as helix:
        error = await asked(helix, content)
    assert type(error) is kind
    assert "no answer in time" in str(error)


@pytest.mark.parametrize(("content", "kind"), [(None, Unreachable), (SMALL, ReplyLost)])
async def test_a_dripping_answer_ends_too(content: bytes | None, kind: type[ServerError], monkeypatch):
    """An answer that never becomes complete is given up, however regularly something arrives."""
    monkeypatch.setattr(client, "ANSWER_WITHIN_SECONDS", 0.05)
    async with served(silent, Bytes(content or b"")) as helix:
        error = await asked(helix, content)
    assert type(error) is kind
    assert "no complete answer" in str(error)


@pytest.mark.parametrize(("content", "kind"), [(None, Unreachable), (SMALL, ReplyLost)])
async def test_a_server_that_says_go_on_for_ever_is_given_up(
    content: bytes | None, kind: type[ServerError], monkeypatch
):
    """It is given as long as one that says nothing, and a moment."""
    monkeypatch.setattr(client, "FIRST_SECONDS", 0.05)

    async def handler(stream: anyio.abc.SocketStream) -> None:
        await whole_request(stream)
        with suppress(anyio.BrokenResourceError):
            while True:
                await stream.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    async with served(handler, Bytes(content or b""), patience=0.2) as helix:
        with anyio.fail_after(20):
            error = await asked(helix, content)
    assert type(error) is kind
    assert "answer in time" in str(error)


async def test_a_giant_error_is_cut():
    """Of an error's text only the beginning is read, and the connection is closed."""
    reply = b"HTTP/1.1 500 Oops\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 1_000_000
    async with served(after_request(reply)) as helix:
        error = await asked(helix, None)
    assert type(error) is Unreachable
    assert len(str(error)) < 500


async def test_a_redirect_is_not_followed():
    """The key never travels to another host."""
    reply = b"HTTP/1.1 307 There\r\nLocation: http://elsewhere.test/\r\nContent-Length: 0\r\n\r\n"
    async with served(after_request(reply), Bytes(SMALL)) as helix:
        error = await asked(helix, SMALL)
    assert type(error) is NotTheServer
    assert "elsewhere.test" in str(error)


async def test_nobody_listens():
    """A closed port is an outage."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610
    await listener.aclose()
    async with new_http(HelixSettings()) as http:
        helix = Sessions(
            http,
            url=f"http://127.0.0.1:{port}",
            key=ApiKey("", lambda: KEY),
            disk=disk(Bytes(SMALL), in_thread=in_thread),
            dialect="form",
        )
        assert type(await asked(helix, SMALL)) is Unreachable


async def test_https_to_a_plain_port_is_told():
    """Words for people, instead of the library's."""

    async def handler(stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with served(handler, scheme="https") as helix:
        error = await asked(helix, None)
    assert type(error) is Unreachable
    assert "no secure connection" in str(error)
    assert "certificate" in error.remedy


def test_the_library_is_what_was_read():
    """The rules of `body` and `client` rest on how this line of httpx sends a stream."""
    assert httpx.__version__.startswith("0.28")
