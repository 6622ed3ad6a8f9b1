"""The faults that befall a request, whatever it asks: between the wire and the routes.

1. Only calls of the API are struck; `/config`, `/status` and pages are not, so that a health check stays sound.
2. A connection is cut by the server that holds it, if it says how (`extensions`); in a test's own process, where
   there is no connection, `CutError` is raised instead of an answer.
"""

from __future__ import annotations

import re
from typing import Final

import anyio
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from finetuned.sandbox import deeds, faults
from finetuned.sandbox.door import PAGE
from finetuned.sandbox.store import Store

#: names under which a server that holds connections puts what cuts one, and what ends it as a whole
CUT: Final = "sandbox.cut"
END: Final = "sandbox.end"
RETRY_AFTER: Final = "1"  # seconds
PIECES: Final = 4  # of an answer that breaks off, until it does
UNKNOWN_TEXT: Final = "simulated fault: the store behind this call gave no answer"
_CALL: Final = re.compile(r"/api/v1/(?:sessions|data_entities|filestore)(?:/|$)")
_MAKES: Final = re.compile(r"/api/v1/sessions(?:/learn|/chat)?$")
_LOOK: Final = re.compile(r"/api/v1/sessions/([^/]+)$")


class CutError(ConnectionError):
    """The connection ended without an answer."""


class Trouble:
    """Goes wrong in front of the routes, in the ways that were asked for."""

    def __init__(self, app: ASGIApp, *, store: Store) -> None:
        self.app = app
        self.store = store
        self._refusals = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _CALL.match(scope["path"]):
            await self.app(scope, receive, send)
            return
        if self._crashes(scope):
            deeds.go_down(self.store)
            await _cut(scope, END)
            return
        instead = self._instead()
        if instead is not None:
            await instead(scope, receive, send)
            return
        makes = scope["method"] == "POST" and _MAKES.match(scope["path"]) is not None
        answer = _Answer(self.store, send, makes=makes)
        await self.app(scope, receive, answer.told)
        if answer.lost:
            await _cut(scope, CUT)

    def _crashes(self, scope: Scope) -> bool:
        looked = _LOOK.match(scope["path"]) if scope["method"] == "GET" else None
        session = self.store.get(looked[1]) if looked else None
        return session is not None and deeds.crash_is_due(self.store, session)

    def _instead(self) -> Response | None:
        """An answer in the place of the deed."""
        if self.store.strikes(faults.BUSY):
            self._refusals += 1
            status = 429 if self._refusals % 2 else 503
            return PlainTextResponse("simulated fault: busy\n", status, headers={"Retry-After": RETRY_AFTER})
        if self.store.strikes(faults.TEXT_500):
            return PlainTextResponse(f"{UNKNOWN_TEXT}\n", 500)
        if self.store.strikes(faults.HTML):
            return HTMLResponse(PAGE)
        return None


class _Answer:
    """Lets an answer through, as much of it as does not get lost."""

    def __init__(self, store: Store, send: Send, *, makes: bool) -> None:
        self.lost = False
        self._store = store
        self._send = send
        self._makes = makes
        self._slow = store.strikes(faults.SLOW)
        self._left: int | None = None  # pieces, if it breaks off

    async def told(self, message: Message) -> None:
        """The next of the app's messages."""
        if message["type"] == "http.response.start":
            self.lost = self._makes and _is_success(message) and self._store.strikes(faults.REPLY_LOST)
            if _is_spoken(message) and self._store.strikes(faults.BROKEN_OFF):
                self._left = PIECES
            if self._slow:
                await anyio.sleep(self._store.pace.slow)
        elif self._left is not None:
            self._left -= 1
            self.lost = self.lost or self._left < 0
        if not self.lost:
            await self._send(message)


def _is_success(start: Message) -> bool:
    """Whether something was made: a refusal made nothing, nor did a page."""
    plain = (b"content-type", b"application/json") in start["headers"]
    return start["status"] == 200 and (plain or _is_spoken(start))


def _is_spoken(start: Message) -> bool:
    """Whether the answer comes word by word."""
    return (b"content-type", b"text/event-stream") in start["headers"]


async def _cut(scope: Scope, how: str) -> None:
    does = scope.get("extensions", {}).get(how)
    if does is None:
        raise CutError("simulated fault: the connection was cut")
    await does()
