"""A backup of the ledger: whole and checked under a new name, or not there at all."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.errors import LedgerError, LedgerMissing
from finetuned.ledger.backup import make_backup, parts_left
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.ledger.writer import Ledger
from support.disks import full, read_only, small_disk
from support.kernel import fail
from support.lives import Life, dies
from support.older import of_schema
from support.people import DAEMON, DROPPER, GROUP, acting_as, shared_place

A, B = "/srv/notes/a.txt", "/srv/notes/b.txt"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where the backup is to lie, alone in its folder."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder / "copy.db"


def paths_in(copy: Path) -> list[str]:
    """The files that a copy knows, which stands alone."""
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as db:
        assert db.execute("pragma journal_mode").fetchone()[0] == "delete"
        return [row[0] for row in db.execute("select path from files order by id")]


def in_use(path: str) -> Ledger:
    """A ledger at work, whose last file is in the log alone."""
    ledger = Ledger.open(path)
    life = Life(ledger)
    life.settles(A)
    ledger.fold()
    life.settles(B)
    return ledger


def test_beside_a_writer_it_has_the_last_commit(path: str, target: Path) -> None:
    """What is in the log is in the copy; the ledger is not touched, and its people may read the copy, no others."""
    with in_use(path) as ledger:
        before = Path(path).read_bytes()
        contents = make_backup(path, str(target))
        assert Path(path).read_bytes() == before
        Life(ledger).settles("/srv/notes/c.txt")
    assert paths_in(target) == [A, B]
    assert (contents.files, contents.jobs, contents.pairs, contents.broken) == (2, 0, 0, ())
    assert contents.bytes == target.stat().st_size
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(os.stat(path).st_mode)
    assert os.listdir(target.parent) == [target.name]


def test_after_a_kill_it_has_the_last_commit(path: str, target: Path) -> None:
    """The log that was left is read, and stays as it is."""
    dies(in_use(path))
    log = Path(f"{path}-wal").read_bytes()
    make_backup(path, str(target))
    assert Path(f"{path}-wal").read_bytes() == log
    assert paths_in(target) == [A, B]


def test_an_older_ledger_is_copied_as_it_is(path: str, target: Path) -> None:
    """Before an upgrade one wants a backup, too."""
    with closing(of_schema(3, path)) as db:
        db.commit()
    assert make_backup(path, str(target)).schema_version == 3 < SCHEMA_VERSION


def test_it_tells_what_does_not_hold_in_it(path: str, target: Path) -> None:
    """A flawed ledger is copied all the same: there is no better one."""
    dies(in_use(path))
    with closing(sqlite3.connect(path)) as db:
        db.execute("delete from events")
        db.commit()
    assert make_backup(path, str(target)).broken == ("every file's state was told as an event",)
    assert paths_in(target) == [A, B]


@pytest.mark.parametrize("side", ["", "-wal", "-shm", "-journal", ".lock"])
def test_the_ledgers_own_places_are_refused(path: str, side: str) -> None:
    """Whether something lies there now or not, and by any way to it."""
    with in_use(path):
        pass
    before = Path(path).read_bytes()
    beside = os.path.join(os.path.dirname(path), "..", os.path.basename(os.path.dirname(path)), os.path.basename(path))
    for target in (path + side, beside + side):
        with pytest.raises(LedgerError, match="a file of the ledger itself"):
            make_backup(path, target)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize(
    ("make", "words"),
    [(Path.touch, "is there already"), (Path.mkdir, "is a folder"), (lambda t: t.symlink_to("x"), "is there already")],
    ids=["file", "folder", "dangling link"],
)
def test_what_lies_there_is_not_replaced(path: str, target: Path, make: Callable[[Path], None], words: str) -> None:
    """A file, a folder, a link: each stays, and nothing lies beside it."""
    make(target)
    with in_use(path), pytest.raises(LedgerError, match=words):
        make_backup(path, str(target))
    assert os.listdir(target.parent) == [target.name]


#: a backup whose process dies when all but its name is there
KILLED = """
import os, sys
from finetuned.ledger.backup import make_backup
os.link = lambda *_, **__: os.kill(os.getpid(), 9)
make_backup(*sys.argv[1:])
"""


def test_what_a_killed_backup_left_is_removed_by_the_next_one(path: str, target: Path) -> None:
    """By one of that name; what another one left is its own."""
    with in_use(path):
        for name in (target.name, "other.db"):
            words = [sys.executable, "-c", KILLED, path, str(target.parent / name)]
            assert subprocess.run(words, check=False).returncode == -signal.SIGKILL
        left = [os.path.basename(part)[:-17] for part in parts_left(str(target.parent))]
        assert left == [f".{target.name}.", ".other.db."]
        make_backup(path, str(target))
    (other,) = parts_left(str(target.parent))
    assert sorted(os.listdir(target.parent)) == sorted([target.name, os.path.basename(other)])
    assert paths_in(target) == [A, B]


def test_a_backup_at_work_loses_nothing_to_another_one(
    path: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has written so far is not taken for what a killed one left."""
    link, parts = os.link, []

    def late(*places: str, **words: object) -> None:
        monkeypatch.setattr(os, "link", link)
        parts.extend(parts_left(str(target.parent)))
        make_backup(path, str(target))
        assert os.path.exists(places[0])
        link(*places, **words)

    monkeypatch.setattr(os, "link", late)
    with in_use(path), pytest.raises(LedgerError, match="is there already"):
        make_backup(path, str(target))
    assert (parts, os.listdir(target.parent)) == ([], [target.name])


