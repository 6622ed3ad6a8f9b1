"""Thousands of files at one blow, in all the ways in which events are lost: every one is learned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.process import Home, Sandbox, environment, wait_for

AHome = Callable[..., Home]
MANY = 3000
#: what the kernel keeps of events nobody fetched yet; more are lost
QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
#: seconds from the moment it goes on to the last claim
WITHIN = 60.0
BIG_JOBS = "max_files = 500\nmax_chunks = 100000"
COUNT = """
import sys
from watchfiles import Change, watch
seen = set()
print("ready", flush=True)
for changes in watch(sys.argv[1], watch_filter=None, rust_timeout=500, yield_on_timeout=True):
    seen.update(path for change, path in changes if change is Change.added and path.endswith(".txt"))
    print(len(seen), flush=True)
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A stand-in server that makes thousands of chunks in no time: what is tested here is ours."""
    running = Sandbox(tmp_path, speed=5000.0)
    yield running
    running.close()


def write(folder: Path, count: int, first: int = 0) -> None:
    """So many small files, each with its own words."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number}.txt").write_text(f"The stone number {number} is grey.")


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """The process stands still meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def while_it_stands_still(home: Home) -> None:
    """Everything is written while the process cannot look, more than the watch's queue holds."""
    restless = [home.notes / ".one.part", home.notes / ".two.part"]
    with paused(home.pid):
        for path in restless:
            path.touch()
        for number in range(QUEUE):  # equal events in a row are one, so they take turns
            os.utime(restless[number % 2])
        write(home.notes, MANY)


def moved_in_whole(home: Home) -> None:
    """A folder that was filled elsewhere is moved in."""
    write(home.root / "pile" / "deep", MANY)
    os.rename(home.root / "pile", home.notes / "pile")


def sub_folders_made_and_filled(home: Home) -> None:
    """New sub-folders are filled before anybody can watch them."""
    for number in range(30):
        write(home.notes / f"sub{number}" / "deep", MANY // 30, first=number * MANY // 30)


def the_root_made_again(home: Home) -> None:
    """The folder itself is taken away and another is put in its place."""
    write(home.root / "other", MANY)
    os.rename(home.notes, home.root / "gone")
    os.rename(home.root / "other", home.notes)


def a_name_that_is_not_utf8(home: Home) -> None:
    """A name that ends the watch with an exception, and then all the others."""
    (home.root / "odd.part").write_text("The odd stone is grey.")
    os.rename(home.root / "odd.part", os.fsencode(home.notes) + b"/\xff\xfe.txt")
    write(home.notes, MANY - 1)


BURSTS = [
    while_it_stands_still,
    moved_in_whole,
    sub_folders_made_and_filled,
    the_root_made_again,
    a_name_that_is_not_utf8,
]


@pytest.mark.parametrize("burst", BURSTS, ids=lambda burst: burst.__name__)
def test_a_burst_is_claimed_in_time_and_learned_to_its_last_file(a_home: AHome, burst: Callable[[Home], None]) -> None:
    """Whatever the events told, the sweep finds every file: claimed within a minute, then learned, none lost."""
    home = a_home(folder=BIG_JOBS)
    home.start()
    wait_for(home.is_watched, "watched folder")
    burst(home)
    claimed = "select coalesce(sum(files), 0) from jobs where claimed_at is not null"
    wait_for(lambda: home.ask(claimed) == MANY, "claim of every file", within=WITHIN)
    learned = "select count(*) from files where state = 'learned' and archived = 1"
    wait_for(lambda: home.ask(learned) == MANY, "learned files", within=120)
    assert home.stop() == 0
    home.audit()
    assert Counter(home.states().values()) == {"learned": MANY}


def test_bare_events_lose_what_the_sweep_finds(tmp_path: Path) -> None:
    """The same burst told by a watch alone: most of it is never heard of; that is why folders are swept."""
    notes = tmp_path / "notes"
    notes.mkdir()
    words = [sys.executable, "-c", COUNT, str(notes)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment()) as bare:
        assert bare.stdout is not None
        assert bare.stdout.readline() == "ready\n"
        bare.stdout.readline()  # it has looked at nothing for a while: the watch is set up
        with paused(bare.pid):
            write(notes, QUEUE)  # each file is several events: more than the queue can hold
        heard = [int(bare.stdout.readline()) for _ in range(8)]
        bare.kill()
    assert heard[-1] < QUEUE
