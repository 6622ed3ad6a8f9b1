"""Opening and closing the ledger: its lock, its check, its schema, and those who only read."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import Held, LedgerError, LedgerMissing, LedgerNewer
from finetuned.ledger.lock import is_held
from finetuned.ledger.queries import Reader
from finetuned.ledger.schema import APPLICATION_ID, SCHEMA_VERSION
from finetuned.ledger.writer import Ledger
from finetuned.model import Content
from support.kernel import fail
from support.lives import Life, asked, audited, dies, signature
from support.older import of_schema

GARBAGE = b"no database at all, but a text" * 99
SIDES = ("-wal", "-shm", "-journal")


PRAGMAS = {
    "application_id": APPLICATION_ID,
    "user_version": SCHEMA_VERSION,
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "trusted_schema": 0,
}


def a_ledger(path: str) -> None:
    """A ledger with a file in it, closed again."""
    with Ledger.open(path) as ledger:
        Life(ledger).settles("/srv/notes/a.txt")


def foreign(path: str, *statements: str) -> None:
    """Another program's database."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def test_a_new_ledger(path: str):
    """It makes its folder, is ours by its id, journals ahead, and is readable by the group."""
    with Ledger.open(path) as ledger:
        pragmas = {name: asked(ledger, f"pragma {name}")[0][0] for name in PRAGMAS}
        assert audited(ledger) == []
    assert pragmas == PRAGMAS
    assert os.stat(path).st_mode & 0o7 == 0


def test_a_closed_ledger_stands_alone(path: str):
    """After a clean stop any program opens the one file: no journal lies beside it."""
    a_ledger(path)
    assert not [side for side in SIDES if os.path.exists(path + side)]
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as db:
        assert db.execute("pragma journal_mode").fetchone()[0] == "delete"
        assert db.execute("select count(*) from files").fetchone()[0] == 1


@pytest.mark.parametrize("version", [None, SCHEMA_VERSION], ids=["new", "as a release left it"])
def test_the_index_is_merged_less_often_than_by_itself(path: str, version: int | None):
    """Eight parts of it that are as large become one, also in a ledger that was made with SQLite's own four."""
    if version is not None:
        of_schema(version, path).close()
    for _ in range(2):
        with Ledger.open(path) as ledger:
            told = asked(ledger, "select v from qa_pairs_fts_config where k = 'automerge'")
        assert [tuple(row) for row in told] == [(8,)]


def test_an_index_that_cannot_be_read_keeps_no_ledger_from_opening(path: str):
    """How it is merged is passed over then: only time hangs on it."""
    with closing(of_schema(SCHEMA_VERSION, path)) as db:
        db.execute("delete from qa_pairs_fts_data where id = 10")
        db.commit()
    with Ledger.open(path) as ledger:
        Life(ledger).settles("/srv/notes/a.txt")


def test_a_reader_does_not_keep_the_ledger_from_closing(path: str):
    """With somebody at it the journal stays beside the file, which is as sound."""
    ledger = Ledger.open(path)
    asked(ledger, "pragma busy_timeout = 0")
    Life(ledger).settles("/srv/notes/a.txt")
    with Reader.open(path) as reader:
        reader.connection.execute("begin")
        assert len(list(reader.files())) == 1
        ledger.close()
        assert not is_held(path)
    with Reader.open(path) as reader:
        assert len(list(reader.files())) == 1


def test_what_was_committed_survives_a_crash(path: str):
    """The journal that a crash left behind is read at the next start."""
    ledger = Ledger.open(path)
    Life(ledger).settles("/srv/notes/a.txt")
    dies(ledger)
    assert os.path.getsize(f"{path}-wal") > 0
    with Ledger.open(path) as again:
        assert len([*again.files.lying("notes")]) == 1
        assert audited(again) == []


