"""A bench for each backend that there is: Helix in each dialect before each kind of server, our own, and the toy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import httpx

from backends.conformance import Bench, Fault
from backends.toy import Toy
from finetuned.errors import ReplyLost
from finetuned.helix.client import ApiKey
from finetuned.helix.disk import Disk
from finetuned.helix.sessions import Sessions
from finetuned.local.backend import Local
from finetuned.local.runs import Ended, Lessons, Made, Run, Runs, Written
from finetuned.local.values import Progress
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


#: pairs are made in one, the training takes another
STAGES: Final = 4


class _Surroundings:
    """The surroundings of a backend of our own: the bench's clock, and no threads."""

    def __init__(self, bench: Bench) -> None:
        self.now = bench.now

    def chance(self) -> float:
        return 0.5

    async def in_thread(self, work: Callable[..., Any], *args: Any, **words: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return work(*args, **words)


class _ByRote:
    """Makes pairs as the toy does, and trains, on the bench's clock; its first training `fails`, if it is to."""

    def __init__(self, bench: Bench, *, fails: bool) -> None:
        self._bench = bench
        self._fails = fails
        self._begun: dict[str, float] = {}

    async def probe(self) -> None:
        pass

    async def make(self, run: Run, on_progress: Callable[[Progress], None]) -> Made:
        await self._until(run.order.submitted_at, 20.0, on_progress)
        made = {}
        for text in run.order.texts:
            with open(run.text(text), encoding="utf-8") as file:
                found = re.findall(r"(\w+ \w+) ([^.!?]+[.!?])", file.read())
            made[text] = [
                Written(question=f"How does “{q} …” go on?", answer=a, document=text.sha256) for q, a in found
            ]
        run.write_pairs(one for pairs in made.values() for one in pairs)
        return Made(lessons={text.upload_name: Lessons(pairs=len(pairs)) for text, pairs in made.items()})

    async def train(self, run: Run, on_progress: Callable[[Progress], None]) -> Ended:
        number = max(run.tries(), 1)
        os.makedirs(run.training(number), exist_ok=True)
        Path(run.training(number), "task.json").touch()
        await self._until(self._begun.setdefault(run.training(number), self._bench.now()), 20.0, on_progress)
        if self._fails and number == 1:
            return Ended(reason="out of wool", again=True)
        return Ended(model=run.at("model"))

    async def _until(self, begun: float, seconds: float, on_progress: Callable[[Progress], None]) -> None:
        while (passed := self._bench.now() - begun) < seconds:
            on_progress(Progress(percent=int(100 * passed / seconds)))
            await anyio.lowlevel.checkpoint()

    async def stop(self, run: Run) -> None:
        pass

    def withdraw(self, run: Run) -> None:
        pass


class LocalBench(Bench):
    """A backend of our own, whose maker and trainer are stand-ins; one of whose files no chunk can fail."""

    def __init__(self, folder: Any, *faults: Fault) -> None:
        if Fault.NO_PAIRS in faults:
            self.contents = dict.fromkeys(self.contents, b"zebras")
        by_rote = _ByRote(self, fails=Fault.TRAINING in faults)
        self.backend = Local(
            Runs(str(folder / "ledger.db.runs")),
            machine=_Surroundings(self),
            open_part=self.open_part,
            maker=by_rote,
            trainer=by_rote,
        )

    async def after(self, seconds: float, session_id: str) -> Any:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.backend.serve)
            for _ in range(STAGES):
                self.pass_time(seconds / STAGES)
                for _ in range(50):  # more steps than a stage has
                    await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        return await self.observe(session_id)

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
