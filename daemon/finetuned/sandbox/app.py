"""The stand-in for a Helix server: which dialect has which routes, and how they are put together.

1. What is no route of the dialect goes to the “web frontend”: 200 and a page.
2. Every answer carries `X-Helix-Sandbox: simulated`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finetuned.sandbox import filestore, learning, sessions
from finetuned.sandbox.door import Handler, frontend, guarded, json_answer
from finetuned.sandbox.faults import Faults
from finetuned.sandbox.life import Pace
from finetuned.sandbox.quota import Quota
from finetuned.sandbox.records import Dialect
from finetuned.sandbox.store import Store
from finetuned.sandbox.trouble import Trouble

DEFAULT_KEY: Final = "hl-sandbox"


def create_app(
    *,
    keys: frozenset[str],
    pace: Pace | None = None,
    data: str | None = None,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,
    seed: str | None = None,
    dialect: str = Dialect.FORM,
    quota: Quota | None = None,
) -> Starlette:
    """A stand-in server.

    `keys` are the API keys it takes; `data` is the folder it remembers in (none: a temporary one);
    `clock` tells the seconds since 1970, and may jump; with a `seed` ids and chance are the same every time;
    `dialect` is form, learn, or both; `quota` is the plan that some faults enforce (none: the free one).
    Tests find the memory in `app.state.store`.
    """
    store = Store(
        data=data,
        clock=clock,
        pace=pace or Pace(),
        faults=faults or Faults(),
        seed=seed,
        dialect=Dialect(dialect),
        quota=quota,
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        store.close()

    middleware = [Middleware(_Stamp), Middleware(Trouble, store=store)]
    app = Starlette(routes=_routes(store.dialect), middleware=middleware, lifespan=lifespan)
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


Row = tuple[str, str, Handler]

_ONE: Final = "/sessions/{session_id}"
_PAIRS: Final = f"{_ONE}/finetune/text/conversations/{{interaction_id}}"
_FORM_ONLY: Final[tuple[Row, ...]] = (("POST", "/sessions", sessions.create),)
_LEARN_ONLY: Final[tuple[Row, ...]] = (
    ("POST", "/data_entities", learning.upload),
    ("POST", "/sessions/learn", learning.learn),
    ("POST", "/sessions/chat", learning.chat),
)
_BOTH: Final[tuple[Row, ...]] = (
    ("GET", "/sessions", sessions.list_all),
    ("GET", _ONE, sessions.show),
    ("PUT", _ONE, sessions.ask),
    ("DELETE", _ONE, sessions.delete),
    ("GET", f"{_ONE}/summary", sessions.summary),
    ("PUT", f"{_ONE}/meta", sessions.rename),
    ("PUT", f"{_ONE}/restart", sessions.restart),
    ("POST", f"{_ONE}/finetune/start", sessions.start),
    ("PUT", f"{_ONE}/finetune/text/retry", sessions.retry),
    ("PUT", f"{_ONE}/finetune/documents", sessions.add_documents),
    ("GET", _PAIRS, sessions.read_pairs),
    ("PUT", _PAIRS, sessions.write_pairs),
)
_TABLES: Final = {
    Dialect.FORM: (*_FORM_ONLY, *_BOTH),
    Dialect.LEARN: (*_LEARN_ONLY, *_BOTH),
    Dialect.BOTH: (*_FORM_ONLY, *_LEARN_ONLY, *_BOTH),
}


def _routes(dialect: Dialect) -> list[Route | Mount]:
    table: list[Row] = [(method, path, guarded(handler)) for method, path, handler in _TABLES[dialect]]
    table += [
        ("GET", "/status", guarded(_status)),
        ("GET", "/config", _config),
        ("GET", "/filestore/viewer/{path:path}", filestore.view),
    ]
    routes: list[Route | Mount] = [
        Route(f"/api/v1{path}", handler, methods=[method]) for method, path, handler in table
    ]
    # a mount takes every method: a wrong one reaches the frontend too, as behind the server's router
    return [*routes, Mount("/", app=frontend)]


async def _status(_request: Request) -> Response:
    return json_answer({"admin": False, "user": "u1", "credits": 0, "config": {}, "simulated": True})


async def _config(_request: Request) -> Response:
    return json_answer(
        {
            "filestore_prefix": "/api/v1/filestore/viewer",
            "stripe_enabled": False,
            "sentry_dsn_frontend": "",
            "google_analytics_frontend": "",
            "simulated": True,
        }
    )
