"""How soon the process ends that is told to stop: whatever it is at, systemd must not have to kill it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from bench.tiny_helix import TinyHelix
from finetuned.daemon.sketches import LONGEST
from finetuned.likeness import sketch_of
from finetuned.runtime import SystemRuntime
from finetuned.times import iso
from support.process import Home, Sandbox, wait_for

AHome = Callable[..., Home]
CLOCK = SystemRuntime()
GREY = "The stone is grey. It came from a river."
#: what is promised, in seconds; the unit allows 15
ALLOWED = 5.0
#: what a slow disk takes to bring something to it, in seconds
DELAY = 1.0
#: files, and sessions that end at once; bytes of a large file
MANY = 3000
SESSIONS = 200
JOBS = 20
#: how late a slow server answers, in seconds
LATE = 5.0
#: what happened to files that are known no more
EVENTS = 1_000_000
HAPPENED = (
    "with recursive n (i) as (select 1 union all select i + 1 from n where i < :count) "
    "insert into events (at, subject, subject_id, was, became, cause) "
    "select :at, 'file', 1000000 + i, 'packed', 'learned', 'trained' from n"
)
LARGE = 4 * 1024**3
#: texts that take long to sketch; pairs that take long to be written to a slow disk
TEXTS, PAIRS = 4, 10_000


def took(home: Home) -> float:
    """Stop in order; how many seconds that took."""
    begun = CLOCK.steady()
    assert home.stop() == 0
    return CLOCK.steady() - begun


def test_idle_it_takes_less_than_two_seconds(a_home: AHome) -> None:
    """Once what was dropped is learned."""
    home = a_home()
    home.start()
    home.drop("stone.txt", GREY)
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    assert took(home) < 2
    assert not home.ledger.with_name("ledger.db-wal").exists()


def patient(home: Home) -> Home:
    """Have it wait for the server longer than any stop may take."""
    said, usual = home.config.read_text(), 'timeout = "5s"'
    assert usual in said
    home.config.write_text(said.replace(usual, 'timeout = "60s"'))
    return home


@pytest.mark.parametrize("besides", ["nothing", "a reload waits", "another program writes to the ledger"])
def test_during_an_upload_it_does_not_wait_for_the_answer(a_home: AHome, sandbox: Sandbox, besides: str) -> None:
    """The upload is broken off in order, and not with the process; afterwards the job is found: it has one session."""
    home = patient(a_home(helix="max_in_flight = 1"))
    home.start()
    wait_for(lambda: home.is_watched() and home.ask("select count(*) from servers where reachable"), "server")
    sandbox.signal(signal.SIGSTOP)
    home.drop("stone.txt", GREY)
    wait_for(lambda: [job["state"] for job in home.jobs()] == ["submitting"], "upload")
    with closing(sqlite3.connect(home.ledger, isolation_level=None)) as other:
        if besides == "a reload waits":
            home.signal(signal.SIGHUP)
            wait_for(lambda: '"SIGHUP"' in home.log.read_text(), "reload")
        if besides == "another program writes to the ledger":
            other.execute("begin immediate")
        assert took(home) < ALLOWED
    assert "stop_broken_off" not in home.log.read_text()
    sandbox.signal(signal.SIGCONT)
    home.start()
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    assert home.sessions_on_server() == 1
    assert home.stop() == 0


def test_while_sends_and_looks_wait_for_a_late_server_it_takes_no_longer(a_home: AHome, sandbox: Sandbox) -> None:
    """`status` answers meanwhile; what was under way is found again afterwards, and nothing is sent twice."""
    home = patient(a_home(folder="max_files = 1", helix="max_in_flight = 20"))
    home.start()
    for number in range(5):
        home.drop(f"stone-{number}.txt", f"{GREY} Its number is {number}.")
    wait_for(lambda: "running" in {job["state"] for job in home.jobs()}, "training")
    sandbox.signal(signal.SIGSTOP)
    home.drop("late.txt", f"{GREY} It came late.")
    wait_for(lambda: "submitting" in {job["state"] for job in home.jobs()}, "upload")
    assert min(answer_takes(home) for _ in range(3)) < 1 + min(bare_takes(home) for _ in range(3))
    assert took(home) < ALLOWED
    sandbox.signal(signal.SIGCONT)
    home.start()
    wait_for(lambda: [*home.states().values()] == ["learned"] * 6, "learned files")
    assert home.sessions_on_server() == len(home.jobs()) == 6
    assert home.stop() == 0
    home.audit()


def test_while_each_answer_comes_late_it_takes_no_longer(a_home: AHome) -> None:
    """`status` answers meanwhile; what was under way is found again afterwards, and nothing is sent twice."""
    with TinyHelix() as helix:
        helix.trains, helix.late = True, LATE
        home = patient(a_home(url=helix.url, folder="max_files = 1", helix="max_in_flight = 20"))
        laid(home, [""] * JOBS)
        home.start()
        wait_for(lambda: len(helix.sent) > 1, "requests that wait for their answer")
        assert min(answer_takes(home) for _ in range(3)) < 1 + min(bare_takes(home) for _ in range(3))
        assert took(home) < ALLOWED
        assert "stop_broken_off" not in home.log.read_text()
        helix.ended, helix.late = True, 0.0
        home.start()
        wait_for(lambda: home.ask("select count(*) from files where state = 'learned'") == JOBS, "learned files")
        assert home.stop() == 0
        assert len(set(helix.sent)) == len(helix.sent) == JOBS
        home.audit()


def test_however_much_has_happened_it_takes_no_longer(a_home: AHome) -> None:
    """`status` answers while files are learned and a program hears of them; the stop is in order."""
    home = a_home(top='[[hook]]\ncommand = ["true"]\non = ["file_refused"]')
    home.start()
    wait_for(home.is_watched, "watch")
    assert home.stop() == 0
    with closing(sqlite3.connect(home.ledger)) as other:
        other.execute(HAPPENED, {"count": EVENTS, "at": iso(CLOCK.now())})
        other.commit()
    home.start()
    laid(home, [""] * JOBS)
    wait_for(home.jobs, "job")
    assert min(answer_takes(home) for _ in range(3)) < 1 + min(bare_takes(home) for _ in range(3))
    assert took(home) < ALLOWED
    assert "stop_broken_off" not in home.log.read_text()
    home.start()
    wait_for(lambda: home.ask("select count(*) from files where state = 'learned'") == JOBS, "learned files")
    assert home.sessions_on_server() == len(home.jobs())
    assert home.stop() == 0


def test_while_it_opens_its_ledger_it_takes_less_than_two_seconds(a_home: AHome) -> None:
    """To check a large one takes many seconds, as one does that others hold, and nothing is begun meanwhile."""
    home = a_home()
    home.start()
    wait_for(home.is_watched, "watch")
    assert home.stop() == 0
    home.drop("stone.txt", GREY)
    with closing(sqlite3.connect(home.ledger, isolation_level=None)) as other:
        other.execute("begin exclusive")
        home.start()
        wait_for(lambda: hears(home.pid), "ear")
        assert took(home) < 2
    home.start()
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    assert home.stop() == 0


def one_folder(home: Home) -> int:
    """Many files lie in one folder."""
    return laid(home, [""] * MANY)


def sub_folders(home: Home) -> int:
    """Many sub-folders, and a file in each."""
    return laid(home, [f"{number:05d}/" for number in range(MANY)])


def a_large_file(home: Home) -> int:
    """A file of nothing that takes long to read."""
    with (home.notes / "large.txt").open("wb") as file:
        file.truncate(LARGE)
    return 1


def laid(home: Home, folders: list[str]) -> int:
    """Lay a file into each of these folders; how many."""
    for number, folder in enumerate(folders):
        (home.notes / folder).mkdir(exist_ok=True)
        (home.notes / folder / f"{number}.txt").write_text(f"{GREY} Its number is {number}.")
    return len(folders)


@pytest.mark.parametrize("lay", [one_folder, sub_folders, a_large_file])
def test_whatever_lies_there_it_takes_no_longer(a_home: AHome, lay: Callable[[Home], int]) -> None:
    """`status` answers meanwhile, the stop is in order, and every file lies somewhere still."""
    home = a_home(folder='max_bytes = "8GiB"\nmax_file_bytes = "8GiB"\nmax_files = 500\nmax_chunks = 1000000000')
    count = lay(home)
    home.start()
    wait_for(lambda: home.has_ledger() and home.ask("select count(*) from files"), "known files")
    assert min(answer_takes(home) for _ in range(3)) < 1 + min(bare_takes(home) for _ in range(3))
    assert took(home) < ALLOWED
    assert "stop_broken_off" not in home.log.read_text()
    lying = [name for _, _, names in os.walk(home.notes) for name in names]
    assert sum(name.endswith(".txt") and not name.endswith(".why.txt") for name in lying) == count
    home.audit()


def test_while_many_sessions_end_at_once_it_takes_no_longer(a_home: AHome) -> None:
    """`status` answers meanwhile; the next daemon brings them all to their end, and sends nothing twice."""
    with TinyHelix() as helix:
        helix.trains = True
        home = a_home(url=helix.url, folder="max_files = 1", helix="max_in_flight = 1000")
        laid(home, [""] * SESSIONS)
        home.start()
        wait_for(lambda: len(helix.sent) == SESSIONS, "sessions")
        helix.ended = True
        wait_for(lambda: home.ask("select count(*) from jobs where finished_at is not null"), "first end")
        assert min(answer_takes(home) for _ in range(3)) < 1 + min(bare_takes(home) for _ in range(3))
        assert took(home) < ALLOWED
        assert "stop_broken_off" not in home.log.read_text()
        home.start()  # perhaps the first one has ended them all
        wait_for(lambda: home.finetuned("status").returncode == 0, "running daemon")
        wait_for(lambda: home.ask("select count(*) from files where state = 'learned'") == SESSIONS, "learned files")
        assert home.stop() == 0
        assert len(set(helix.sent)) == len(helix.sent) == SESSIONS
        home.audit()


def test_while_it_sketches_long_texts_it_takes_no_longer(a_home: AHome) -> None:
    """The next daemon sketches them all, each by its beginning: to sketch the rest would hold a slot for minutes."""
    begin = (f"{GREY}\n" * (LONGEST // len(GREY)))[:LONGEST]
    with TinyHelix() as helix:
        helix.trains = True
        home = a_home(url=helix.url, folder='max_bytes = "1GiB"\nmax_file_bytes = "1GiB"\nmax_chunks = 1000000')
        for number in range(TEXTS):
            (home.notes / f"{number}.txt").write_text(f"{begin}\nIts number is {number}.\n")
        home.start()
        wait_for(lambda: helix.sent, "session")
        helix.ended = True
        seen = len(helix.requests)
        wait_for(lambda: len(helix.requests) > seen and reads(home), "sketch")
        assert took(home) < ALLOWED
        assert "stop_broken_off" not in home.log.read_text()
        assert not home.ask("select count(sketch) from files")
        home.start()
        wait_for(lambda: home.ask("select count(sketch) from files") == TEXTS, "sketches")
        assert home.ask("select group_concat(distinct hex(sketch)) from files") == sketch_of([begin]).hex().upper()
        assert home.stop() == 0
        home.audit()


def test_while_it_writes_many_pairs_down_it_takes_no_longer(a_home: AHome) -> None:
    """The next daemon writes them anew; half of them are never taken for all."""
    with TinyHelix() as helix:
        helix.trains = True
        talk = {"conversations": [{"from": "human", "value": GREY}, {"from": "gpt", "value": GREY}]}
        helix.flood = [talk] * PAIRS
        home = a_home(url=helix.url)
        home.drop("stone.txt", GREY)
        home.start()
        wait_for(lambda: helix.sent, "session")
        with slow_disk(home, "write", 0.2):
            helix.ended = True
            wait_for(lambda: [*home.notes.glob("done/*/.pairs.jsonl.part")], "paper")
            assert took(home) < ALLOWED
        assert "stop_broken_off" not in home.log.read_text()
        assert not [*home.notes.glob("done/*/*pairs.jsonl*")]
        home.start()
        wait_for(lambda: home.ask("select count(*) from jobs where archived"), "archived job")
        assert home.stop() == 0
        (paper,) = home.notes.glob("done/*/pairs.jsonl")
        assert len(paper.read_text().splitlines()) == PAIRS
        home.audit()


def reads(home: Home) -> bool:
    """Whether the daemon has a claimed file open."""
    with suppress(FileNotFoundError):
        return any("/.processing/" in os.readlink(fd) for fd in Path(f"/proc/{home.pid}/fd").iterdir())
    return False


def hears(pid: int) -> bool:
    """Whether the daemon has begun to hear signals, SIGTERM first, which coverage hears, too: before, that ends it."""
    told = dict(line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(told["SigCgt"], 16) >> (signal.SIGUSR1 - 1) & 1)


@contextmanager
def slow_disk(home: Home, calls: str = "fsync,fdatasync,syncfs", delay: float = DELAY) -> Iterator[None]:
    """All that the daemon brings to disk takes so long; and what ends within that is held by strace for as long."""
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-p", str(home.pid), "-e", f"trace={calls}"]
    with subprocess.Popen([*words, "-e", f"inject={calls}:delay_exit={delay * 1e6:.0f}"]) as strace:
        try:
            status = Path(f"/proc/{home.pid}/status")
            wait_for(lambda: "TracerPid:\t0\n" not in status.read_text(), "strace")
            yield
        finally:
            strace.kill()


@pytest.mark.parametrize("when", ["it starts", "it works"])
def test_on_a_disk_that_hardly_moves_it_takes_no_longer(a_home: AHome, sandbox: Sandbox, when: str) -> None:
    """`status` answers meanwhile; the next daemon goes on as after a kill, and sends nothing twice."""
    home = a_home(folder="max_files = 5")
    home.start()
    if when == "it works":
        wait_for(home.is_watched, "watch")
    with slow_disk(home):
        for number in range(20):
            home.drop(f"stone-{number}.txt", f"{GREY} Its number is {number}.")
        wait_for(home.jobs if when == "it works" else home.ledger.exists, "work")
        assert min(answer_takes(home) for _ in range(3)) < 1 + min(bare_takes(home) for _ in range(3))
        assert took(home) < ALLOWED + DELAY
    home.start()
    wait_for(lambda: [*home.states().values()] == ["learned"] * 20, "learned files")
    assert home.sessions_on_server() == len(home.jobs())
    assert home.stop() == 0
    home.audit()


def answer_takes(home: Home) -> float:
    """How many seconds `status` takes."""
    begun = CLOCK.steady()
    assert home.finetuned("status").returncode in {0, 1, 3}  # 1: it begins, and there is no ledger yet
    return CLOCK.steady() - begun


def bare_takes(home: Home) -> float:
    """How many seconds a command takes that asks nobody: where tests run beside it, a process alone may take one."""
    begun = CLOCK.steady()
    assert home.finetuned("version").returncode == 0
    return CLOCK.steady() - begun
