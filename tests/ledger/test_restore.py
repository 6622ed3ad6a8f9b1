"""A backup laid in the ledger's place: what is no ledger is refused, what was there before is kept whole."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.errors import Held, LedgerError, LedgerNewer
from finetuned.ledger.backup import make_backup
from finetuned.ledger.queries import Reader
from finetuned.ledger.restore import restore
from finetuned.ledger.schema import APPLICATION_ID, SCHEMA_VERSION
from finetuned.ledger.writer import Ledger
from support.disks import full, small_disk
from support.dying import forked
from support.kernel import fail
from support.lives import NOW, Life, audited
from support.older import of_schema
from support.people import DAEMON, DROPPER, GROUP, acting_as, shared_place

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
A, B = "/srv/notes/a.txt", "/srv/notes/b.txt"
KEPT = ".before-20261123-052311"


@pytest.fixture
def backup(path: str, tmp_path: Path) -> str:
    """A backup with one file in it; the ledger was killed later, with one more in its log alone."""
    copy = str(tmp_path / "backup.db")

    def work(die: Callable[[str], None]) -> None:
        ledger = Ledger.open(path)
        life = Life(ledger)
        life.settles(A)
        make_backup(path, copy)
        ledger.fold()
        life.settles(B)
        die("with its log")

    forked(work)
    return copy


def paths_in(path: str) -> list[str]:
    """The files that a ledger knows, by one who reads it."""
    with Reader.open(path) as reader:
        return [row["path"] for row in reader.files()]


def names(path: str) -> set[str]:
    """What lies where the ledger lies, by the ends of the names."""
    return {name.removeprefix("ledger.db") for name in os.listdir(os.path.dirname(path))}


def test_the_old_one_is_kept_whole(path: str, backup: str) -> None:
    """What was in its log alone is in what is kept; beside the new one lies no log, and its people may read it."""
    os.chmod(path, 0o600)
    before = Path(backup).read_bytes()
    done = restore(path, backup, NOW)
    assert done.kept == path + KEPT
    assert (paths_in(path), paths_in(done.kept)) == ([A], [A, B])
    assert names(path) == {"", ".lock", KEPT}
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert Path(backup).read_bytes() == before
    with Ledger.open(path) as ledger:
        Life(ledger).settles("/srv/notes/c.txt")
        assert audited(ledger) == []
    assert paths_in(done.kept) == [A, B]


def test_a_second_time_within_a_second(path: str, backup: str) -> None:
    """What was kept first stays."""
    first, second = (restore(path, backup, NOW) for _ in range(2))
    assert (first.kept, second.kept) == (path + KEPT, f"{path}{KEPT}.2")
    assert paths_in(f"{path}{KEPT}") == [A, B]


def test_where_no_ledger_was(path: str, backup: str, tmp_path: Path) -> None:
    """On a new machine its folder is made, and nothing is kept."""
    place = str(tmp_path / "new" / "state" / "ledger.db")
    assert restore(place, backup, NOW).kept is None
    assert paths_in(place) == [A]
    assert names(place) == {"", ".lock"}


def test_a_daemon_that_runs_is_not_disturbed(path: str, backup: str) -> None:
    """Nothing is moved from under it."""
    with Ledger.open(path):
        with pytest.raises(Held):
            restore(path, backup, NOW)
        assert not {name for name in names(path) if name.startswith((".before", ".restored"))}
    assert paths_in(path) == [A, B]


def another_program(backup: str) -> None:
    with closing(sqlite3.connect(backup)) as db:
        db.execute("pragma application_id = 7")
        db.commit()


def newer(backup: str) -> None:
    with closing(sqlite3.connect(backup)) as db:
        db.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
        db.commit()


def torn(backup: str) -> None:
    raw = Path(backup).read_bytes()
    Path(backup).write_bytes(raw[: len(raw) // 2])


def spoilt(backup: str) -> None:
    with closing(sqlite3.connect(backup)) as db:
        db.execute("pragma ignore_check_constraints = on")
        db.execute("update files set archived = 7")
        db.commit()


def a_folder(backup: str) -> None:
    os.unlink(backup)
    os.mkdir(backup)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (os.unlink, "cannot be read: No such file or directory"),
        (a_folder, "is no file"),
        (lambda backup: (os.unlink(backup), os.mkfifo(backup)), "is no file"),
        (lambda backup: os.truncate(backup, 0), "is empty"),
        (lambda backup: Path(backup).write_text("a text, and a long one" * 99), "is corrupt, or no ledger"),
        (another_program, "is no ledger of finetuned"),
        (newer, "was written by a newer finetuned"),
        (torn, "is corrupt"),
        (spoilt, "its check says: CHECK constraint failed"),
    ],
)
def test_what_is_no_backup_is_refused(path: str, backup: str, spoil: Callable[[str], object], words: str) -> None:
    """In one line with a way out; the ledger and its log are as they were."""
    before = {name: Path(path + name).read_bytes() for name in names(path)}
    spoil(backup)
    with pytest.raises(LedgerError, match=words) as caught:
        restore(path, backup, NOW)
    assert caught.value.remedy
    assert isinstance(caught.value, LedgerNewer) == (spoil is newer)
    assert {name: Path(path + name).read_bytes() for name in names(path)} == before


def test_the_ledger_itself_is_no_backup(path: str, backup: str) -> None:
    """By any of its names."""
    os.link(path, f"{path}.link")
    for itself in (path, f"{path}.link"):
        with pytest.raises(LedgerError, match="is the ledger itself"):
            restore(path, itself, NOW)


def test_an_older_backup_is_brought_up_to_date_by_the_next_daemon(path: str, backup: str, tmp_path: Path) -> None:
    """As an older ledger is."""
    old = str(tmp_path / "v3.db")
    with closing(of_schema(3, old)) as db:
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.commit()
    assert restore(path, old, NOW).contents.schema_version == 3
    with Ledger.open(path) as ledger:
        assert audited(ledger) == []


def garbage(path: str) -> None:
    raw = Path(path).read_bytes()
    Path(path).write_bytes(b"\xa5" * len(raw))


def replaced(path: str) -> None:
    other = f"{path}.other"
    with Ledger.open(other) as ledger:
        Life(ledger).settles("/srv/notes/other.txt")
    os.unlink(f"{other}.lock")
    shutil.copy(other, f"{path}.copied")
    os.rename(f"{path}.copied", path)
    os.unlink(other)


@pytest.mark.parametrize("spoil", [garbage, replaced, os.unlink], ids=["corrupt", "replaced", "gone"])
def test_what_cannot_be_used_is_kept_with_its_log(path: str, backup: str, spoil: Callable[[str], None]) -> None:
    """Byte for byte, and its log is never played over the new one."""
    spoil(path)
    there = {side: Path(path + side).read_bytes() for side in ("", "-wal") if os.path.exists(path + side)}
    done = restore(path, backup, NOW)
    assert {side: Path(f"{done.kept}{side}").read_bytes() for side in there} == there
    assert not names(path) & {"-wal", "-shm", ".restored"}
    assert paths_in(path) == [A]
    with Ledger.open(path) as ledger:
        assert audited(ledger) == []


def test_somebody_who_reads_does_not_hold_it_up(path: str, backup: str) -> None:
    """His log cannot be folded in for as long; he goes on with the old one, and it is kept whole."""
    with Reader.open(path) as reader:
        reader.connection.execute("begin")
        assert len(list(reader.files())) == 2
        done = restore(path, backup, NOW)
        assert len(list(reader.files())) == 2
    assert done.kept is not None
    assert (paths_in(path), paths_in(done.kept)) == ([A], [A, B])
    assert not names(path) & {"-wal", "-shm"}


def test_where_there_are_no_links_the_old_one_is_copied(
    path: str, backup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as whole, and belongs to the same."""

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    done = restore(path, backup, NOW)
    assert done.kept is not None
    assert (paths_in(path), paths_in(done.kept)) == ([A], [A, B])


