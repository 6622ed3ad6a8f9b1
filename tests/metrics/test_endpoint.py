"""The small HTTP server, on real sockets: who behaves is answered, who does not holds up nobody."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import anyio
import httpx
import pytest

from finetuned.metrics.endpoint import MOST_CLIENTS, MOST_HEAD, Endpoint, Page
from finetuned.runtime import own_loop
from support.ports import free_port
from support.process import wait_for

PATIENCE = 0.5
ASK = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


async def page(accepts: str) -> Page:
    """A page that tells what the client accepts."""
    return Page(status=200, body=f"accepts {accepts}\n".encode())


async def large(_: str) -> Page:
    """More than fits into the buffers between two sockets."""
    return Page(status=200, body=b"x" * 32 * 1024 * 1024)


@contextmanager
def served(patience: float = PATIENCE) -> Iterator[int]:
    """An endpoint; its port."""
    port = free_port()
    with own_loop() as portal:
        endpoint = Endpoint({"/page": page, "/large": large}, patience=patience)
        serving, _ = portal.start_task(partial(endpoint.serve, "127.0.0.1", port))
        yield port
        serving.cancel()


def connected(port: int) -> socket.socket:
    """A client that has said nothing yet."""
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def heard(client: socket.socket) -> bytes:
    """All that the server says to it, until it hangs up."""
    said = b""
    with suppress(ConnectionError):
        while piece := client.recv(65536):
            said += piece
    return said


def answer(port: int, request: bytes) -> bytes:
    """What is answered to these bytes."""
    with connected(port) as client:
        with suppress(ConnectionError):
            client.sendall(request)
        return heard(client)


def test_a_page_is_served_whole():
    """Its type, its length, its body; and the connection is closed."""
    with served() as port, httpx.Client() as http:
        said = http.get(f"http://127.0.0.1:{port}/page?x=1", headers={"accept": "text/plain"})
    assert (said.status_code, said.text) == (200, "accepts text/plain\n")
    assert said.headers["content-type"] == "text/plain; charset=utf-8"
    assert said.headers["connection"] == "close"


def test_a_head_request_has_no_body():
    """It tells the length of what would have come."""
    with served() as port:
        head, _, body = answer(port, ASK.replace(b"GET", b"HEAD")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: 9" in head
    assert body == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET http://x/page HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /%2e%2e/page HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"DELETE /page HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\nxxx", 405),
        (b"GET /page HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01 this is no HTTP\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\nHost: x\r\nLong: " + b"x" * 2 * MOST_HEAD, 431),
    ],
)
def test_what_cannot_be_answered_is_refused(request_: bytes, status: int):
    """No such page, nothing to be changed, no HTTP, too much of it: each with its status."""
    with served() as port:
        assert answer(port, request_).startswith(f"HTTP/1.1 {status} ".encode())
        assert answer(port, ASK).startswith(b"HTTP/1.1 200")


def test_a_client_that_leaves_in_the_middle_is_forgotten():
    """It said half a request, and went."""
    with served() as port:
        with connected(port) as client:
            client.sendall(ASK[:20])
            client.shutdown(socket.SHUT_WR)
            assert heard(client) == b""
        assert answer(port, ASK).startswith(b"HTTP/1.1 200")


def test_clients_that_say_nothing_hold_up_nobody():
    """As many as are let in but one: the next one is answered, and they are cut off in their time."""
    with served() as port, ExitStack() as slow:
        silent = [slow.enter_context(connected(port)) for _ in range(MOST_CLIENTS - 1)]
        for client in silent[::2]:
            client.sendall(ASK[:10])
        assert answer(port, ASK).startswith(b"HTTP/1.1 200")
        assert [heard(client) for client in silent] == [b""] * len(silent)


def descriptors() -> int:
    """How many this process has open, the server's among them."""
    return len(os.listdir("/proc/self/fd"))


def test_a_client_that_reads_nothing_is_cut_off():
    """What does not fit into the buffers is not waited for."""
    with served() as port:
        idle = descriptors()
        assert answer(port, ASK).startswith(b"HTTP/1.1 200")
        wait_for(lambda: descriptors() == idle, "end of the first connection")
        with connected(port) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # else it may grow to hold the whole answer
            client.sendall(ASK.replace(b"page", b"large"))
            wait_for(lambda: descriptors() == idle + 2, "beginning of its connection")
            wait_for(lambda: descriptors() == idle + 1, "end of its connection")
            cut = heard(client)
    assert 0 < len(cut) < 32 * 1024 * 1024


def test_more_clients_than_are_let_in_are_sent_away():
    """And once those are gone, others are answered."""
    with served(patience=30) as port:
        with ExitStack() as many:
            for _ in range(MOST_CLIENTS):
                many.enter_context(connected(port)).sendall(ASK[:10])
            assert answer(port, ASK) == b""
        answered = (answer(port, ASK) for _ in range(1000))
        assert any(said.startswith(b"HTTP/1.1 200") for said in answered)


async def test_many_at_once_are_all_answered():
    """Twenty clients, five times each."""
    said: list[int] = []

    async def ask(port: int) -> None:
        async with httpx.AsyncClient() as http:
            said.extend([(await http.get(f"http://127.0.0.1:{port}/page")).status_code for _ in range(5)])

    with served(patience=10) as port:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(ask, port)
    assert said == [200] * 100


def test_an_address_that_is_taken_is_told_to_the_caller():
    """It is the caller's to try again."""
    with served() as port, own_loop() as portal, pytest.raises(OSError, match="in use"):
        portal.start_task(partial(Endpoint({}).serve, "127.0.0.1", port))
