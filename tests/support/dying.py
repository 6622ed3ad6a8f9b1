"""Lives that end at a seam: a daemon dies there in a process of its own, and another goes on with what it left.

1. Death is `os._exit`: nothing is undone, closed or rolled back. The server outlives it: its memory is on the disk.
2. The clock goes on from the moment of death. Chance, ids and the order of tasks are drawn from seeds, so that a seam's
   number names the same seam in every run.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import anyio
import anyio.lowlevel
import httpx
import trio
import trio.testing

from finetuned.daemon.requests import Request, leave_request, requests_folder
from finetuned.sandbox import Faults
from support import seams
from support.place import Network, Place
from support.virtual import BEGIN, VirtualRuntime

P = ParamSpec("P")
T = TypeVar("T")
WISH = "wish"
#: the kind of a seam
SHARED = "shared"
#: the wish that the folder leaves the configuration, of which another folder is left
LEAVES = "leaves"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What is dropped, what goes wrong on the server, what a person asks meanwhile, and what must come of it.

    With `told` a hook hears of it. If it `expires`, 100 days pass at the end, of which 30 are kept. `wish` is asked
    once, of the job (or null, and the path) that the query `when` finds. Of each job the server makes `sessions` in
    all, and has `kept` of them in the end. It `begins` at this moment: files that were changed long before are taken by
    their looks. With `shared` those who come to the ledger meanwhile share a commit.
    """

    files: Mapping[str, bytes]
    becomes: Mapping[str, str]
    rules: Mapping[str, Any] = field(default_factory=dict)
    poll: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    told: bool = False
    expires: bool = False
    wish: str = ""
    when: str = ""
    sessions: int = 1
    kept: int = 1
    begins: float = BEGIN
    shared: bool = False


@dataclass(frozen=True, kw_only=True)
class Seam:
    """One seam of a life; `left` tells apart what a death there would leave."""

    number: int
    kind: str
    what: str
    left: str = ""

    def __str__(self) -> str:
        return f"seam {self.number} ({self.kind} {self.what})"


@dataclass(frozen=True, kw_only=True)
class Life:
    """How a life ended: the seams that it met (of a death the last one), and the last moment of its clock."""

    met: tuple[Seam, ...]
    died: bool
    at: float

    @classmethod
    def of(cls, said: dict[str, Any]) -> Life:
        """Read what came out of another process."""
        return cls(met=tuple(Seam(**seam) for seam in said["met"]), died=said["died"], at=said["at"])


class Mortal:
    """Meets seams, and dies at the one of number `die_at`; `left` tells what a death now would leave."""

    def __init__(self, die_at: int, die: Callable[[Seam], None], left: Callable[[], str] = str) -> None:
        self.met: list[Seam] = []
        self._die_at = die_at
        self._die = die
        self._left = left

    @contextmanager
    def at(self, kind: str, what: str) -> Iterator[None]:
        """A seam."""
        self.met.append(Seam(number=len(self.met) + 1, kind=kind, what=what, left=self._left()))
        if len(self.met) == self._die_at:
            self._die(self.met[-1])
        yield


