"""A maker with a real ledger, and an endpoint that it asks with no socket in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from finetuned.daemon.ledger_queue import LedgerQueue
from finetuned.daemon.paid_work import PaidWork
from finetuned.ledger.writer import Ledger
from finetuned.local.asker import Asker
from finetuned.local.chat import Chat
from finetuned.local.gate import Gate
from finetuned.local.maker import Maker, endpoint_of, judge_of
from finetuned.local.values import Progress
from finetuned.making.notes import ChunkRow, Counts, Kept
from finetuned.runtime import Runtime
from finetuned.settings.local import MakerSettings
from support.endpoint import Endpoint, a_text

RUN = "notes-20261129-080000-abcd.1"


class Workshop:
    """Where pairs are made of texts."""

    def __init__(self, root: Path, maker: Maker) -> None:
        self.root = root
        self.maker = maker
        self.notes = maker.notes
        self.heard: list[Progress] = []

    def text(self, stem: str, text: str, run: str = RUN) -> tuple[str, str]:
        """Lay a text of a run; its name there, and its path."""
        path = self.root / f"{run}-0001-{stem}.txt"
        path.write_text(text)
        return path.name, str(path)

    async def make(self, *texts: str, run: str = RUN) -> Counts:
        """Make the pairs of a run of these texts."""
        files = dict(self.text(f"text{number}", text, run) for number, text in enumerate(texts, 1))
        return await self.make_of(files, run)

    async def make_of(self, files: Mapping[str, str], run: str = RUN) -> Counts:
        """Make the pairs of a run of these texts, by name and path."""
        await self.maker.make(run, files, self.heard.append)
        return await self.notes.counts(run)

    async def rows(self, run: str = RUN) -> list[ChunkRow]:
        """The chunks of a run."""
        return [row async for row in self.notes.chunks(run)]

    async def kept(self, run: str = RUN) -> list[Kept]:
        """The pairs that were kept."""
        return [one async for one in self.notes.kept(run)]


@asynccontextmanager
async def a_workshop(
    root: Path,
    endpoint: Endpoint,
    runtime: Runtime,
    *,
    judge: Endpoint | None = None,
    instructions: str = "",
    back_off: float = 2.0,
    **settings: Any,
) -> AsyncIterator[Workshop]:
    """Open one; its ledger stays when it is closed."""
    wanted = {"url": "http://tiny.test/v1", "model": "tiny", "chunk_bytes": 600, "timeout": 30.0}
    if judge is not None:
        wanted |= {"judge_url": "http://judge.test/v1", "judge_model": "wise"}
    chosen = MakerSettings(**(wanted | settings))
    ledger = Ledger.open(str(root / "ledger.db"))
    try:
        async with endpoint.over_no_socket() as way, (judge or endpoint).over_no_socket() as other:
            maker = Maker(
                PaidWork(ledger.chunks, LedgerQueue(ledger, runtime).run),
                chosen,
                runtime,
                asker=an_asker(way, chosen, runtime) if chosen.kind == "chat" else None,
                judge=Asker(Chat(other, judge_of(chosen), runtime), Gate(runtime, anyio.Semaphore(2)))
                if judge
                else None,
                instructions=instructions,
                back_off=back_off,
            )
            yield Workshop(root, maker)
    finally:
        ledger.close()


def an_asker(way: httpx.AsyncBaseTransport, settings: MakerSettings, runtime: Runtime) -> Asker:
    """Who asks the endpoint of these settings."""
    return Asker(Chat(way, endpoint_of(settings), runtime), Gate(runtime, anyio.Semaphore(settings.max_requests)))


TEXT = a_text(40)
