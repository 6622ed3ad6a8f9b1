"""Kills without end: the real daemon and the real server, killed at random moments while files keep coming.

1. Both are processes of their own, on sockets and real files.
2. What is random comes from the seed; what the machine makes of it does not.
3. After each death the ledger is audited; at the end every file was learned once, or has its reason beside it, and the
   server was asked for just one session a job.
"""

from __future__ import annotations

import json
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from finetuned.cli.main import main as finetuned
from finetuned.ledger.audit import audit
from finetuned.ledger.queries import Reader
from finetuned.sandbox.__main__ import main as sandbox
from support.afterlife import DOUBLED
from support.nursery import NURSERY, born
from support.process import Home, wait_for

#: of a daemon's life, in seconds
SHORTEST, LONGEST = 0.03, 0.5
#: one in so many lives the server is killed, too
SERVER_DIES = 8
TWINS = "select count(*) from sessions where state = 'twin'"


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What a soak saw."""

    kills: int
    server_kills: int
    files: int
    jobs: int
    sessions: int
    seconds: float


class Soak:
    """A home, its server, and the deaths of both."""

    def __init__(self, root: Path, *, seed: int, faults: tuple[str, ...] = ()) -> None:
        self.chance = random.Random(seed)
        self._root = root
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.home = Home(root / "home", f"http://127.0.0.1:{self._port}", folder="max_files = 3\nsettle = '20ms'")
        self.home.config.write_text(self.home.config.read_text().replace('settle = "100ms"\n', ""))
        self._faults = [word for fault in faults for word in ("--fault", fault)]
        self._server: BaseProcess | None = None
        self.files: list[Path] = []
        self.kills = self.server_kills = 0

    def start_server(self) -> None:
        """Start the server, on its port and with its memory."""
        words = ["--port", str(self._port), "--data", str(self._root / "sandbox"), "--speed", "30", *self._faults]
        self._server = NURSERY.Process(target=born, args=(str(self._root / "server.log"), words, sandbox), daemon=True)
        self._server.start()

    def stop_server(self) -> None:
        """Kill it."""
        if self._server is not None:
            self._server.kill()
            self._server.join()
            self._server = None

    def drop(self, count: int) -> None:
        """Drop new texts, each of its own, at one blow."""
        for _ in range(count):
            name = f"{len(self.files):04}.txt"
            part = self.home.root / name
            part.write_text(f"The stone number {len(self.files)} is grey. It came from a river.")
            self.files.append(part.rename(self.home.notes / name))

    def life(self) -> None:
        """One life of the daemon, and now and then the death of the server within."""
        self.drop(self.chance.choice((0, 1, 1, 2)))
        words = ["--config", str(self.home.config), "run"]
        daemon = NURSERY.Process(target=born, args=(str(self.home.log), words, finetuned), daemon=True)
        daemon.start()
        span = self.chance.uniform(SHORTEST, LONGEST)
        if self.chance.randrange(SERVER_DIES) == 0:
            threading.Event().wait(span / 2)
            span /= 2
            self.stop_server()
            self.start_server()
            self.server_kills += 1
        daemon.join(span)
        assert daemon.exitcode is None, f"the daemon ended by itself: {self.home.log.read_text()[-3000:]}"
        daemon.kill()
        daemon.join()
        assert daemon.exitcode == -signal.SIGKILL
        self.kills += 1
        if self.home.has_ledger():
            self.home.audit()

    def end(self) -> None:
        """Let a last daemon do what is left to do."""
        wait_for(self._listens, "server")
        self.home.start("--until-idle")
        assert self.home.wait() in {0, 1}, self.home.log.read_text()[-3000:]

    def _listens(self) -> bool:
        with socket.socket() as door:
            return door.connect_ex(("127.0.0.1", self._port)) == 0

    def check(self) -> None:
        """What must be true of every file, job, session and pair."""
        with Reader.open(str(self.home.ledger)) as reader:
            assert audit(reader.connection) == []
            files, jobs = list(reader.files()), list(reader.jobs())
            assert [row[0] for row in reader.connection.execute(DOUBLED)] == [], "doubled pairs"
            assert reader.connection.execute(TWINS).fetchone()[0] == 0, "a job was sent twice"
        assert sorted(row["path"] for row in files) == sorted(map(str, self.files)), "each file is known, once"
        for row in files:
            self._check_file(row)
        sessions = Counter(marker.rsplit(".", 1)[0] for marker in self.markers())
        assert sessions == Counter(job["id"] for job in jobs), "one session for each job"
        left = [path for path in self.home.notes.rglob("*") if path.is_file() and ".processing" in path.parts]
        assert left == [], "all is put away"

    def _check_file(self, row: dict[str, Any]) -> None:
        lies = Path(row["location"])
        assert lies.is_file(), row
        if row["state"] == "learned":
            assert row["pairs"] > 0, row
            assert lies.parent.parent.name == "done", row
        else:
            assert row["state"] in {"failed", "barren"}, row
            assert row["reason"], row
            assert Path(f"{lies}.why.txt").is_file(), row

    def markers(self) -> list[str]:
        """What the server's sessions were called by us."""
        records = (self._root / "sandbox" / "sessions").glob("*.json")  # not what it died over
        return [json.loads(record.read_text())["message"] for record in records]


def soak(
    root: Path, *, seed: int, kills: int, faults: tuple[str, ...] = (), told: Callable[[str], None] = print
) -> Tally:
    """Kill so many daemons, and see that nothing came of it. AssertionError says what did."""
    begin = time.monotonic()
    soaked = Soak(root, seed=seed, faults=faults)
    try:
        soaked.start_server()
        for number in range(1, kills + 1):
            soaked.life()
            if number % 100 == 0:
                told(f"{number} kills, {len(soaked.files)} files, {time.monotonic() - begin:.0f} s")
        soaked.end()
        soaked.check()
    finally:
        soaked.home.close()
        soaked.stop_server()
    return Tally(
        kills=soaked.kills,
        server_kills=soaked.server_kills,
        files=len(soaked.files),
        jobs=len(soaked.home.jobs()),
        sessions=len(soaked.markers()),
        seconds=time.monotonic() - begin,
    )
