"""Every fault of the wire at every moment of a job's life, on real sockets: nothing lost, nothing twice.

Each row of the table is one fault; each of its cells is a daemon of its own, its ledger and folder on the disk, the
real client, the fault proxy and the sandbox behind it. The six cells of a row run at the same time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from finetuned.cli import wiring
from finetuned.daemon import Context, Daemon
from finetuned.daemon.requests import Request, leave_request
from finetuned.ledger.writer import Ledger
from finetuned.runtime import SystemRuntime, Wake
from finetuned.sandbox import DEFAULT_KEY, Faults, Pace, create_app, serve
from finetuned.settings import parse
from support.fault_proxy import BEYOND_THE_TIMEOUT, Fault, FaultProxy
from support.place import Place

GREY = "The stone is grey. It came from a river."
#: how long the client waits for an answer where a fault outlasts it; elsewhere it waits for minutes
TIMEOUT: Final = 1.5
WITHIN: Final = 60.0
#: What a job passes through when a fault strikes, and `again` where the call that was struck was made once more (a
#: look always is). Unless it says `failed`, the job is done in the end, or cancelled where the removal was struck.
TABLE: Final = """
              | SUBMIT                | LOOK   | SEARCH                | PAIRS        | RESTART      | DELETE
GOES_AWAY     | doubtful paused again | paused | doubtful paused again | paused again | paused again | paused again
CUT_BEFORE    | doubtful again        | paused | doubtful paused again | paused again | again        | again
RESET_BEFORE  | doubtful again        | paused | doubtful paused again | paused again | again        | again
CUT_DURING    | doubtful again        | paused | doubtful paused again | paused again |              | again
BUSY_429      | queued paused again   | paused | doubtful paused again | paused again | paused again | paused again
BUSY_503      | queued paused again   | paused | doubtful paused again | paused again | paused again | paused again
ERROR         | doubtful again        | paused | doubtful paused again | paused again | again        | again
ERROR_ACTED   | doubtful              | paused | doubtful paused again | paused again |              | again
PAGE          | doubtful again        | paused | doubtful paused again | paused again | failed       | again
GARBAGE       | doubtful again        | paused | doubtful paused again | paused again | again        | again
GARBAGE_ACTED | doubtful              | paused | doubtful paused again | paused again |              | again
TRUNCATED     | doubtful              | paused | doubtful paused again | paused again |              | again
DROPPED       | doubtful              | paused | doubtful paused again | paused again |              | again
RESET         | doubtful              | paused | doubtful paused again | paused again |              | again
CUT_ANSWER    | doubtful              | paused | doubtful paused again | paused again |              | again
HALF_CLOSED   | doubtful              | paused | doubtful paused again | paused again |              | again
LATE_ANSWER   | doubtful              | paused | doubtful paused again | paused again |              | again
HELD          | doubtful              | paused | doubtful paused again | paused again | again        | again
STALLED       | doubtful              | paused | doubtful paused again | paused again |              | again
DRIPS         |                       |        | doubtful              |              |              |
"""


class Moment(StrEnum):
    """What is struck, as a pattern of `METHOD /path?query`."""

    SUBMIT = r"POST /api/v1/sessions$"
    LOOK = r"GET /api/v1/sessions/[^/?]+$"
    SEARCH = r"GET /api/v1/sessions\?.*limit=1000"
    PAIRS = r"GET .*/conversations/"
    RESTART = r"PUT .*/restart$"
    DELETE = r"DELETE "


@pytest.fixture
def anyio_backend() -> str:
    """The loop that the daemon runs on in earnest."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINETUNED_API_KEY", DEFAULT_KEY)


