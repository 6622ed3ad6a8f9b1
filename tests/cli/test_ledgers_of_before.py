"""Ledgers of an older release, left in every state or in the middle of one: nothing in them gets lost or changes.

How they were made is told in `tests/ledgers/make.py`.
"""
# ruff: noqa: S608 - the names in the queries are our own

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from finetuned.ledger.audit import audit
from finetuned.ledger.queries import Reader
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.ledger.writer import Ledger
from finetuned.lifecycle import FileState, JobState, SessionState
from support.older import ARCHIVES, CASES, OlderLedger

#: by table what tells its rows apart
KEYS: Final = dict.fromkeys(("jobs", "files", "sessions", "qa_pairs", "events", "daemon"), "id") | {
    "interactions": "session_id || id",
    "servers": "url",
    "folders": "name",
    "again": "folder || sha256",
}
_ATTEMPT: Final = "from jobs j join sessions s on s.job_id = j.id and s.current"
_OPEN: Final = "state in ('intended', 'live')"
_SHOWN: Final = "stage progress pairs attempt restarts session_id lora_dir submitted_at due_at"
#: what counts while an attempt is open, and was left behind at its end
PASSING: Final = {
    f"jobs.{name}": f"select id, {name} from jobs where state in ('submitting', 'doubtful', 'running', 'review')"
    for name in ("moved_at", "missing_since")
}
#: by `table.column` of version 5 where its content is now, if it is not there any more: key and value
MOVED: Final = {
    **{f"jobs.{name}": f"select id, {name} from all_jobs" for name in _SHOWN.split()},
    **{f"jobs.{name}": f"select j.id, s.{name} {_ATTEMPT}" for name in ("retrained", "requeued")},
    **{name: f"select j.id, s.{name.partition('.')[2]} {_ATTEMPT} and s.{_OPEN}" for name in PASSING},
    "jobs.group": "select id, batch_group from jobs",
    "jobs.nudges": f"select j.id, s.kicks {_ATTEMPT}",
    "jobs.wish": "select id, requested from jobs",
    "jobs.tries": "select id, tries + (select coalesce(sum(tries + misses), 0) from sessions "
    f"where job_id = jobs.id and {_OPEN}) from jobs",
    "jobs.put_away": "select id, archived from jobs",
    "files.group": "select id, batch_group from files",
    "files.put_away": "select id, archived from files",
    "sessions.marker": "select id, job_id || '.' || attempt from sessions",
    "sessions.entity_id": "select id, upload_id from sessions",
    "sessions.due_at": f"select id, due_at from sessions where not {_OPEN}",
    "sessions.tries": f"select id, tries from sessions where not {_OPEN}",
    "again.folder": "select folder || sha256, folder from relearn",
    "again.sha256": "select folder || sha256, sha256 from relearn",
}
#: what is known otherwise, or to nobody's use
GONE: Final = {"sessions.asked_id"}


@pytest.mark.parametrize("archive", CASES)
def test_it_is_read_as_it_lies(archive: Path, tmp_path: Path) -> None:
    """Commands print what the older release printed, before any daemon has brought the ledger up to date."""
    older = OlderLedger(archive, tmp_path)
    assert older.answers() == older.said


@pytest.mark.parametrize("archive", CASES)
def test_once_it_is_opened_it_says_the_same(archive: Path, tmp_path: Path) -> None:
    """A daemon that opens it brings it up to date: it is whole, and commands print what they printed before."""
    older = OlderLedger(archive, tmp_path)
    Ledger.open(older.path).close()
    with Reader.open(older.path) as reader:
        assert reader.schema_version() == SCHEMA_VERSION
        assert audit(reader.connection) == []
    assert older.answers() == older.said


