"""Strain: input that no one wishes for. Whatever it is, `status` answers and a stop is heard at once, and all is kept.

1. Each case is lived through in lives of some seconds, so that the stops meet its daemon at different work: its start,
   its first sweep, its rows, its reading, its sends. While it lives, `finetuned status` is asked again and again; the
   baseline is what that takes before the first life. Its CPU tells, where it is late, whether it waited for its turn.
2. After the last life the ledger is audited: every file that was dropped lies somewhere still, and no job was sent
   twice.
3. `--files` is the number of files in one folder, and of events. There are a tenth as many sub-folders, and a hundredth
   as many sessions: what was asked for is `--files 1000000`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from subprocess import Popen

from table import Row
from tiny_helix import TinyHelix
from workshop import BIG_JOBS, MIB, Options, Place, Process, Ran, ran, say, scratch, started, wait_for

from finetuned.ledger.audit import audit

STATUS_BOUND = 1.0
STOP_BOUND = 5.0
#: 100 MB
MEMORY_BOUND = 100e6 / MIB
#: how long the lives of a daemon are, and the pause between two questions, in seconds
LIVES = (0.7, 2.0, 5.0, 15.0, 30.0)
PAUSE = 0.3
#: how late a slow server answers, and how long a slow disk takes for each fsync, in seconds
LATE = 5.0
DELAY = 2.0
LARGE = 4 * 1024**3
#: jobs of the slow server; files that are dropped in each life on the slow disk
JOBS = 100
DROPPED = 50
EVENTS = (
    "with recursive n (i) as (select 1 union all select i + 1 from n where i < :count) "
    "insert into events (at, subject, subject_id, was, became, cause, job_id) "
    "select :at, 'file', i, 'packed', 'learned', 'trained', 'notes-1' from n"
)
AT = "2026-11-23T05:23:11.000Z"
Case = Callable[[Options, Path, TinyHelix], Iterator[Row]]
ALONE = 'settle = "200ms"\nmax_files = 1'
TOGETHER = f'settle = "200ms"\n{BIG_JOBS}'
MANY = "max_in_flight = 10000"


class Strained:
    """A place that is strained, and what was measured of it: runs of `status`, seconds of stops, memory in MiB.

    A life's `delay` is what everything takes that its daemon brings to disk, in seconds.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.usual = [self._status() for _ in range(5)]
        self.status: list[Ran] = []
        self.stops: list[float] = []
        self.memory: list[float] = []

    def _status(self) -> Ran:
        return ran(self.place.command("status"), fine=(0, 1, 3))

    @contextmanager
    def life(self, *, delay: float = 0.0) -> Iterator[Process]:
        """Start a daemon, and stop it in order."""
        log = self.place.root / "daemon.log"
        with ExitStack() as living:
            process = living.enter_context(started(self.place.command("run"), log))
            wait_for(lambda: _hears(process.pid), "ear")
            if delay:
                living.enter_context(_slow_disk(process.pid, delay, log))
            try:
                daemon = Process(process.pid)
                yield daemon
                self.memory.append(daemon.memory("VmHWM"))
                self.stops.append(_stopped(process))
            except BaseException:
                say(log.read_text()[-2000:])
                raise

    def live(self, lives: Sequence[float] = LIVES, *, delay: float = 0.0) -> None:
        """Live so many lives, one after the other, and ask for the status all the while."""
        for seconds in lives:
            with self.life(delay=delay):
                end = time.monotonic() + seconds
                time.sleep(min(seconds, 0.5))
                while time.monotonic() < end:
                    self.status.append(self._status())
                    time.sleep(max(0.0, min(PAUSE, end - time.monotonic())))
            slowest = max((one.seconds for one in self.status), default=0.0)
            say(f"{seconds} s: stop {self.stops[-1]:.2f} s, {self.memory[-1]:.0f} MiB; status {slowest:.2f} s at most")

    def ends_well(self, learned: int) -> None:
        """Live until so many files are learned."""
        with self.life():
            self.place.wait_learned(learned)

    def check(self, helix: TinyHelix, dropped: int) -> None:
        """Raise RuntimeError unless all is kept, and nothing was sent twice."""
        with closing(sqlite3.connect(self.place.ledger)) as db:
            db.row_factory = sqlite3.Row
            wrong = [str(one) for one in audit(db)]
        lie = sum(_is_text(name) for _, _, names in os.walk(self.place.notes) for name in names)
        if lie != dropped:
            wrong.append(f"{dropped} files were dropped, {lie} lie there")
        wrong += [f"{marker} was sent twice" for marker, count in Counter(helix.sent).items() if count > 1]
        if wrong:
            raise RuntimeError("; ".join(wrong[:3]))

    def rows(self, what: str, size: int | None = None) -> Iterator[Row]:
        """The table's rows; `size` is the number in `what` that may grow."""
        for name, field, bound in (("", "seconds", STATUS_BOUND), (", its CPU", "cpu", None)):
            yield Row(
                what=f"{what}: `status`{name}",
                measured=[getattr(one, field) for one in self.status],
                unit="s",
                baseline="an empty ledger, no daemon",
                against=[getattr(one, field) for one in self.usual],
                bound=bound,
                size=size,
            )
        yield Row(what=f"{what}: SIGTERM → end", measured=self.stops, unit="s", bound=STOP_BOUND, size=size)
        yield Row(what=f"{what}: memory", measured=self.memory, unit="MiB", bound=MEMORY_BOUND, size=size)


