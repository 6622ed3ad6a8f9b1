"""Real processes: the daemon and the sandbox, started as a person starts them, on sockets and real files."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import httpx

from finetuned.cli.main import main as finetuned
from finetuned.errors import LedgerMissing
from finetuned.ledger.audit import audit
from finetuned.ledger.queries import Reader
from finetuned.sandbox import DEFAULT_KEY
from finetuned.sandbox.__main__ import main as sandbox
from support.fault_proxy import FaultProxy
from support.nursery import NURSERY, Born, uncounted

PATIENCE = 60.0


def environment(**more: str) -> dict[str, str]:
    """The environment of whoever runs the tests, without what they configured for themselves, and with a key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FINETUNED_", "XDG_"))}
    return kept | {"FINETUNED_API_KEY": DEFAULT_KEY, "NO_COLOR": "1"} | more


def wait_for(condition: Callable[[], Any], what: str, within: float = PATIENCE) -> Any:
    """Wait until `condition` holds, in real time; what it gave."""
    never, pause = threading.Event(), 0.01
    end = time.monotonic() + within
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        never.wait(pause)
        pause = min(0.05, pause * 1.2)  # to open a ledger, and ask it, takes 2 ms
    raise AssertionError(f"in {within} s there was no {what}")


class Sandbox:
    """The stand-in server as a process."""

    def __init__(
        self,
        root: Path,
        *,
        speed: float = 20.0,
        port: int = 0,
        faults: tuple[str, ...] = (),
        dialect: str = "form",
        plan: str = "free",
    ) -> None:
        words = ["--port", str(port), "--data", str(root / "sandbox"), "--speed", str(speed), "--dialect", dialect]
        words += ["--plan", plan]
        for fault in faults:
            words += ["--fault", fault]
        self._said, says = NURSERY.Pipe(duplex=False)
        self._process = NURSERY.Process(target=_sandbox, args=(says, words), daemon=True)
        self._process.start()
        says.close()
        with open(self._said.fileno(), encoding="utf-8", closefd=False) as output:
            line = output.readline()
        assert line.startswith("sandbox ready on http://"), line
        self.url = line.split()[3]
        self.port = int(self.url.rsplit(":", 1)[1])

    def signal(self, number: signal.Signals) -> None:
        """Have the process stand still, or go on."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self) -> int | None:
        """Wait for it to end by itself; the exit code."""
        self._process.join(PATIENCE)
        return self._process.exitcode

    def close(self) -> None:
        """End it, at once."""
        self._process.kill()
        self._process.join(10)
        self._said.close()


def _sandbox(says: Connection, words: list[str]) -> None:
    """The stand-in server in a process of its own, whose output goes to `says`."""
    uncounted()
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    os.dup2(says.fileno(), 1)
    sys.exit(sandbox(words))


class Home:
    """A configuration, a folder and a ledger on the disk, and the daemon that works on them.

    `helix`, `poll`, `folder` are lines for those tables, `top` is anything between; at a `pace` of more than 1 the
    daemon's clocks go so many times as fast.
    """

    def __init__(
        self,
        root: Path,
        url: str,
        folder: str = "",
        top: str = "",
        helix: str = "",
        poll: str = 'slowest = "300ms"',
        linger: str = "0s",
        pace: int = 1,
    ) -> None:
        self.root = root
        self.url = url
        self.notes = root / "notes"
        self.notes.mkdir(parents=True, exist_ok=True)
        self.ledger = root / "state" / "ledger.db"
        self.config = root / "finetuned.toml"
        self.log = root / "daemon.log"
        self._daemon: subprocess.Popen[bytes] | Born | None = None
        self.server: Sandbox
        self.proxy: FaultProxy
        self._program = ["finetuned"] if pace == 1 else ["support.hasty", str(pace)]
        self.config.write_text(
            f"""
