"""Old events go from the ledger in pieces, and what is left free of the file goes back to the disk."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.ledger.retention import RESERVE, SHRUNK, WINDOW
from finetuned.ledger.writer import Ledger
from support.lives import NOW, asked

DAY = 86_400.0
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the ledger lies."""
    return str(tmp_path / "ledger.db")


def fill(ledger: Ledger, count: int) -> None:
    """Write so many answers to requests."""
    with ledger.together():
        for number in range(count):
            ledger.events.answered(f"r{number}", verb="flush", done=True, words="x" * 1000, now=NOW)


def forget_all(ledger: Ledger) -> int:
    """Remove every event that is useless; how many pieces it took."""
    after: int | None = 0
    for pieces in range(1000):
        after = ledger.retention.forget_events(after or 0, NOW + DAY, None)
        if after is None:
            return pieces
    raise AssertionError


def test_events_go_in_pieces_of_bounded_size(path: str) -> None:
    """But the newest of all, whose number must not be given again."""
    with Ledger.open(path) as ledger:
        fill(ledger, 3 * WINDOW)
        assert ledger.retention.forget_events(0, NOW - DAY, None) is None
        assert ledger.retention.forget_events(0, NOW + DAY, 1) is None
        assert len(ledger.events.since(0)) == 3 * WINDOW
        assert forget_all(ledger) == 3
        (left,) = ledger.events.since(0)
        assert left["id"] == 3 * WINDOW
        assert ledger.retention.forget_events(left["id"], NOW + DAY, None) is None


def test_events_go_when_they_are_old_enough_however_few_are_at_a_time(path: str) -> None:
    """What is too young today, or still to be heard, goes on another day, of a daemon that runs on."""
    with Ledger.open(path) as ledger:
        for day in range(10):
            ledger.events.answered(f"r{day}", verb="flush", done=True, words="x", now=NOW + day * DAY)
        after = ledger.retention.forget_events(0, NOW + 4.5 * DAY, 4)
        assert [event["id"] for event in ledger.events.since(0)] == [4, 5, 6, 7, 8, 9, 10]
        after = ledger.retention.forget_events(after or 0, NOW + 4.5 * DAY, None)
        assert [event["id"] for event in ledger.events.since(0)] == [6, 7, 8, 9, 10]
        ledger.retention.forget_events(after or 0, NOW + 20 * DAY, None)
        assert [event["id"] for event in ledger.events.since(0)] == [10]


def test_the_file_becomes_smaller_but_for_a_reserve(path: str) -> None:
    """A piece at a time; then there is nothing to do."""
    with Ledger.open(path) as ledger:
        fill(ledger, 4 * RESERVE * PAGE // 1000)
        ledger.fold()
        before = os.stat(path).st_size
        assert not ledger.retention.shrink()
        forget_all(ledger)
        pieces = 0
        while ledger.retention.shrink():
            pieces += 1
        ledger.fold()
        assert pieces >= 4
        assert before - os.stat(path).st_size >= pieces * SHRUNK * PAGE
        assert RESERVE <= asked(ledger, "pragma freelist_count")[0][0] < RESERVE + SHRUNK
        assert asked(ledger, "pragma quick_check")[0][0] == "ok"


def test_a_ledger_that_was_made_otherwise_keeps_its_size(path: str) -> None:
    """As those of earlier versions; it is used as ever."""
    Ledger.open(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("pragma auto_vacuum = none")
        db.execute("vacuum")
    with Ledger.open(path) as ledger:
        fill(ledger, 4 * RESERVE * PAGE // 1000)
        forget_all(ledger)
        assert not ledger.retention.shrink()
