"""Figures about the files that came to an end, on a ledger whose times are known."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.ledger.opening import connect_to_read
from finetuned.ledger.queries import Reader
from finetuned.ledger.queries.statistics import Failure, Recalled, Spans, Statistics, statistics
from finetuned.ledger.questions import QUESTIONS, Searches
from finetuned.ledger.writer import Ledger
from finetuned.model import File
from finetuned.times import instant
from support.lives import Life

SUNDAY, MONDAY = "2026-11-22T23:59:59.500Z", "2026-11-23T00:00:00.000Z"


class Past:
    """A ledger whose files came to their ends at known times."""

    def __init__(self, ledger: Ledger) -> None:
        self.life = Life(ledger)

    def learned(self, name: str, *, seen: str, sent: str, ended: str, folder: str = "notes") -> None:
        """A file of a job of its own was learned, and taught two pairs."""
        file = self.life.waits(f"/srv/{folder}/{name}", folder=folder)
        self.life.trains(self.life.runs(self.life.claims(file, job_id=f"{folder}-{name}"), f"ses-{name}"))
        self._at(file, seen, ended)
        self.write("update sessions set intent_at = ? where session_id = ?", sent, f"ses-{name}")
        self.write("update jobs set finished_at = ? where id = ?", ended, f"{folder}-{name}")

    def refused(self, name: str, reason: str, *, ended: str) -> None:
        """A file was refused."""
        file = self.life.settles(f"/srv/notes/{name}")
        self.write(
            "update files set state = 'refused', reason = ?, finished_at = ? where id = ?", reason, ended, file.id
        )

    def figures(self, **which: object) -> Statistics:
        """What is told of it."""
        with Reader.open(self.life.ledger.path) as reader:
            return statistics(reader, **which)  # type: ignore[arg-type]

    def _at(self, file: File, seen: str, ended: str) -> None:
        self.write("update files set seen_at = ?, finished_at = ? where id = ?", seen, ended, file.id)

    def write(self, statement: str, *values: object) -> None:
        """Change the ledger by hand."""
        with closing(sqlite3.connect(self.life.ledger.path)) as db, db:
            db.execute(statement, values)


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    """A ledger with nothing in it."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield Past(ledger)


def test_files_are_counted_where_and_when_they_came_to_an_end(past: Past) -> None:
    """By folder, and by the week of their end, which begins on Monday; a file on its way counts nowhere."""
    past.learned("a.txt", seen="2026-11-20T00:00:00.000Z", sent="2026-11-21T00:00:00.000Z", ended=SUNDAY)
    past.learned("bb.txt", seen=SUNDAY, sent=SUNDAY, ended=MONDAY, folder="other")
    past.refused("c.txt", "it is empty", ended=MONDAY)
    past.life.settles("/srv/notes/on-its-way.txt")
    found = past.figures()
    assert (found.total.files, found.total.states["learned"], found.total.states["refused"]) == (3, 2, 1)
    assert {name: figures.files for name, figures in found.folders.items()} == {"notes": 2, "other": 1}
    assert {week: figures.files for week, figures in found.weeks.items()} == {"2026-11-16": 1, "2026-11-23": 2}
    assert (found.total.pairs, found.total.pairs_per_file) == (4, 2.0)
    assert found.total.bytes == len("/srv/notes/a.txt") + len("/srv/other/bb.txt")


def test_times_are_those_of_the_way_from_the_drop_to_the_end(past: Past) -> None:
    """Half and 95 percent of the files by nearest rank: values that were seen, of twenty the tenth and nineteenth."""
    for second in range(1, 21):
        sent = f"2026-11-23T00:01:{second:02d}.000Z"
        past.learned(f"{second}.txt", seen="2026-11-23T00:01:00.000Z", sent=sent, ended="2026-11-23T00:02:00.000Z")
    total = past.figures().total
    assert (total.learned.p50, total.learned.p95) == (pytest.approx(60.0, abs=0.001), pytest.approx(60.0, abs=0.001))
    assert (total.waiting.p50, total.waiting.p95) == (pytest.approx(10.0, abs=0.001), pytest.approx(19.0, abs=0.001))
    assert (total.server.p50, total.server.p95) == (pytest.approx(49.0, abs=0.001), pytest.approx(58.0, abs=0.001))


