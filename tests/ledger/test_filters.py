"""Filters of listings: each combination finds what it should, in the order that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any

import pytest

from finetuned.ledger.queries import Reader, connection
from finetuned.ledger.queries.filters import PathPattern
from finetuned.ledger.writer import Ledger
from finetuned.times import instant
from support.lives import Life, signature

FILES = [
    ("notes", "/srv/notes/a/otter.md"),
    ("notes", "/srv/notes/a/b/Fuchs.txt"),
    ("notes", "/srv/notes/grün.md"),
    ("letters", "/srv/letters/otter.txt"),
    ("letters", "/srv/letters/[x].txt"),
]
Row = dict[str, Any]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody who reads a ledger of two folders: two jobs with pairs, one that is queued, files that wait."""
    path = str(tmp_path_factory.mktemp("filters") / "ledger.db")
    with Ledger.open(path) as ledger:
        life = Life(ledger)
        for number, (folder, place) in enumerate(FILES[:4]):
            file = life.waits(place, folder=folder)
            if number < 2:
                life.trains(life.runs(life.claims(file, job_id=f"{folder}-{number}"), f"ses-{number}"))
        life.seals(life.waits("/srv/notes/sealed.md"), job_id="notes-9")
        life.settles(FILES[4][1], folder="letters")
    with Reader.open(path) as reader:
        yield reader


