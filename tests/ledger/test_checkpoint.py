"""The log beside the ledger: folded into the file, and never played over a file that is not its own."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from finetuned.errors import LedgerError
from finetuned.ledger import checkpoint
from finetuned.ledger.queries import Reader
from finetuned.ledger.writer import Ledger
from support.lives import Life, asked, audited

OLD, NEW = "/srv/notes/old.txt", "/srv/notes/new.txt"
#: a daemon that is killed: a first file, a copy by `cp` after it was folded in, more files, and a last one in the log
KILLED = f"""
import os, shutil, signal, sys
from finetuned.ledger.writer import Ledger
from support.lives import Life
path, copy, more = sys.argv[1], sys.argv[2], int(sys.argv[3])
ledger = Ledger.open(path)
life = Life(ledger)
life.settles("{OLD}")
ledger.fold()
shutil.copy(path, copy)
for number in range(more):
    life.settles(f"/srv/notes/{{number}}.txt")
if more:
    ledger.fold()
life.settles("{NEW}")
os.kill(os.getpid(), signal.SIGKILL)
"""


def paths_in(path: str) -> list[str]:
    """The files that the ledger knows, by one who reads it."""
    with Reader.open(path) as reader:
        return [row["path"] for row in reader.files()]


def plain_copy(path: str, copy: Path) -> list[str]:
    """The files that a copy of the one file, made by `cp`, knows."""
    shutil.copy(path, copy)
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as db:
        return [row[0] for row in db.execute("select path from files order by id")]


def test_a_plain_copy_has_the_tables_from_the_first_moment(path: str, tmp_path: Path) -> None:
    """`cp` while a daemon runs that has written nothing yet: the schema is in the file, not in the log."""
    with Ledger.open(path):
        assert plain_copy(path, tmp_path / "copy.db") == []


def test_a_plain_copy_has_what_was_folded_in(path: str, tmp_path: Path) -> None:
    """Folded, the content of the log is in the file, and the log is empty; a reader that just looks does no harm."""
    with Ledger.open(path) as ledger, Reader.open(path) as reader:
        assert list(reader.files()) == []
        Life(ledger).settles(OLD)
        before = ledger.changes
        ledger.fold()
        assert ledger.changes == before
        assert plain_copy(path, tmp_path / "copy.db") == [OLD]
        assert os.path.getsize(f"{path}-wal") == 0


@pytest.mark.parametrize("spoil", [os.unlink, lambda path: os.truncate(path, 0)], ids=["removed", "emptied"])
def test_a_log_is_not_thrown_away_with_its_file(path: str, tmp_path: Path, spoil: Callable[[str], None]) -> None:
    """SQLite would remove the log of a file that is gone: what was committed last is kept, whatever the note says."""
    killed(path, tmp_path / "copy.db", more=1)
    spoil(path)
    os.unlink(f"{path}.lock")
    log = Path(f"{path}-wal").read_bytes()
    with pytest.raises(LedgerError, match=r"(is gone|was replaced), and beside it lies the log"):
        Ledger.open(path)
    assert Path(f"{path}-wal").read_bytes() == log


def test_one_who_reads_for_long_holds_nobody_up(path: str, tmp_path: Path) -> None:
    """What a reader still needs stays in the log; the file takes in the rest with the next folding."""
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        life.settles(OLD)
        with Reader.open(path) as reader:
            reader.connection.execute("begin")
            assert len(list(reader.files())) == 1
            life.settles(NEW)
            asked(ledger, "pragma busy_timeout(3600000)")  # were it waited for, this would never end
            ledger.fold()
            assert len(list(reader.files())) == 1
        ledger.fold()
        assert plain_copy(path, tmp_path / "copy.db") == [OLD, NEW]
        assert asked(ledger, "pragma busy_timeout")[0][0] == 3600000


def test_who_writes_does_not_wait_until_the_log_is_folded_in(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the disk is with the file: what is committed meanwhile is, and is folded in, too."""
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        life.settles(OLD)
        real, is_folding, goes_on = os.fsync, threading.Event(), threading.Event()

        def slow(fd: int) -> None:
            real(fd)
            is_folding.set()
            assert goes_on.wait(30)

        monkeypatch.setattr(os, "fsync", slow)
        folding = threading.Thread(target=ledger.fold)
        folding.start()
        assert is_folding.wait(30)
        writing = threading.Thread(target=life.settles, args=[NEW])
        writing.start()
        writing.join(10)
        assert not writing.is_alive()
        goes_on.set()
        folding.join(30)
        assert plain_copy(path, tmp_path / "copy.db") == [OLD, NEW]