class Wired(Place):
    """A place whose daemon, proxy and sandbox are joined by sockets and live in real time."""

    def __init__(self, root: Path, *, faults: tuple[str, ...] = (), pace: Pace | None = None) -> None:
        self.root = root
        self.runtime = SystemRuntime()  # type: ignore[assignment]
        self.key = DEFAULT_KEY
        self.app = create_app(
            keys=frozenset({DEFAULT_KEY}),
            pace=pace or Pace(queue=0.05, chunk=0.01, train=0.1),
            data=str(root / "sandbox"),
            faults=Faults.parse(faults),
        )
        self.ledger_path = str(root / "state" / "ledger.db")
        (root / "notes").mkdir(parents=True)

    @asynccontextmanager
    async def working(
        self, fault: Fault | None = None, *, settle: str = "200ms", tls: bool = False, scheme: str = "http"
    ) -> AsyncIterator[FaultProxy]:
        """Sandbox, proxy and daemon at work; at the end all stop in order and the ledger is whole."""
        ports: list[int] = []
        ready = anyio.Event()

        def listens(port: int) -> None:
            ports.append(port)
            ready.set()

        slow = fault in BEYOND_THE_TIMEOUT
        serving = asyncio.ensure_future(serve(self.app, port=0, ready=listens))
        try:
            await ready.wait()
            proxy = FaultProxy(ports[0], tls=tls)
            async with proxy.listening():
                url = f"{scheme}://127.0.0.1:{proxy.port}"
                self.settings = parse(self._raw(url, settle, TIMEOUT if slow else 60.0), base=str(self.root))
                async with self._daemon():
                    with self._keeping_readers():
                        yield proxy
        finally:
            serving.cancel()
            await asyncio.wait([serving])
        self.audit()

    def _raw(self, url: str, settle: str, timeout: float) -> dict[str, Any]:
        return {
            "helix": {"url": url, "timeout": f"{timeout * 1000:.0f}ms", "longest_pause": "300ms"},
            "submit": {"lost_answer_settle": settle},
            "poll": {"fastest": "30ms", "slowest": "200ms"},
            "watch": {"sweep": "100ms"},
            "ledger": {"path": self.ledger_path},
            "folder": [{"name": "notes", "path": str(self.root / "notes"), "settle": "20ms", "linger": "0s"}],
        }

    @asynccontextmanager
    async def _daemon(self) -> AsyncIterator[None]:
        """The rooms wired as `finetuned run` does it."""
        folders = wiring.drop_folders(self.settings)
        ledger = Ledger.open(self.ledger_path)
        try:
            async with (
                wiring.backend(self.settings, self.runtime, folders) as backend,
                anyio.create_task_group() as tasks,
            ):
                daemon = Daemon(
                    Context(
                        settings=self.settings,
                        ledger=ledger,
                        folders=folders,
                        backends={self.settings.helix.url: backend},
                        runtime=self.runtime,
                        wake=Wake(),
                    ),
                    pid=1,
                    version="test",
                )
                tasks.start_soon(daemon.run)
                yield
                daemon.stop()
        finally:
            for folder in folders.values():
                folder.close()
            ledger.close()

    async def until(self, condition: Callable[[], bool], *, within: float = WITHIN) -> float:
        """Wait, in real time, until `condition` holds."""
        begin = self.runtime.steady()
        with anyio.fail_after(within):
            while not condition():
                await self.runtime.wait(Wake(), 0.03)
        return self.runtime.steady() - begin

    def told(self, query: str) -> int:
        """How many rows a question to the ledger has."""
        with self.reader() as reader:
            return len(reader.connection.execute(query).fetchall())

    def state(self) -> str:
        """The job's; empty while there is none."""
        jobs = self.jobs()
        return jobs[0]["state"] if jobs else ""

    def passed(self) -> list[str]:
        """What the job passed through, in words."""
        events = "select 1 from events where "
        words = {
            "doubtful": "subject = 'job' and became = 'doubtful'",
            "queued": "subject = 'job' and was = 'submitting' and became = 'queued'",
            "paused": "subject = 'server' and became = 'paused' and was is not null",
            "held": "subject = 'job' and cause = 'held_up'",
        }
        return [word for word, rule in words.items() if self.told(events + rule)]


