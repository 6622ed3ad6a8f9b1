"""An older ledger is brought up to date, and that goes wrong: it is as it was, or as it should be, and nothing else."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import LedgerError
from finetuned.ledger.writer import Ledger
from support import disks, seams
from support.dying import Mortal, Seam, deaths_of, forked, left_behind
from support.killed import killer
from support.older import CASES, OlderLedger, content

#: the one that is tried at every system call, or at every place at which its disk may be full
LARGEST = Path(__file__).parents[1] / "ledgers" / "v5" / "many-jobs.tar.xz"
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class Migration:
    """An older ledger, what it held, and what it must hold once it is up to date."""

    def __init__(self, archive: Path, root: Path) -> None:
        self._older = OlderLedger(archive, root / "older").path
        self._root = root
        self._copies = 0
        path = self.copy()
        self.before = content(path)
        Ledger.open(path).close()
        self.after = content(path)
        self.check(path)

    def copy(self, place: Path | None = None) -> str:
        """Where the ledger lies anew, as the older release left it."""
        self._copies += 1
        place = place or self._root / str(self._copies)
        shutil.copytree(os.path.dirname(self._older), place)
        return str(place / os.path.basename(self._older))

    def check(self, path: str) -> bool:
        """Whether it is up to date: it is that, and has a copy, or nothing of it has changed; a copy is whole."""
        found = content(path)
        assert found in (self.before, self.after)
        copy = f"{path}.v{self.before[0]}.backup"
        if found == self.after or os.path.exists(copy):
            assert content(copy) == self.before
            assert _mode(copy) == _mode(path)
        return found == self.after

    def goes_on(self, path: str) -> None:
        """The next daemon brings it up to date, whatever the one before left."""
        Ledger.open(path).close()
        assert self.check(path)
        assert not list(Path(path).parent.glob("*.part*"))


def _mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def opened(path: str, die_at: int) -> list[Seam]:
    """Open a ledger in a process that dies at a seam, if there are so many: that one, or all that it has met."""

    def work(hand_over: Callable[[Any], None]) -> Any:
        left = str if die_at else partial(left_behind, Path(path).parent)
        mortal = Mortal(die_at, lambda seam: hand_over([asdict(seam)]), left)
        seams.watch(mortal)
        Ledger.open(path).close()
        return [asdict(seam) for seam in mortal.met]

    return [Seam(**seam) for seam in forked(work)]


@FORKS
@pytest.mark.parametrize("archive", CASES)
def test_a_death_at_any_seam(archive: Path, root: Path) -> None:
    """All of it is done, or nothing; the next daemon does what is left."""
    migration = Migration(archive, root)
    for number in deaths_of(opened(migration.copy(), die_at=0)):
        path = migration.copy()
        assert [seam.number for seam in opened(path, die_at=number)] == [number]
        migration.check(path)
        migration.goes_on(path)


@pytest.mark.parametrize("call", ["pwrite64", "ftruncate", "fdatasync", "unlink", "rename"])
def test_a_kill_in_any_write(call: str, root: Path) -> None:
    """Of the copy that is made before, too: it is made anew."""
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    migration = Migration(LARGEST, root)
    with killer("open", call) as killed:
        number = 1
        while killed(call, number, path := migration.copy()):
            migration.check(path)
            migration.goes_on(path)
            number += 1
    assert migration.check(path)
    assert number > (10 if call == "pwrite64" else 1)


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
            path = migration.copy(disk / str(left))
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(left))
            with disks.full(disk):
                ballast.unlink()
                error = refusal(path)
                if error is not None:
                    assert error.remedy == "free some space on its disk"
                    refused.add(str(error).partition(path)[2])
                    migration.check(path)
            migration.goes_on(path)
            shutil.rmtree(disk / str(left))
    assert len(refused) > 1


@pytest.mark.parametrize("archive", CASES)
def test_the_second_time_nothing_is_done(archive: Path, tmp_path: Path) -> None:
    """What is up to date stays as it is, and so does the copy of what was before."""
    path = Migration(archive, tmp_path).copy()
    Ledger.open(path).close()
    state = Path(path).parent
    before = {path.name: path.read_bytes() for path in state.glob("*.backup")}, content(path)
    Ledger.open(path).close()
    assert ({path.name: path.read_bytes() for path in state.glob("*.backup")}, content(path)) == before