def test_one_writer(path: str):
    """A second daemon is told, in this process and from another one, and the first one notices nothing."""
    assert not is_held(path)
    with Ledger.open(path) as ledger:
        assert is_held(path)
        with pytest.raises(Held, match="another finetuned holds the ledger") as caught:
            Ledger.open(path)
        assert caught.value.remedy
        script = f"from finetuned.ledger.lock import is_held; raise SystemExit(42 if is_held({path!r}) else 1)"
        assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 42
        Life(ledger).settles("/srv/notes/a.txt")
    assert not is_held(path)


def test_a_newer_ledger_is_refused(path: str):
    """What a newer version wrote is left alone by the daemon and by those who read."""
    a_ledger(path)
    foreign(path, f"pragma user_version = {SCHEMA_VERSION + 1}")
    before = Path(path).read_bytes()
    for opens in (Ledger.open, Reader.open):
        with pytest.raises(LedgerNewer, match="newer finetuned") as caught:
            opens(path)
        assert caught.value.remedy == "install that version, or a newer one"
    assert Path(path).read_bytes() == before
    assert not is_held(path)


@pytest.mark.parametrize("opens", [Ledger.open, Reader.open])
def test_the_way_back_from_a_newer_ledger(path: str, opens: Callable[[str], object]):
    """Where a copy lies of what it was before, the commands that put that back are told; nothing of both is lost."""
    a_ledger(path)
    Path(f"{path}.v{SCHEMA_VERSION - 1}.backup").write_text("of a version before")
    shutil.copy(path, f"{path}.v{SCHEMA_VERSION}.backup")
    newer = Ledger.open(path)
    Life(newer).settles("/srv/notes/b.txt")
    foreign(path, f"pragma user_version = {SCHEMA_VERSION + 1}")
    dies(newer)
    with pytest.raises(LedgerNewer, match="newer finetuned") as caught:
        opens(path)
    assert "or go back to the copy" in caught.value.remedy
    commands = caught.value.remedy.partition("(")[2].removesuffix(")")
    subprocess.run(["sh", "-c", commands], capture_output=True, check=True)
    with Ledger.open(path) as ledger:
        assert [path for path, _, _ in ledger.files.lying("notes")] == ["/srv/notes/a.txt"]
    with closing(sqlite3.connect(f"{path}.newer")) as db:
        assert db.execute("select count(*) from files").fetchone()[0] == 2


def test_another_programs_database_is_refused(path: str):
    """A database that says whose it is never becomes a ledger."""
    foreign(path, "pragma application_id = 7", "create table books (id integer)")
    with pytest.raises(LedgerError, match="another program"):
        Ledger.open(path)
    with pytest.raises(LedgerError, match="no ledger of finetuned"):
        Reader.open(path)


def test_a_database_that_does_not_say_whose_it_is_is_refused(path: str):
    """Most programs set no id: tables that are not ours tell enough."""
    foreign(path, "create table books (id integer)")
    with pytest.raises(LedgerError, match="another program"):
        Ledger.open(path)
    with pytest.raises(LedgerError, match="no ledger of finetuned"):
        Reader.open(path)


def test_an_empty_file_becomes_a_ledger(path: str):
    """What `touch` made, or a crash right after the file was made, is no reason to stop."""
    os.makedirs(os.path.dirname(path))
    Path(path).touch()
    a_ledger(path)
    with Reader.open(path) as reader:
        assert reader.schema_version() == SCHEMA_VERSION


@pytest.mark.parametrize("hurt", ["garbage", "torn"])
def test_a_corrupt_ledger_is_named_and_kept(path: str, hurt: str):
    """What cannot be read is left as it is, byte for byte, and the way out is said."""
    a_ledger(path)
    raw = Path(path).read_bytes()
    spoilt = GARBAGE if hurt == "garbage" else raw[:4096] + b"\xa5" * (len(raw) - 4096)
    Path(path).write_bytes(spoilt)
    with pytest.raises(LedgerError, match="cannot be used") as caught:
        Ledger.open(path)
    assert f"mv {path} {path}.broken" in caught.value.remedy
    assert Path(path).read_bytes() == spoilt
    assert not is_held(path)