class Crowd(VirtualRuntime):
    """A world where others come to the ledger before a thread is free; that they share a commit is a seam."""

    watcher: seams.Watcher | None = None

    async def in_thread(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        await anyio.lowlevel.checkpoint()
        if self.watcher is None or getattr(work, "__name__", "") != "_do_together":
            return work(*args, **words)
        with self.watcher.at(SHARED, "commit"):
            return work(*args, **words)


class Border(Network):
    """The way to the server, a seam on each side of it.

    `created` lists all sessions there ever were, `restarted` beside it those that were put to work again.
    """

    def __init__(self, app: Any, runtime: VirtualRuntime, watcher: seams.Watcher, created: Path) -> None:
        super().__init__(app, runtime)
        self._app = app
        self._watcher = watcher
        self._created = created

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        what = f"{request.method} {request.url.path}"
        with self._watcher.at("request", what):
            pass
        with seams.others():
            response = await super().handle_async_request(request)
            if (request.method, request.url.path, response.status_code) == ("POST", "/api/v1/sessions", 200):
                with self._created.open("a") as created:
                    created.write(next(self._app.state.store.newest_first()).message + "\n")
            if request.url.path.endswith("/restart"):
                with self._created.with_name("restarted").open("a") as restarted:
                    restarted.write(request.url.path + "\n")
        with self._watcher.at("answer", what):
            pass
        return response


def live(
    place: Place,
    scenario: Scenario,
    *,
    begin: float = 0.0,
    die_at: int = 0,
    digest: bool = False,
    watched: bool = True,
    hand_over: Callable[[Any], None],
) -> Life:
    """Run a daemon in this place until nothing is left to do, or until it dies. For a process of its own.

    With `digest` each seam says what a death there would leave. Unless `watched`, only those of the server are met.
    """

    def die(seam: Seam) -> None:
        hand_over(asdict(Life(met=(seam,), died=True, at=place.runtime.steady())))

    def left() -> str:
        return f"{left_behind(place.root)} {place.runtime.steady()}"

    mortal = Mortal(die_at, die, left if digest else str)
    if isinstance(place.runtime, Crowd) and watched:
        place.runtime.watcher = mortal
    place.network = Border(place.app, place.runtime, mortal, place.root / "created")
    ended_at = 0.0

    async def whole_life() -> None:
        nonlocal ended_at
        if scenario.wish == LEAVES:
            await _without_the_folder(place, scenario)
        elif scenario.wish:
            await place.run(until_idle=False, script=lambda: _person(place, scenario))
        await place.run()
        if scenario.expires:
            place.runtime.jump(100 * 86_400.0)
            await place.run()
        ended_at = place.runtime.steady()

    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[attr-defined]  # noqa: SLF001 - trio has no other door
    trio._core._run._r.seed(0)  # type: ignore[attr-defined]  # noqa: SLF001
    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.jump(begin)
    if watched:
        seams.watch(mortal)
    anyio.run(whole_life, backend="trio", backend_options={"clock": clock})
    return Life(met=tuple(mortal.met), died=False, at=ended_at)


def left_behind(root: Path) -> str:
    """The digest of all that lies below `root`, as this process would leave it if it died now.

    The part of a ledger that lies in memory (-shm) is made anew after a death.
    """
    found = hashlib.sha256()
    for folder, folders, files in os.walk(root):
        folders.sort()
        found.update(os.fsencode(f"{folder}/\n"))
        for path in (os.path.join(folder, name) for name in sorted(files) if not name.endswith("-shm")):
            is_now = os.lstat(path)
            found.update(os.fsencode(f"{path} {is_now.st_ino} {is_now.st_mode} {is_now.st_mtime_ns}\n"))
            found.update(Path(path).read_bytes())
    return found.hexdigest()


def deaths_of(met: Sequence[Seam]) -> list[int]:
    """The numbers of the seams at which there is a death of its own to die: no earlier one leaves the same."""
    first: dict[str, int] = {}
    for seam in met:
        first.setdefault(seam.left, seam.number)
    return list(first.values())


async def _without_the_folder(place: Place, scenario: Scenario) -> None:
    """Reload once the folder is not in the configuration any more, or start so if that was written before a death."""
    written = place.root / LEAVES
    left = [{"name": "other", "path": str(place.root / "other")}]

    async def script() -> None:
        with seams.others():
            while not rows(place, scenario.when):
                await place.pass_time(0.5)
            written.touch()
            await place.reload(folder=left)

    if written.exists():
        place.configure(folder=left)
        place.load()
    else:
        await place.run(until_idle=False, script=script)


async def _person(place: Place, scenario: Scenario) -> None:
    """Ask what is wished, unless it was asked before a death, and wait for the answer."""
    with seams.others():
        lies = os.path.join(requests_folder(place.ledger_path), f"1-{WISH}.json")

        def answered() -> bool:
            with place.reader() as reader:
                return reader.answer(WISH) is not None

        async def until(condition: Callable[[], Any]) -> None:
            while not condition():
                await place.pass_time(0.5)

        if not answered() and not os.path.exists(lies):
            await until(lambda: rows(place, scenario.when))
            words = dict(zip(("job", "path"), rows(place, scenario.when)[0], strict=False))
            leave_request(place.ledger_path, Request(id=WISH, verb=scenario.wish, **words), "1")
        place.sweep_soon()
        await until(answered)


def rows(place: Place, query: str) -> list[Any]:
    """What the ledger answers."""
    with place.reader() as reader:
        return [tuple(row) for row in reader.connection.execute(query)]


def a_place(root: Path, scenario: Scenario, seed: int) -> Place:
    """Where a scenario plays."""
    linger = {"linger": "0s"} if scenario.wish else {}
    rules = [{**linger, **scenario.rules}]
    settle = {"lost_answer_settle": "5s"}
    hooks = [{"command": ["sh", "-c", f"cat >> '{root}/heard'"]}] if scenario.told else []
    ages = {"done": "30d", "failed": "30d", "events": "30d"} if scenario.expires else {}
    faults = Faults.parse(scenario.faults)
    more = {"submit": settle, "poll": scenario.poll, "hook": hooks, "retention": ages}
    place = Place(root, faults=faults, luck=seed, begins=scenario.begins, folder=rules, **more)
    if scenario.shared:
        place.runtime = Crowd(seed, scenario.begins)
    return place


def forked(work: Callable[[Callable[[Any], None]], Any]) -> Any:
    """What `work` gives, or hands over before it dies, in a process of its own. AssertionError if it fails."""
    source, drain = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of the parent's is ended, flushed or counted here
        os.close(source)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of a short life

        def hand_over(value: Any) -> None:
            os.write(drain, json.dumps(value).encode())
            os._exit(0)

        try:
            hand_over(work(hand_over))
        except BaseException:  # noqa: BLE001 - whatever it was, the parent tells
            os.write(drain, traceback.format_exc()[-20_000:].encode())
        os._exit(1)
    os.close(drain)
    with open(source, "rb") as answer:
        said = answer.read()
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise AssertionError(said.decode())
    return json.loads(said)
