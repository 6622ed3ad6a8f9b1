"""The stand-in for a Helix server, form dialect: its routes, its keys, its refusals.

1. A refusal is status 500 with a line of text; 401 and 403 are the only others.
2. What is no route of this dialect goes to the “web frontend”: 200 and a page.
3. Every answer carries `X-Helix-Sandbox: simulated`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finetuned.sandbox import dataset, deeds
from finetuned.sandbox.faults import Faults
from finetuned.sandbox.intake import RefusedError, received
from finetuned.sandbox.life import Pace, glance, look
from finetuned.sandbox.picture import draw
from finetuned.sandbox.records import DATASET, Session
from finetuned.sandbox.store import Store
from finetuned.sandbox.views import picture_path, session_json, summary_json

DEFAULT_KEY: Final = "hl-sandbox"
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


def create_app(
    *,
    keys: frozenset[str],
    pace: Pace | None = None,
    data: str | None = None,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,
    seed: str | None = None,
) -> Starlette:
    """A stand-in server.

    `keys` are the API keys it takes; `data` is the folder it remembers in (none: a temporary one);
    `clock` tells the seconds since 1970, and may jump; with a `seed` the ids are the same every time.
    Tests find the memory in `app.state.store`.
    """
    store = Store(data=data, clock=clock, pace=pace or Pace(), faults=faults or Faults(), seed=seed)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        store.close()

    app = Starlette(routes=_routes(), middleware=[Middleware(_Stamp)], lifespan=lifespan)
    app.state.store = store
    app.state.keys = keys
    return app


class _Stamp:
    """Says on every answer that it is simulated, and hears every request out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        heard_out = scope["type"] != "http"

        async def listened() -> Message:
            nonlocal heard_out
            message = await receive()
            heard_out = not message.get("more_body", False)
            return message

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Helix-Sandbox"] = "simulated"
            await send(message)

        await self.app(scope, listened, stamped)
        # a refusal may come before the end of the body; a client in this process is still saying it
        while not heard_out:
            await listened()


def _routes() -> list[Route | Mount]:
    one = "/sessions/{session_id}"
    pairs = f"{one}/finetune/text/conversations/{{interaction_id}}"
    table: tuple[tuple[str, str, Handler], ...] = (
        ("POST", "/sessions", _guarded(_create)),
        ("GET", "/sessions", _guarded(_list)),
        ("GET", one, _guarded(_look)),
        ("PUT", one, _guarded(_ask)),
        ("DELETE", one, _guarded(_delete)),
        ("GET", f"{one}/summary", _guarded(_summary)),
        ("PUT", f"{one}/meta", _guarded(_rename)),
        ("PUT", f"{one}/restart", _guarded(_restart)),
        ("POST", f"{one}/finetune/start", _guarded(_start)),
        ("PUT", f"{one}/finetune/text/retry", _guarded(_retry)),
        ("PUT", f"{one}/finetune/documents", _guarded(_add_documents)),
        ("GET", pairs, _guarded(_read_pairs)),
        ("PUT", pairs, _guarded(_write_pairs)),
        ("GET", "/status", _guarded(_status)),
        ("GET", "/config", _config),
        ("GET", "/filestore/viewer/{path:path}", _view_file),
    )
    routes: list[Route | Mount] = [
        Route(f"/api/v1{path}", handler, methods=[method]) for method, path, handler in table
    ]
    # a mount takes every method: a wrong one reaches the frontend too, as behind the server's router
    return [*routes, Mount("/", app=_frontend)]


async def _frontend(scope: Scope, receive: Receive, send: Send) -> None:
    await HTMLResponse(PAGE)(scope, receive, send)


def _guarded(handler: Handler) -> Handler:
    """Let nobody in without a key, and put a refusal on the wire."""

    async def guarded(request: Request) -> Response:
        said = _key_refusal(request)
        if said:
            return _text(said, 401)
        try:
            return await handler(request)
        except RefusedError as refusal:
            return _text(str(refusal), 500)

    return guarded