def test_a_ledger_that_fails_its_check_is_named(path: str):
    """A file that can be read, and holds what it must not, is no ledger to go on with."""
    a_ledger(path)
    foreign(path, "pragma ignore_check_constraints = on", "update files set archived = 7")
    with pytest.raises(LedgerError, match="its check says: CHECK constraint failed in files"):
        Ledger.open(path)


def test_a_reader_of_garbage_leaves_no_connection_open(path: str, monkeypatch: pytest.MonkeyPatch):
    """What cannot be read is said in our words, and let go of."""
    os.makedirs(os.path.dirname(path))
    Path(path).write_bytes(GARBAGE)
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: opened.append(connect(*a, **k)) or opened[-1])
    with pytest.raises(LedgerError, match="cannot be read"):
        Reader.open(path)
    try:
        for db in opened:
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                db.execute("select 1")
    finally:
        for db in opened:
            db.close()


def test_a_ledger_whose_place_is_taken(path: str):
    """A folder where the file should be is said in our words."""
    os.makedirs(path)
    with pytest.raises(LedgerError, match=r"cannot be (opened|used)"):
        Ledger.open(path)


def test_a_lock_that_cannot_be_made(path: str):
    """A folder where the lock should be is said in our words."""
    os.makedirs(f"{path}.lock")
    with pytest.raises(LedgerError, match="cannot be locked"):
        Ledger.open(path)


def test_a_file_system_without_locks(path: str, monkeypatch: pytest.MonkeyPatch):
    """Is said in our words, and nothing stays open."""
    monkeypatch.setattr(fcntl, "flock", fail(errno.ENOLCK))
    before = os.listdir("/proc/self/fd")
    with pytest.raises(LedgerError, match="cannot be locked: No locks available"):
        Ledger.open(path)
    assert os.listdir("/proc/self/fd") == before


def test_a_folder_that_cannot_be_made(tmp_path):
    """A file where the ledger's folder should be is said in our words."""
    (tmp_path / "state").write_text("in the way")
    for path in (tmp_path / "state" / "ledger.db", tmp_path / "state" / "deeper" / "ledger.db"):
        with pytest.raises(LedgerError):
            Ledger.open(str(path))


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_called_so_by_everybody(path: str, make: Callable[[str], None]):
    """A folder or a pipe in the ledger's place is no failing disk, and nobody waits for it."""
    os.makedirs(os.path.dirname(path))
    make(path)
    for opened in (Reader.open, Ledger.open):
        with pytest.raises(LedgerError, match=r"is no file|Is a directory") as caught:
            opened(path)
        assert "name a file in [ledger] path" in (caught.value.remedy or "")


@contextmanager
def older(path: str, version: int = 1) -> Iterator[sqlite3.Connection]:
    """An older release's ledger, to be filled."""
    with closing(of_schema(version, path)) as db:
        yield db
        db.commit()


A_SERVER = "insert into servers (url, max_chunks) values ('http://helix.test', 5)"


