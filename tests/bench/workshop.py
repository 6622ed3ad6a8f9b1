"""What every benchmark needs: a place with a daemon in it, a look at a process, a row of the table.

1. The daemon is the real one, a process of its own; so are the baselines. All times are of the monotonic clock.
2. What was started ends, and what was made goes, however a benchmark ends: each of these is a context.
3. A row holds if its worst figure does, not its median.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PATIENCE = 900.0
MIB = 1024 * 1024


@dataclass(kw_only=True)
class Options:
    """How much is measured, and where the files lie."""

    runs: int = 10
    seconds: float = 300.0
    files: int = 10_000
    kills: int = 1000
    directory: str | None = None


@dataclass(kw_only=True)
class Row:
    """One line of the table; `bound` is what the measured figures must stay below, in their unit."""

    what: str
    measured: Sequence[float]
    unit: str
    baseline: str = ""
    against: Sequence[float] = ()
    against_unit: str = ""
    bound: float | None = None

    def __str__(self) -> str:
        unit = self.against_unit or self.unit
        against = f"{self.baseline}: {_figures(self.against)} {unit}" if self.against else self.baseline
        same = self.against and unit == self.unit and statistics.median(self.against) > 0
        ratio = f"{statistics.median(self.measured) / statistics.median(self.against):.2g}" if same else ""
        bound = "" if self.bound is None else f"< {_number(self.bound)} {self.unit}"
        runs = f" (n = {len(self.measured)})" if len(self.measured) > 1 else ""
        measured = f"{_figures(self.measured)} {self.unit}{runs}"
        return f"| {self.what} | {measured} | {against} | {ratio} | {bound} | {self._holds()} |"

    def _holds(self) -> str:
        if self.bound is None:
            return ""
        if max(self.measured) < self.bound:
            return "yes"
        over = sum(1 for figure in self.measured if figure >= self.bound)
        return "**no**" if over == len(self.measured) else f"**no** ({over} of {len(self.measured)} over)"


HEADER = (
    "| what | measured: min / median / max | baseline of the same run | ratio | bound | holds |\n" + "| --- " * 6 + "|"
)


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _figures(figures: Sequence[float]) -> str:
    if len(figures) == 1:
        return _number(figures[0])
    return " / ".join(_number(f) for f in (min(figures), statistics.median(figures), max(figures)))


def say(words: str) -> None:
    """What is going on, for who waits; not part of the table."""
    sys.stderr.write(f"  {words}\n")
    sys.stderr.flush()


def wait_for(condition: Callable[[], T], what: str, *, within: float = PATIENCE, every: float = 0.02) -> T:
    """Wait until `condition` gives something, and give it."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(every)
    raise TimeoutError(f"no {what} within {within:.0f} s")


