"""What lies where the ledger should is no ledger, or none for us: one clear line, a way out, and nothing is touched."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.ledger.schema import SCHEMA_VERSION
from support import disks
from support.cli import Answer, Desk, desks

Spoil = Callable[[Path], None]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk whose ledger has a file in it."""
    with desks(tmp_path) as make:
        made = make(folder=[{"linger": "0s"}])
        made.place.drop("a.txt")
        made.run()
        yield made


def is_one_clear_line(answer: Answer, ledger: Path, *, remedy: str) -> None:
    """It ends with 1, names the file, tells the cause and what to do; nothing of Python is shown."""
    assert (answer.code, answer.out) == (1, "")
    first, *more = answer.err.strip().split("\n")
    assert first.startswith(f"finetuned: the ledger {ledger} ")
    assert more[-1].startswith("  to do: ")
    assert remedy in more[-1]
    assert len(more) <= 2
    assert "Traceback" not in answer.err


def garbage(ledger: Path) -> None:
    ledger.write_bytes(b"\xa5" * 20_000)


def torn(ledger: Path) -> None:
    raw = ledger.read_bytes()
    ledger.write_bytes(raw[:4096] + b"\xa5" * (len(raw) - 4096))


def cut_short(ledger: Path) -> None:
    os.truncate(ledger, 10_000)


def newer(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as db:
        db.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")


@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [
        (garbage, "keep the file; move it aside"),
        (torn, "keep the file; move it aside"),
        (cut_short, "keep the file; move it aside"),
        (newer, "install that version"),
    ],
)
def test_a_file_that_is_no_ledger_any_more_is_kept(desk: Desk, spoil: Spoil, remedy: str) -> None:
    """Corrupt or newer: it is left byte for byte as it is, and so are the files in the folder."""
    ledger = Path(desk.place.ledger_path)
    spoil(ledger)
    before = ledger.read_bytes()
    dropped = desk.place.drop("b.txt", "The stone is grey.")
    is_one_clear_line(desk("run", "--until-idle"), ledger, remedy=remedy)
    assert ledger.read_bytes() == before
    assert dropped.exists()
    assert not list(desk.place.notes.glob(".processing/*"))


def test_the_way_out_of_a_corrupt_ledger(desk: Desk) -> None:
    """Moved aside as it is told, a new one is begun; what is done stays done."""
    ledger = Path(desk.place.ledger_path)
    garbage(ledger)
    ledger.rename(f"{ledger}.broken")
    desk.place.drop("b.txt", "The stone is grey.")
    desk.run()
    assert desk.place.states() == {"b.txt": "learned"}
    assert len(list(desk.place.notes.glob("done/*/*.txt"))) == 2


def test_a_folder_in_its_place(desk: Desk) -> None:
    """Somebody named the folder, and not the file."""
    ledger = Path(desk.place.ledger_path)
    ledger.unlink()
    ledger.mkdir()
    is_one_clear_line(desk("run", "--until-idle"), ledger, remedy="name a file in [ledger] path")


def test_a_ledger_of_another_user(desk: Desk) -> None:
    """It may be read, not written."""
    ledger = Path(desk.place.ledger_path)
    ledger.chmod(0o444)
    with disks.without_the_rights_of_root():
        is_one_clear_line(desk("run", "--until-idle"), ledger, remedy="give the user that finetuned runs as the right")
        assert desk("files", "--json").json[0]["state"] == "learned"


def test_a_ledger_on_a_read_only_disk(tmp_path: Path) -> None:
    """Commands read it; the daemon says that it cannot write."""
    with disks.small_disk(tmp_path / "desk0" / "state", "8m"), desks(tmp_path) as make:
        desk = make(folder=[{"linger": "0s"}])
        desk.place.drop("a.txt")
        desk.run()
        ledger = Path(desk.place.ledger_path)
        with disks.read_only(ledger.parent):
            is_one_clear_line(desk("run", "--until-idle"), ledger, remedy="mount its disk writable")
            assert desk("files", "--json").json[0]["state"] == "learned"
            doctor = desk("doctor")
            assert "its disk is read-only" in doctor.out


def test_a_request_on_a_full_disk(tmp_path: Path) -> None:
    """Whoever asks is told that it was not left, and what to do; nothing half written stays."""
    with disks.small_disk(tmp_path / "desk0" / "state", "8m") as disk, desks(tmp_path) as make:
        desk = make()
        desk.run()
        with disks.full(disk):
            answer = desk("flush")
        assert (answer.code, answer.out) == (1, "")
        assert "the request cannot be left in" in answer.err
        assert "to do: free some space on its disk" in answer.err
        with disks.read_only(disk):
            assert "to do: mount its disk writable" in desk("flush").err
        left = Path(f"{desk.place.ledger_path}.requests")
        assert os.listdir(left) == []


WORDS = [
    "jobs",
    "files",
    "pairs",
    "events",
    "status",
    "doctor",
    "why a.txt",
    "job notes",
    "retry a.txt",
    "cancel notes",
]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("spoil", [garbage, torn])
def test_a_corrupt_ledger_is_called_so_by_every_command(desk: Desk, spoil: Spoil, words: str) -> None:
    """Whoever reads it says that it is corrupt, and the way out that the daemon tells; rights have no part in it."""
    ledger = Path(desk.place.ledger_path)
    spoil(ledger)
    answer = desk(*words.split())
    said = answer.out + answer.err
    assert answer.code == 1
    assert "it is corrupt: " in said
    assert f"mv {ledger} {ledger}.broken; mv {ledger}-wal {ledger}.broken-wal; rm -f {ledger}-shm" in said
    assert "group" not in said


@pytest.mark.parametrize("words", ["run --until-idle", *WORDS])
def test_a_copy_beside_the_log_of_another_one_is_named_by_every_command(
    desk: Desk, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opens it names the file and its log, and how to go on with either."""
    ledger = Path(desk.place.ledger_path)
    copy = ledger.with_name("copy.db")
    copy.write_bytes(ledger.read_bytes())
    with desk.ledger() as open_ledger:
        open_ledger.folders.flush(None, 0.0)
        kept = {side: Path(f"{ledger}{side}").read_bytes() for side in ("-wal", ".lock")}
        inode = os.stat(f"{ledger}-wal").st_ino
        os.link(f"{ledger}-wal", f"{ledger}.kept-wal")
    os.rename(f"{ledger}.kept-wal", f"{ledger}-wal")  # as a kill leaves it
    Path(f"{ledger}-wal").write_bytes(kept["-wal"])
    Path(f"{ledger}.lock").write_bytes(kept[".lock"])
    assert os.stat(f"{ledger}-wal").st_ino == inode
    copy.replace(ledger)
    answer = desk(*words.split())
    said = answer.out + answer.err
    assert answer.code == 1
    assert f"the ledger {ledger} was replaced" in said
    assert f"mv {ledger}-wal {ledger}-wal.old; rm -f {ledger}-shm" in said