[helix]
url = "{url}"
timeout = "5s"
longest_pause = "300ms"
{helix}
[ledger]
path = "{self.ledger}"
[submit]
lost_answer_settle = "300ms"
[poll]
fastest = "30ms"
{poll}
[watch]
sweep = "500ms"
{top}
[[folder]]
name = "notes"
path = "{self.notes}"
settle = "100ms"
linger = "{linger}"
{folder}
"""
        )

    def finetuned(self, *words: str, check: bool = False, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. `tests/cli` counts its lines: to load coverage takes twice as long as a command."""
        uncounted = {name: value for name, value in environment(**more).items() if not name.startswith("COVERAGE_")}
        return subprocess.run(
            [sys.executable, "-m", "finetuned", "--config", str(self.config), *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=uncounted,
            check=check,
        )

    def start(self, *words: str, anew: bool = False, **more: str) -> None:
        """Start the daemon, born in the nursery; `anew`, as people start it, by an interpreter of its own.

        The latter takes four times as long. It is for what those of the nursery do not show: how a program starts and
        ends, a `sitecustomize` on its `PYTHONPATH`, clocks in a hurry, and its lines for coverage.
        """
        own = environment(**({"PYTHONPATH": str(Path(__file__).parents[1])} | more))
        said = ["--config", str(self.config), "run", *words]
        anew |= self._program != ["finetuned"] or "PYTHONPATH" in more
        if not anew and not any(name.startswith("COVERAGE_") for name in own):
            self.log.touch()
            self._daemon = Born(str(self.log), said, finetuned, own)
            return
        log: IO[bytes]
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", *self._program, *said], stdout=log, stderr=log, env=own
            )

    def kill(self) -> None:
        """Pull the plug."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Stop in order; the exit code."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the daemon to end by itself; the exit code."""
        assert self._daemon is not None
        return self._daemon.wait(PATIENCE)

    def still_runs(self) -> bool:
        """Whether the daemon does."""
        return self._daemon is not None and self._daemon.poll() is None

    @property
    def pid(self) -> int:
        """The daemon's."""
        assert self._daemon is not None
        return self._daemon.pid

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon a signal."""
        assert self._daemon is not None
        self._daemon.send_signal(number)

    def _end(self, number: signal.Signals) -> int:
        if self._daemon is None:
            return 0
        self._daemon.send_signal(number)
        code = self._daemon.wait(20)
        self._daemon = None
        return code

    def close(self) -> None:
        """Nothing is left running."""
        if self._daemon is not None:
            self.kill()

    def rows(self, what: str, *words: str) -> list[dict[str, Any]]:
        """A listing of the command line, parsed."""
        return json.loads(self.finetuned(what, *words, "--json", check=True).stdout)

    def has_ledger(self) -> bool:
        """Whether a daemon got so far as to make its ledger."""
        try:
            Reader.open(str(self.ledger)).close()
        except LedgerMissing:
            return False
        return True

    def is_watched(self) -> bool:
        """Whether the daemon has begun to watch its folder."""
        return self.has_ledger() and self.ask("select count(*) from folders where state = 'watched'") == 1

    def states(self) -> dict[str, str]:
        """By base name, the newest state of each file; empty while there is no ledger."""
        if not self.has_ledger():
            return {}
        with Reader.open(str(self.ledger)) as reader:
            return {row["path"].rsplit("/", 1)[-1]: row["state"] for row in reader.files()}

    def jobs(self) -> list[dict[str, Any]]:
        """Every job."""
        if not self.has_ledger():
            return []
        with Reader.open(str(self.ledger)) as reader:
            return list(reader.jobs())

    def drop(self, name: str, text: str | bytes) -> Path:
        """Put a file into the folder, whole."""
        path, part = self.notes / name, self.root / "part"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(text if isinstance(text, bytes) else text.encode())
        return part.rename(path)

    def ended(self, jobs: int = 1) -> list[dict[str, Any]]:
        """Wait until so many jobs are at their end, and put away; what they came to."""
        query = "select count(*) from jobs where finished_at is not null and archived = 1"
        wait_for(lambda: self.ask(query) == jobs, f"{jobs} jobs at their end")
        return self.jobs()

    def causes(self) -> list[str]:
        """Why jobs moved, or what was done about them, in order."""
        with Reader.open(str(self.ledger)) as reader:
            return [event["cause"] for event in reader.events() if event["subject"] == "job"]

    def rows_of_events(self, subject: str) -> list[dict[str, Any]]:
        """The events of this subject, in order, for a configuration that may be wrong."""
        with Reader.open(str(self.ledger)) as reader:
            return [event for event in reader.events() if event["subject"] == subject]

    def says(self, *words: str) -> str:
        """What a command tells people, whatever it thinks of it."""
        return self.finetuned(*words).stdout

    def ask(self, query: str) -> Any:
        """The one value that the ledger gives."""
        with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as db:
            return db.execute(query).fetchone()[0]

    def sessions(self, job_id: str) -> list[dict[str, Any]]:
        """The attempts at a job."""
        with Reader.open(str(self.ledger)) as reader:
            job = reader.job(job_id)
        assert job is not None
        return list(job["sessions"])

    def sessions_on_server(self) -> int:
        """How many sessions the server has."""
        return int(self.call("GET", "/sessions")["counter"]["count"])

    def call(self, method: str, path: str) -> Any:
        """Somebody else's call of the server."""
        with httpx.Client(headers={"Authorization": f"Bearer {DEFAULT_KEY}"}) as http:
            return http.request(method, f"{self.url}/api/v1{path}").raise_for_status().json()

    def audit(self) -> None:
        """The ledger is whole, and its events are in order of time."""
        with Reader.open(str(self.ledger)) as reader:
            assert audit(reader.connection) == []
            times = [event["at"] for event in reader.events()]
            assert times == sorted(times)


def home_that_learned(root: Path, url: str) -> Home:
    """A ledger with a job that has trained, of one file, `otter.txt`; nothing runs any more."""
    home = Home(root, url)
    (home.notes / "otter.txt").write_text("The otter is a mammal. It eats nine fish a day.")
    home.start("--until-idle")
    assert home.wait() == 0
    return home