def servers(path: str) -> int:
    """How many servers a ledger of any version knows."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("select count(*) from servers").fetchone()[0]


def test_an_older_ledger_is_kept_before_it_is_changed(path: str):
    """A copy of the old schema lies beside the ledger when it is brought up to date."""
    with older(path) as db:
        db.execute(A_SERVER)
    with Ledger.open(path) as ledger:
        assert asked(ledger, "pragma user_version")[0][0] == SCHEMA_VERSION
    assert servers(f"{path}.v1.backup") == 1


def test_a_ledger_that_was_brought_up_to_date_says_where_its_copy_is(path: str):
    """The daemon tells it once; a ledger of this version, and a new one, have none."""
    with older(path):
        pass
    with Ledger.open(path) as ledger:
        assert ledger.kept is not None
        assert ledger.kept.endswith(".backup")
        assert os.path.exists(ledger.kept)
    with Ledger.open(path) as ledger:
        assert ledger.kept is None
    with Ledger.open(f"{path}.new") as ledger:
        assert ledger.kept is None


def test_an_older_ledger_whose_rows_refer_to_nothing_is_left_as_it_was(path: str):
    """What to do is said, for no daemon of this version opens it."""
    with older(path) as db:
        db.execute(
            "insert into files (folder, path, location, state, sha256, job_id, seen_at) "
            "values ('notes', '/a', '/a', 'packed', ?, 'no-such-job', '2026-11-23T05:23:11.000Z')",
            ("0" * 64,),
        )
    with pytest.raises(LedgerError, match="a row of files refers to nothing in jobs; it was left as it was") as caught:
        Ledger.open(path)
    assert "an earlier copy" in caught.value.remedy
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone()[0] == 1


def test_the_copy_of_an_older_ledger_is_whole_after_a_crash(path: str):
    """What was committed before a crash is in the copy, too."""
    with older(path) as db:
        db.execute("pragma journal_mode = wal")
        db.execute(A_SERVER)
        db.commit()
        for side in ("", "-wal"):
            shutil.copy(path + side, f"{path}{side}.kept")
    for side in ("", "-wal"):
        os.replace(f"{path}{side}.kept", path + side)
    Ledger.open(path).close()
    assert servers(f"{path}.v1.backup") == 1


def test_the_copy_of_an_older_ledger_is_read_by_nobody_else(path: str):
    """It holds every pair: its mode is the ledger's, whatever the umask is, or a copy that lies there has."""
    with older(path):
        pass
    copy = Path(f"{path}.v1.backup")
    copy.touch(0o644)
    os.chmod(path, 0o600)
    Ledger.open(path).close()
    assert copy.stat().st_size > 0
    assert copy.stat().st_mode & 0o777 == 0o600


def test_a_copy_that_cannot_be_made_leaves_the_older_ledger_alone(path: str):
    """What lies in the copy's place is named, and nothing is changed."""
    with older(path):
        os.mkdir(f"{path}.v1.backup")
    with pytest.raises(LedgerError, match=r"cannot be copied to .*\.backup"):
        Ledger.open(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone()[0] == 1


def dies_at(monkeypatch: pytest.MonkeyPatch, words: str, path: str) -> None:
    """Open the ledger, and die before a statement with these words."""

    class Doomed(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if words in sql:
                raise KeyboardInterrupt
            return super().execute(sql, *args)

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Doomed))
        with pytest.raises(KeyboardInterrupt):
            Ledger.open(path)


def test_an_older_ledger_is_brought_up_to_date_whole_or_not_at_all(path: str, monkeypatch: pytest.MonkeyPatch):
    """A crash after the first step of two leaves the old schema: the next copy must not hold half of the new one."""
    with older(path):
        pass
    dies_at(monkeypatch, "add column last_error_at", path)
    with closing(sqlite3.connect(path)) as db:
        assert "unheard" not in {row[1] for row in db.execute("pragma table_info(jobs)")}
    a_ledger(path)


def test_a_crash_while_the_ledger_is_made_is_no_end(path: str, monkeypatch: pytest.MonkeyPatch):
    """Half a schema is none: the next start makes the whole of it."""
    dies_at(monkeypatch, "create table events", path)
    a_ledger(path)


def schema_of(path: str) -> list[tuple[str | None, ...]]:
    """Every table, index and view, as SQLite was told of it; names may be quoted in the one and not in the other."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("select type, name, tbl_name, replace(sql, '\"', '') from sqlite_master order by type, name")
        return [(*row[:3], row[3] and _spaced(row[3])) for row in rows if "fts" not in row[1]]


def _spaced(statement: str) -> str:
    """The statement with single blanks, in lower case; a column that was added stands behind a line's end."""
    return " ".join(statement.lower().split()).replace(" ,", ",").replace(" )", ")")


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_an_older_ledger_becomes_what_a_new_one_is(path: str, tmp_path: Path, version: int):
    """Whatever step it begins with, no column, check, index or view is missing in the end, and none is left over."""
    with older(path, version):
        pass
    new = str(tmp_path / "new.db")
    for each in (path, new):
        Ledger.open(each).close()
    assert schema_of(path) == schema_of(new)