def test_what_comes_there_meanwhile_is_not_replaced(path: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two backups of one name: the second is refused at its last step."""
    link = os.link

    def late(*places: str, **words: object) -> None:
        target.write_text("the first")
        link(*places, **words)

    monkeypatch.setattr(os, "link", late)
    with in_use(path), pytest.raises(LedgerError, match="is there already"):
        make_backup(path, str(target))
    assert target.read_text() == "the first"
    assert os.listdir(target.parent) == [target.name]


def no_links(*_: object, **__: object) -> None:
    """What a file system says that has none."""
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_where_there_are_no_links_it_is_renamed(path: str, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On FAT, say; what lies there is kept there, too."""
    monkeypatch.setattr(os, "link", no_links)
    with in_use(path):
        make_backup(path, str(target))
        assert paths_in(target) == [A, B]
        other = target.with_name("other.db")

        def late(*_: object, **__: object) -> None:
            other.touch()
            no_links()

        monkeypatch.setattr(os, "link", late)
        with pytest.raises(LedgerError, match="is there already"):
            make_backup(path, str(other))
    assert sorted(os.listdir(target.parent)) == ["copy.db", "other.db"]


def test_a_folder_that_is_not_there_is_named(path: str, target: Path) -> None:
    """With what to do."""
    with in_use(path), pytest.raises(LedgerError, match="cannot be written") as caught:
        make_backup(path, str(target.parent / "nowhere" / "copy.db"))
    assert caught.value.remedy == f"make the folder {target.parent / 'nowhere'} first"


def test_without_a_ledger_there_is_no_backup(path: str, target: Path) -> None:
    """Nothing is made."""
    with pytest.raises(LedgerMissing):
        make_backup(path, str(target))
    assert os.listdir(target.parent) == []


def test_a_corrupt_ledger_makes_no_backup(path: str, target: Path) -> None:
    """It is named; a good backup of yesterday is better than a bad one of today."""
    with in_use(path) as ledger:
        for number in range(200):
            Life(ledger).settles(f"/srv/notes/{number}.txt")
    raw = Path(path).read_bytes()
    Path(path).write_bytes(raw[: len(raw) // 2] + b"\xa5" * 8192 + raw[len(raw) // 2 + 8192 :])
    with pytest.raises(LedgerError, match="corrupt"):
        make_backup(path, str(target))
    assert os.listdir(target.parent) == []


def test_onto_a_disk_that_is_read_only(path: str, tmp_path: Path) -> None:
    """Another place is to be named for the backup, not for the ledger."""
    with closing(in_use(path)), small_disk(tmp_path / "disk", "1m") as disk, read_only(disk):
        with pytest.raises(LedgerError, match="Read-only file system") as caught:
            make_backup(path, str(disk / "copy.db"))
        assert caught.value.remedy == "name a file in a folder in which you may write"


@pytest.mark.parametrize("left", [0, 64 << 10, 160 << 10])
def test_a_full_disk_leaves_nothing(path: str, tmp_path: Path, left: int) -> None:
    """At whatever page it was full: told with the way out, and what was written so far is gone."""
    with in_use(path), small_disk(tmp_path / "disk", "1m") as disk:
        (disk / "ballast").write_bytes(bytes(left))
        with full(disk):
            (disk / "ballast").unlink()
            with pytest.raises(LedgerError, match=f"the backup {disk}/copy.db cannot be written: ") as caught:
                make_backup(path, str(disk / "copy.db"))
            assert caught.value.remedy == "free some space on its disk"
            assert os.listdir(disk) == [".filler"]
        make_backup(path, str(disk / "copy.db"))
        assert paths_in(disk / "copy.db") == [A, B]


def test_a_member_of_the_group_may_make_one(tmp_path: Path) -> None:
    """Beside the daemon of another user, with no right to write at the ledger; and where he may not, he is told so."""
    with shared_place() as top:
        state, home = top / "state", top / "home"
        for folder, owner in ((state, DAEMON), (home, DROPPER)):
            folder.mkdir(mode=0o750)
            os.chown(folder, owner, GROUP)
        path = str(state / "ledger.db")
        ledger = in_use(path)
        for name in os.listdir(state):
            os.chown(state / name, DAEMON, GROUP)
        with acting_as(DROPPER):
            assert make_backup(path, str(home / "copy.db")).files == 2
            with pytest.raises(LedgerError, match="Permission denied") as caught:
                make_backup(path, str(state / "copy.db"))
            assert caught.value.remedy == "name a file in a folder in which you may write"
        ledger.close()
        assert paths_in(home / "copy.db") == [A, B]


def test_a_ledger_that_fails_its_check_makes_no_backup(path: str, target: Path) -> None:
    """It can be read, and holds what it must not."""
    in_use(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma ignore_check_constraints = on")
        db.execute("update files set archived = 7")
        db.commit()
    with pytest.raises(LedgerError, match="its check says: CHECK constraint failed in files"):
        make_backup(path, str(target))
    assert os.listdir(target.parent) == []


@pytest.mark.parametrize("door", ["fsync", "link"])
def test_a_disk_that_fails_leaves_nothing(path: str, target: Path, monkeypatch: pytest.MonkeyPatch, door: str) -> None:
    """As it is brought to disk, or gets its name; the words are the system's."""
    with in_use(path):
        monkeypatch.setattr(os, door, fail(errno.EIO))
        with pytest.raises(LedgerError, match=f"the backup {target} cannot be written: Input/output error"):
            make_backup(path, str(target))
        monkeypatch.undo()
    assert os.listdir(target.parent) == []
