"""An older ledger is brought up to date, and that goes wrong: it is as it was, or as it should be, and nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import LedgerError
from finetuned.ledger import Ledger
from support import disks, seams
from support.dying import Mortal, forked
from support.older import CASES, OlderLedger, content

#: the one that is tried at every system call, or at every place at which its disk may be full
LARGEST = Path(__file__).parents[1] / "ledgers" / "v5" / "many-jobs.tar.xz"
WRITES = "pwrite64,ftruncate,fdatasync,unlink,rename"
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class Migration:
    """An older ledger, what it held, and what it must hold once it is up to date."""

    def __init__(self, archive: Path, root: Path) -> None:
        self._archive = archive
        self._root = root
        self._copies = 0
        older = self.copy()
        self.before = content(older.path)
        Ledger.open(older.path).close()
        self.after = content(older.path)
        self.check(older)

    def copy(self, place: Path | None = None) -> OlderLedger:
        """The ledger, as the older release left it."""
        self._copies += 1
        return OlderLedger(self._archive, place or self._root / str(self._copies))

    def check(self, older: OlderLedger) -> bool:
        """Whether it is up to date: it is that, and has a copy, or nothing of it has changed; a copy is whole."""
        found = content(older.path)
        assert found in (self.before, self.after)
        copy = f"{older.path}.v{self.before[0]}.backup"
        if found == self.after or os.path.exists(copy):
            assert content(copy) == self.before
            assert _mode(copy) == _mode(older.path)
        return found == self.after

    def goes_on(self, older: OlderLedger) -> None:
        """The next daemon brings it up to date, whatever the one before left."""
        Ledger.open(older.path).close()
        assert self.check(older)
        assert not list(Path(older.path).parent.glob("*.part*"))


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def opened(path: str, die_at: int) -> int:
    """Open a ledger in a process that dies at a seam, if there are so many; how many it has met."""

    def work(hand_over: Callable[[Any], None]) -> int:
        mortal = Mortal(die_at, lambda seam: hand_over(seam.number))
        seams.watch(mortal)
        Ledger.open(path).close()
        return len(mortal.met)

    return forked(work)


@FORKS
@pytest.mark.parametrize("archive", CASES)
def test_a_death_at_any_seam(archive: Path, root: Path) -> None:
    """All of it is done, or nothing; the next daemon does what is left."""
    migration = Migration(archive, root)
    met = opened(migration.copy().path, die_at=0)
    for number in range(1, met + 1):
        older = migration.copy()
        assert opened(older.path, die_at=number) == number
        migration.check(older)
        migration.goes_on(older)


def killed_at(call: int, path: str) -> bool:
    """Whether a process that opens the ledger came to so many calls that write: there it was killed."""
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={WRITES}:signal=KILL:when={call}"]
    program = f"from finetuned.ledger import Ledger; Ledger.open({path!r}).close()"
    own = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    own["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run([*words, sys.executable, "-c", program], env=own, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
    return done.returncode != 0


def test_a_kill_in_any_write(root: Path) -> None:
    """Of the copy that is made before, too: it is made anew."""
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    migration = Migration(LARGEST, root)
    call = 1
    while killed_at(call, (older := migration.copy()).path):
        migration.check(older)
        migration.goes_on(older)
        call += 1
    assert migration.check(older)
    assert call > 10


def refusal(path: str) -> LedgerError | None:
    """Why the ledger cannot be opened now; null if it was opened."""
    try:
        Ledger.open(path).close()
    except LedgerError as error:
        return error
    return None


def test_a_disk_that_is_full_somewhere_on_the_way(tmp_path: Path) -> None:
    """It is refused with the way out, and is as it was; once there is space it is done."""
    migration = Migration(LARGEST, tmp_path)
    refused = set()
    with disks.small_disk(tmp_path / "disk", "8m") as disk:
        for left in range(0, 1 << 20, 32 << 10):
            older = migration.copy(disk / str(left))
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(left))
            with disks.full(disk):
                ballast.unlink()
                error = refusal(older.path)
                if error is not None:
                    assert error.remedy == "free some space on its disk"
                    refused.add(str(error).partition(older.path)[2])
                    migration.check(older)
            migration.goes_on(older)
            shutil.rmtree(disk / str(left))
    assert len(refused) > 1


@pytest.mark.parametrize("archive", CASES)
def test_the_second_time_nothing_is_done(archive: Path, tmp_path: Path) -> None:
    """What is up to date stays as it is, and so does the copy of what was before."""
    older = Migration(archive, tmp_path).copy()
    Ledger.open(older.path).close()
    state = Path(older.path).parent
    before = {path.name: path.read_bytes() for path in state.glob("*.backup")}, content(older.path)
    Ledger.open(older.path).close()
    assert ({path.name: path.read_bytes() for path in state.glob("*.backup")}, content(older.path)) == before
