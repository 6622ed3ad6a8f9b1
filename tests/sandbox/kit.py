"""What the tests of the sandbox share; there is no test in here.

1. Time stands still until a test moves the clock.
2. A desk is a sandbox in this process with a client that has its key; `on_a_socket` puts a port between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.applications import Starlette

from finetuned.sandbox import PLANS, Faults, Pace, create_app, serve

KEY = "hl-of-the-tests"
ORIGIN = 1_795_406_400.0  # seconds since 1970: 2026-11-23, four in the morning
PACE = Pace(queue=1.0, chunk=0.1, train=9.9, reply=1.0, late=5.0, slow=2.0)
TEXT = b"Zebras are striped animals. They eat grass all day long. A lion is a danger to every zebra."
LEARN = {"type": "text", "rag_enabled": False, "text_finetune_enabled": True}
FIELDS = {"mode": "finetune", "type": "text", "input": "marker"}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = ORIGIN

    def __call__(self) -> float:
        return self.time

    def at(self, seconds: float) -> None:
        """Put it to so many seconds after the beginning."""
        self.time = ORIGIN + seconds

    def forward(self, seconds: float) -> None:
        """Move it on."""
        self.time += seconds


@dataclass(kw_only=True)
class Desk:
    """A sandbox, its clock, and a client that may use it."""

    app: Starlette
    clock: Clock
    client: httpx.AsyncClient
    url: str

    async def post(self, files: Sequence[tuple[str, bytes]] = (("a.txt", TEXT),), **fields: str) -> dict[str, Any]:
        """Make a fine-tune and give its first body."""
        parts = [("files", (name, content)) for name, content in files]
        answer = await self.client.post("/sessions", files=[*form(FIELDS | fields), *parts])
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def chat(self, message: str, kind: str = "text") -> dict[str, Any]:
        """Begin a chat and give its first body."""
        fields = {"mode": "inference", "type": kind, "input": message}
        answer = await self.client.post("/sessions", files=form(fields))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def upload(self, files: Sequence[tuple[str, bytes]] = (("a.txt", TEXT),)) -> dict[str, Any]:
        """Make an entity of files."""
        answer = await self.client.post("/data_entities", files=[("files", file) for file in files])
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def learn(self, entity: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Make a fine-tune on an entity and give its first body."""
        answer = await self.client.post("/sessions/learn", json=LEARN | {"data_entity_id": entity["id"]} | more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, session: dict[str, Any]) -> dict[str, Any]:
        """Look at a session."""
        return (await self.client.get(f"/sessions/{session['id']}")).json()

    async def last(self, session: dict[str, Any]) -> dict[str, Any]:
        """Look at the last interaction of a session."""
        return (await self.get(session))["interactions"][-1]

    async def pairs(self, session: dict[str, Any]) -> list[dict[str, Any]] | None:
        """The pairs of a fine-tune."""
        return (await self.client.get(pairs_path(session))).json()

    async def put(self, session: dict[str, Any], deed: str, **more: Any) -> httpx.Response:
        """PUT to something of a session."""
        return await self.client.put(f"/sessions/{session['id']}{deed}", **more)


def form(fields: dict[str, str]) -> list[tuple[str, tuple[None, str]]]:
    """Fields as parts of a multipart form."""
    return [(name, (None, value)) for name, value in fields.items()]


def pairs_path(session: dict[str, Any]) -> str:
    """Where the pairs of a session are."""
    return f"/sessions/{session['id']}/finetune/text/conversations/{session['interactions'][0]['id']}"


@asynccontextmanager
async def desk(
    *,
    faults: Iterable[str] = (),
    data: str | None = None,
    clock: Clock | None = None,
    dialect: str = "form",
    plan: str = "free",
    seed: str = "tests",
    on_a_socket: bool = False,
) -> AsyncIterator[Desk]:
    """A sandbox in this process."""
    clock = clock or Clock()
    app = create_app(
        keys=frozenset({KEY}),
        pace=PACE,
        data=data,
        clock=clock,
        faults=Faults.parse(faults),
        seed=seed,
        dialect=dialect,
        quota=PLANS[plan],
    )
    try:
        async with _port(app) if on_a_socket else _no_port(app) as (url, transport):
            headers = {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(transport=transport, base_url=f"{url}/api/v1", headers=headers) as client:
                yield Desk(app=app, clock=clock, client=client, url=url)
    finally:
        app.state.store.close()


@asynccontextmanager
async def _no_port(app: Starlette) -> AsyncIterator[tuple[str, httpx.AsyncBaseTransport | None]]:
    yield "http://sandbox", httpx.ASGITransport(app)


@asynccontextmanager
async def _port(app: Starlette) -> AsyncIterator[tuple[str, httpx.AsyncBaseTransport | None]]:
    """Serve it on a free port of this machine; uvicorn knows asyncio only."""
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(serve(app, port=0, ready=listening.set_result))
    try:
        yield f"http://127.0.0.1:{await listening}", None
    finally:
        task.cancel()
        await asyncio.wait([task])
