"""The page `interface`: it lists just what commands print and what the daemon takes."""

from __future__ import annotations

import json
import os
from inspect import isfunction

import msgspec
import pytest

from finetuned import errors
from finetuned.cli import reference
from finetuned.cli.objects import CAUSES, EXITS, REQUEST
from finetuned.cli.pages import pages
from finetuned.cli.status import NO_DAEMON
from finetuned.daemon.requests import Request
from finetuned.lifecycle import Cause
from finetuned.sandbox import Pace
from finetuned.times import iso
from support.cli import Desk
from support.public import fits, wrong

#: what people ask for, and events have for a cause of the answer alone
ANSWERED = {"flush", "again", "forget", "canary", "test_hooks", "unknown"}
ODD = os.fsdecode(b"caf\xe9.txt")
FOXES = "Foxes are red. They run."


@pytest.fixture(scope="module")
def desk(lasting_desk: Desk) -> Desk:
    """A desk with files that were learned, refused and skipped, one of an odd name, and a job that stands still."""
    for name, text in (("fox.txt", FOXES), (ODD, "Cafes serve coffee. They open early."), ("bad.txt", b"\xe9")):
        lasting_desk.place.drop(name, text)
    lasting_desk.run()
    lasting_desk.place.drop("same.txt", FOXES)
    lasting_desk.run()
    lasting_desk.place.app.state.store.pace = Pace(queue=3600.0)
    began = lasting_desk.to_the_present()
    lasting_desk.place.drop("new.txt", "Otters eat fish. They swim.")
    lasting_desk.run_until(lambda: lasting_desk.place.states().get("new.txt") == "packed")
    lasting_desk.run_until(lambda: lasting_desk.place.jobs()[-1]["stage"] == "finetune")
    lasting_desk.write("update sessions set moved_at = ? where state = 'live'", iso(began - 300))
    return lasting_desk


@pytest.mark.parametrize(
    ("command", "title"),
    [("jobs", "job"), ("files", "file"), ("pairs", "pair"), ("events", "event"), ("doctor", "finding")],
)
def test_rows_of_a_listing_are_as_the_page_says(desk: Desk, command: str, title: str) -> None:
    """Each key of the page is in each row, no other is, and each value is of its kind."""
    rows = desk(command, "--json").json
    assert rows
    assert [odd for row in rows if (odd := wrong(row, title))] == []


def test_a_whole_job_is_as_the_page_says(desk: Desk) -> None:
    """With its files, attempts, turns and events; `job.json` beside its files is the same object."""
    for row in desk("jobs", "--json").json:
        job = desk("job", row["id"], "--json").json
        assert wrong(job, "whole job") == {}
        parts = {"file": "file_list", "attempt": "sessions", "interaction": "interactions", "event": "events"}
        assert {name for name in parts.values() if not job[name]} == set()
        assert [odd for title, name in parts.items() for part in job[name] if (odd := wrong(part, title))] == []
    papers = [json.loads(path.read_bytes()) for path in desk.place.notes.rglob("job.json")]
    lines = [line for path in desk.place.notes.rglob("pairs.jsonl") for line in path.read_bytes().splitlines()]
    assert (len(papers), len(lines)) == (2, len(desk("pairs", "--json").json))
    assert [odd for paper in papers if (odd := wrong(paper, "whole job"))] == []
    assert [odd for line in lines if (odd := wrong(json.loads(line), "pair"))] == []


def test_what_why_tells_programs_is_as_the_page_says(desk: Desk) -> None:
    """Of each file of any state, and of a path that was never taken."""
    told = [desk("why", row["path"], "--json").json for row in desk("files", "--json").json]
    told.append(desk("why", str(desk.place.notes / "never.txt"), "--json").json)
    assert {row["state"] for row in told} == {"learned", "refused", "duplicate", "packed", "unknown"}
    assert [odd for row in told if (odd := wrong(row, "why"))] == []
    assert [odd for row in told for event in row["history"] if (odd := wrong(event, "event"))] == []


