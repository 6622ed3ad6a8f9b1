"""What every benchmark needs: a place with a daemon in it, and a look at a process.

1. The daemon is the real one, a process of its own; so are the baselines. All times are of the monotonic clock.
2. What was started ends, and what was made goes, however a benchmark ends: each of these is a context.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
PATIENCE = 900.0
#: … of which a file may have so many
PATIENCE_A_FILE = 0.005
MIB = 1024 * 1024
LOOK_EVERY = 0.005
#: lines of a text that are written at a time
AT_ONCE = 10_000
#: jobs so large that few are made
BIG_JOBS = "max_files = 500\nmax_chunks = 100000"
CLAIMED = "select coalesce(sum(files), 0) from jobs where claimed_at is not null"
#: a process that hears of what happens in a folder, and does no more
BARE_WATCH = "import sys\nfrom watchfiles import watch\nfor _ in watch(sys.argv[1]): pass\n"


@dataclass(kw_only=True)
class Options:
    """How much is measured, and where the files lie."""

    runs: int = 10
    seconds: float = 300.0
    files: int = 10_000
    jobs: int = 2000
    pairs: int = 1_000_000
    size: int = 1024
    kills: int = 1000
    phase: str | None = None
    directory: str | None = None


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


class Ran(NamedTuple):
    """What a command took: seconds, of them those of CPU, and the most memory that it had, in MiB."""

    seconds: float
    cpu: float
    memory: float


def ran(words: Sequence[str], *, out: int = subprocess.DEVNULL, fine: Sequence[int] = (0,)) -> Ran:
    """Run a command. Its memory is looked at while it runs, as the kernel's own figure begins with its parent's."""
    with tempfile.TemporaryFile() as complaints:
        begin = time.monotonic()
        process = subprocess.Popen(words, stdout=out, stderr=complaints, env=environment())
        ended, seen, memory = os.pidfd_open(process.pid), Process(process.pid), 0.0
        while not select.select([ended], [], [], LOOK_EVERY)[0]:
            memory = max(memory, seen.memory("VmHWM"))
        took = time.monotonic() - begin
        os.close(ended)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in fine:
            complaints.seek(0)
            raise RuntimeError(f"{words} ended with {process.returncode}: {complaints.read().decode()[-2000:]}")
    return Ran(took, used.ru_utime + used.ru_stime, memory)


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
        self.notes.mkdir(parents=True)
        self.pile = Pile(root)
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

    def make_ledger(self) -> None:
        """Have a daemon make the ledger: once in a ledger's life, by a library that stays in memory."""
        with self.daemon():
            pass

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

    def drop_one(self) -> float:
        """Drop a file by rename; when it was done."""
        made = self.pile.write(self.root / "one.part")
        os.rename(made, self.notes / f"note-{self.pile.number:05d}.txt")
        return time.monotonic()

    def drop_many(self, count: int) -> float:
        """Drop so many files at one instant, which are made first; when it was done."""
        return self.drop_folder(self.pile.folder(count))

    def drop_each(self, count: int) -> float:
        """Drop so many files one after the other, each by rename; when the last one was."""
        made = self.pile.folder(count)
        for name in os.listdir(made):
            os.rename(made / name, self.notes / f"{made.name}-{name}")
        return time.monotonic()

    def drop_folder(self, made: Path) -> float:
        """Drop a folder by rename; when it was done."""
        os.rename(made, self.notes / made.name)
        return time.monotonic()

    def wait_claimed(self, count: int) -> None:
        """Wait until so many files are claimed for jobs."""
        wait_for(lambda: self.ask(CLAIMED) == count, f"claim of {count} files", within=_patience(count), every=0.05)

    def wait_learned(self, count: int) -> None:
        """Wait until so many files are learned and put away."""
        query, within = "select count(*) from files where state = 'learned' and archived = 1", _patience(count)
        wait_for(lambda: self.ask(query) == count, f"end of {count} files", within=within, every=0.1)
        wait_for(lambda: self.ask("select count(*) = 0 from jobs where archived = 0"), "end of the papers")


def _patience(count: int) -> float:
    return max(PATIENCE, count * PATIENCE_A_FILE)


class Pile:
    """Small texts, each of its own, made aside."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.number = 0

    def write(self, path: Path, *, bytes_at_least: int = 0) -> Path:
        """Write one text."""
        self.number += 1
        text = f"Note {self.number} says that the otter sleeps on its back.\n"
        with path.open("w") as file:
            for left in range(1 + bytes_at_least // len(text), 0, -AT_ONCE):
                file.write(text * min(left, AT_ONCE))
        return path

    def folder(self, count: int, *, bytes_at_least: int = 0) -> Path:
        """Make a folder full of texts."""
        self.number += 1
        made = self._root / f"pile-{self.number}"
        made.mkdir()
        for number in range(count):
            self.write(made / f"note-{number:05d}.txt", bytes_at_least=bytes_at_least)
        return made


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
