"""A daemon that learns here, as processes that die: its folder, an endpoint that counts, a trainer that tells its pid.

1. The daemon and all it starts are real processes; to die is SIGKILL, at a seam (`support.seams`) or at any moment.
2. A seam is known by what is done there and how often that was done before, as threads of a real process do not come in
   one order.
3. The trainer appends its try and its pid to a file, and looks whether another one lives.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import anyio
import httpx

from finetuned.cli.main import main as finetuned
from finetuned.local.place import State
from support import seams
from support.afterlife import DOUBLED
from support.defects import LEARNING_DEFECTS
from support.endpoint import Endpoint, entries_in, entries_of, pairs_of
from support.nursery import NURSERY, born
from support.process import Home, wait_for
from support.trainings import here, lives

#: a trainer: `two` gets a line if another one lives
TRAINER = (
    'set -e; for pid in $(cut -d" " -f2 "$0/pids"); do ! grep -q "^State:.[^ZX]" /proc/$pid/status 2>/dev/null '
    '|| echo "$pid $$" >> "$0/two"; done; '
    'echo "$PWD $$" >> "$0/pids"; sleep {seconds}; cp "$1"/train.jsonl "$2"/model.txt; echo "$PWD" >> "$0/ends"'
)
#: what is no two times the same in the name of a seam
_CHANGING = (
    (re.compile(r"notes-\d{8}-\d{6}-[a-z2-7]{4}"), "JOB"),
    (re.compile(r"\.task\.json\.\w+"), ".task.json.NEW"),
    (re.compile(r"\d{6,}"), "N"),
)


class LearningHome(Home):
    """A home whose folder is learned here; `seconds` is how long its trainer takes."""

    def __init__(
        self,
        root: Path,
        endpoint: Endpoint,
        *,
        folder: str = "",
        poll: str = 'slowest = "300ms"',
        seconds: float = 0.05,
        defect: str = "",
    ) -> None:
        self.endpoint = endpoint
        self.defect = defect
        self.said = root / "trainer"
        self.said.mkdir(parents=True)
        (self.said / "pids").touch()
        script = root / "trainer.sh"
        script.write_text(TRAINER.format(seconds=seconds))
        self.published = root / "models"
        tables = f"""
