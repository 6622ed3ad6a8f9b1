"""The ledger in figures, read beside the daemon."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from finetuned.errors import LedgerMissing
from finetuned.ledger.measures import measure, sizes
from finetuned.ledger.writer import Ledger
from support.lives import URL, Life


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """A daemon has started; one job has trained, one waits, and so does a file."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        life = Life(ledger)
        life.settles("/srv/notes/before.txt")
        ledger.daemon.started(pid=7, version="test", now=life.now())
        ledger.folders.found("notes", "/srv/notes", "watched", life.now())
        life.trains(life.runs(life.claims(life.waits("/srv/notes/a.txt"), job_id="done")))
        life.seals(life.waits("/srv/notes/b.txt"), job_id="queued")
        life.waits("/srv/other/c.txt", folder="other")
        yield life


def test_what_there_is_is_counted_by_folder_and_state(life: Life) -> None:
    """Files, jobs, pairs of what trained, and since when the oldest file waits."""
    found = measure(life.ledger.path, [URL])
    assert found.files == {
        ("notes", "settling"): 1,
        ("notes", "learned"): 1,
        ("notes", "packed"): 1,
        ("other", "waiting"): 1,
    }
    assert found.jobs == {("notes", "done"): 1, ("notes", "queued"): 1}
    assert found.pairs == {"notes": 2}
    assert set(found.oldest) == {"other"}
    assert found.folders == {"notes": "watched"}


def test_what_happened_is_counted_since_the_start(life: Life) -> None:
    """And after that since the last time: no event counts twice, none is lost."""
    first = measure(life.ledger.path, [URL])
    assert first.events["file", "appeared"] == 3
    assert first.ended == {("notes", "done"): 1}
    again = measure(life.ledger.path, [URL], since=first.last)
    assert (again.events, again.ended, again.last) == ({}, {}, first.last)
    life.settles("/srv/notes/d.txt")
    third = measure(life.ledger.path, [URL], since=first.last)
    assert third.events == {("file", "appeared"): 1}
    assert measure(life.ledger.path, [URL]).events["file", "appeared"] == 4


def test_what_happened_is_found_by_its_number(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitoring asks every few seconds: what ever became of jobs is not gone through each time."""
    said: list[str] = []
    real = sqlite3.connect

    def connect(*args: Any, **words: Any) -> sqlite3.Connection:
        db = real(*args, **words)
        db.set_trace_callback(said.append)
        return db

    monkeypatch.setattr(sqlite3, "connect", connect)
    measure(life.ledger.path, [URL], since=1)
    with life.ledger.reading() as reader:
        plans = [
            next(reader.connection.execute(f"explain query plan {text}"))["detail"]
            for text in said
            if " from events " in text and "id <=" in text
        ]
    assert len(plans) == 2
    assert all(plan.endswith("USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)") for plan in plans), plans


def test_what_somebody_wrote_into_a_request_is_no_label(life: Life) -> None:
    """The verb of a request is its event's cause: a label has only the values that we know."""
    life.ledger.events.answered("r1", verb="x" * 50, done=False, words="no such verb", now=life.now())
    assert all(len(cause) < 20 for _, cause in measure(life.ledger.path, [URL]).events)


def test_the_server_and_the_folders_are_told(life: Life) -> None:
    """Not asked yet, paused and not reached, usable; away, paused by a person."""
    url = "http://other"
    found = measure(life.ledger.path, [url])
    assert (found.paused, found.reachable, found.max_sessions) == (False, None, {})
    life.ledger.servers.paused(url, "no connection", next_try_at=life.now(), reachable=False, now=life.now())
    life.ledger.servers.sessions_allowed(url, 2, life.now())
    life.ledger.folders.found("notes", "/srv/notes", "away", life.now())
    found = measure(life.ledger.path, [url])
    assert (found.paused, found.reachable, found.max_sessions) == (True, False, {url: 2})
    assert found.folders == {"notes": "away"}
    life.ledger.folders.found("notes", "/srv/notes", "watched", life.now())
    life.ledger.folders.pause("notes", life.now())
    assert measure(life.ledger.path, [url]).folders == {"notes": "paused"}


def test_hooks_are_told_by_name(life: Life) -> None:
    """What each is still to hear, and whether it fails; one that no daemon has used is left out."""
    on = ["job_done"]
    life.ledger.hooks.begin({"key": on}, life.now())
    life.trains(life.runs(life.claims(life.waits("/srv/notes/e.txt", "other"), job_id="second"), "ses-2"))
    hooks = {"hook 1 (mail)": ("key", on), "hook 2 (new)": ("new", on)}
    found = measure(life.ledger.path, [URL], hooks=hooks).hooks
    assert {name: (hook.waiting, hook.failing) for name, hook in found.items()} == {"hook 1 (mail)": (1, False)}
    life.ledger.hooks.failed("key", "hook 1 (mail)", "it hangs", due_at=life.now(), now=life.now())
    assert measure(life.ledger.path, [URL], hooks=hooks).hooks["hook 1 (mail)"].failing


def test_the_sizes_are_those_of_file_and_log(life: Life, tmp_path: Path) -> None:
    """A log that is not there has no bytes; a ledger that is not there is an error."""
    path = Path(life.ledger.path)
    assert sizes(str(path)) == (path.stat().st_size, path.with_name("ledger.db-wal").stat().st_size)
    alone = tmp_path / "alone.db"
    alone.write_bytes(b"x" * 10)
    assert sizes(str(alone)) == (10, 0)
    with pytest.raises(LedgerMissing):
        sizes(str(tmp_path / "none.db"))
