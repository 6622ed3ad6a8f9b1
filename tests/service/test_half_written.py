"""Real writers, real time: however a file comes, the server gets only what was the whole file at one moment."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support.process import Home, wait_for

AHome = Callable[..., Home]
STONE = "The stone is grey. It came from a river. "
#: writes its argument twice to standard output, with a pause much longer than `settle` in between
SLOW = "import sys, time\nfor n in (1, 2): print(sys.argv[1], n, flush=True); time.sleep(0.6)"


def received(home: Home) -> set[str]:
    """The contents that the server has, by their hashes; but for what it makes itself."""
    return {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (home.root.parent / "sandbox" / "uploads").rglob("*")
        if path.is_file()
    }


def digest(text: str) -> str:
    """The hash of a whole file."""
    return hashlib.sha256(text.encode()).hexdigest()


def started(a_home: AHome, **words: str) -> Home:
    """A home with a daemon at work."""
    home = a_home(**words)
    home.start()
    wait_for(lambda: home.finetuned("status").returncode == 0, "running daemon")
    return home


def learned(home: Home, *names: str) -> None:
    """Wait until the newest file of each name is learned."""
    wait_for(lambda: all(home.states().get(name) == "learned" for name in names), f"learned {names}")


def test_a_writer_that_stalls_is_waited_for(a_home: AHome) -> None:
    """Much longer than `settle`: whoever has the file open for writing is not done, and neither is who appends."""
    home = started(a_home)
    with (home.notes / "slow.txt").open("wb") as out:
        subprocess.run([sys.executable, "-c", SLOW, STONE], stdout=out, check=True)
    learned(home, "slow.txt")
    assert received(home) == {digest(f"{STONE} 1\n{STONE} 2\n")}
    assert home.stop() == 0
    home.audit()


@pytest.mark.parametrize("options", [["-a"], ["-a", "--inplace", "--no-whole-file"], ["-a", "--partial"]])
def test_rsync_brings_whole_files(a_home: AHome, options: list[str]) -> None:
    """By a hidden name and a rename, or in place and slowly; an updated source is a new version."""
    if shutil.which("rsync") is None:
        raise AssertionError("rsync is needed: apt-get install rsync")
    home = started(a_home)
    source = home.root / "source"
    source.mkdir()
    texts = {f"{n}.txt": f"{STONE}It is number {n}. " * 2000 for n in range(3)}
    for name, text in texts.items():
        (source / name).write_text(text)
        os.utime(source / name, (10**9, 10**9))
    subprocess.run(["rsync", *options, "--bwlimit=400", f"{source}/", f"{home.notes}/"], check=True)
    learned(home, *texts)
    assert received(home) == {digest(text) for text in texts.values()}
    (source / "0.txt").write_text(STONE + "It is another one now.")
    subprocess.run(["rsync", *options, f"{source}/", f"{home.notes}/"], check=True)
    wait_for(lambda: digest(STONE + "It is another one now.") in received(home), "new version")
    assert received(home) == {digest(text) for text in texts.values()} | {digest(STONE + "It is another one now.")}
    assert home.stop() == 0
    home.audit()


def test_editors_and_copies_with_old_times(a_home: AHome) -> None:
    """`cp -p` proves nothing by its times; a save by rename is one whole file, and the next save another."""
    home = started(a_home)
    old = home.root / "old.txt"
    old.write_text(STONE)
    os.utime(old, (1, 1))
    subprocess.run(["cp", "-p", str(old), str(home.notes)], check=True)
    learned(home, "old.txt")
    versions = [f"{STONE}This is draft {n}." for n in range(4)]
    for text in versions:
        swap = home.notes / ".draft.txt.swp"
        swap.write_text(text)
        swap.rename(home.notes / "draft.txt")
        wait_for(lambda text=text: digest(text) in received(home), "version")
    learned(home, "draft.txt")
    assert received(home) == {digest(text) for text in (STONE, *versions)}
    assert home.stop() == 0
    home.audit()


def test_files_that_never_stand_still(a_home: AHome) -> None:
    """Appended, cut and replaced at any moment, claimed or not: what arrives was always whole, the last version too."""
    home = started(a_home, folder="max_files = 2")
    versions = {name: [f"{STONE}{name} {n}. " * (200 * (n % 3 + 1)) for n in range(25)] for name in "abc"}
    pause = threading.Event()

    def write(name: str, number: int) -> None:
        """Bring a version by one of three whole ways: by rename, or in place while the file is open."""
        text = versions[name][number]
        path = home.notes / f"{name}.txt"
        places: list[Path] = [path, *home.notes.glob(f".processing/*/{name}.txt")]
        target = next((one for one in places[::-1] if one.exists()), path)
        if number % 2:
            part = target.with_name(f".{name}.part")
            part.write_text(text)
            part.rename(target)
            return
        with open(target, "w") as out:
            for begin in range(0, len(text), 4096):
                out.write(text[begin : begin + 4096])
                out.flush()

    for number in range(25):
        for name in versions:
            try:
                write(name, number)
            except FileNotFoundError:  # it was put away between the look and the deed
                (home.notes / f"{name}.txt").write_text(versions[name][number])
        pause.wait(0.08)
    whole = {digest(text) for texts in versions.values() for text in texts}
    last = {digest(texts[-1]) for texts in versions.values()}
    wait_for(lambda: last <= received(home), "last versions")
    wait_for(lambda: set(home.states().values()) <= {"learned", "vanished"}, "end of all")
    assert received(home) <= whole
    assert home.stop() == 0
    home.audit()