[backend]
kind = "local"
[maker]
url = "{endpoint.url}"
model = "tiny"
chunk_bytes = "256B"
max_requests = 2
[trainer]
kind = "command"
command = ["sh", "{script}", "{{data}}", "{{out}}"]
publish = "{self.published}"
nice = 0
"""
        script.write_text(script.read_text().replace("$0", str(self.said)))
        super().__init__(root, "http://127.0.0.1:9", top=tables, folder=folder, poll=poll)
        self.config.write_text(self.config.read_text().replace('settle = "100ms"', 'settle = "20ms"'))
        self.runs = Path(f"{self.ledger}.runs")
        self.born: BaseProcess | None = None

    # -- lives

    def begin(self, *words: str, die_at: tuple[str, int] = ("", 0), met: Path | None = None) -> BaseProcess:
        """Begin a life; it ends at the seam `die_at`, and writes the seams that it met."""
        arguments = ["--config", str(self.config), "run", *words]
        target = (str(self.log), arguments, die_at, None if met is None else str(met), self.defect)
        self.born = NURSERY.Process(target=_mortal, args=target, daemon=True)
        self.born.start()
        return self.born

    def live(self, *, die_at: tuple[str, int] = ("", 0), met: Path | None = None) -> int:
        """Live until nothing is left to do, or until death; the exit code."""
        process = self.begin("--until-idle", die_at=die_at, met=met)
        process.join(90)
        assert process.exitcode is not None, f"it does not end: {self.log.read_text()[-3000:]}"
        return process.exitcode

    def close(self) -> None:
        """Nothing is left running."""
        if self.born is not None and self.born.exitcode is None:
            self.born.kill()
            self.born.join()
        super().close()
        for pid in self.runners():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.trainers(), "end of all trainers")

    # -- what is there

    def tries(self) -> list[Path]:
        """The folders of all trainings."""
        return sorted(self.runs.glob("*/training.*"))

    def runners(self) -> list[int]:
        """The processes that run trainings."""
        looks = [anyio.run(here().look, str(folder)) for folder in self.tries()]
        return [int(look.handle) for look in looks if look.state in {State.RUNNING, State.QUEUED}]

    def trainers(self) -> list[int]:
        """The trainers that live."""
        pids = [int(line.rsplit(" ", 1)[1]) for line in (self.said / "pids").read_text().splitlines()]
        return [pid for pid in pids if lives(pid)]

    def stored(self) -> set[tuple[str, ...]]:
        """The passages whose answers the ledger has, by their entries."""
        found = set()
        if self.has_ledger() and self.ask("select count(*) from sqlite_schema where name = 'chunks'"):
            with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as db:
                query = "select run, document, own, ends, state from chunks where state in ('answered', 'judged')"
                for run, document, own, ends, _ in db.execute(query):
                    text = self.runs / run / "texts" / document
                    if text.exists():
                        found.add(entries_in(text.read_bytes()[own:ends].decode()))
        return found

    def paid(self) -> Counter[tuple[str, ...]]:
        """How often each passage was paid for, by its entries."""
        return Counter(map(entries_of, self.endpoint.paid))

    def wrong(self) -> list[str]:
        """What must never be, at any time: two trainings of one try, or two alive; a ledger that is not whole."""
        starts = Counter(line.rsplit(" ", 1)[0] for line in (self.said / "pids").read_text().splitlines())
        wrong = [f"{folder} was trained {times} times" for folder, times in starts.items() if times > 1]
        if (self.said / "two").exists():
            wrong.append(f"two trainings lived: {(self.said / 'two').read_text()}")
        if self.has_ledger():
            self.audit()
            with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as db:
                wrong += [f"a pair is doubled: {row[0]}" for row in db.execute(DOUBLED)]
        return wrong


@contextmanager
def learning(root: Path, **words: object) -> Iterator[LearningHome]:
    """A home and its endpoint."""
    with Endpoint(pairs_of) as endpoint:
        home = LearningHome(root, endpoint, **words)  # type: ignore[arg-type]
        try:
            yield home
        finally:
            home.close()


class _Mortal:
    """Dies at the n-th deed of a name; notes what it meets."""

    def __init__(self, root: str, die_at: tuple[str, int], met: str | None) -> None:
        self._root = root
        self._die_at = die_at
        self._met = None if met is None else open(met, "a", buffering=1)  # noqa: SIM115 - for all its life
        self._counts: Counter[str] = Counter()

    @contextmanager
    def at(self, kind: str, what: str) -> Iterator[None]:
        """A seam."""
        name = f"{kind} {what.replace(self._root, '')}"
        for pattern, word in _CHANGING:
            name = pattern.sub(word, name)
        self._counts[name] += 1
        if (name, self._counts[name]) == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._met is not None:
            self._met.write(f"{self._counts[name]}\t{name}\n")
        yield


def _mortal(log: str, words: list[str], die_at: tuple[str, int], met: str | None, defect: str) -> None:
    if defect:
        LEARNING_DEFECTS[defect]()
    mortal = _Mortal(str(Path(words[1]).parent), die_at, met)
    seams.watch(mortal)
    _watch_http(mortal)
    born(log, words, _ends)


def _ends(words: list[str]) -> None:
    sys.exit(finetuned(words))


def _watch_http(mortal: _Mortal) -> None:
    """A request is a seam, and so is its answer."""
    real = httpx.AsyncHTTPTransport.handle_async_request

    async def handle(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        with mortal.at("request", f"{request.method} {request.url.path}"):
            pass
        response = await real(self, request)
        with mortal.at("answer", f"{request.method} {request.url.path}"):
            pass
        return response

    httpx.AsyncHTTPTransport.handle_async_request = handle  # type: ignore[method-assign]
