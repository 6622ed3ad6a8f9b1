"""Every query of a listing goes by an index, whatever is asked of it, in a ledger that SQLite has no statistics of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, combinations, product
from typing import Any

import pytest

from finetuned.ledger.queries import Reader, connection
from finetuned.ledger.queries.filters import PathPattern
from finetuned.ledger.writer import Ledger
from support.lives import NOW, Life, signature

#: how many files are looked up one by one here: each combination of filters asks for more
FEW = 20
#: a file; and more files than are looked up one by one
FEW_FILES, MANY_FILES = [PathPattern.of("/srv/notes/**/*.md"), PathPattern.of("a.md")], [PathPattern.of("*.txt")]
FILTERS: dict[str, Any] = {
    "states": ["done", "learned"],
    "folder": "notes",
    "job": "notes-1",
    "since": NOW,
    "until": NOW + 1e6,
    "paths": FEW_FILES,
    "text": "otter",
}
#: by listing, by what it can be sorted, beside its usual order
SORTS: dict[str, tuple[str, ...]] = {
    "jobs": ("finished", "files", "bytes", "pairs"),
    "files": ("path", "bytes", "pairs", "finished"),
    "pairs": ("finished",),
    "dropped": ("finished",),
    "events": (),
}
#: what a step of a plan says that finds rows by an index or a key, or goes through them in the order of one
FINDS = re.compile(r"SEARCH \w+ USING .*(INDEX|KEY)")
GOES_THROUGH = re.compile(r"SCAN (\w+ USING (COVERING )?INDEX \w+|files|events)")
#: steps that find no row of a table: of subqueries and of lists that are given
OTHERS = re.compile(
    r"(CORRELATED )?(SCALAR|LIST) SUBQUERY|MULTI-INDEX OR|INDEX \d+|COMPOUND QUERY|LEFT-MOST SUBQUERY|"
    r"UNION|SCAN json_each VIRTUAL TABLE INDEX 1:|USE TEMP B-TREE FOR ORDER BY"
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody who reads a ledger with a job, and more files than are looked up one by one, which are few here."""
    path = str(tmp_path_factory.mktemp("plans") / "ledger.db")
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        life.trains(life.runs(life.claims(life.waits("/srv/notes/a.md"))))
        seen = [(f"/srv/notes/{number}.txt", signature(number), "") for number in range(FEW + 1)]
        ledger.files.appeared("notes", seen, life.now())
    with Reader.open(path) as reader, pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "FEW", FEW)
        query = "select count(*) from sqlite_master where name like 'sqlite_stat%'"
        assert reader.connection.execute(query).fetchone()[0] == 0
        yield reader


def asked(reader: Reader, listing: str, filters: dict[str, Any]) -> list[str]:
    """The queries that a listing puts to SQLite."""
    queries: list[str] = []
    reader.connection.set_trace_callback(queries.append)
    try:
        next(getattr(reader, listing)(**filters), None)
    finally:
        reader.connection.set_trace_callback(None)
    return queries


def every(listing: str) -> Iterator[dict[str, Any]]:
    """Every combination of filters, in every order, from the first and, with a limit, from the last."""
    names = [
        name for name in FILTERS if (listing, name) not in {("jobs", "job"), ("pairs", "text"), ("dropped", "text")}
    ]
    chosen = chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))
    ends: tuple[dict[str, Any], ...] = ({}, {"newest_first": True, "limit": 20})
    for some, sort, end in product(chosen, (None, *SORTS[listing]), ends):
        filters = {name: FILTERS[name] for name in some} | end
        yield filters if sort is None else filters | {"sort": sort}
        if "paths" in some:
            yield filters | {"paths": MANY_FILES}


@pytest.mark.parametrize("listing", SORTS)
def test_every_query_goes_by_an_index(reader: Reader, listing: str) -> None:
    """Nothing is gone through but in the order of an index or a key; nothing is sorted but what was found by one.

    How many pairs a job has stands with its attempt: to sort jobs by that, each is looked at.
    """
    plans: dict[str, list[str]] = {}
    wrong = []
    for filters in every(listing):
        for query in asked(reader, listing, filters):
            if query in plans:
                continue
            plans[query] = [row["detail"] for row in reader.connection.execute(f"explain query plan {query}")]
            steps = [step for step in plans[query] if not OTHERS.match(step)]
            is_sorted = any(step.startswith("USE TEMP B-TREE FOR ORDER BY") for step in plans[query])
            through = [step for step in steps if not FINDS.match(step)]
            if not all(map(GOES_THROUGH.match, through)) or (is_sorted and through and filters.get("sort") != "pairs"):
                wrong.append((query, plans[query]))
    assert len(plans) > 100
    assert wrong == []


def test_what_goes_by_no_index_is_seen(reader: Reader) -> None:
    """The rule must be able to find something: a table that is sorted by what has no index."""
    query = "explain query plan select * from files order by reason"
    steps = [row["detail"] for row in reader.connection.execute(query)]
    assert [step for step in steps if not FINDS.match(step) and not OTHERS.match(step)] == ["SCAN files"]
    assert steps[-1] == "USE TEMP B-TREE FOR ORDER BY"


@pytest.mark.parametrize("question", ["folders", "kept_back"])
def test_what_status_asks_does_not_grow_with_the_files(reader: Reader, question: str) -> None:
    """Files are counted in an index alone, or found by one of those few that it is about."""
    queries: list[str] = []
    reader.connection.set_trace_callback(queries.append)
    getattr(reader, question)()
    reader.connection.set_trace_callback(None)
    (query,) = queries
    plan = [row["detail"] for row in reader.connection.execute(f"explain query plan {query}")]
    steps = [step for step in plan if step.startswith(("SEARCH f ", "SCAN f "))]
    assert steps
    assert [step for step in steps if not re.search(r"COVERING INDEX|unfinished_files|held_up_by_time", step)] == []


def test_what_cannot_be_archived_is_found_among_what_is_not_archived(reader: Reader) -> None:
    """Not among all that settles or was refused, which may be most of what there is."""
    queries: list[str] = []
    reader.connection.set_trace_callback(queries.append)
    assert reader.unarchived() == []
    reader.connection.set_trace_callback(None)
    plans = [row["detail"] for q in queries for row in reader.connection.execute(f"explain query plan {q}")]
    assert [step for step in plans if "files" in step] == ["SCAN files USING INDEX files_to_archive"]


def test_a_name_is_looked_for_in_no_rows(reader: Reader) -> None:
    """It stands at the end of a path: all of these are gone through, but in their index, which is far smaller."""
    queries: list[str] = []
    reader.connection.set_trace_callback(queries.append)
    assert [file["path"] for file in reader.of_name("a.md")] == ["/srv/notes/a.md"]
    reader.connection.set_trace_callback(None)
    plan = [row["detail"] for row in reader.connection.execute(f"explain query plan {queries[0]}")]
    assert [step for step in plan if step.startswith("SCAN")] == ["SCAN files USING COVERING INDEX files_by_path"]


def test_a_content_is_looked_for_in_each_state(reader: Reader) -> None:
    """The index has the state first: what is under way lies close together in it, wherever a hash would be."""
    queries: list[str] = []
    reader.connection.set_trace_callback(queries.append)
    reader.of_content({"a" * 64})
    reader.connection.set_trace_callback(None)
    plan = [row["detail"] for row in reader.connection.execute(f"explain query plan {queries[0]}")]
    assert "SEARCH files USING INDEX contents (state=? AND text_sha256=?)" in plan