def test_the_status_is_as_the_page_says(desk: Desk) -> None:
    """With and without a daemon, and with a server that cannot be used, to the last of its parts."""
    with desk.daemon():
        beside = desk("status", "--json").json
        desk.write("update servers set paused_because = 'it is down'")
        paused = desk("status", "--json").json
        desk.write("update servers set paused_because = null")
    alone = desk("status", "--json").json
    assert (len(beside["still"]), len(paused["attention"])) == (1, 1)
    for status in (beside, paused, alone):
        parts = [("daemon", status["daemon"]), ("helix", status["helix"]), ("ledger", status["ledger"])]
        lists = {"folder": "folders", "attention": "attention", "still": "still"}
        parts += [(title, row) for title, name in lists.items() for row in status[name]]
        assert wrong(status, "status") == {}
        assert [odd for title, part in parts if (odd := wrong(part, f"status: {title}"))] == []


def test_measures_of_pairs_are_as_the_page_says(desk: Desk) -> None:
    """They come beside all that a pair has."""
    rows = desk("pairs", "--quality", "--json").json
    parts = [{key: row.pop(key) for key in ("quality", "doubts")} for row in rows]
    assert parts
    assert [odd for part in parts if (odd := wrong(part, "measures"))] == []
    assert [odd for row in rows if (odd := wrong(row, "pair"))] == []


def test_the_stats_are_as_the_page_says(desk: Desk) -> None:
    """The whole, each folder, each week, and each reason."""
    stats = desk("stats", "--json").json
    groups = [stats["total"], *stats["folders"], *stats["weeks"]]
    figures = [{key: value for key, value in group.items() if key not in {"folder", "week"}} for group in groups]
    assert (len(groups), len(stats["failures"])) == (3, 1)
    assert wrong(stats, "stats") == {}
    assert [odd for one in figures if (odd := wrong(one, "figures"))] == []
    assert [odd for one in stats["failures"] if (odd := wrong(one, "failure"))] == []


def test_an_odd_path_comes_with_its_bytes(desk: Desk) -> None:
    """The keys that the page marks as left out are there where they say something."""
    rows = [row for row in desk("files", "--json").json if "caf" in row["path"]]
    assert [{"path_b64", "location_b64"} <= set(row) for row in rows] == [True]
    assert any("file_b64" in row for row in desk("pairs", "--json").json)


def test_events_have_causes_that_the_page_lists(desk: Desk) -> None:
    """Each of them: what a program does not find there it cannot know."""
    assert {event["cause"] for event in desk("events", "--json").json} <= set(CAUSES)
    assert set(Cause) | ANSWERED == set(CAUSES)


def test_the_daemon_takes_requests_as_the_page_says() -> None:
    """Each key of a request is listed; those without a default are needed, and so the page says."""
    fields = msgspec.structs.fields(Request)
    assert [field.name for field in fields] == list(REQUEST)
    assert [field.name for field in fields if field.required] == ["id", "verb"]
    assert [name for name, (kind, _) in REQUEST.items() if kind.endswith("?")] == [
        field.name for field in fields if field.default is None
    ]


def test_pages_say_what_the_program_says() -> None:
    """Each generated part stands in a page as the program writes it now."""
    texts = "".join(page.read_text("utf-8") for page in pages().values())
    parts = [part for name, part in vars(reference).items() if isfunction(part) and not name.startswith("_")]
    assert [part.__name__ for part in parts if part.__module__ == reference.__name__ and part() not in texts] == []


def test_every_exit_code_is_listed() -> None:
    """Those of all errors there are, of success, and of `status` without a daemon."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert set(EXITS) == {kind.exit_code for kind in kinds} | {0, NO_DAEMON}


@pytest.mark.parametrize(
    ("value", "kind", "is_right"),
    [
        (None, "text?", True),
        (None, "text", False),
        (1, "number", True),
        (True, "number", False),
        (1, "flag", False),
        ("/a", "path", True),
        ("a", "path", False),
        ("2026-11-23T05:23:11.042Z", "time", True),
        ("2026-11-23", "time", False),
    ],
)
def test_the_comparison_sees_what_is_wrong(value: object, kind: str, is_right: bool) -> None:
    """A comparison that finds nothing must be able to find something."""
    assert fits(value, kind) is is_right
