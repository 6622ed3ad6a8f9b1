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

#: what makes a daemon careless: no file that is dropped, or nothing of the ledger, is brought to the disk
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
import os, sqlite3
fsync = os.fsync
os.fsync = lambda fd: None if os.readlink(f"/proc/self/fd/{fd}").endswith("/ledger.db") else fsync(fd)
class Careless(sqlite3.Connection):
    def execute(self, sql, *values):
        if "wal_checkpoint" in sql:
            super().execute("pragma synchronous = off")
        return super().execute(sql.replace("synchronous = full", "synchronous = off"), *values)
connect = sqlite3.connect
sqlite3.connect = lambda *words, **more: connect(*words, **({"factory": Careless} | more))
""",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[PowerDisk]:
    """A disk whose power can be cut."""
    made = PowerDisk(tmp_path / "image", tmp_path / "disk")
    yield made
    made.close()


@pytest.fixture
def home(disk: PowerDisk, a_home: Callable[..., Home]) -> Home:
    """A home on that disk; the log is read afterwards, so it lies elsewhere."""
    made = a_home("disk/home", folder="max_files = 3")
    made.log = disk.place.parent / "daemon.log"
    disk.sync()
    return made


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
def test_at_any_moment_nothing_is_lost_and_nothing_done_twice(disk: PowerDisk, home: Home, seed: int) -> None:
    """Five cuts in a run: each content learned once, on the disk, by one session, and the ledger is whole."""
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


def learn_one(home: Home, tmp_path: Path, careless: str, *, sync: bool = True) -> None:
    """Have one file learned by a daemon that may be careless."""
    patch = tmp_path / "patch"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(CARELESS.get(careless, ""))
    drop(home, "a.txt", sync=sync)
    home.start(PYTHONPATH=str(patch))
    wait_for(lambda: home.states().get("a.txt") == "learned", "learned file")
    wait_for(lambda: list(home.notes.glob("done/*/pairs.jsonl")), "papers")


def test_this_disk_can_lose(disk: PowerDisk, home: Home, tmp_path: Path) -> None:
    """A ledger that is not brought to the disk forgets what was learned: the tests here can fail."""
    learn_one(home, tmp_path, "ledger")
    power_cut(disk, home)
    assert home.states() == {}


@pytest.mark.parametrize(("careless", "kept"), [("", True), ("files", False)])
def test_a_learned_file_has_its_content_even_if_the_dropper_did_not_care(
    disk: PowerDisk, home: Home, tmp_path: Path, careless: str, kept: bool
) -> None:
    """The claim brings it to the disk before the ledger counts it; without that it is an empty file."""
    learn_one(home, tmp_path, careless, sync=False)
    power_cut(disk, home)
    assert home.states() == {"a.txt": "learned"}
    content = [path.read_text() for path in home.notes.rglob("a.txt")]
    assert (content == ["The stone number a.txt is grey. It came from a river."]) is kept
