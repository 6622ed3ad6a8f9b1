"""A bench for each backend that there is: Helix in each dialect before each kind of server, and the toy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from backends.conformance import Bench, Fault
from backends.toy import Toy
from finetuned.errors import ReplyLost
from finetuned.helix.client import ApiKey
from finetuned.helix.disk import Disk
from finetuned.helix.sessions import Sessions
from finetuned.sandbox import Faults, Pace, create_app
from support.replies import inline

STARTS: Final = {"/api/v1/sessions", "/api/v1/sessions/learn"}
#: what the stand-in server is told, so that this goes wrong
HELIX_FAULTS: Final[dict[str, str]] = {
    Fault.TRAINING: "runner-error:1",
    Fault.CHUNK: "chunk-error:1",
    Fault.NO_PAIRS: "qa-fails",
}
KEY: Final = "hl-k"


class Line(httpx.AsyncBaseTransport):
    """The way to the server; it drops the answers to the requests whose paths are in `drops`."""

    def __init__(self, app: Any) -> None:
        self.drops: set[str] = set()
        self._inner = httpx.ASGITransport(app=app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.method == "POST" and request.url.path in self.drops:
            raise httpx.ReadTimeout("")
        return response


class HelixBench(Bench):
    """A stand-in server, which speaks `server`, and a client of a dialect; `faults` may be the server's own."""

    def __init__(self, dialect: str, server: str, folder: Any, *faults: str) -> None:
        self.app = create_app(
            keys=frozenset({KEY}),
            clock=self.now,
            data=str(folder),
            dialect=server,
            faults=Faults.parse([HELIX_FAULTS.get(fault, fault) for fault in faults]),
            pace=Pace(reply=0),  # the clock stands still, and nobody waits for words
        )
        self.line = Line(self.app)
        self.dialect = dialect
        self.backend = self.client(KEY)

    def client(self, key: str) -> Any:
        """A client with this key."""
        return Sessions(
            httpx.AsyncClient(transport=self.line),
            url="http://sandbox.test",
            key=ApiKey("", lambda: key),
            disk=Disk(in_thread=inline, open_part=self.open_part),
            dialect=self.dialect,
        )

    @contextmanager
    def losing_replies(self, drops: set[str] = STARTS) -> Iterator[None]:
        self.line.drops = drops
        yield
        self.line.drops = set()

    def stranger(self) -> Any:
        return self.client("hl-other")


class ToyBench(Bench):
    """A toy; one of whose files no chunk can fail, for it makes none."""

    def __init__(self, *faults: Fault) -> None:
        if Fault.NO_PAIRS in faults:
            self.contents = dict.fromkeys(self.contents, b"zebras")
        self.backend = Toy(self.now, self.open_part, fails="out of wool" if Fault.TRAINING in faults else "")

    @contextmanager
    def losing_replies(self) -> Iterator[None]:
        submit = self.backend.submit

        async def loses(*order: Any, **words: Any) -> None:
            await submit(*order, **words)
            raise ReplyLost("no answer in time")

        self.backend.submit = loses
        yield
        self.backend.submit = submit


#: (the client's dialect, what the server speaks); who finds out has to do as well as who knows
KINDS = [("form", "form"), ("learn", "learn"), ("form", "both"), ("learn", "both")]
KINDS += [("auto", "form"), ("auto", "learn"), ("auto", "both")]