def _is_text(name: str) -> bool:
    return name.endswith(".txt") and not name.endswith(".why.txt")


def _hears(pid: int) -> bool:
    """Whether a process has begun to hear SIGTERM: before, that ends it as any other."""
    told = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(told["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


@contextmanager
def _slow_disk(pid: int, delay: float, log: Path) -> Iterator[None]:
    calls = "fsync,fdatasync,syncfs"
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-p", str(pid), "-e", f"trace={calls}"]
    with started([*words, "-e", f"inject={calls}:delay_exit={delay * 1e6:.0f}"], log):
        status = Path(f"/proc/{pid}/status")
        wait_for(lambda: "TracerPid:\t0\n" not in status.read_text(), "strace")
        yield


def _stopped(process: Popen[bytes]) -> float:
    """Stop it in order; how long its own work took: strace holds the threads of a process that has ended for longer."""
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    stat = Path(f"/proc/{process.pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] in "ZX", "end", within=120)
    took = time.monotonic() - begin
    if process.wait(120) != 0:
        raise RuntimeError(f"the daemon ended with {process.returncode}")
    return took


def flat(options: Options, root: Path, helix: TinyHelix) -> Iterator[Row]:
    """All files in one folder."""
    strained = Strained(Place(root, helix.url, folder=TOGETHER))
    strained.place.drop_many(options.files)
    strained.live()
    strained.check(helix, options.files)
    yield from strained.rows(f"{options.files:,} files in one folder", options.files)


def large(_: Options, root: Path, helix: TinyHelix) -> Iterator[Row]:
    """One large file of nothing, where it is too large and where it is not."""
    for allowed in ("1MiB", "8GiB"):
        rules = f'settle = "200ms"\nmax_file_bytes = "{allowed}"\nmax_bytes = "{allowed}"'
        strained = Strained(Place(root / allowed, helix.url, folder=rules))
        with (strained.place.notes / "large.txt").open("wb") as file:
            file.truncate(LARGE)
        strained.live((0.7, 3.0, 10.0))
        say(str(strained.place.ask("select state || ': ' || reason from files")))
        strained.check(helix, 1)
        yield from strained.rows(f"one file of {LARGE / 1024**3:.0f} GiB, {allowed} allowed")


def long_text(_: Options, root: Path, helix: TinyHelix) -> Iterator[Row]:
    """One large file of text: it is read, sent and learned."""
    rules = 'settle = "200ms"\nmax_file_bytes = "8GiB"\nmax_bytes = "8GiB"'
    strained = Strained(Place(root, helix.url, folder=rules))
    os.rename(strained.place.pile.write(root / "part", bytes_at_least=LARGE), strained.place.notes / "large.txt")
    strained.live((0.7, 3.0, 10.0, 60.0, 60.0))
    strained.ends_well(1)
    strained.check(helix, 1)
    yield from strained.rows(f"a text of {LARGE / 1024**3:.0f} GiB")


def folders(options: Options, root: Path, helix: TinyHelix) -> Iterator[Row]:
    """Many sub-folders, each with a file."""
    strained = Strained(Place(root, helix.url, folder=TOGETHER))
    count = options.files // 10
    for number in range(count):
        made = strained.place.notes / f"{number:06d}"
        made.mkdir()
        strained.place.pile.write(made / "note.txt")
    strained.live()
    strained.check(helix, count)
    yield from strained.rows(f"{count:,} sub-folders", count)


def events(options: Options, root: Path, helix: TinyHelix) -> Iterator[Row]:
    """A ledger of many events."""
    strained = Strained(Place(root, helix.url, folder=TOGETHER))
    strained.live((2.0,))
    with closing(sqlite3.connect(strained.place.ledger)) as db, db:
        db.execute(EVENTS, {"count": options.files, "at": AT})
    strained.place.drop_many(DROPPED)
    strained.live((0.7, 2.0, 5.0))
    strained.ends_well(DROPPED)
    yield from strained.rows(f"{options.files:,} events", options.files)


def late(_: Options, root: Path, helix: TinyHelix) -> Iterator[Row]:
    """A server that answers late, while jobs are sent, polled and collected."""
    helix.trains, helix.late = True, LATE
    strained = Strained(Place(root, helix.url, folder=ALONE, helix=MANY))
    strained.place.drop_many(JOBS)
    strained.live((2.0, 8.0, 30.0, 5.0))
    helix.ended = True
    strained.live((8.0, 30.0))
    helix.late = 0.0
    strained.ends_well(JOBS)
    strained.check(helix, JOBS)
    yield from strained.rows(f"a server that answers after {LATE:.0f} s")


def disk(_: Options, root: Path, helix: TinyHelix) -> Iterator[Row]:
    """A slow disk; some files are dropped in each life."""
    strained = Strained(Place(root, helix.url, folder=TOGETHER))
    lives = (1.0, 4.0, 9.0, 15.0, 21.0, 30.0)
    for seconds in lives:
        strained.place.drop_many(DROPPED)
        strained.live((seconds,), delay=DELAY)
    strained.ends_well(DROPPED * len(lives))
    strained.check(helix, DROPPED * len(lives))
    yield from strained.rows(f"a disk that takes {DELAY:.0f} s for each fsync")


def ends(options: Options, root: Path, helix: TinyHelix) -> Iterator[Row]:
    """Many sessions that all end in one second."""
    count = options.files // 100
    helix.trains = True
    strained = Strained(Place(root, helix.url, folder=ALONE, helix=MANY, poll="1s", slowest="5s"))
    strained.place.drop_many(count)
    with strained.life():
        wait_for(lambda: len(helix.jobs) == count, f"{count} sessions", every=0.5)
    helix.ended = True
    strained.live()
    strained.ends_well(count)
    strained.check(helix, count)
    yield from strained.rows(f"{count:,} sessions that end in one second", count)


CASES: tuple[Case, ...] = (flat, large, long_text, folders, events, late, disk, ends)


def measure(options: Options) -> Iterator[Row]:
    """Each case in a place of its own."""
    for case in CASES:
        with scratch(options) as root, TinyHelix() as helix:
            say(f"{case.__name__}: {case.__doc__}")
            yield from case(options, root, helix)
