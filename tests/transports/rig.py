"""What every case needs: a watched folder with a real daemon and a simulated server, texts, and what became of them.

1. Every process is a real one. What was started ends and what was mounted is unmounted, however a case ends.
2. A text is judged by what lies on the disk: its bytes are looked for where the ledger says that each file lies.
3. Nothing leaves 127.0.0.1.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from finetuned.settings import FolderSettings
from support.process import Sandbox, environment

#: the `settle` that a user has who sets nothing, in seconds
SETTLE: Final = FolderSettings(name="notes", path="/notes").settle
#: a sender that comes back so soon is within `settle`; one that comes back so late is not
SOON: Final = SETTLE / 2
LATE: Final = 3 * SETTLE + 3
#: bytes of a text that is sent slowly, and bytes a second: it takes five seconds
SIZE: Final = 300_000
RATE: Final = 60_000
PATIENCE: Final = 90.0


class Missing(Exception):
    """A program or a file system is not to be had here."""


@dataclass(kw_only=True)
class Outcome:
    """What became of a case's texts: how many were learned whole, and what else was learned or refused of them."""

    whole: int = 0
    halves: int = 0
    refused: int = 0
    again: int = 0
    missed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = [f"{self.whole} whole" if self.whole != 1 else "whole, once"]
        said += [f"{count} {what}" for what, count in self._others() if count]
        said += [f"missed: {name}" for name in self.missed] + [f"LOST: {name}" for name in self.lost]
        return ", ".join(said)

    def _others(self) -> Iterator[tuple[str, int]]:
        yield "a half learned" if self.halves == 1 else "halves learned", self.halves
        yield "refused", self.refused
        yield "learned again", self.again


def text(name: str, size: int = SIZE) -> bytes:
    """A text of about `size` bytes that no other case has; every line is another."""
    lines, length, number = [], 0, 0
    while length < size:
        number += 1
        line = f"In {name} the otter of day {number} ate {number % 9} fish.\n"
        lines.append(line)
        length += len(line)
    return "".join(lines).encode()


def need(*programs: str) -> None:
    """Raise Missing unless all these programs are installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for program in programs:
        if shutil.which(program, path=path) is None:
            raise Missing(f"{program} is not installed")


def run(*words: str | Path, within: float = PATIENCE, fine: Sequence[int] = (0,)) -> str:
    """Run a program to its end and return what it printed; one that fails ends the case."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=within, check=False, stdin=subprocess.DEVNULL)
    if done.returncode not in fine:
        raise RuntimeError(f"{' '.join(map(str, words))} ended with {done.returncode}: {done.stderr[-500:]}")
    return done.stdout + done.stderr


def wait_for(condition: Callable[[], bool], within: float = PATIENCE) -> bool:
    """Wait until `condition` holds; whether it came to hold."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def started(*words: str | Path, cwd: Path | None = None, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program in a process group of its own, which ends with the context, its children too."""
    with (log or Path(os.devnull)).open("ab") as out:
        process = subprocess.Popen(
            words, cwd=cwd, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
    """End a program with all that it started; SIGKILL by default."""
    if process.poll() is None:
        os.killpg(process.pid, number)
        process.wait(20)


class Rig:
    """A watched folder, its daemon and a simulated server.

    `folder` is what senders write into; `before` is a directory on the same disk as the rig, for what they send.
    """

    def __init__(self, root: Path, *, folder: Path | None = None, linger: str = "1s") -> None:
        self.root = root
        self.folder = folder or root / "notes"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.before = root / "before"
        self.before.mkdir(exist_ok=True)
        self.ledger = root / "state" / "ledger.db"
        self.linger = linger
        self.texts: dict[str, bytes] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """The daemon watches the folder, until the context ends."""
        server = Sandbox(self.root, speed=40.0)
        config = self.root / "finetuned.toml"
        config.write_text(
            f'[helix]\nurl = "{server.url}"\n[ledger]\npath = "{self.ledger}"\n[log]\nformat = "json"\n'
            f'[poll]\nfastest = "100ms"\nslowest = "1s"\n'
            f'[[folder]]\nname = "notes"\npath = "{self.folder}"\nlinger = "{self.linger}"\n'
        )
        log = self.root / "daemon.log"
        words = [sys.executable, "-m", "finetuned", "--config", str(config), "run"]
        try:
            with log.open("ab") as out:
                daemon = subprocess.Popen(words, stdout=out, stderr=out, env=environment(), start_new_session=True)
            try:
                if not wait_for(lambda: self._rows("select 1 from folders where state = 'watched'") != [], 30):
                    raise RuntimeError(f"the daemon does not watch: {log.read_text()[-500:]}")
                yield
            finally:
                kill(daemon, signal.SIGTERM)
        finally:
            server.close()

    def make(self, name: str, size: int = SIZE) -> Path:
        """Make a text aside that is to be learned whole; where it lies."""
        path = self.before / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.texts[name] = text(f"{self.root.name}/{name}", size)
        path.write_bytes(self.texts[name])
        return path

    def outcome(self) -> Outcome:
        """Wait until nothing is under way any more, and tell what became of every text."""
        wait_for(lambda: self._wholes() >= set(self.texts.values()))
        quiet_since = time.monotonic()

        def quiet() -> bool:
            nonlocal quiet_since
            if self._rows("select 1 from files where state in ('settling', 'waiting', 'packed') or archived = 0"):
                quiet_since = time.monotonic()
            return time.monotonic() - quiet_since > SETTLE + 2

        wait_for(quiet)
        return self._judge()

    def _judge(self) -> Outcome:
        found = Outcome()
        learned: list[bytes] = []
        for state, location in self._rows("select state, location from files"):
            if state == "learned":
                learned.append(_content(location))
            found.refused += state in {"refused", "barren", "failed"}
        wholes = [content for content in learned if content in set(self.texts.values())]
        found.whole = len(set(wholes))
        found.again = len(wholes) - found.whole
        found.halves = len(learned) - len(wholes)
        lying = {path.read_bytes() for path in self.folder.rglob("*.txt") if path.is_file()}
        for name, content in self.texts.items():
            if content not in wholes:
                found.missed.append(name)
            if content not in lying:
                found.lost.append(name)
        return found

    def _wholes(self) -> set[bytes]:
        return {_content(where) for _, where in self._rows("select 1, location from files where state = 'learned'")}

    def _rows(self, query: str) -> list[tuple]:
        try:
            with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as db:
                return db.execute(query).fetchall()
        except sqlite3.OperationalError:  # there is none yet
            return []


def _content(location: str | bytes | None) -> bytes:
    """What lies there; nothing if nothing does."""
    try:
        return Path(os.fsdecode(location or "")).read_bytes()
    except OSError:
        return b""
