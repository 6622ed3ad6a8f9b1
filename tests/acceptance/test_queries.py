"""No statement of a running daemon goes through a table that grows, in a ledger without statistics.

What it writes counts as what it asks: an update has to find its rows, and to remove one, those that refer to it.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from finetuned.ledger.writer import Ledger
from finetuned.sandbox import Faults
from support.place import Place, named

APlace = Callable[..., Place]

#: a step of a plan that goes through a table, all that is known of a folder, all that is not null in a column, or all
#: that ever became of files, or of jobs
THROUGH = re.compile(
    r"SCAN (?!CONSTANT ROW|json_each)|.* INDEX (files|jobs)_in_folder |.* INDEX \w+ \(\w+>\?\)$|"
    r".* INDEX events_by_subject \(subject=\?\)$"
)
#: what is small however much is in the ledger: tables of a row for each folder and the like, partial indexes, and what
#: FTS5 keeps of its own settings
SMALL = re.compile(
    r"SCAN (folders|servers|daemon|hooks|relearn|changed_jobs|sqlite_master|pragma_\w+|main.qa_pairs_fts_config)\b|"
    r".* INDEX (unread_files|files_to_archive|open_jobs_first|sessions_to_discard|suspect_sessions) ?"
)
VALUES = re.compile(r"'(?:[^']|'')*'|\b\d+(\.\d+)?\b")
#: meant to: to rename a folder touches all that is known of it; who searches leaves out the sessions of all jobs that
#: ended since an instant, which is no more than a day before the job was made
MEANT = re.compile(r"update (files|jobs) set folder = |select session_id from .* finished_at >= '[^']+'\)$")
#: not gone through: the newest row is the last of the table
NEWEST = "from events order by id desc limit 1)"


@contextmanager
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The statements of the connections that write, one of each kind by its text without values."""
    said: dict[str, str] = {}
    real = sqlite3.connect

    def hear(text: str) -> None:
        if text.lstrip().lower().startswith(("select", "insert", "update", "delete", "with")):
            said.setdefault(VALUES.sub("?", text), text)

    def connect(path: str, *args: Any, **words: Any) -> sqlite3.Connection:
        db = real(path, *args, **words)
        if not words.get("uri"):
            db.set_trace_callback(hear)
        return db

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", connect)
        yield said


def through(path: str, said: dict[str, str]) -> dict[str, list[str]]:
    """By statement, the steps of its plan that go through what grows."""
    found = {}
    with Ledger.open(path) as ledger, ledger.reading() as reader:
        db = reader.connection
        assert not db.execute("select 1 from sqlite_master where name like 'sqlite_stat%'").fetchall()
        for text in said.values():
            steps = [row[3] for row in db.execute(f"explain query plan {text}")]
            small = [step for step in steps if SMALL.match(step) or (NEWEST in text and step == "SCAN events")]
            wrong = [step for step in steps if THROUGH.match(step) and step not in small]
            if wrong and not MEANT.match(text):
                found[text] = wrong
    return found


