"""`sql`: what reads the ledger is run, for a limited time; all else is refused, in words that help."""

from __future__ import annotations

import csv
import io
import itertools
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.errors import FinetunedError
from finetuned.ledger.queries import Reader
from finetuned.ledger.statements import Allowance, Statement
from support.cli import Desk, MakeDesk
from support.lives import Life

ENDLESS = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n"


@pytest.fixture(scope="module")
def desk(lasting_desk: Desk) -> Desk:
    """A desk with a done job, and a queued one."""
    with lasting_desk.ledger() as ledger:
        life = Life(ledger)
        life.trains(life.runs(life.claims(life.waits("/srv/notes/otters.txt"), job_id="notes-1"), "ses-1"))
        life.seals(life.waits("/srv/notes/foxes.txt"), job_id="notes-2")
    return lasting_desk


def test_rows_in_each_form(desk: Desk) -> None:
    """A table for people, JSON and CSV for programs."""
    asked = "select job_id, state, pairs from finished_jobs union all select job_id, state, null from open_jobs"
    rows = [
        {"job_id": "notes-1", "state": "done", "pairs": 2},
        {"job_id": "notes-2", "state": "queued", "pairs": None},
    ]
    assert desk("sql", asked, "--json").json == rows
    assert desk("sql", asked, "--jsonl").lines == rows
    assert desk("sql", asked, "--csv").out == '"job_id","state","pairs"\n"notes-1","done","2"\n"notes-2","queued",""\n'
    assert desk("sql", asked).out == "job_id   state   pairs\nnotes-1  done    2\nnotes-2  queued\n"
    assert desk("sql", "select 1 where false") == (0, "", "no rows\n")
    assert desk("sql", "select 1 where false", "--json").out == "[]\n"
    assert desk("sql", asked, "--csv", "--json").code == 2


