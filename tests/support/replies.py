"""What the tests of the adapter share: a server of a few prepared replies, and files of a few prepared bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx

from finetuned.backend import Part
from finetuned.helix.client import ApiKey
from finetuned.helix.disk import Disk
from finetuned.helix.sessions import Sessions
from finetuned.model import Content

URL = "http://helix.test:8585"
KEY = "hl-secret"
PAGE = httpx.Response(200, headers={"content-type": "text/html"}, content=b"<!doctype html><title>Helix</title>")

Reply = httpx.Response | Exception | Callable[[httpx.Request, bytes], httpx.Response]


def said(status: int, text: str, **headers: str) -> httpx.Response:
    """A server's words."""
    return httpx.Response(status, headers={k.replace("_", "-"): v for k, v in headers.items()}, content=text.encode())


def told(value: Any) -> httpx.Response:
    """A server's JSON."""
    return httpx.Response(200, headers={"content-type": "application/json"}, content=json.dumps(value).encode())


def a_session(ident: str = "s-1", message: str = "job.1", **more: Any) -> dict[str, Any]:
    """A session that generates, as the server shows it."""
    turns = [
        {"id": "u-1", "creator": "user", "mode": "finetune", "message": message},
        {"id": "a-1", "creator": "system", "mode": "finetune", "state": "waiting"},
    ]
    return {"id": ident, "mode": "finetune", "type": "text", "interactions": turns, "owner": "o", **more}


class Replies(httpx.AsyncBaseTransport):
    """Answers requests with what was prepared, in order; the last reply stays. Takes `takes` pieces of a body."""

    def __init__(self, *replies: Reply, takes: int | None = None) -> None:
        self.replies = list(replies)
        self.takes = takes
        self.asked: list[httpx.Request] = []
        self.bodies: list[bytes] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        taken: list[bytes] = []
        self.asked.append(request)
        assert isinstance(request.stream, httpx.AsyncByteStream)
        if self.takes != 0:
            async for piece in request.stream:
                taken.append(piece)
                if len(taken) == self.takes:
                    break
        self.bodies.append(b"".join(taken))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        if callable(reply):
            return reply(request, self.bodies[-1])
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)

    @property
    def lines(self) -> list[str]:
        """What was asked, a line a request."""
        return [f"{request.method} {request.url.raw_path.decode()}" for request in self.asked]


class Bytes:
    """An open file of known bytes; `error` comes in place of its end."""

    def __init__(self, content: bytes, error: Exception | None = None) -> None:
        self.content = content
        self.error = error
        self.closed = False

    def read(self, size: int, /) -> bytes:
        piece, self.content = self.content[:size], self.content[size:]
        if not piece and self.error:
            raise self.error
        return piece

    def close(self) -> None:
        self.closed = True


def part(name: str, content: bytes) -> Part:
    """A part that claims to hold `content`."""
    size = len(content)
    sums = Content(sha256=hashlib.sha256(content).hexdigest(), bytes=size, sent_bytes=size)
    return Part(upload_name=name, location=f"/drop/{name}", folder="notes", content=sums)


async def inline(work: Callable[..., Any], /, *args: object) -> Any:
    """Offloads nothing."""
    return work(*args)


def disk(*files: Bytes, in_thread: Any = inline, spool: str | None = None) -> Disk:
    """What opens `files` in order."""
    left = list(files)
    return Disk(in_thread=in_thread, open_part=lambda _part: left.pop(0), spool=spool)


def service(
    transport: httpx.AsyncBaseTransport,
    *files: Bytes,
    key: ApiKey | None = None,
    url: str = URL,
    dialect: str = "form",
    remembered: str | None = None,
) -> Sessions:
    """A service that talks to `transport` in a dialect and opens `files` in order."""
    http = httpx.AsyncClient(transport=transport)
    key = key or ApiKey("", lambda: KEY)
    return Sessions(http, url=url, key=key, disk=disk(*files), dialect=dialect, remembered=remembered)
