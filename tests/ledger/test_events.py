"""Events: in order of time as they are in order of id, whatever the clock does."""

from __future__ import annotations

from contextlib import closing

from finetuned.ledger.writer import Ledger
from finetuned.lifecycle import Cause
from finetuned.times import iso
from support.lives import NOW, URL, Life
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


def test_what_one_server_takes_says_nothing_of_another(tmp_path):
    """Jobs that were halved in vain are counted for each by itself, since it took one the last time."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        life, halved = Life(ledger), ledger.events.halved_in_vain
        for number in range(2):
            files = [life.waits(f"/srv/notes/{number}{name}.txt") for name in "ab"]
            job = life.begins(life.claims(*files, job_id=f"n-{number}"))
            first, second = life.packed(job)
            parts = {f"n-{number}1": [first], f"n-{number}2": [second]}
            assert ledger.batches.split(job, parts, "no", life.now(), cause=Cause.REFUSED)
        life.runs(life.claims(life.waits("/srv/notes/c.txt"), job_id="n-3"), url="local")
        assert (halved(URL), halved("local")) == (2, 0)
        life.runs(life.claims(life.waits("/srv/notes/d.txt"), job_id="n-4"), "ses-2")
        assert (halved(URL), halved("local")) == (0, 0)