def test_the_statement_may_come_from_standard_input(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long one, from a file or a pipe; an empty one is told."""
    for text, out in (("-- how many\nselect count(*) as n\nfrom all_jobs;\n", "n\n2\n"), (" \n", "")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        answer = desk("sql")
        assert (answer.out, "there is no statement" in answer.err) == (out, not out)


def test_odd_values_are_harmless(desk: Desk) -> None:
    """Bytes, what is no number, what a terminal must not get, names that are there twice, and texts without end."""
    asked = "select x'00ff' as a, 9e999 as a, -9e999 as b, 'x' || char(27) || '[2J' || char(10) || 'y' as a"
    (row,) = desk("sql", asked, "--json").json
    assert row == {"a": "x'00ff'", "a_2": "9e999", "b": "-9e999", "a_3": "x\x1b[2J\ny"}
    assert "\x1b" not in desk("sql", asked).out
    assert list(csv.reader(io.StringIO(desk("sql", asked, "--csv").out)))[1] == list(row.values())
    long = desk("sql", "select zeroblob(5000) as a, hex(zeroblob(50000)) as b").out
    assert "(5000 bytes)" in long
    assert "(100000 characters)" in long
    assert len(long) < 3000


def test_a_table_fits_its_terminal(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The widest columns give way; into a pipe the whole values go."""
    monkeypatch.setenv("COLUMNS", "40")
    asked = "select 1 as n, hex(zeroblob(100)) as long, '黒猫が好きです黒猫が好きです' as cat, 'end' as z"
    shown = desk("sql", asked, terminal=True).out
    assert all(len(line) <= 40 for line in shown.splitlines())
    assert shown.count("…") == 2
    assert "end" in shown
    assert "0" * 200 in desk("sql", asked).out


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("delete from jobs", "the statement writes"),
        ("create temp table t (x)", "the statement writes"),
        ("insert into qa_pairs_fts (qa_pairs_fts) values ('rebuild')", "the statement writes"),
        ("drop view all_jobs", "the statement writes"),
        ("attach 'other.db' as other", "attaches another file"),
        ("detach main", "detaches a file"),
        ("vacuum", "only what reads"),
        ("vacuum into 'copy.db'", "only what reads"),
        ("begin", "begins or ends a transaction"),
        ("savepoint s", "begins or ends a transaction"),
        ("pragma user_version = 1", "changes a setting"),
        ("pragma query_only = off", "changes a setting"),
        ("pragma journal_mode = delete", "changes a setting"),
        ("select load_extension('x')", "loads an extension"),
        ("select fts3_tokenizer('simple')", "loads an extension"),
        ("select FTS3_tokenizer('simple', x'00')", "loads an extension"),
        ("pragma optimize", "changes a setting"),
        ("pragma wal_checkpoint", "changes a setting"),
        ("pragma incremental_vacuum", "changes a setting"),
        ("select * from pragma_optimize", "the statement writes"),
        ("select * from pragma_journal_mode('delete')", "only what reads"),
        ("select 1; ; select 2", "more than one statement"),
        ("select 1 /* ; */; /* ; */ select 2", "more than one statement"),
        ("; ;select 1;; -- more\n selct", "more than one statement"),
        (";;\n  selct 1;;", 'near "selct": syntax error (line 2, column 3)'),
        (";;", "there is no statement"),
        ("\n-- nothing; but a comment\n/* and another", "there is no statement"),
        ("select 1; select 2", "more than one statement"),
        ("select 1; drop table jobs", "more than one statement"),
        ("selct 1", 'near "selct": syntax error (line 1, column 1)'),
        ("select *\nfrom jobs\nwher id = 'from'", "(line 3, column 6)"),
        ("select 'from' fom from frm, fom fom fom", 'near "fom": syntax error (line 1, column 37)'),
        ("select 'open", "(line 1, column 8)"),
        ("explain selct 1", 'near "selct": syntax error\n'),
        ("select " + "from " * 500, 'near "from": syntax error (line 1, column 8)'),
        ("select j.id,\n  foo from jobs j", "no such column: foo (line 2, column 3)"),
        ("select * from jbos", "did you mean jobs? there are: "),
        ("select * from pairs", "did you mean pairs_with_source? there are: "),
        ("select * from Finished", "did you mean finished_jobs? there are: "),
        ("select * from nothing_like_it", "to do: there are: all_files, all_jobs, "),
        ("select * from main.pairs", "did you mean pairs_with_source? "),
        ("select * from pairs", " events, "),
        ("select * from pairs", " files, "),
        ("select * from pairs", " qa_pairs, "),
        ("select foo(1)", "no such function: foo"),
        ("select ?", "binding"),
        ("select 1 \0", "null"),
        ("select zeroblob(999999999)", "too big"),
        ("select rowid from qa_pairs_fts where qa_pairs_fts match '\"'", "unterminated string"),
        ("select '\udcff' from nowhere", "no such table: nowhere"),
    ],
)
def test_what_is_not_run(desk: Desk, statement: str, words: str) -> None:
    """Each with a sentence that says why, and where; the ledger is as it was, and nothing is made beside it."""
    state = Path(desk.place.ledger_path).parent
    before = {path.name for path in state.iterdir()}
    answer = desk("sql", statement)
    assert (answer.code, answer.out, words.lower() in answer.err.lower()) == (2, "", True), answer.err
    assert {path.name for path in state.iterdir()} - {"ledger.db-wal", "ledger.db-shm"} == before
    assert len(desk("jobs", "--json").json) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "select count(*) from qa_pairs_fts where qa_pairs_fts match 'about'",
        "select highlight(qa_pairs_fts, 0, '[', ']') from qa_pairs_fts where qa_pairs_fts match 'about' order by rank",
        "pragma table_info(all_jobs)",
        "pragma quick_check",
        "PRAGMA Table_Info(all_jobs)",
        "select name from pragma_table_info('jobs') where pk",
        "select m.name, i.name from sqlite_master m join pragma_index_list(m.name) i",
        "select * from pragma_quick_check",
        "select * from json_each('[1, 2]')",
        "select name, sum(pgsize) from dbstat group by name",
        "select 1;;",
        "; select ';' as a ; ; -- an end; or two",
        "/* first; */ ;; select 1; /* last;",
        "explain query plan select * from open_jobs",
        "values (1), (2)",
        "select json_extract('[1]', '$[0]') /* and a comment */ ; -- another",
    ],
)
def test_what_reads_is_run(desk: Desk, statement: str) -> None:
    """The full-text index, what tells of tables, comments."""
    answer = desk("sql", statement, "--jsonl")
    assert (answer.code, answer.err) == (0, "")
    assert answer.lines