def test_a_clock_that_was_set_back_takes_no_time(past: Past) -> None:
    """No span of time is less than none."""
    past.learned("a.txt", seen=MONDAY, sent=SUNDAY, ended=SUNDAY)
    assert past.figures().total.waiting == Spans(p50=0.0, p95=0.0)


def test_recall_is_the_mean_of_files_and_new_questions_count(past: Past) -> None:
    """A file that was asked only what it was taught counts by that; one that was not asked counts nowhere."""
    names = ("a.txt", "b.txt", "c.txt")
    for name in names:
        past.learned(name, seen=SUNDAY, sent=SUNDAY, ended=SUNDAY)
    write = "insert into recalls (file_id, held_out, questions, untuned, tuned) select id, ?, ?, ?, ? from files "
    for name, *told in (("a.txt", 1, 2, 0.0, 0.5), ("a.txt", 0, 2, 0.5, 1.0), ("b.txt", 0, 1, 0.25, 1.0)):
        past.write(f"{write} where path = ?", *told, f"/srv/notes/{name}")
    assert past.figures().total.recalled == Recalled(files=2, untuned=0.125, tuned=0.75)
    assert past.figures(folder="other").total.recalled is None


def test_of_nothing_there_is_no_time(past: Past) -> None:
    """An empty ledger has figures, too: none, and not zero seconds."""
    total = past.figures().total
    assert (total.files, total.pairs_per_file, total.learned) == (0, None, Spans(p50=None, p95=None))
    assert past.figures().failures == []


def test_reasons_that_say_the_same_are_one(past: Past) -> None:
    """Names, numbers and bytes in them do not make another failure; the most frequent comes first."""
    past.refused("a.txt", "it is empty", ended=SUNDAY)
    past.refused("b.txt", "not UTF-8: byte 0xe8 at offset 2 (line 1)", ended=SUNDAY)
    past.refused("c.txt", "not UTF-8: byte 0xc3 at offset 1,017 (line 12)", ended=MONDAY)
    assert past.figures().failures == [
        Failure(state="refused", reason="not UTF-8: byte … at offset … (line …)", files=2, last_at=MONDAY),
        Failure(state="refused", reason="it is empty", files=1, last_at=SUNDAY),
    ]


def test_a_browser_is_told_of_the_same_failures(past: Past) -> None:
    """The page has a heading in common with `stats`: its reasons and numbers are equal, from the very moment on."""
    past.refused("a.txt", "not UTF-8: byte 0xe8 at offset 2 (line 1)", ended=SUNDAY)
    past.refused("b.txt", "not UTF-8: byte 0xc3 at offset 1,017 (line 12)", ended=MONDAY)
    past.refused("c.txt", "job notes-20261123-052311-7fka failed: 'a.txt' is missing", ended=MONDAY)
    past.refused("d.txt", "job notes-20261124-052311-7fkb failed: 'b.txt' is missing", ended=MONDAY)
    with closing(connect_to_read(past.life.ledger.path)) as db, Searches() as searches:
        for name, count, function in searches.functions:
            db.create_function(name, count, function)
        for since, files in (("", 4), (MONDAY, 3)):
            rows = db.execute(QUESTIONS["failures_by_reason"].sql, {"since": since})
            told = [Failure(**dict(row)) for row in rows]
            assert sum(failure.files for failure in told) == files
            assert told == past.figures(since=instant(since) if since else None).failures


def test_a_folder_and_a_span_of_time_are_chosen(past: Past) -> None:
    """Of the end of a file: the beginning of the span is in it, its end is not."""
    past.learned("a.txt", seen=SUNDAY, sent=SUNDAY, ended=SUNDAY)
    past.learned("b.txt", seen=SUNDAY, sent=SUNDAY, ended=MONDAY, folder="other")
    past.refused("c.txt", "it is empty", ended=MONDAY)
    assert set(past.figures(folder="other").folders) == {"other"}
    assert set(past.figures(since=instant(MONDAY)).weeks) == {"2026-11-23"}
    assert set(past.figures(until=instant(MONDAY)).weeks) == {"2026-11-16"}
    assert past.figures(until=instant(MONDAY)).failures == []