def test_there_is_no_ledger_yet(path: str):
    """Who reads before the daemon ever ran is told to start it, and nothing is made."""
    with pytest.raises(LedgerMissing, match="there is no ledger") as caught:
        Reader.open(path)
    assert "finetuned run" in caught.value.remedy
    assert not os.path.exists(path)


def test_a_reader_beside_the_writer(path: str):
    """Who reads sees each commit, and can change nothing."""
    with Ledger.open(path) as ledger, Reader.open(path) as reader:
        assert list(reader.files()) == []
        Life(ledger).settles("/srv/notes/a.txt")
        assert [row["path"] for row in reader.files()] == ["/srv/notes/a.txt"]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.connection.execute("delete from files")
        with ledger.together():
            assert len(list(reader.files())) == 1


def test_a_copy_on_a_read_only_disk(path: str, monkeypatch: pytest.MonkeyPatch):
    """Where no side file can be made, a copy without a journal is opened as one that nobody changes."""
    a_ledger(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma journal_mode = wal")
    for side in SIDES:
        assert not os.path.exists(path + side)
    connect = sqlite3.connect
    tried: list[str] = []

    def on_a_read_only_disk(address: str, **words: object) -> sqlite3.Connection:
        tried.append(address)
        if "immutable" not in address:  # what SQLite says where it can make no -shm; root could, in any folder
            raise sqlite3.OperationalError("unable to open database file")
        return connect(address, **words)

    monkeypatch.setattr(sqlite3, "connect", on_a_read_only_disk)
    with Reader.open(path) as reader:
        assert len(list(reader.files())) == 1
    assert len(tried) == 2
    Path(f"{path}-wal").touch()
    with pytest.raises(LedgerError, match="cannot be read"):
        Reader.open(path)


@pytest.mark.parametrize("name", ["a?b#c.db", "50%.db", "ünï cödé.db"])
def test_a_ledger_by_any_name(tmp_path, name: str):
    """What a URI would read as something else is only a name."""
    path = str(tmp_path / name)
    a_ledger(path)
    with Reader.open(path) as reader:
        assert len(list(reader.files())) == 1


def test_a_ledger_by_a_name_that_is_not_utf8(tmp_path):
    """Names are bytes, the ledger's own, too."""
    path = str(tmp_path / "\udcff.db")
    a_ledger(path)
    with Reader.open(path) as reader:
        assert len(list(reader.files())) == 1


def test_a_ledger_of_the_first_version_is_brought_up_to_date(path: str):
    """What it holds stays; sessions whose pairs are there count as collected, the others do not."""
    with older(path) as db:
        db.execute(
            "insert into jobs (id, folder, state, reason, files, bytes, attempt, claimed_at, created_at, finished_at) "
            "values ('j', 'notes', 'failed', 'why', 0, 0, 2, ?, ?, ?)",
            ["2026-11-28T00:00:00Z"] * 3,
        )
        db.executemany(
            "insert into sessions (job_id, attempt, marker, state, session_id, url, dialect, intent_at, ended_at) "
            "values ('j', ?, ?, 'ended', ?, 'http://helix.test', 'form', '2026', '2026')",
            [(1, "j.1", "s-1"), (2, "j.2", "s-2")],
        )
        db.execute(
            "insert into qa_pairs (job_id, session_id, ordinal, question, answer, raw_question, raw_answer) "
            "values ('j', 's-1', 1, 'q', 'a', 'q', 'a')"
        )
        db.execute(A_SERVER)
    with Ledger.open(path) as ledger:
        held = asked(ledger, "select session_id, pairs, read_only from sessions order by id")
        assert [tuple(row) for row in held] == [("s-1", 1, 0), ("s-2", None, 0)]
        with pytest.raises(LedgerError, match="CHECK constraint failed"):
            asked(ledger, "update sessions set read_only = 1, discard = 1")
        job = ledger.jobs.get("j")
        server = ledger.servers.get("http://helix.test")
    assert job is not None
    assert (job.unheard, server.max_chunks, server.max_request) == (0, 5, None)
    with Ledger.open(path) as ledger:  # what the third version tells and counts
        ledger.folders.found("notes", "/srv/notes", "watched", 0.0)
        ledger.daemon.started(pid=1, version="1", now=0.0, configuration="{}")
        ledger.servers.paused("http://helix.test", "down", next_try_at=9.0, reachable=False, now=0.0)
        assert ledger.folders.all()["notes"].sent_at is None
    with Reader.open(path) as reader:
        assert reader.schema_version() == SCHEMA_VERSION
    assert Path(f"{path}.v1.backup").exists()


def test_a_ledger_of_the_first_version_is_read_as_it_is(path: str):
    """`status` before the new daemon's first start: what that version did not know is null."""
    with older(path) as db:
        db.execute(A_SERVER)
        db.execute(
            "insert into jobs (id, folder, state, files, bytes, created_at) "
            "values ('j', 'notes', 'queued', 0, 0, '2026-11-28T00:00:00Z')"
        )
        db.execute(
            "insert into sessions (job_id, attempt, marker, state, url, dialect, intent_at) "
            "values ('j', 1, 'j.1', 'intended', 'http://helix.test', 'form', '2026')"
        )
        db.commit()
    with Reader.open(path) as reader:
        (session,) = (reader.job("j") or {})["sessions"]
        assert (session["marker"], session["read_only"]) == ("j.1", False)
        told = reader.server("http://helix.test")
    assert (told["max_chunks"], told["max_request"]) == (5, None)


def test_what_an_older_ledger_learned_is_known_again(path: str):
    """By the bytes that were sent, as ever; and by its text, if that had LF and one newline at its end."""
    raw, other = b"Otters.\nThey swim.\n", b"Otters.\r\nThey dive.\r\n"
    hashes = [hashlib.sha256(one).hexdigest() for one in (raw, other)]
    with older(path, 3) as db:
        times = ["2026-11-28T00:00:00Z"] * 3
        db.executemany(
            "insert into jobs (id, folder, state, files, bytes, pairs, attempt, claimed_at, created_at, finished_at, "
            "session_id, lora_dir) values (?, 'notes', 'done', 1, 1, 1, 1, ?, ?, ?, ?, 'lora')",
            [("j1", *times, "s-1"), ("j2", *times, "s-2"), ("j3", *times, "s-3")],
        )
        db.executemany(
            "insert into sessions (job_id, attempt, marker, state, session_id, url, dialect, intent_at, ended_at) "
            "values (?, 1, ?, 'trained', ?, 'http://helix.test', 'form', '2026', '2026')",
            [("j1", "j1.1", "s-1"), ("j2", "j2.1", "s-2"), ("j3", "j3.1", "s-3")],
        )
        db.executemany(
            "insert into files (folder, path, location, state, sha256, bytes, sent_bytes, job_id, upload_name, "
            "seen_at, finished_at, pairs) values ('notes', ?, ?, 'learned', ?, 9, 9, ?, 'u', '2026', '2026', 1)",
            [("/1", "/d/1", hashes[0], "j1"), ("/2", "/d/2", hashes[1], "j2"), ("/3", "/d/3", "c" * 64, "j3")],
        )
        db.execute(
            "insert into events (at, subject, subject_id, became) values ('2026-11-28T01:00:00Z', 'session', 's-3', "
            "'removed')"
        )
        db.commit()
    known = {}
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        for name, sha256, text in (
            ("same", hashes[0], hashes[0]),
            ("crlf", "d" * 64, hashes[0]),
            ("sent", hashes[1], "e" * 64),
            ("gone", "c" * 64, "c" * 64),
        ):
            file = life.settles(f"/srv/notes/{name}")
            read = Content(sha256=sha256, text_sha256=text, bytes=9, sent_bytes=9)
            ledger.files.settled([(file, signature(), read)], life.now())
            known[file.id] = name
        learned = {known[file.id]: file.learned_by for file in ledger.files.waiting({"notes": "http://helix.test"})}
        elsewhere = {file.learned_by for file in ledger.files.waiting({"notes": "http://other.test"})}
    assert learned == {"same": "/1", "crlf": "/1", "sent": "/2", "gone": None}
    assert elsewhere == {None}


def test_a_ledger_of_the_third_version_is_read_as_it_is(path: str):
    """`job` and `why` before the new daemon's first start."""
    with older(path, 3) as db:
        db.execute(
            "insert into jobs (id, folder, state, files, bytes, attempt, created_at) "
            "values ('j', 'notes', 'queued', 0, 0, 1, '2026')"
        )
        db.execute(
            "insert into sessions (job_id, attempt, marker, state, url, dialect, intent_at) "
            "values ('j', 1, 'j.1', 'intended', 'http://helix.test', 'form', '2026')"
        )
        db.commit()
    with Reader.open(path) as reader:
        (session,) = (reader.job("j") or {})["sessions"]
        assert (session["marker"], session["removed_at"]) == ("j.1", None)
        assert reader.of_content({"a" * 64}) == []


def damaged(path: str, *, times: bool) -> None:
    """Tear a page of the ledger as a failing disk does; its times tell nothing of it if `times` are put back."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(4096 * 5)
        file.write(b"\xa5" * 4096 * 3)
    if times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def aged(path: str) -> None:
    """Make as if the ledger had been stopped, or left by a kill, ten seconds ago."""
    left = os.stat(path).st_mtime_ns
    ago = left - 10_000_000_000
    os.utime(path, ns=(ago, ago))
    lock = Path(f"{path}.lock")
    lock.write_text(lock.read_text().replace(str(left), str(ago)))


def killed(path: str) -> None:
    """Open the ledger, and end without closing it."""
    words = "import os, sys; from finetuned.ledger.writer import Ledger; kept = Ledger.open(sys.argv[1]); os._exit(0)"
    subprocess.run([sys.executable, "-c", words, path], check=True)
    assert os.path.exists(f"{path}-wal")


def rebooted(path: str) -> None:
    """Make as if the machine had begun anew since."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    lock = Path(f"{path}.lock")
    note = lock.read_text()
    assert boot in note
    lock.write_text(note.replace(boot, "0" * len(boot)))


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_ledger_that_lies_as_it_was_left_is_not_read_through_again(path: str, how: str) -> None:
    """A start takes no longer for a large one, not even after a kill; what it reads is checked all the same."""
    Ledger.open(path).close()
    if how == "killed":
        killed(path)
    aged(path)
    damaged(path, times=True)
    Ledger.open(path).close()


@pytest.mark.parametrize("how", ["changed", "cut off", "copied", "just now"])
def test_a_ledger_that_may_have_changed_is_read_through(path: str, how: str) -> None:
    """Its times differ, the machine stopped with the daemon, it is another file, or it was left in this very moment."""
    Ledger.open(path).close()
    if how == "cut off":
        killed(path)
    aged(path)
    if how == "cut off":
        rebooted(path)
    if how == "copied":
        shutil.copy2(path, f"{path}.copy")
        os.replace(f"{path}.copy", path)
    if how == "just now":
        Ledger.open(path).close()
    damaged(path, times=how != "changed")
    with pytest.raises(LedgerError, match="it is corrupt"):
        Ledger.open(path)
