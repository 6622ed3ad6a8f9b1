"""A place: drop folders, a ledger, a sandbox and a daemon, put together as the command line does it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

from finetuned import __version__
from finetuned.backend import Backend, Changed
from finetuned.daemon import Context, Outcome, Service, Wiring
from finetuned.daemon.loop import Watcher
from finetuned.daemon.notify import Notifier
from finetuned.daemon.requests import Request, leave_request
from finetuned.folders.folder import DropFolder
from finetuned.folders.kept import drop_folder
from finetuned.helix.client import ApiKey
from finetuned.helix.disk import Disk
from finetuned.helix.sessions import Sessions
from finetuned.ledger.audit import audit
from finetuned.ledger.queries import Reader
from finetuned.ledger.writer import Ledger
from finetuned.paths import path_b64, utf8_text
from finetuned.runtime import Wake
from finetuned.sandbox import DEFAULT_KEY, CutError, Faults, Pace, Quota, create_app
from finetuned.settings import Settings, parse
from support.virtual import BEGIN, VirtualRuntime

URL = "http://helix.test"
Intercept = Callable[[httpx.Request], None]


def is_send(request: httpx.Request) -> bool:
    """Whether a request starts a fine-tune in the form dialect; the question about the other one does not."""
    return (request.method, request.url.path) == ("POST", "/api/v1/sessions")


def no_connection(request: httpx.Request) -> None:
    """Nobody listens."""
    raise httpx.ConnectError("connection refused", request=request)


def named(path: object) -> dict[str, str | None]:
    """A path as a request carries it."""
    return {"path": utf8_text(str(path)), "path_b64": path_b64(str(path))}


def text(name: str, size: int = 100) -> str:
    """A text of about this size that no other file has."""
    sentence = f"The otter of {name} is a mammal. "
    return sentence * (1 + size // len(sentence))


class Copied(httpx.AsyncByteStream):
    """A request's body, copied while it passes."""

    def __init__(self, stream: httpx.AsyncByteStream, bodies: list[bytes]) -> None:
        self._stream = stream
        self._bodies = bodies
        self._place = len(bodies) - 1

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._bodies[self._place] += chunk
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class Network(httpx.AsyncBaseTransport):
    """The way to the sandbox: counts what passes, and lets a test cut in before or after a request."""

    def __init__(self, app: Any, runtime: VirtualRuntime) -> None:
        self.requests: list[tuple[float, str, str]] = []
        self.bodies: list[bytes] = []
        self.before: Callable[[httpx.Request], Any] = lambda _: None
        self.after: Callable[[httpx.Request, httpx.Response], Any] = lambda _, response: response
        self.server: httpx.AsyncBaseTransport = httpx.ASGITransport(app=app)
        self._runtime = runtime

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((self._runtime.now(), request.method, request.url.path))
        instead = self.before(request)
        if instead is not None:
            async for _ in request.stream:  # the whole request arrived, only the answer is another
                pass
            return instead
        self.bodies.append(b"")
        if isinstance(request.stream, httpx.AsyncByteStream):
            request.stream = Copied(request.stream, self.bodies)
        try:
            response = await self.server.handle_async_request(request)
        except CutError as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        await response.aread()  # so that a test may read it, too
        return self.after(request, response)

    def sent(self) -> list[float]:
        """When a fine-tune was sent, each time."""
        return [at for at, method, path in self.requests if (method, path) == ("POST", "/api/v1/sessions")]