async def test_no_query_goes_through_what_grows(a_place: APlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at a start, nor while files are learned, refused, found equal, changed, lost, tried again and removed."""
    rules: list[dict[str, Any]] = [{"linger": "0s"}, {"linger": "0s", "after": "keep"}]
    place = a_place(
        folder=rules,
        watch={"sweep": "1m"},
        retention={"done": "1h", "failed": "1h", "events": "1h"},
        hook=[{"command": ["true"]}, {"command": ["false"], "on": ["file_refused"]}],
    )
    kept = place.root / "notes1"

    async def script() -> None:
        place.drop("otter.txt", "The otter is a mammal.")
        place.drop("none.txt", b"")
        (kept / "stays.txt").write_text("The beaver is a mammal, too. It lives in rivers.")
        await place.until(lambda: {"learned", "refused"} <= set(place.states().values()))
        place.drop("same.txt", "The otter is a mammal.")
        await place.until(lambda: "duplicate" in place.states().values())
        await place.ask("pause", folder="notes")
        place.drop("paused.txt", "The seal waits.")
        await place.until(lambda: place.states().get("paused.txt") == "waiting")
        (place.notes / "paused.txt").unlink()
        place.sweep_soon()
        await place.until(lambda: place.states().get("paused.txt") == "vanished")
        await place.ask("resume", folder="notes")
        refused = next(row for row in place.files().values() if row["state"] == "refused")
        await place.ask("retry", **named(refused["location"]))
        await place.ask("flush")
        await place.pass_time(3 * 3600.0)

    with heard(monkeypatch) as said:
        await place.run(until_idle=False, script=script)
        await place.run()
    assert len(said) > 80
    assert through(place.ledger_path, said) == {}


async def test_nothing_that_people_ask_for_goes_through_what_grows(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when they forget a file, accept or cancel a job, or try it again, nor once the server was away."""
    place = a_place(folder=[{"linger": "0s"}, {"linger": "0s", "review": True}])
    reviewed = place.root / "notes1"

    async def in_review() -> str:
        await place.until(lambda: "review" in {job["state"] for job in place.jobs()})
        return next(job["id"] for job in place.jobs() if job["state"] == "review")

    async def script() -> None:
        place.drop("otter.txt", "The otter is a mammal.")
        await place.until(lambda: place.states() == {"otter.txt": "learned"})
        await place.pass_time(10)
        assert (await place.ask("forget", **named(place.notes / "otter.txt")))[0] == "done"
        (reviewed / "seal.txt").write_text("The seal swims in the sea.")
        assert (await place.ask("accept", job=await in_review()))[0] == "done"
        await place.until(lambda: place.states().get("seal.txt") == "learned")
        (reviewed / "owl.txt").write_text("The owl flies at night.")
        job = await in_review()
        assert (await place.ask("cancel", job=job, delete=True))[0] == "done"
        await place.until(lambda: place.states().get("owl.txt") == "failed")
        assert (await place.ask("retry", job=job))[0] == "done"
        await in_review()
        await place.pass_time(600)

    with heard(monkeypatch) as said:
        await place.run(until_idle=False, script=script)
    verbs = Counter(text.split(maxsplit=1)[0].lower() for text in said)
    assert min(verbs[verb] for verb in ("insert", "update", "delete")) > 3
    assert through(place.ledger_path, said) == {}


async def test_neither_a_split_nor_a_search_nor_a_folder_that_leaves_goes_through_what_grows(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job goes on in halves, one that waits is looked for by the next daemon, and a folder waits for its last job."""
    place = a_place(
        faults=Faults.parse(["too-much:1"]), folder=[{"linger": "0s"}, {"linger": "0s"}], helix={"max_in_flight": 1}
    )
    left = [{"name": "other", "path": str(place.root / "other")}]

    async def leaves() -> None:
        place.drop("otter.txt", "The otter is a mammal.")
        place.drop("seal.txt", "The seal swims in the sea.")
        await place.until(lambda: len(place.jobs()) == 3)
        await place.until(lambda: "running" in {job["state"] for job in place.jobs()})
        await place.reload(folder=left)
        await place.pass_time(600)

    with heard(monkeypatch) as said:
        await place.run(until_idle=False, script=leaves)
    assert set(place.states().values()) == {"learned"}
    assert any(text.startswith("select session_id from sessions where") for text in said)
    assert through(place.ledger_path, said) == {}


def test_what_a_row_refers_to_is_found_from_there(tmp_path: Any) -> None:
    """SQLite looks for them when the other row is removed, and its plans do not tell of that."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger, ledger.reading() as reader:
        db = reader.connection
        tables = [row["name"] for row in db.execute("select name from sqlite_master where type = 'table'")]
        found = [(table, row["from"]) for table in tables for row in db.execute(f"pragma foreign_key_list('{table}')")]
        assert len(found) > 5
        for table, column in found:
            (step, *_) = db.execute(f"explain query plan select 1 from {table} where {column} = 1")  # noqa: S608 - ours
            assert step["detail"].startswith("SEARCH"), (table, column)


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("select * from files where reason = 'no'", "files"),
        ("update sessions set tries = 0 where reason = 'no'", "sessions"),
        ("delete from qa_pairs where answer = 'no'", "qa_pairs"),
        ("insert into recalls (file_id) select id from files where reason = 'no'", "files"),
    ],
)
def test_what_goes_through_a_table_is_seen(tmp_path: Any, statement: str, table: str) -> None:
    """The rule must be able to find something."""
    assert through(str(tmp_path / "ledger.db"), {statement: statement}) == {statement: [f"SCAN {table}"]}