@pytest.mark.parametrize("name", ["ledger.db", "50%3f.db", "a?b#c.db"])
def test_the_most_is_folded_in_before_who_writes_has_to_wait(tmp_path: Path, name: str) -> None:
    """What nobody may write beside is left with the rest: what was written before is in the file by then."""
    path, copies = str(tmp_path / name), []

    @contextmanager
    def alone() -> Iterator[None]:
        copies.append(plain_copy(path, tmp_path / "copy.db"))
        yield

    with open(path, "wb") as file, open(f"{path}.lock", "wb") as lock, closing(sqlite3.connect(path)) as db:
        db.execute("create table files (id, path)")
        db.execute("pragma journal_mode = wal")
        with db:
            db.execute("insert into files values (1, ?)", [OLD])
        checkpoint.Checkpoint(db, path, file=file.fileno(), lock=lock.fileno(), index=None).fold(alone())
    assert copies == [[OLD]]


def test_it_is_folded_in_when_no_file_can_be_opened_any_more(path: str, tmp_path: Path) -> None:
    """A second connection is a help, and no more: the ledger's own does it alone, and notes it."""
    with Ledger.open(path) as ledger:
        Life(ledger).settles(OLD)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                Path(path).read_bytes()
            ledger.fold()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert plain_copy(path, tmp_path / "copy.db") == [OLD]
        assert os.path.getsize(f"{path}-wal") == 0
        note = json.loads(Path(f"{path}.lock").read_bytes()[:256])
        found = os.stat(path)
        assert note["left"] == [found.st_size, found.st_mtime_ns]


def test_nothing_is_made_where_a_ledger_was_moved_away(path: str, tmp_path: Path) -> None:
    """An empty file would be in the way of who puts it back; the log is folded into the file, wherever it is."""
    away, folder = tmp_path / "away.db", os.path.dirname(path)
    with Ledger.open(path) as ledger:
        Life(ledger).settles(OLD)
        os.rename(path, away)
        beside = set(os.listdir(folder))
        ledger.fold()
        assert set(os.listdir(folder)) == beside
        os.rename(away, path)
        assert plain_copy(path, tmp_path / "copy.db") == [OLD]
        assert audited(ledger) == []


def test_a_log_is_not_folded_into_another_file(path: str, tmp_path: Path) -> None:
    """Whoever puts another file in the place of a ledger in use: it stays as it is."""
    copy = tmp_path / "copy.db"
    with Ledger.open(path) as ledger:
        Life(ledger).settles(OLD)
        ledger.fold()
        shutil.copy(path, copy)
        Life(ledger).settles(NEW)
        before = copy.read_bytes()
        os.replace(copy, path)
        ledger.fold()
        assert Path(path).read_bytes() == before


def test_the_log_does_not_grow_for_ever(path: str) -> None:
    """However much is written at a stretch, the log is folded in when it has become long."""
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        longest = 0
        for number in range(60):
            life.settles(f"/srv/notes/{number}{'x' * 100_000}.txt")
            longest = max(longest, os.path.getsize(f"{path}-wal"))
        assert checkpoint.GROWN_BYTES / 2 < longest < checkpoint.GROWN_BYTES * 2


def test_the_log_is_written_over_while_more_is_to_be_written(path: str, tmp_path: Path) -> None:
    """Its file does not grow anew: that would cost each commit twice as much. At rest it is empty."""
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        number = 0
        while not ledger.has_a_long_log:
            life.settles(f"/srv/notes/{number}{'x' * 100_000}.txt")
            number += 1
        size = os.path.getsize(f"{path}-wal")
        assert size > checkpoint.GROWN_BYTES / 2
        for again in range(3):
            ledger.fold(empties=False)
            assert not ledger.has_a_long_log
            assert len(plain_copy(path, tmp_path / "copy.db")) == number + again
            life.settles(f"/srv/notes/again-{again}.txt")
            assert os.path.getsize(f"{path}-wal") == size
        checkpoint.check_log(path)
        ledger.fold()
        assert os.path.getsize(f"{path}-wal") == 0
        assert audited(ledger) == []


def test_a_log_that_cannot_be_folded_in_is_kept(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that is full the commit counts all the same."""
    with Ledger.open(path) as ledger:
        Life(ledger).settles(OLD)

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        ledger.fold()
        monkeypatch.undo()
        assert os.path.getsize(f"{path}-wal") > 0
        assert paths_in(path) == [OLD]


def killed(path: str, copy: Path, *, more: int) -> None:
    """Have a daemon killed that holds the ledger."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", KILLED, path, copy, str(more)], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert os.path.getsize(f"{path}-wal") > 0