async def cell(root: Path, fault: Fault, moment: Moment) -> str:
    """Strike one moment of one job's life; what it passed through, in the words of the table."""
    broken = ("runner-error:1",) if moment is Moment.RESTART else ()
    pace = Pace(train=600.0) if moment is Moment.DELETE else None
    wired = Wired(root, faults=broken, pace=pace)
    # a send that is held comes long before it is searched for, a restart long after it was looked for
    async with wired.working(fault, settle="2s" if fault is Fault.HELD else "200ms") as proxy:
        if moment is Moment.SEARCH:
            proxy.strike(Fault.DROPPED, Moment.SUBMIT)
        proxy.strike(fault, moment, until_again=moment is Moment.RESTART)
        (root / "notes" / "a.txt").write_text(GREY)
        if moment is Moment.DELETE:
            await wired.until(lambda: wired.state() == "running")
            leave_request(wired.ledger_path, Request(id="c", verb="cancel", job=wired.jobs()[0]["id"]), "1")
        if fault is Fault.GOES_AWAY:
            await wired.until(lambda: "paused" in wired.passed())
            await proxy.come_back()
        if moment is Moment.DELETE:
            await wired.until(lambda: wired.told("select 1 from events where became = 'removed'") == 1)
        await wired.until(lambda: wired.told("select 1 from jobs where finished_at is not null and archived = 1") == 1)
        sessions = wired.sessions_on_server()
    (job,) = wired.jobs()
    assert (job["attempt"], sessions) == (1, 0 if moment is Moment.DELETE else 1)
    assert all(file["state"] == "learned" or file["reason"] for file in wired.files().values())
    asked = sum(re.match(moment, request) is not None for request in proxy.requests)
    again = ["again"] if asked > 1 and moment is not Moment.LOOK else []
    usual = "cancelled" if moment is Moment.DELETE else "done"
    return " ".join([*wired.passed(), *again, *([] if job["state"] == usual else [job["state"]])])


def rows() -> dict[Fault, dict[Moment, str]]:
    """The table, read."""
    head, *lines = [[word.strip() for word in line.split("|")] for line in TABLE.strip("\n").splitlines()]
    moments = [Moment[name] for name in head[1:]]
    return {Fault[name]: dict(zip(moments, words, strict=True)) for name, *words in lines}


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
async def test_every_moment_survives(tmp_path: Path, fault: Fault) -> None:
    """One row: six jobs, each struck at another moment; every file is learned once, or has a reason."""
    got: dict[Moment, str] = {}

    async def run(moment: Moment) -> None:
        got[moment] = await cell(tmp_path / moment.name, fault, moment)

    async with anyio.create_task_group() as tasks:
        for moment in Moment:
            tasks.start_soon(run, moment)
    assert got == rows()[fault]


def test_the_table_has_every_cell() -> None:
    """A new fault has its row."""
    assert set(rows()) == set(Fault)
    assert all(set(row) == set(Moment) for row in rows().values())


async def test_a_session_that_is_listed_late_is_removed(tmp_path: Path) -> None:
    """Its answer is dropped and no list shows it for seconds: sent again, found later, gone in the end."""
    wired = Wired(tmp_path, pace=Pace(train=20.0))
    async with wired.working() as proxy:
        proxy.lists_after = 1.0
        proxy.strike(Fault.DROPPED, Moment.SUBMIT)
        (tmp_path / "notes" / "a.txt").write_text(GREY)
        await wired.until(lambda: wired.told("select 1 from events where became = 'removed'") == 1)
        assert (wired.sessions_on_server(), wired.state(), wired.jobs()[0]["attempt"]) == (1, "running", 1)
    assert sum(re.fullmatch(Moment.SUBMIT, request) is not None for request in proxy.requests) == 2
    assert wired.told("select 1 from sessions where state = 'twin'") == 1


@pytest.mark.parametrize("tls", [False, True], ids=["https to a plain port", "a certificate of its own"])
async def test_no_secure_connection_sends_nothing(tmp_path: Path, tls: bool) -> None:
    """Neither text nor key leaves us; it is said why, and with the right address the job goes on."""
    wired = Wired(tmp_path)
    (tmp_path / "notes" / "a.txt").write_text(GREY)
    async with wired.working(scheme="https", tls=tls) as proxy:
        await wired.until(lambda: wired.told("select 1 from servers where paused_because like '%no secure conn%'") == 1)
        await wired.until(lambda: wired.state() == "queued")
        assert (proxy.requests, wired.jobs()[0]["attempt"]) == ([], 0)
    async with wired.working():
        await wired.until(lambda: wired.states() == {"a.txt": "learned"})
        assert (wired.sessions_on_server(), wired.jobs()[0]["attempt"]) == (1, 1)
