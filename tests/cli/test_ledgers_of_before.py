"""Ledgers of an older release, left in every state or in the middle of one: nothing in them gets lost or changes.

How they were made is told in `tests/ledgers/make.py`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.ledger import Ledger, Reader, audit
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.lifecycle import FileState, JobState, SessionState
from support.older import ARCHIVES, CASES, OlderLedger


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


def test_a_ledger_that_an_older_daemon_uses(tmp_path: Path) -> None:
    """What its files wait for is not told by rules that it does not know."""
    older = OlderLedger(next(path for path in ARCHIVES if path.name.startswith("running.")), tmp_path)
    lock = os.open(f"{older.path}.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = older.asked("why", older.said["files"][0]["path"], "--json")
    finally:
        os.close(lock)
    assert told["waits_for"].startswith("a daemon of this version")


def test_every_state_is_among_them(tmp_path: Path) -> None:
    """A state that no older ledger holds would be brought up to date untried."""
    found: dict[str, set[str]] = {"files": set(), "jobs": set(), "sessions": set()}
    for number, archive in enumerate(ARCHIVES):
        older = OlderLedger(archive, tmp_path / str(number))
        with closing(sqlite3.connect(older.path)) as db:
            for table, states in found.items():
                states.update(state for (state,) in db.execute(f"select state from {table}"))  # noqa: S608
    assert found == {"files": set(FileState), "jobs": set(JobState), "sessions": set(SessionState)}