def test_it_can_become_smaller_once_it_was_written_anew(tmp_path: Path) -> None:
    """By the line that the page `files` tells."""
    older = OlderLedger(next(path for path in ARCHIVES if path.name.startswith("many-jobs.")), tmp_path)
    Ledger.open(older.path).close()
    with closing(sqlite3.connect(older.path)) as db:
        assert db.execute("pragma auto_vacuum").fetchone()[0] == 0
        db.executescript("pragma auto_vacuum = incremental; vacuum")
        assert db.execute("pragma auto_vacuum").fetchone()[0] == 2
    with Reader.open(older.path) as reader:
        assert audit(reader.connection) == []


def test_a_ledger_that_an_older_daemon_uses(tmp_path: Path) -> None:
    """What its files wait for is not told by rules that it does not know; that it is older needs a person."""
    older = OlderLedger(next(path for path in ARCHIVES if path.name.startswith("running.")), tmp_path)
    lock = os.open(f"{older.path}.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = older.asked("why", older.said["files"][0]["path"], "--json")
        needs = older.asked("status", "--json")["attention"]
    finally:
        os.close(lock)
    assert [need["remedy"] for need in needs] == ["restart it to have the version that is installed"]
    assert told["waits_for"].startswith("a daemon of this version")


def test_doctor_tells_an_older_ledger_from_a_broken_one(tmp_path: Path) -> None:
    """Between the upgrade and the daemon's next start it is sound, and only not up to date."""
    older = OlderLedger(next(path for path in ARCHIVES if path.name.startswith("done.")), tmp_path)
    (told,) = [row for row in older.asked("doctor", "--json") if "schema" in row["words"]]
    assert (told["level"], told["subject"]) == ("warning", "ledger")
    assert "(schema 5)" in told["words"]
    assert "keeps a backup" in told["remedy"]


def test_what_was_learned_of_a_file_is_forgotten_although_its_session_is_only_read(tmp_path: Path) -> None:
    """The pairs go; the session stays, which only a note told of."""
    older = OlderLedger(next(path for path in ARCHIVES if path.name.startswith("adopted-done.")), tmp_path)
    with Ledger.open(older.path) as ledger:
        job = next(job for row in older.said["jobs"] if (job := ledger.jobs.get(row["id"])) and job.noted)
        for file in ledger.jobs.files(job.id):
            ledger.requests.forget(file, ledger.jobs.get(job.id), 1_795_411_391.0)
        assert ledger.attempts.to_discard() == []
    with Reader.open(older.path) as reader:
        assert audit(reader.connection) == []
        assert list(reader.pairs(job=job.id)) == []


def held(path: str, queries: dict[str, str]) -> dict[str, dict[Any, Any]]:
    """By name, what each query finds: by key the value, if there is any."""
    with closing(sqlite3.connect(path)) as db:
        return {name: {key: value for key, value in db.execute(query) if value} for name, query in queries.items()}


def columns(path: str) -> dict[str, str]:
    """By `table.column` the query for what it holds in each row."""
    with closing(sqlite3.connect(path)) as db:
        return {
            f"{table}.{column}": f'select {key}, "{column}" from {table}'
            for table, key in KEYS.items()
            for (column,) in db.execute("select name from pragma_table_info(?)", (table,))
        }


@pytest.mark.parametrize("archive", CASES)
def test_no_column_loses_what_it_held(archive: Path, tmp_path: Path) -> None:
    """What no command prints, such as when something is due, is kept, too."""
    older = OlderLedger(archive, tmp_path)
    queries = {name: query for name, query in columns(older.path).items() if name not in GONE} | PASSING
    before = held(older.path, queries)
    Ledger.open(older.path).close()
    assert held(older.path, queries | MOVED) == before


def test_every_state_is_among_them(tmp_path: Path) -> None:
    """A state that no older ledger holds would be brought up to date untried."""
    found: dict[str, set[str]] = {"files": set(), "jobs": set(), "sessions": set()}
    for number, archive in enumerate(ARCHIVES):
        older = OlderLedger(archive, tmp_path / str(number))
        with closing(sqlite3.connect(older.path)) as db:
            for table, states in found.items():
                states.update(state for (state,) in db.execute(f"select state from {table}"))
    assert found == {"files": set(FileState), "jobs": set(JobState), "sessions": set(SessionState)}
