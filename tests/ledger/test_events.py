"""Events: in order of time as they are in order of id, whatever the clock does."""

from __future__ import annotations

from contextlib import closing

from finetuned.ledger.writer import Ledger
from finetuned.times import iso
from support.lives import NOW
from support.older import of_schema


def times(ledger: Ledger) -> list[str]:
    """When each event happened, in order of id."""
    with ledger.reading() as reader:
        return [event["at"] for event in reader.events()]


def test_what_was_read_from_the_clock_first_may_be_written_last(tmp_path):
    """A time is read before its transaction has its turn; and a clock may be set back by years."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        for name, now in (("a", NOW + 1), ("b", NOW), ("c", NOW - 1e8), ("d", NOW + 2)):
            ledger.folders.found(name, f"/{name}", "watched", now)
        assert times(ledger) == [iso(NOW + 1), iso(NOW + 1), iso(NOW + 1), iso(NOW + 2)]


def test_what_an_older_version_wrote_stays_as_it_was_told(tmp_path):
    """Its events may be out of order: nothing of what was is written anew, and what is new comes after it."""
    path = str(tmp_path / "ledger.db")
    with closing(of_schema(5, path)) as db, db:
        db.executemany(
            "insert into events (at, subject, subject_id, became) values (?, 'folder', 'a', 'away')",
            [(iso(NOW + second),) for second in (5, 3)],
        )
    with Ledger.open(path) as ledger:
        ledger.folders.found("b", "/b", "watched", NOW)
        assert times(ledger) == [iso(NOW + second) for second in (5, 3, 3)]
