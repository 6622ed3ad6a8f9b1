"""A place whose daemon has two backends: the server, and a toy that learns here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from backends.toy import EACH_SECONDS, Toy
from finetuned.backend import Backend
from finetuned.errors import Unreachable
from finetuned.folders.folder import DropFolder
from finetuned.ledger.writer import Ledger
from finetuned.plan import sides
from finetuned.settings import LOCAL_URL, Settings
from support.place import Place, text


class FickleToy(Toy):
    """A toy that cannot be used while it is told so, and counts how often each session was asked for."""

    trouble = ""

    def __init__(self, *words: Any) -> None:
        super().__init__(*words)
        self.probes: list[float] = []
        self.asked: list[tuple[float, str]] = []
        self.most = 0

    async def probe(self) -> None:
        self.probes.append(self.clock())
        self.check()

    async def submit(self, order: Any, **words: Any) -> Any:
        self.check()
        seen = await super().submit(order, **words)
        self.most = max(self.most, sum(self.clock() - one.begun < 2 * EACH_SECONDS for one in self.sessions.values()))
        return seen

    async def observe(self, session_id: str) -> Any:
        self.check()
        self.asked.append((self.clock(), session_id))
        return await super().observe(session_id)

    def check(self) -> None:
        """Raise what keeps it from working."""
        if self.trouble:
            raise Unreachable(self.trouble)


class BothPlace(Place):
    """A place with a toy beside the server; the second folder is the toy's."""

    def __init__(self, root: Path, **tables: Any) -> None:
        tables.setdefault("folder", [{}, {"name": "mine", "backend": "local"}])
        super().__init__(root, maker={"kind": "rules"}, **tables)
        self.toy = FickleToy(self.runtime.now, None)
        self.mine = root / "mine"

    @asynccontextmanager
    async def backends(
        self, settings: Settings, folders: Mapping[str, DropFolder], ledger: Ledger
    ) -> AsyncIterator[Mapping[str, Backend]]:
        self.toy.open_part = lambda part: folders[part.folder].open_text(part.location, part.content)
        attempts = [job.open for job in ledger.jobs.open() if job.open is not None]
        attempts += ledger.attempts.to_discard()
        wanted = sides.wanted([folder.rules for folder in folders.values()], attempts, settings)
        async with super().backends(settings, folders, ledger) as helix:
            both = {**helix, LOCAL_URL: self.toy}
            yield {url: backend for url, backend in both.items() if url in wanted}

    def drop_both(self, count: int = 1, *, to: str = "both") -> None:
        """Put so many files into each folder, or into one."""
        for number in range(count):
            if to != "mine":
                self.drop(f"h{number}.txt", text(f"helix {number}"))
            if to != "notes":
                (self.mine / f"m{number}.txt").write_text(text(f"toy {number}"))

    def ended(self, folder: str) -> list[dict[str, Any]]:
        """The jobs of a folder that are done."""
        return [job for job in self.jobs() if job["folder"] == folder and job["state"] == "done"]

    def where(self) -> set[tuple[str, str]]:
        """Each folder with the backends that its sessions are at."""
        with self.reader() as reader:
            return {(j["folder"], s["url"]) for j in self.jobs() for s in reader.job(j["id"])["sessions"]}