def copied_over(copy: Path, path: str) -> None:
    shutil.copyfile(copy, path)


def copied_with_its_times(copy: Path, path: str) -> None:
    shutil.copyfile(copy, path)
    older = copy.stat().st_mtime_ns - 1_000_000_000  # a real copy was not made within the tick of the file's clock
    os.utime(path, ns=(older, older))


def moved_over(copy: Path, path: str) -> None:
    os.replace(copy, path)


def emptied(copy: Path, path: str) -> None:
    os.truncate(path, 0)


LAYS = [copied_over, copied_with_its_times, moved_over, emptied]


@pytest.mark.parametrize("lay", LAYS)
@pytest.mark.parametrize("more", [0, 1, 200], ids=["just as it was", "of equal size", "smaller"])
def test_a_copy_beside_the_log_of_another_one_is_noticed(
    path: str, tmp_path: Path, lay: Callable[[Path, str], None], more: int
) -> None:
    """Older, smaller or just as large, copied or moved there: nothing is written, both files and the way out named."""
    copy = tmp_path / "copy.db"
    killed(path, copy, more=more)
    if more == 1:
        assert copy.stat().st_size == os.path.getsize(path)
    lay(copy, path)
    before = [Path(path).read_bytes(), Path(f"{path}-wal").read_bytes()]
    for opens in (Ledger.open, Reader.open):
        with pytest.raises(LedgerError, match="was replaced") as caught:
            opens(path)
        for side in ("-wal", "-shm"):
            assert f"{path}{side}" in str(caught.value)
            assert f"{path}{side}" in caught.value.remedy
    assert [Path(path).read_bytes(), Path(f"{path}-wal").read_bytes()] == before
    subprocess.run(["/bin/sh", "-c", caught.value.remedy.split(": ", 1)[1].split(" (else")[0]], check=True)
    with Ledger.open(path) as ledger:
        assert audited(ledger) == []
    assert paths_in(path) == ([] if lay is emptied else [OLD])


def as_it_was(path: str) -> str:
    return path


def moved_with_all(path: str) -> str:
    other = f"{os.path.dirname(path)}.moved"
    os.rename(os.path.dirname(path), other)
    return os.path.join(other, "ledger.db")


def copied_with_all(path: str) -> str:
    other = f"{os.path.dirname(path)}.copied"
    shutil.copytree(os.path.dirname(path), other, copy_function=shutil.copyfile)
    return os.path.join(other, "ledger.db")


def read_by_another_program(path: str) -> str:
    with closing(sqlite3.connect(path)) as db:
        assert len(db.execute("select path from files").fetchall()) > 1
    return path


def without_its_lock(path: str) -> str:
    os.unlink(f"{path}.lock")
    return path


def with_a_torn_note(path: str) -> str:
    os.truncate(f"{path}.lock", 20)
    return path


@pytest.mark.parametrize(
    "happens", [as_it_was, moved_with_all, copied_with_all, read_by_another_program, without_its_lock, with_a_torn_note]
)
@pytest.mark.parametrize("more", [0, 200])
def test_a_healthy_ledger_is_never_refused(path: str, tmp_path: Path, happens: Callable[[str], str], more: int) -> None:
    """After a kill all that was committed is there, wherever the ledger was brought with its log since."""
    killed(path, tmp_path / "copy.db", more=more)
    there = happens(path)
    assert paths_in(there)[-1] == NEW
    with Ledger.open(there) as ledger:
        assert audited(ledger) == []
    assert paths_in(there)[-1] == NEW
    assert len(paths_in(there)) == more + 2


def test_another_program_may_fold_the_log_in(path: str) -> None:
    """What makes copies for people does so (litestream, say): the next commit takes note of it."""
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        life.settles(OLD)
        with closing(sqlite3.connect(path)) as db:
            db.execute("pragma wal_checkpoint(truncate)")
        life.settles(NEW)
        checkpoint.check_log(path)


class Killed(BaseException):
    """The process is gone."""


def test_a_kill_while_it_is_folded_in_is_no_harm(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after each thing that is brought to the disk: the log is still taken for the file's own."""
    ledger = Ledger.open(path)
    Life(ledger).settles(OLD)
    real, left = os.fsync, 0

    def dies(fd: int) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        real(fd)

    monkeypatch.setattr(os, "fsync", dies)
    for steps in range(3):
        left = steps
        with suppress(Killed):
            Life(ledger).settles(f"/srv/notes/{steps}.txt")
            ledger.fold()
        checkpoint.check_log(path)
    monkeypatch.undo()
    ledger.close()
