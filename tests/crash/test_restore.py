"""Restoring a backup, killed at every seam: the old ledger or the new one can be used, and the second try does it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from finetuned.errors import LedgerError
from finetuned.ledger.backup import make_backup
from finetuned.ledger.restore import restore
from finetuned.ledger.writer import Ledger
from support import seams
from support.dying import Mortal, forked
from support.lives import NOW, Life, audited

A, B = "/srv/notes/a.txt", "/srv/notes/b.txt"
READER = """
import sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
db.execute("begin")
print(db.execute("select count(*) from files").fetchone()[0], flush=True)
sys.stdin.read()
"""
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def laid_out(root: Path) -> tuple[str, str]:
    """A ledger with two files, the second in its log alone, as a kill left it; and a backup with the first."""
    path, backup = str(root / "state" / "ledger.db"), str(root / "backup.db")

    def work(die: Callable[[str], None]) -> None:
        ledger = Ledger.open(path)
        life = Life(ledger)
        life.settles(A)
        make_backup(path, backup)
        ledger.fold()
        life.settles(B)
        die("with its log")

    forked(work)
    return path, backup


def closed(path: str) -> None:
    """The daemon was stopped in order."""
    Ledger.open(path).close()


def corrupt(path: str) -> None:
    """What was read last from the disk is no ledger any more."""
    Path(path).write_bytes(b"\xa5" * os.path.getsize(path))


def replaced(path: str) -> None:
    """Somebody has laid another file over it, beside the log."""
    shutil.copy(path, f"{path}.copied")
    os.rename(f"{path}.copied", path)


def dead_at(number: int, path: str, backup: str) -> int:
    """Restore in a process that dies at a seam, if there are so many; how many it has met."""

    def work(hand_over: Callable[[Any], None]) -> int:
        mortal = Mortal(number, lambda seam: hand_over(seam.number))
        seams.watch(mortal)
        restore(path, backup, NOW)
        return len(mortal.met)

    return forked(work)


def known(path: str) -> list[str] | str:
    """The files that a daemon that starts now finds in its ledger; or what it says, without a change."""
    try:
        with Ledger.open(path) as ledger:
            assert audited(ledger) == []
            with ledger.reading() as reader:
                return [row["path"] for row in reader.files()]
    except LedgerError as error:
        return f"{error}; {error.remedy}"


@contextmanager
def read_by_somebody(path: str) -> Iterator[None]:
    """A program of its own that reads the ledger, and keeps what it saw."""
    with subprocess.Popen([sys.executable, "-c", READER, path], stdin=PIPE, stdout=PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "2\n"
        yield
        reader.communicate()


@FORKS
@pytest.mark.parametrize(
    "begin", [closed, None, corrupt, replaced, read_by_somebody], ids=lambda b: getattr(b, "__name__", "killed")
)
def test_a_death_at_any_seam(begin: Callable[[str], Any] | None, root: Path) -> None:
    """The old one, to its last commit, or the new one, or words; the same command ends it, and the old one is kept."""
    found = set()
    for number in count(1):
        place = root / str(number)
        path, backup = laid_out(place)
        reads = begin is read_by_somebody
        if begin is not None and not reads:
            begin(path)
        with read_by_somebody(path) if reads else nullcontext():
            met = dead_at(number, path, backup)
        after = known(path)
        found.add(str(after) if isinstance(after, list) else after.partition(";")[0].replace(str(place), ""))
        restore(path, backup, NOW + 1)
        assert known(path) == [A]
        assert not [name for name in os.listdir(place / "state") if name.startswith("ledger.db.restored")]
        if begin in {closed, None, read_by_somebody}:
            assert after in ([A, B], [A]) or "to use the file that is there now: mv" in after
            asides = place.glob("state/ledger.db.before-*")
            assert [A, B] in [known(str(p)) for p in asides if not p.name.endswith(("-wal", "-shm", ".lock"))]
        shutil.rmtree(place)
        if met < number:
            break
    assert number > 10
    assert len(found) > 1
