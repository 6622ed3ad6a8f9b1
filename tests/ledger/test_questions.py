"""What people ask in a browser: how SQLite goes about it."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from finetuned.ledger.opening import connect_to_read
from finetuned.ledger.questions import QUESTIONS, Searches, count_up_to
from finetuned.ledger.writer import Ledger
from support.lives import Life


def plan(db: sqlite3.Connection, sql: str) -> list[str]:
    """The steps of a query, in SQLite's words."""
    names = dict.fromkeys(re.findall(r":([a-z]+)", sql), "")
    return [row[3] for row in db.execute(f"explain query plan {sql}", names)]


@pytest.fixture
def taught(path: str) -> Iterator[sqlite3.Connection]:
    """A ledger whose one job has trained, over a connection that knows the functions of a search."""
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        life.trains(life.runs(life.claims(life.waits("/srv/notes/a.md"))))
    with closing(sqlite3.connect(path)) as db, Searches() as searches:
        for name, count, function in searches.functions:
            db.create_function(name, count, function)
        yield db


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_no_question_reads_all_pairs_events_or_attempts_of_a_job(path: str, name: str) -> None:
    """Of a million rows only those are read that an index leads to."""
    Ledger.open(path).close()
    with closing(connect_to_read(path)) as db, Searches() as searches:
        for function, words, work in searches.functions:
            db.create_function(function, words, work)
        steps = plan(db, QUESTIONS[name].sql)
    assert not [step for step in steps if re.match(r"SCAN (p|e|qa_pairs|events|all_jobs)\b(?! VIRTUAL)", step)]
    assert [step for step in steps if step.startswith(("SEARCH", "SCAN"))]


def test_the_oldest_waiting_files_are_found_by_an_index(path: str) -> None:
    """A hundred thousand files are no reason to wait."""
    Ledger.open(path).close()
    with closing(connect_to_read(path)) as db:
        steps = plan(db, QUESTIONS["oldest_waiting_files"].sql)
    assert "SEARCH f USING COVERING INDEX files_by_state (folder=? AND state=?)" in steps


def test_pairs_a_day_are_those_of_attempts_that_trained(taught: sqlite3.Connection) -> None:
    """What came of an attempt that was given up was learned nowhere."""
    asked = (QUESTIONS["pairs_a_day"].sql, {"days": "99999"})
    ((_, jobs, pairs),) = taught.execute(*asked)
    assert (jobs, pairs) == (1, 2)
    taught.execute("update sessions set state = 'ended'")
    assert taught.execute(*asked).fetchall() == []


@pytest.mark.parametrize(("name", "words"), [("pairs_of_a_file", "/srv/notes/a.md"), ("search_pairs", "about")])
def test_pairs_of_a_session_that_does_not_count_are_no_answer(
    taught: sqlite3.Connection, name: str, words: str
) -> None:
    """They are in no listing either."""
    asked = (QUESTIONS[name].sql, {"path": words, "words": words})
    assert taught.execute(*asked).fetchall() != []
    taught.execute("update qa_pairs set session_id = 'former'")
    assert taught.execute(*asked).fetchall() == []


def test_each_row_may_ask_for_words_of_its_own() -> None:
    """However many they are; only the last few are kept, and each is answered as if it were the only one."""
    words = [f'"word{number}"' for number in range(50)]
    with closing(sqlite3.connect(":memory:")) as db, Searches() as searches:
        for name, count, function in searches.functions:
            db.create_function(name, count, function)
        rows = db.execute(
            "select value, is_meant(value, 'word7?', 'word40.') from json_each(?)", (json.dumps(words * 2),)
        )
        assert [word for word, is_meant in rows if is_meant] == ['"word7"', '"word40"'] * 2


def test_counting_stops(path: str) -> None:
    """As soon as there are as many as were asked for."""
    Ledger.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("insert into relearn values ('a', '1'), ('a', '2'), ('a', '3')")
        assert db.execute(count_up_to("relearn", 2)).fetchone() == (2,)
        assert db.execute(count_up_to("relearn", 9)).fetchone() == (3,)


@pytest.mark.parametrize("words", ["", " ", "?!", "-otter", "OR"])
def test_a_search_that_asks_for_nothing_finds_nothing(taught: sqlite3.Connection, words: str) -> None:
    """It is no error either: a page is open before words are typed into it."""
    assert taught.execute(QUESTIONS["search_pairs"].sql, {"words": words}).fetchall() == []
    asked = "select count(*) from qa_pairs_fts where qa_pairs_fts match escape_fts(?)"
    assert taught.execute(asked, [words]).fetchone() == (0,)
    assert taught.execute(asked, ["about"]).fetchone() > (0,)