def test_it_ends_after_its_time(desk: Desk) -> None:
    """A statement without an end, or with too many rows, is broken off, with the way out."""
    answer = desk("sql", ENDLESS, "--limit-time", "10ms")
    assert (answer.code, answer.out) == (1, "")
    assert "took longer than 0.01 s" in answer.err
    assert "--limit-time" in answer.err
    for odd in ("soon", "0s", ""):
        assert desk("sql", "select 1", "--limit-time", odd).code == 2


@pytest.mark.parametrize(
    "statement",
    [
        "select instr(zeroblob(20000000), cast(zeroblob(10000000) || x'01' as blob))",
        "select 1" + ", hex(zeroblob(20000000)) like '%0%0%0%0%0%0%0b'" * 200,
    ],
)
def test_it_ends_after_its_time_within_one_function(desk: Desk, statement: str) -> None:
    """SQLite does not look at the clock there: the process that waits for it is ended, with the same words."""
    command = [sys.executable, "-m", "finetuned", "--config", str(desk.config), "sql", statement]
    ended = subprocess.run([*command, "--limit-time", "100ms"], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines() == [
        "finetuned: the statement took longer than 0.1 s",
        "  to do: ask for less, or give it more time: --limit-time 1m",
    ]


def test_it_ends_where_it_would_fill_the_memory(desk: Desk) -> None:
    """With the way out; before the system would end some other program."""
    answer = desk("sql", f"select {', '.join(f'zeroblob({60_000_000 + number})' for number in range(40))}", "--json")
    assert answer.code == 1
    assert answer.err.splitlines() == [
        "finetuned: the statement needs more than 1.0 GiB of memory",
        "  to do: ask for less at a time",
    ]
    assert desk("sql", "select 1", "--json").json == [{"1": 1}]


def test_only_the_time_that_sqlite_works_counts(desk: Desk) -> None:
    """A reader that is slow to take the rows, as a pager is, has all the time in the world."""
    ticks = itertools.count()
    with Reader.open(desk.place.ledger_path) as reader:
        allowance = Allowance(5, lambda: next(ticks))
        rows = Statement(reader.connection, reader.path, "values (1), (2), (3)", allowance)
        taken = []
        for row in rows:
            taken.append(row)
            for _ in range(1000):
                next(ticks)
        assert taken == [(1,), (2,), (3,)]
    with Reader.open(desk.place.ledger_path) as reader, pytest.raises(FinetunedError, match="longer than 5 s"):
        Statement(reader.connection, reader.path, ENDLESS, Allowance(5, lambda: next(ticks)))


def test_a_corrupt_ledger_is_no_mistake_of_the_statement(make_desk: MakeDesk) -> None:
    """It is told as by every other command."""
    desk = make_desk()
    with desk.ledger() as ledger:
        Life(ledger).waits("/srv/notes/otters.txt")
    with closing(sqlite3.connect(desk.place.ledger_path)) as db:
        (page,) = db.execute("select rootpage from sqlite_master where name = 'files'").fetchone()
        (size,) = db.execute("pragma page_size").fetchone()
    with Path(desk.place.ledger_path).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    answer = desk("sql", "select * from all_files")
    assert (answer.code, "it is corrupt" in answer.err, "restore a copy" in answer.err) == (1, True, True)