def environment() -> dict[str, str]:
    """Ours, without what somebody configured for themselves, and with a key.

    Python's too: where it may write no bytecode (`PYTHONDONTWRITEBYTECODE`), half of a command's time is its compiler.
    """
    theirs = ("FINETUNED_", "XDG_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return kept | {"FINETUNED_API_KEY": "bench", "NO_COLOR": "1"}


@contextmanager
def started(words: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, so that Ctrl-C reaches it only through us; it ends with the context."""
    with log.open("ab") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, env=environment(), start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def timed(words: Sequence[str], *, fine: Sequence[int] = (0,)) -> float:
    """Seconds that a command took."""
    begin = time.monotonic()
    done = subprocess.run(words, capture_output=True, env=environment(), check=False)
    took = time.monotonic() - begin
    if done.returncode not in fine:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return took


class Process:
    """A look at a running process from outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._proc = Path(f"/proc/{pid}")

    def cpu(self) -> float:
        """Seconds of CPU, its threads and its ended children included."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def memory(self, name: str) -> float:
        """MiB: `VmRSS` now, or `VmHWM`, the most there was."""
        for line in (self._proc / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def forget_peak(self) -> None:
        """Let VmHWM begin anew."""
        (self._proc / "clear_refs").write_text("5")


@contextmanager
def scratch(options: Options) -> Iterator[Path]:
    """A directory that is removed at the end."""
    path = tempfile.mkdtemp(prefix="finetuned-bench-", dir=options.directory)
    try:
        yield Path(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Place:
    """A folder, a ledger, a configuration, and the daemon that works on them."""

    def __init__(
        self, root: Path, url: str, *, folder: str = "", helix: str = "", poll: str = "200ms", slowest: str = "60s"
    ) -> None:
        self.root = root
        self.notes = root / "notes"
        self.notes.mkdir()
        self.ledger = root / "state" / "ledger.db"
        self.config = root / "finetuned.toml"
        self.config.write_text(
            f'[helix]\nurl = "{url}"\n{helix}\n[ledger]\npath = "{self.ledger}"\n'
            f'[poll]\nfastest = "{poll}"\nslowest = "{slowest}"\n[log]\nlevel = "warning"\n'
            f'[[folder]]\nname = "notes"\npath = "{self.notes}"\nlinger = "0s"\n{folder}\n'
        )

    def command(self, *words: str) -> list[str]:
        """A command line of finetuned about this place."""
        return [sys.executable, "-m", "finetuned", "--config", str(self.config), *words]

    @contextmanager
    def daemon(self) -> Iterator[Process]:
        """The daemon, up and idle."""
        log = self.root / "daemon.log"
        with started(self.command("run"), log) as process:
            try:
                wait_for(lambda: self._is_up(process), "daemon", within=30)
                time.sleep(2)  # it looks around first
                yield Process(process.pid)
            except BaseException:
                say(log.read_text()[-2000:])
                raise

    def _is_up(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise RuntimeError("the daemon ended")
        return bool(self.ask("select count(*) from daemon"))

    def ask(self, query: str) -> Any:
        """The one value that the ledger gives; null while there is none."""
        try:
            with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as db:
                row = db.execute(query).fetchone()
        except sqlite3.OperationalError:
            return None
        return None if row is None else row[0]

    def wait_learned(self, count: int) -> None:
        """Wait until so many files are learned and put away."""
        query = "select count(*) from files where state = 'learned' and archived = 1"
        wait_for(lambda: self.ask(query) == count, f"end of {count} files", every=0.1)
        wait_for(lambda: self.ask("select count(*) = 0 from jobs where archived = 0"), "end of the papers")


class Pile:
    """Small texts, each of its own, made aside and dropped at one blow."""

    def __init__(self, root: Path, *, begin: int = 0) -> None:
        self._root = root
        self._number = begin

    def write(self, path: Path, *, bytes_at_least: int = 0) -> Path:
        """One text."""
        self._number += 1
        text = f"Note {self._number} says that the otter sleeps on its back.\n"
        path.write_text(text * (1 + bytes_at_least // len(text)))
        return path

    def drop_one(self, folder: Path) -> float:
        """Drop a file by rename; when it was done."""
        made = self.write(self._root / "one.part")
        os.rename(made, folder / f"note-{self._number:05d}.txt")
        return time.monotonic()

    def folder(self, count: int, *, bytes_at_least: int = 0) -> Path:
        """A folder full of texts, made aside."""
        self._number += 1
        made = self._root / f"pile-{self._number}"
        made.mkdir()
        for number in range(count):
            self.write(made / f"note-{number:05d}.txt", bytes_at_least=bytes_at_least)
        return made

    def drop_many(self, folder: Path, count: int) -> float:
        """Drop so many files at one instant: the rename of a folder that holds them; when it was done."""
        made = self.folder(count)
        os.rename(made, folder / made.name)
        return time.monotonic()


class Curl:
    """curl, with the fine-tune that a daemon would send."""

    def __init__(self, url: str) -> None:
        self._words = ["curl", "-sS", "-o", os.devnull, "-H", "Expect:", "-H", "Authorization: Bearer bench"]
        self._url = f"{url}/api/v1/sessions"

    def command(self, *files: Path) -> list[str]:
        """The command line."""
        named = [f"files=@{file};type=text/plain" for file in files]
        fields = [*named, "mode=finetune", "type=text", "input=bench.1"]
        return [*self._words, *(word for field in fields for word in ("-F", field)), self._url]

    @staticmethod
    def there() -> bool:
        """Whether there is a curl."""
        return shutil.which("curl") is not None
