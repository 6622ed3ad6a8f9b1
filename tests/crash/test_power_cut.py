"""The power is cut: what the ledger says is on the disk, and what is not on the disk is done again, once.

Drop folder and ledger lie on a disk of their own, the server's data elsewhere: the server lives on.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.disks import PowerDisk
from support.process import Home, wait_for

#: what makes a daemon careless: nothing of ours, or nothing of SQLite's, is brought to the disk
CARELESS = {
    "files": """
import ctypes, os
os.fsync = lambda fd: None
os.sync = lambda: None
class Deaf(ctypes.CDLL):
    def __getattr__(self, name):
        if name in {"syncfs", "sync_file_range"}:
            raise AttributeError(name)
        return super().__getattr__(name)
ctypes.CDLL = Deaf
""",
    "ledger": """
import sqlite3
class Careless(sqlite3.Connection):
    def execute(self, sql, *values):
        return super().execute(sql.replace("synchronous = full", "synchronous = off"), *values)
connect = sqlite3.connect
sqlite3.connect = lambda *words, **more: connect(*words, **({"factory": Careless} | more))
""",
}


#: how often a daemon that is careless may be lucky: any program can bring all disks up to date meanwhile (sync)
TRIES = 4

ADisk = Callable[[], tuple[PowerDisk, Home]]


@pytest.fixture
def a_disk(tmp_path: Path, a_home: Callable[..., Home]) -> Iterator[ADisk]:
    """Makes disks whose power can be cut, each with a home on it; the log is read afterwards, so it lies elsewhere."""
    disks: list[PowerDisk] = []

    def make() -> tuple[PowerDisk, Home]:
        root = tmp_path / f"{len(disks)}"
        root.mkdir()
        disk = PowerDisk(root / "image", root / "disk")
        disks.append(disk)
        home = a_home(f"{root.name}/disk/home", folder="max_files = 3")
        home.log = root / "daemon.log"
        disk.sync()
        return disk, home

    yield make
    for disk in disks:
        disk.close()


def drop(home: Home, name: str, *, sync: bool = True) -> None:
    """Put a file into the folder; `sync`: it is there to stay, or nothing could be asked of the daemon."""
    with (home.notes / name).open("w") as file:
        file.write(f"The stone number {name} is grey. It came from a river.")
        file.flush()
        if sync:
            os.fsync(file.fileno())
    if sync:
        fd = os.open(home.notes, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def power_cut(disk: PowerDisk, home: Home) -> None:
    """Cut, and after the machine has started again."""
    disk.cut()
    home.kill()
    disk.unmount()
    disk.mount()


@pytest.mark.parametrize("seed", range(4))
def test_at_any_moment_nothing_is_lost_and_nothing_done_twice(a_disk: ADisk, seed: int) -> None:
    """Five cuts in a run: each content learned once, on the disk, by one session, and the ledger is whole."""
    disk, home = a_disk()
    chance = random.Random(seed)
    names = [f"{n}.txt" for n in range(15)]
    for n in range(5):
        for name in names[3 * n : 3 * n + 3]:
            drop(home, name)
        home.start()
        wait_for(lambda: b"daemon_started" in home.log.read_bytes().rpartition(b"power cut")[2], "started daemon")
        threading.Event().wait(chance.random() * 0.7)
        power_cut(disk, home)
        with home.log.open("ab") as log:
            log.write(b"power cut\n")
        if home.has_ledger():
            home.audit()
    home.start("--until-idle")
    assert home.wait() == 0, f"seed {seed}: {home.log.read_text()[-2000:]}"
    assert home.states() == dict.fromkeys(names, "learned"), f"seed {seed}"
    home.audit()
    learned = {path.name: path.stat().st_size for path in home.notes.glob("done/*/*.txt")}
    assert sorted(learned) == sorted(names), f"seed {seed}"
    assert all(learned.values()), f"seed {seed}: {learned}"
    papers = [*home.notes.glob("done/*/job.json"), *home.notes.glob("done/*/pairs.jsonl")]
    assert len(papers) == 2 * len(home.jobs())
    assert all(paper.stat().st_size for paper in papers)
    assert wait_for(lambda: home.sessions_on_server() == len(home.jobs()), "one session for each job")


def learned_and_cut(a_disk: ADisk, tmp_path: Path, careless: str, *, sync: bool = True) -> Home:
    """Have one file learned by a daemon that may be careless, and the power cut."""
    disk, home = a_disk()
    patch = tmp_path / "patch"
    patch.mkdir(exist_ok=True)
    (patch / "sitecustomize.py").write_text(CARELESS.get(careless, ""))
    drop(home, "a.txt", sync=sync)
    home.start(PYTHONPATH=str(patch))
    wait_for(lambda: home.states().get("a.txt") == "learned", "learned file")
    wait_for(lambda: list(home.notes.glob("done/*/pairs.jsonl")), "papers")
    power_cut(disk, home)
    return home


def test_this_disk_can_lose(a_disk: ADisk, tmp_path: Path) -> None:
    """A ledger that is not brought to the disk forgets what was learned: the tests here can fail."""
    assert any(learned_and_cut(a_disk, tmp_path, "ledger").states() == {} for _ in range(TRIES))


def contents(home: Home) -> list[str]:
    """What the file that was learned holds, wherever it lies."""
    assert home.states() == {"a.txt": "learned"}
    return [path.read_text() for path in home.notes.rglob("a.txt")]


def test_a_learned_file_has_its_content_even_if_the_dropper_did_not_care(a_disk: ADisk, tmp_path: Path) -> None:
    """The claim brings it to the disk before the ledger counts it."""
    home = learned_and_cut(a_disk, tmp_path, "", sync=False)
    assert contents(home) == ["The stone number a.txt is grey. It came from a river."]


def test_without_that_it_would_be_empty(a_disk: ADisk, tmp_path: Path) -> None:
    """Of a daemon that brings no file to the disk the ledger tells what is not there."""
    homes = (learned_and_cut(a_disk, tmp_path, "files", sync=False) for _ in range(TRIES))
    assert any(contents(home) in ([], [""]) for home in homes)