@pytest.mark.parametrize("left", [0, 64 << 10])
def test_a_full_disk_changes_nothing(tmp_path: Path, backup: str, left: int) -> None:
    """It is told with the way out; once there is space, it is done."""
    with small_disk(tmp_path / "disk", "2m") as disk:
        path = str(disk / "ledger.db")
        with Ledger.open(path) as ledger:
            Life(ledger).settles(B)
        (disk / "ballast").write_bytes(bytes(left))
        with full(disk):
            (disk / "ballast").unlink()
            with pytest.raises(LedgerError, match="cannot be replaced") as caught:
                restore(path, backup, NOW)
            assert caught.value.remedy == "free some space on its disk"
        assert names(path) == {"", ".lock"}
        assert paths_in(path) == [B]
        restore(path, backup, NOW)
        assert paths_in(path) == [A]


def test_root_restores_it_for_the_daemons_user(tmp_path: Path, backup: str) -> None:
    """On an empty machine and over an old one: that user opens it then; who may only read is refused."""
    with shared_place() as top:
        state = top / "state"
        state.mkdir(mode=0o750)
        os.chown(state, DAEMON, GROUP)
        path = str(state / "ledger.db")
        for _ in range(2):
            restore(path, backup, NOW)
            with acting_as(DAEMON):
                Ledger.open(path).close()
        os.chmod(backup, 0o644)
        mine = str(top / "mine.db")
        shutil.copy(backup, mine)
        os.chmod(mine, 0o644)
        with acting_as(DROPPER), pytest.raises(LedgerError, match="may not be replaced by you"):
            restore(path, mine, NOW)


@pytest.mark.parametrize("door", ["link", "rename"])
def test_a_disk_that_fails_leaves_the_old_one_in_use(
    path: str, backup: str, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    """Whatever it was that failed; the second try does it."""
    monkeypatch.setattr(os, door, fail(errno.EIO))
    with pytest.raises(LedgerError, match="cannot be replaced: Input/output error"):
        restore(path, backup, NOW)
    monkeypatch.undo()
    assert not {name for name in names(path) if name.startswith(".restored")}
    assert paths_in(path) == [A, B]
    assert restore(path, backup, NOW).kept == path + KEPT
    assert paths_in(path + KEPT) == [A, B]


def test_a_place_where_no_folder_can_be_is_told(backup: str, tmp_path: Path) -> None:
    """A file lies where the ledger's folder should be."""
    (tmp_path / "taken").touch()
    with pytest.raises(LedgerError, match=r"the folder of the ledger .* cannot be made"):
        restore(str(tmp_path / "taken" / "ledger.db"), backup, NOW)


def test_a_backup_that_another_program_writes_to_is_not_read_half(path: str, backup: str) -> None:
    """It says that it is locked; nothing is replaced."""
    with closing(sqlite3.connect(backup, isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(LedgerError, match="cannot be read: database is locked"):
            restore(path, backup, NOW)
    assert paths_in(path) == [A, B]
