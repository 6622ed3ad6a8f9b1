"""What every call has in common: who may come in, how a refusal is said, how an answer is written.

1. A refusal is status 500 with a line of text; 401 and 403 are the only others, and 400 on the newer calls.
2. What is no route of the dialect goes to the “web frontend”: 200 and a page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from finetuned.sandbox.intake import RefusedError
from finetuned.sandbox.records import Dialect
from finetuned.sandbox.store import Store

NOT_FOUND: Final = "not found"
OTHER_KEY: Final = (  # a key of another shape falls through to the identity server
    "DecodeAccessToken: invalid or malformed token: could not decode access token: "
    "could not decode access token header: illegal base64 data at input byte 2"
)
PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Helix sandbox (simulated)</title></head>
<body><h1>Helix sandbox</h1><p>This server is simulated: nothing is trained here.</p></body></html>
"""

Handler = Callable[[Request], Awaitable[Response]]


async def frontend(scope: Scope, receive: Receive, send: Send) -> None:
    """A page for people, whatever was asked."""
    await HTMLResponse(PAGE)(scope, receive, send)


def guarded(handler: Handler) -> Handler:
    """Let nobody in without a key, and put a refusal on the wire."""

    async def inside(request: Request) -> Response:
        said = key_refusal(request)
        if said:
            return text_answer(said, 401)
        try:
            return await handler(request)
        except RefusedError as refusal:
            return text_answer(str(refusal), refusal.status)

    return inside


def key_refusal(request: Request) -> str:
    """Why this request may not come in; empty if it may."""
    older = store_of(request).dialect is Dialect.FORM
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        return "token missing" if older else "Unauthorized"
    if key.strip() in request.app.state.keys:
        return ""
    if not older:
        return "error getting API key: not found"
    return "invalid API key" if key.strip().startswith("hl-") else OTHER_KEY


def text_answer(said: str, status: int) -> Response:
    """A line of text, as Go's `http.Error` writes it."""
    return PlainTextResponse(f"{said}\n", status)


def json_answer(said: object) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(said), media_type="application/json")


def store_of(request: Request) -> Store:
    """The server's memory."""
    store: Store = request.app.state.store
    return store