def moments(reader: Reader) -> tuple[str, str]:
    """A while in the middle of what happened."""
    times = [event["at"] for event in reader.events()]
    return times[len(times) // 4], times[-4]


def chosen(filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of these filters."""
    for some in chain.from_iterable(combinations(filters, size) for size in range(len(filters) + 1)):
        yield {name: filters[name] for name in some}


def orders() -> Iterator[dict[str, Any]]:
    """From either end, all and some."""
    return ({"newest_first": way, "limit": limit} for way, limit in product((False, True), (None, 2)))


def ordered(rows: list[Row], order: dict[str, Any]) -> list[Row]:
    """Rows as they were asked for."""
    return rows[:: -1 if order["newest_first"] else 1][: order["limit"]]


@pytest.mark.parametrize("few", [0, 1000])
def test_files(reader: Reader, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Every combination, whether the files of a pattern are looked up or gone through."""
    monkeypatch.setattr(connection, "FEW", few)
    since, until = moments(reader)
    every = list(reader.files())
    assert {row["state"] for row in every} == {"learned", "waiting", "packed", "settling"}
    fits = {
        "states": (["learned", "waiting"], lambda row: row["state"] in {"learned", "waiting"}),
        "folder": ("notes", lambda row: row["folder"] == "notes"),
        "job": ("notes-1", lambda row: row["job_id"] == "notes-1"),
        "since": (instant(since), lambda row: row["seen_at"] >= since),
        "until": (instant(until), lambda row: row["seen_at"] < until),
        "paths": ([PathPattern.of("/srv/notes/**")], lambda row: row["path"].startswith("/srv/notes/")),
        "text": ("OTTER", lambda row: "otter" in row["path"]),
    }
    for some, order in product(chosen(fits), orders()):
        wanted = [row for row in every if all(fit(row) for _, fit in some.values())]
        asked = {name: value for name, (value, _) in some.items()}
        assert list(reader.files(**asked, **order)) == ordered(wanted, order), (asked, order)
    for key, column in (("path", "path"), ("bytes", "bytes"), ("pairs", "pairs"), ("finished", "finished_at")):
        by = sorted(every, key=lambda row: (row[column] is not None, row[column] or 0))
        for order in orders():
            found = [row[column] for row in reader.files(sort=key, **order)]
            assert found == [row[column] for row in ordered(by, order)], key


@pytest.mark.parametrize("few", [0, 1000])
def test_jobs(reader: Reader, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Every combination; a pattern finds the jobs that hold a file of it."""
    monkeypatch.setattr(connection, "FEW", few)
    since, until = moments(reader)
    every = list(reader.jobs())
    assert [row["state"] for row in every] == ["done", "done", "queued"]
    fits = {
        "states": (["done"], lambda row: row["state"] == "done"),
        "folder": ("notes", lambda row: row["folder"] == "notes"),
        "since": (instant(since), lambda row: row["created_at"] >= since),
        "until": (instant(until), lambda row: row["created_at"] < until),
        "paths": ([PathPattern.of("*.md"), PathPattern.of("nothing")], lambda row: row["id"] in {"notes-0", "notes-9"}),
        "text": ("-9", lambda row: row["id"] == "notes-9"),
    }
    for some, order in product(chosen(fits), orders()):
        wanted = [row for row in every if all(fit(row) for _, fit in some.values())]
        asked = {name: value for name, (value, _) in some.items()}
        assert list(reader.jobs(**asked, **order)) == ordered(wanted, order), (asked, order)
    for key in ("files", "bytes", "pairs"):
        found = [row[key] for row in reader.jobs(sort=key, newest_first=True)]
        assert found == sorted(found, key=lambda value: (value is not None, value or 0), reverse=True), key


@pytest.mark.parametrize("few", [0, 1000])
def test_pairs(reader: Reader, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Every combination; the states, folder and time are those of the job."""
    monkeypatch.setattr(connection, "FEW", few)
    jobs = {row["id"]: row for row in reader.jobs()}
    since = jobs["notes-1"]["created_at"]
    every = list(reader.pairs())
    assert len(every) == 4
    fits = {
        "states": (["done", "partial"], lambda _: True),
        "folder": ("notes", lambda row: jobs[row["job_id"]]["folder"] == "notes"),
        "job": ("notes-1", lambda row: row["job_id"] == "notes-1"),
        "since": (instant(since), lambda row: row["job_id"] == "notes-1"),
        "until": (instant(since), lambda row: row["job_id"] == "notes-0"),
        "paths": ([PathPattern.of("/srv/*/a/*")], lambda row: row["file"] == FILES[0][1]),
        "path": (FILES[1][1], lambda row: row["file"] == FILES[1][1]),
    }
    for some, order in product(chosen(fits), orders()):
        wanted = [row for row in every if all(fit(row) for _, fit in some.values())]
        asked = {name: value for name, (value, _) in some.items()}
        assert list(reader.pairs(**asked, **order)) == ordered(wanted, order), (asked, order)


@pytest.mark.parametrize("few", [0, 1000])
def test_events(reader: Reader, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """Every combination; the folder is that of what an event is about, a path that of its file."""
    monkeypatch.setattr(connection, "FEW", few)
    since, until = moments(reader)
    every = list(reader.events())
    notes = {str(number) for number, row in enumerate(reader.files(), 1) if row["folder"] == "notes"}
    of_notes_1 = [event["id"] for event in (reader.job("notes-1") or {})["events"]]

    def is_of_notes(row: Row) -> bool:
        in_notes = {"file": row["subject_id"] in notes, "job": row["subject_id"].startswith("notes")}
        return in_notes.get(row["subject"], row["subject"] == "session")

    fits = {
        "states": (["learned", "done"], lambda row: row["became"] in {"learned", "done"}),
        "folder": ("notes", is_of_notes),
        "job": ("notes-1", lambda row: row["id"] in of_notes_1),
        "since": (instant(since), lambda row: row["at"] >= since),
        "until": (instant(until), lambda row: row["at"] < until),
        "paths": (
            [PathPattern.of("*.md"), PathPattern.of("/srv/notes/a")],
            lambda row: row["subject"] == "file" and row["subject_id"] in {"1", "2", "3", "5"},
        ),
        "text": ("fuchs", lambda row: row["subject"] == "file" and row["subject_id"] == "2"),
        "after": (5, lambda row: row["id"] > 5),
    }
    for some, order in product(chosen(fits), orders()):
        wanted = [row for row in every if all(fit(row) for _, fit in some.values())]
        asked = {name: value for name, (value, _) in some.items()}
        assert list(reader.events(**asked, **order)) == ordered(wanted, order), (asked, order)


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("*.md", "/a/x.md /x.md /.md", "/a/x.txt /a/x.md/y"),
        ("/a/*.md", "/a/x.md", "/a/b/x.md /b/a/x.md /a/x.mdx"),
        ("/a/**/*.md", "/a/x.md /a/b/x.md /a/b/c/x.md", "/b/x.md /ax.md"),
        ("/a/**", "/a/x /a/b/c", "/ab /b/a/x"),
        ("/**/b/*", "/b/x /a/b/x", "/a/c/x /a/b/c/x"),
        ("/a/x?.md", "/a/x1.md /a/xä.md", "/a/x.md /a/x/.md"),
        ("/a/[ab]*.md", "/a/apple.md /a/b.md /a/[ab]*.md", "/a/c.md"),
        ("/a/[!ab].md", "/a/c.md", "/a/a.md"),
        ("/a/[x].md", "/a/x.md /a/[x].md", "/a/y.md"),
        ("/a/b", "/a/b /a/b/c /a/b/c/d", "/a/bc /a"),
        ("/a/b/", "/a/b/c", "/a/bc"),
        ("b", "/b /a/b /a/b/c", "/ab /a/bc"),
        ("/", "/a /a/b", ""),
        ("/a.b/x(1)+.md", "/a.b/x(1)+.md", "/aXb/x(1)+.md /a.b/x1.md"),
        ("/gru\u0308n/*", "/grün/x /gru\u0308n/x", "/grun/x"),
        ("grün*", "/a/gru\u0308n.md /grün.md", "/a/blau.md"),
    ],
)
def test_what_a_pattern_fits(pattern: str, fits: str, fits_not: str, tmp_path) -> None:
    """`*` stays within a name, `**` does not; a plain name stands for all in it; both forms of a letter are one."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        life = Life(ledger)
        for path in (*fits.split(), *fits_not.split()):
            life.settles(path)
        with ledger.reading() as reader:
            found = [row["path"] for row in reader.files(paths=[PathPattern.of(pattern)])]
    assert found == fits.split()


@pytest.mark.parametrize("pattern", ["*.md", "/a/**", "/a/two*/x.md", "/a"])
def test_a_name_of_two_lines_is_one_name(pattern: str, tmp_path) -> None:
    """A newline is a letter like any other, in a folder's name, too."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        Life(ledger).settles("/a/two\nlines/x.md")
        with ledger.reading() as reader:
            assert len(list(reader.files(paths=[PathPattern.of(pattern)]))) == 1


def test_a_path_that_is_not_utf8_is_found_as_it_is_shown(tmp_path) -> None:
    """By its bytes, which a shell hands over, and by the text that stands for them."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        Life(ledger).settles("/srv/caf\udce9.txt")
        with ledger.reading() as reader:
            for pattern in ("/srv/caf\udce9.txt", "/srv/caf\\xe9.*", "caf\udce9*"):
                assert len(list(reader.files(paths=[PathPattern.of(pattern)]))) == 1, pattern


def test_as_many_files_as_are_looked_up_are_all_found(tmp_path: Path) -> None:
    """Though each is found twice: by where it was dropped, and by where it lies."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        names = [f"{number}.{'txt' if number % 3 else 'md'}" for number in range(connection.FEW - 1)]
        seen = [(f"/srv/notes/{name}", signature(number), "") for number, name in enumerate(names)]
        ledger.files.appeared("notes", seen, Life(ledger).now())
        with ledger.reading() as reader:
            paths = [PathPattern.of("*.txt"), PathPattern.of("*.md")]
            assert reader.few_files(paths) == [*range(1, connection.FEW)]
            assert reader.few_files([*paths, PathPattern.of("/srv")]) == [*range(1, connection.FEW)]