class Place:
    """Everything a test drops files into, and asks afterwards."""

    #: while a daemon runs, by its number on the disk each file that was the ledger, open
    _kept: dict[int, Reader] | None = None

    def __init__(
        self,
        root: Path,
        *,
        faults: Faults | None = None,
        pace: Pace | None = None,
        seed: str | None = None,
        luck: int = 0,
        begins: float = BEGIN,
        speaks: str = "form",
        quota: Quota | None = None,
        **tables: Any,
    ) -> None:
        self.root = root
        self.runtime = VirtualRuntime(luck, begins)
        self.key = DEFAULT_KEY
        self.app = create_app(
            keys=frozenset({DEFAULT_KEY}),
            pace=pace or Pace(),
            data=str(root / "sandbox"),
            clock=lambda: begins + self.runtime.steady(),
            faults=faults,
            seed=seed,
            dialect=speaks,
            quota=quota,
        )
        self.version = __version__
        self.network = Network(self.app, self.runtime)
        folders = tables.pop("folder", [{}])
        for number, table in enumerate(folders):
            table.setdefault("name", "notes" if number == 0 else f"notes{number}")
            table.setdefault("path", str(root / table["name"]))
            os.makedirs(table["path"], exist_ok=True)
        raw = {"helix": {"url": URL} | tables.pop("helix", {}), "folder": folders, **tables}
        self._raw = raw
        #: the first folder
        self.notes = Path(folders[0]["path"])
        self.settings: Settings = parse(raw, base=str(root))
        self.ledger_path = str(root / "state" / "ledger.db")
        self.notifier = Notifier(None)
        self.watchdog: float | None = None
        self.service: Service
        self.here: Context
        self.changed: Changed = lambda _: None
        self._on_change: Callable[[str | None], None] = lambda _: None

    def drop(self, name: str, text: str | bytes = "The otter is a mammal. It lives in rivers.") -> Path:
        """Put a file into the first folder."""
        path = self.notes / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    @asynccontextmanager
    async def context(self) -> AsyncIterator[Context]:
        """The rooms wired together, and closed again."""
        folders = self.drop_folders(self.settings)
        ledger = Ledger.open(self.ledger_path)
        try:
            async with self.backends(self.settings, folders, ledger) as backends:
                self.here = Context(
                    settings=self.settings,
                    ledger=ledger,
                    folders=folders,
                    backends=backends,
                    runtime=self.runtime,
                    wake=Wake(),
                )
                yield self.here
        finally:
            for folder in folders.values():
                folder.close()
            ledger.close()

    @property
    def learner(self) -> Any:
        """The backend of a daemon that has one."""
        (backend,) = self.here.backends.values()
        return backend

    @asynccontextmanager
    async def backends(
        self, settings: Settings, folders: Mapping[str, DropFolder], ledger: Ledger
    ) -> AsyncIterator[Mapping[str, Backend]]:
        """The backends of a configuration by url: here the one that learns."""
        async with self.backend(folders, ledger) as backend:
            yield {settings.helix.url: backend}

    @asynccontextmanager
    async def backend(self, folders: Mapping[str, DropFolder], ledger: Ledger) -> AsyncIterator[Backend]:
        """The backend that learns here: the sandbox, over the network."""
        async with httpx.AsyncClient(transport=self.network) as http:
            yield Sessions(
                http,
                url=URL,
                key=ApiKey("", lambda: self.key),
                disk=Disk(
                    in_thread=self.runtime.in_thread,
                    open_part=lambda p: folders[p.folder].open_text(p.location, p.content),
                    spool=os.path.dirname(self.ledger_path),
                ),
                dialect=self.settings.helix.dialect,
                remembered=ledger.servers.get(URL).variant,
            )

    async def run(self, *, until_idle: bool = True, script: Callable[[], Any] | None = None) -> Outcome:
        """Run the daemon until it is idle, or until `script` (run beside it) ends."""
        with Ledger.open(self.ledger_path) as ledger, self._keeping_readers():
            wiring = Wiring(
                load=lambda: self.load(),  # noqa: PLW0108 - a test may exchange it
                ledger_path=lambda settings: settings.ledger.path or self.ledger_path,
                folders=self.drop_folders,
                backends=lambda settings, folders, changed: self.told_by(changed).backends(settings, folders, ledger),
                watchers=self._watchers,
                in_use=lambda _: None,
            )
            self.service = Service(
                self.settings,
                self.drop_folders(self.settings),
                wiring=wiring,
                ledger=ledger,
                runtime=self.runtime,
                notifier=self.notifier,
                pid=1,
                version=self.version,
                until_idle=until_idle,
                watchdog=self.watchdog,
            )
            outcome = Outcome()

            async def run_it() -> None:
                nonlocal outcome
                outcome = await self.service.run()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run_it)
                if script is not None:
                    await script()
                    self.service.stop()
            return outcome

    def told_by(self, changed: Changed) -> Place:
        """Remember whom a backend tells that something moved in a session."""
        self.changed = changed
        return self

    def sweep_soon(self, root: str | None = None) -> None:
        """Tell the daemon that something may have changed in the folder at `root`; null: in any."""
        self._on_change(root)

    def drop_folders(self, settings: Settings) -> dict[str, DropFolder]:
        """The folders of a configuration."""
        return {rules.name: drop_folder(rules, beside=f"{self.ledger_path}.kept") for rules in settings.folders}

    def _watchers(self, context: Context) -> list[Watcher]:
        self.here = context

        async def hears(on_change: Callable[[str | None], None]) -> None:
            self._on_change = on_change
            await anyio.sleep_forever()

        return [hears]

    def load(self) -> Settings:
        """The configuration, as its file is now."""
        self.settings = parse(self._raw, base=str(self.root))
        return self.settings

    def configure(self, **tables: Any) -> None:
        """Write other tables into the configuration's file; the daemon goes on with what it has read."""
        for table in tables.get("folder", []):
            os.makedirs(table["path"], exist_ok=True)
        self._raw = self._raw | tables

    async def reload(self, **tables: Any) -> None:
        """Have the daemon go on with another configuration, and wait until it does, or has refused it."""
        self.configure(**tables)
        told = ("reloaded", "reload_refused")
        before = len([event for event in self.events() if event["became"] in told])
        self.service.reload()
        await self.until(lambda: len([event for event in self.events() if event["became"] in told]) > before)

    async def until(self, condition: Callable[[], bool], *, within: float = 3600.0) -> float:
        """Wait (in virtual time) until `condition` holds; how long it took."""
        begin = self.runtime.steady()
        with anyio.fail_after(within):
            while not condition():
                waited = self.runtime.steady() - begin
                await self.pass_time(min(1.0, 0.05 + waited / 20))
        return self.runtime.steady() - begin

    async def pass_time(self, seconds: float) -> None:
        """Let (virtual) time pass."""
        await self.runtime.wait(Wake(), seconds)

    @contextmanager
    def _keeping_readers(self) -> Iterator[None]:
        """While a daemon runs, open each file that is its ledger once: that takes longer than what most tests ask."""
        self._kept = {}
        try:
            yield
        finally:
            for reader in self._kept.values():
                reader.close()
            self._kept = None

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """The ledger, for questions."""
        if self._kept is None or not os.path.exists(self.ledger_path):
            with Reader.open(self.ledger_path) as reader:
                yield reader
        else:
            lies = os.stat(self.ledger_path).st_ino
            if lies not in self._kept:
                self._kept[lies] = Reader.open(self.ledger_path)
            yield self._kept[lies]

    def jobs(self) -> list[dict[str, Any]]:
        """Every job."""
        with self.reader() as reader:
            return list(reader.jobs())

    def state(self, number: int = 0) -> str:
        """The state of a job, or nothing."""
        jobs = self.jobs()
        return jobs[number]["state"] if len(jobs) > number else ""

    def events(self) -> list[dict[str, Any]]:
        """Everything that happened."""
        with self.reader() as reader:
            return list(reader.events())

    def files(self) -> dict[str, dict[str, Any]]:
        """The newest file of each name that was dropped."""
        with self.reader() as reader:
            return {row["path"].rsplit("/", 1)[-1]: row for row in reader.files()}

    def states(self) -> dict[str, str]:
        """By name, the state of each file."""
        return {name: row["state"] for name, row in self.files().items()}

    def sessions_on_server(self) -> int:
        """How many sessions the server has."""
        return sum(1 for _ in self.app.state.store.newest_first())

    def leave(self, verb: str, **words: Any) -> Request:
        """Leave a request, for a daemon that runs or will run."""
        request = Request(id=f"r{self.runtime.fresh_id(6)}", verb=verb, **words)
        leave_request(self.ledger_path, request, f"{self.runtime.now():020.6f}")
        return request

    async def ask(self, verb: str, **words: Any) -> tuple[str, str]:
        """Leave a request, ring, and wait for its answer: `done` or `refused`, and the words."""
        request = self.leave(verb, **words)
        self.sweep_soon()

        def answer() -> Any:
            with self.reader() as reader:
                return reader.answer(request.id)

        await self.until(lambda: answer() is not None, within=60)
        return answer()["became"], answer()["detail"]

    def audit(self) -> None:
        """The ledger is whole, and its events are in order of time."""
        with self.reader() as reader:
            assert audit(reader.connection) == []
            times = [event["at"] for event in reader.events()]
            assert times == sorted(times)
