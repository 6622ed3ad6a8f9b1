"""What an upload looks like on the wire, and what becomes of one that is given up."""

from __future__ import annotations

import email
import email.policy
import threading
import tracemalloc

import anyio.to_thread
import httpx
import msgspec
import pytest

from finetuned.backend import Part, Submission
from finetuned.errors import Changed, Gone
from finetuned.helix.body import PIECE_BYTES, Body
from finetuned.helix.call import Form
from finetuned.helix.client import ApiKey
from finetuned.marker import upload_name
from finetuned.model import Content
from finetuned.settings import FolderSettings
from support.replies import Bytes, Replies, a_session, disk, part, service, told

MIB = 1024 * 1024


def parsed(request: httpx.Request, body: bytes) -> list[tuple[str | None, str | None, str | None, bytes]]:
    """Name, file name, type and content of each part of a form, read by the standard library."""
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert not message.defects
    rows = []
    for one in message.iter_parts():
        named = one["content-disposition"].params
        kind = one.get_content_type() if one["content-type"] else None
        rows.append((named.get("name"), named.get("filename"), kind, one.get_payload(decode=True)))
    return rows


def test_a_job_by_default_gets_through_a_proxy_that_takes_a_mebibyte():
    """The largest job there is without a word in the configuration, under the longest names there are."""
    rules = FolderSettings(name="n" * 63, path="/srv/notes")
    marker = f"{rules.name}-20261123-052313-abcd.999999999"
    names = [upload_name(marker, n, f"{'x' * 99}.txt") for n in range(1, rules.max_files + 1)]
    sizes = [rules.max_bytes // len(names)] * (len(names) - 1)
    sizes.append(rules.max_bytes - sum(sizes))
    parts = tuple(
        Part(
            upload_name=name, location="/x", folder=rules.name, content=Content(sha256="0" * 64, bytes=n, sent_bytes=n)
        )
        for name, n in zip(names, sizes, strict=True)
    )
    fields = {"mode": "finetune", "type": "text", "input": marker, "manuallyReviewQuestions": "yes"}
    assert rules.max_bytes < Body(Form(fields=fields, parts=tuple(parts)), disk()).length <= MIB


async def test_an_order_is_the_reference_pages_form():
    """Files first, each as `files`, then mode, type and our marker; the length is exact."""
    contents = {"job.1-0001-a.txt": b"alpha\r\n--x\r\n", "job.1-0002-b.txt": "größe".encode(), "job.1-0003-c.txt": b""}
    order = Submission(marker="job.1", parts=tuple(part(name, content) for name, content in contents.items()))
    files = [Bytes(content) for content in contents.values()]
    server = Replies(told(a_session()))
    heard: list[int] = []
    view = await service(server, *files).submit(order, on_progress=heard.append)
    assert view.id == "s-1"
    assert server.lines == ["POST /api/v1/sessions"]
    assert parsed(server.asked[0], server.bodies[0]) == [
        *(("files", name, "text/plain", content) for name, content in contents.items()),
        ("mode", None, None, b"finetune"),
        ("type", None, None, b"text"),
        ("input", None, None, b"job.1"),
    ]
    assert int(server.asked[0].headers["content-length"]) == len(server.bodies[0]) == heard[-1]
    assert heard == sorted(heard)
    assert heard[0] == 0
    assert all(file.closed for file in files)


@pytest.mark.parametrize(
    ("session_id", "line", "fields"),
    [
        (None, "POST /api/v1/sessions", {"input": b"yo\r\n--", "mode": b"inference", "type": b"text"}),
        ("s-1", "PUT /api/v1/sessions/s-1", {"input": b"yo\r\n--"}),
    ],
)
async def test_a_chat_is_a_form(session_id: str | None, line: str, fields: dict[str, bytes]):
    """The reference page's urlencoded example is refused by the servers; the form is taken."""
    server = Replies(told(a_session()))
    await service(server).chat("yo\r\n--", session_id=session_id)
    assert server.lines == [line]
    assert {name: content for name, _, _, content in parsed(server.asked[0], server.bodies[0])} == fields


async def test_a_picture_is_a_form():
    """A picture is asked for as a chat is, of another type."""
    server = Replies(told(a_session()))
    await service(server).image("flying fish")
    sent = {name: content for name, _, _, content in parsed(server.asked[0], server.bodies[0])}
    assert sent == {"input": b"flying fish", "mode": b"inference", "type": b"image"}


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (Bytes(b"alpha", Changed("a.txt changed")), Changed),
        (Bytes(b"", Gone("a.txt is gone")), Gone),
        (Bytes(b"alph"), Changed),
        (Bytes(b"alpha!"), Changed),
        (Bytes(b""), Changed),
    ],
)
async def test_a_file_that_changed_cuts_the_upload(file: Bytes, kind: type[Exception]):
    """The error comes through as it is, the file is closed, and the final boundary was never handed over."""
    taken: list[bytes] = []

    class Taker(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            while True:
                taken.append(await anext(request.stream))

    order = Submission(marker="job.1", parts=(part("job.1-0001-a.txt", b"alpha"), part("job.1-0002-b.txt", b"")))
    with pytest.raises(kind):
        await service(Taker(), file, Bytes(b"")).submit(order, on_progress=lambda _: None)
    assert file.closed
    assert b"--\r\n" not in b"".join(taken)
    assert b"job.1-0002" not in b"".join(taken)


async def test_a_new_key_gets_a_fresh_upload():
    """After a 401 the whole form is sent once more, from the file's beginning."""
    keys = iter(["old", "new"])
    files = [Bytes(b"alpha"), Bytes(b"alpha")]
    server = Replies(httpx.Response(401, content=b"no"), told(a_session()))
    helix = service(server, *files, key=ApiKey("", lambda: next(keys)))
    await helix.submit(Submission(marker="job.1", parts=(part("a.txt", b"alpha"),)), on_progress=lambda _: None)
    assert server.bodies[0] == server.bodies[1]
    assert all(file.closed for file in files)


async def test_memory_stays_small_whatever_the_file():
    """A file of 64 MiB passes through in pieces."""

    class Zeros:
        left = 64 * MIB

        def read(self, size: int, /) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return b"0" * size

        def close(self) -> None: ...

    class Counter(httpx.AsyncBaseTransport):
        most = total = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            async for piece in request.stream:
                self.most = max(self.most, len(piece))
                self.total += len(piece)
            return told(a_session())

    sums = Content(sha256="0" * 64, bytes=64 * MIB, sent_bytes=64 * MIB)
    big = msgspec.structs.replace(part("job.1-0001-a.txt", b""), content=sums)
    counter = Counter()
    tracemalloc.start()
    try:
        await service(counter, Zeros()).submit(Submission(marker="job.1", parts=(big,)), on_progress=lambda _: None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counter.total > 64 * MIB
    assert counter.most == PIECE_BYTES
    assert peak < 20 * MIB


async def test_a_body_is_whole_with_its_last_piece():
    """The mark is set as the final boundary leaves, and not before."""
    body = Body(Form(fields={"a": "b"}, parts=(part("x.txt", b"x"),)), disk(Bytes(b"x")))
    rung = []
    body.on_whole = lambda: rung.append(True)
    marks = [body.whole async for _ in body]
    assert marks == [False, True]
    assert rung == [True]


async def test_how_far_it_is_is_heard_beside_the_loop():
    """Whoever is told may write it down, and wait for a disk."""
    threads: set[int] = set()
    form = Form(parts=(part("x.txt", b"x"),), on_progress=lambda _: threads.add(threading.get_ident()))
    body = Body(form, disk(Bytes(b"x"), in_thread=anyio.to_thread.run_sync))
    assert b"".join([piece async for piece in body])
    assert threads
    assert threading.get_ident() not in threads


def test_the_boundary_is_in_nobodys_hands():
    """It depends on all that is sent, and stays the same when the same is sent again."""
    one, other = part("x.txt", b"x"), part("x.txt", b"y")
    types = [
        Body(Form(fields=fields, parts=(file,)), disk()).content_type
        for fields in ({}, {"a": "b"})
        for file in (one, other)
    ]
    assert len(set(types)) == 4
    assert Body(Form(parts=(one,)), disk()).content_type == types[0]