def _key_refusal(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        return "token missing"
    if key.strip() in request.app.state.keys:
        return ""
    return "invalid API key" if key.strip().startswith("hl-") else OTHER_KEY


def _text(said: str, status: int) -> Response:
    return PlainTextResponse(f"{said}\n", status)


def _json(said: object) -> Response:
    return Response(msgspec.json.encode(said), media_type="application/json")


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


def _session(request: Request) -> Session:
    found = _store(request).get(request.path_params["session_id"])
    if found is None:
        raise RefusedError(NOT_FOUND)
    return found


def _fine_tune(request: Request) -> Session:
    session = _session(request)
    if session.run is None:
        raise RefusedError("session is not a fine-tune")
    return session


def _shown(request: Request, session: Session) -> Response:
    store = _store(request)
    return _json(session_json(session, store.now(), store.pace))


async def _create(request: Request) -> Response:
    store = _store(request)
    async with received(request, store.spool) as form:
        return _shown(request, deeds.create(store, form))


async def _ask(request: Request) -> Response:
    _session(request)
    store = _store(request)
    async with received(request, store.spool) as form:
        # looked up again: the session may have changed, or gone, while the form came in
        return _shown(request, deeds.ask(store, _session(request), form))


async def _add_documents(request: Request) -> Response:
    session, store = _fine_tune(request), _store(request)
    before = look(session, store.now(), store.pace)
    async with received(request, store.spool) as form:
        session = deeds.add_documents(store, _fine_tune(request), form)
    # the answer is from before the work on them begins
    shot = replace(before, mode="finetune", state="waiting", updated=store.now())
    return _json(session_json(session, store.now(), store.pace, shot))


async def _list(request: Request) -> Response:
    store = _store(request)
    offset, limit = _number(request, "offset"), _number(request, "limit")
    listed = [session for session in store.newest_first() if not session.parent]
    page = listed[offset : offset + limit if limit else None]
    now = store.now()
    rows = [summary_json(session, now, store.pace) for session in page]
    return _json({"counter": {"count": len(listed)}, "sessions": rows})


def _number(request: Request, name: str) -> int:
    said = request.query_params.get(name, "")
    return int(said) if said.isascii() and said.isdigit() else 0


async def _look(request: Request) -> Response:
    return _shown(request, _session(request))


async def _summary(request: Request) -> Response:
    store = _store(request)
    return _json(summary_json(_session(request), store.now(), store.pace))


async def _delete(request: Request) -> Response:
    session = _session(request)
    answer = _shown(request, session)
    _store(request).delete(session)
    return answer


async def _rename(request: Request) -> Response:
    session = _session(request)
    try:
        said = msgspec.json.decode(await request.body(), type=dict[str, str])
    except msgspec.DecodeError as error:
        raise RefusedError(str(error)) from error
    return _shown(request, deeds.rename(_store(request), session, said.get("name", session.name)))


async def _restart(request: Request) -> Response:
    return _shown(request, deeds.restart(_store(request), _session(request)))


async def _start(request: Request) -> Response:
    return _shown(request, deeds.start(_store(request), _fine_tune(request)))


async def _retry(request: Request) -> Response:
    session, store = _fine_tune(request), _store(request)
    shot = look(session, store.now(), store.pace)
    # the server answers before the work begins
    return _json(session_json(deeds.retry(store, session), store.now(), store.pace, shot))


def _dataset_owner(request: Request) -> Session:
    """The session, if the path names the interaction that has the pairs."""
    session = _session(request)
    if session.run is None or request.path_params["interaction_id"] != session.user_id:
        raise RefusedError("no files found")
    names = dataset.file_names(session, look(session, _store(request).now(), _store(request).pace))
    if not names:
        raise RefusedError("no files found")
    if not any(name.endswith(".jsonl") for name in names):
        raise RefusedError("file is not a jsonl file")
    return session


async def _read_pairs(request: Request) -> Response:
    session, store = _dataset_owner(request), _store(request)
    return _json(dataset.on_wire(dataset.conversations(store, session, look(session, store.now(), store.pace))))


async def _write_pairs(request: Request) -> Response:
    session = _dataset_owner(request)
    try:
        written = dataset.parse(msgspec.json.decode(await request.body()))
    except msgspec.DecodeError as error:
        raise RefusedError(str(error)) from error
    _store(request).save(replace(session, reviewed=written))
    return _json(dataset.on_wire(written))


async def _status(_request: Request) -> Response:
    return _json({"admin": False, "user": "u1", "credits": 0, "config": {}, "simulated": True})


async def _config(_request: Request) -> Response:
    return _json(
        {
            "filestore_prefix": "/api/v1/filestore/viewer",
            "stripe_enabled": False,
            "sentry_dsn_frontend": "",
            "google_analytics_frontend": "",
            "simulated": True,
        }
    )


async def _view_file(request: Request) -> Response:
    if _key_refusal(request):
        return _text("Access denied", 403)
    path = request.path_params["path"]
    parts = path.split("/")
    found = _store(request).get(parts[4]) if len(parts) > 5 else None
    content = None if found is None else _file_content(_store(request), found, path)
    if content is None:
        return _text(NOT_FOUND, 404)
    return Response(content[1], media_type=content[0])


def _file_content(store: Store, session: Session, path: str) -> tuple[str, bytes] | None:
    """The media type and the bytes of a file that the session names."""
    now = store.now()
    for number, turn in enumerate(session.turns):
        if path == picture_path(session, number) and glance(session, turn, now, store.pace).drawn:
            return "image/png", draw(turn.message)
    if session.run is None:
        return None
    for upload in session.uploads:
        if path == session.input_path(upload.name):
            return "text/plain", store.content(session, upload)
    shot = look(session, now, store.pace)
    if path != session.input_path(DATASET) or not shot.converted:
        return None
    lines = dataset.on_wire(dataset.conversations(store, session, shot)) or []
    return "application/jsonl", b"\n".join(msgspec.json.encode(line) for line in lines)
