"""What commands tell of two backends, each with a folder: by the functions that the commands print from."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from finetuned import clock
from finetuned.cli.findings import needs
from finetuned.cli.outlook import Outlook
from finetuned.cli.standing import Standing
from finetuned.cli.status import status_of
from finetuned.settings import LOCAL_URL
from support.both import BothPlace
from support.cli import in_virtual_time
from support.place import URL, no_connection
from support.public import wrong

Make = Callable[..., BothPlace]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Make]:
    """Makes the place; its settings name the ledger, as a configuration would."""
    places: list[BothPlace] = []

    def make(**words: Any) -> BothPlace:
        words.setdefault("ledger", {"path": str(tmp_path / "state" / "ledger.db")})
        places.append(BothPlace(tmp_path, **words))
        return places[-1]

    yield make
    for place in places:
        place.app.state.store.close()


def until(place: BothPlace, condition: Callable[[], bool]) -> None:
    """Let a daemon work until something is true."""

    async def script() -> None:
        await place.until(condition)

    in_virtual_time(lambda: place.run(until_idle=False, script=script))


def waits(place: BothPlace) -> dict[str, str]:
    """What each unfinished job waits for, by its folder."""
    with place.reader() as reader:
        outlook = Outlook.of(place.settings, reader)
        assert outlook is not None
        return {job["folder"]: outlook.of_job(job["id"]) for job in place.jobs() if not job["finished_at"]}


def test_the_status_tells_of_each_backend(both: Make) -> None:
    """Beside the server's object there is a list of both, to the words why one cannot be used."""
    place = both()
    place.toy.trouble = "there is no wool"
    place.drop_both()
    until(place, lambda: bool(place.ended("notes")))
    status = status_of(place.settings, clock.now())
    assert wrong(status, "status") == {}
    assert [odd for row in status["backends"] if (odd := wrong(row, "status: backend"))] == []
    told = {row["kind"]: (row["url"], row["reachable"], row["paused_because"]) for row in status["backends"]}
    assert told == {"helix": (URL, True, None), "local": (LOCAL_URL, False, "there is no wool")}
    assert status["helix"]["dialect"] == "form"
    with place.reader() as reader:
        (need,) = needs(place.settings, reader, Standing.of(place.settings, reader), runs=False)
    assert (need["subject"], need["words"]) == ("local", "nothing is learned here now: there is no wool")


def test_a_backend_that_no_folder_uses_any_more_is_told_of_while_it_has_work(both: Make) -> None:
    """Its jobs go on there, and what keeps them is nowhere else to be read."""
    place = both()
    place.drop_both()
    until(place, lambda: "training (simulated)" in {job["stage"] for job in place.jobs()})
    with closing(sqlite3.connect(place.ledger_path)) as db, db:
        db.execute("update servers set reachable = 0, paused_because = 'no wool' where url = ?", (LOCAL_URL,))
    settings = both(folder=[{}, {"name": "mine"}]).settings
    status = status_of(settings, clock.now())
    assert [(row["kind"], row["paused_because"]) for row in status["backends"]] == [
        ("helix", None),
        ("local", "no wool"),
    ]
    assert "nothing is learned here now: no wool" in [need["words"] for need in status["attention"]]
    with closing(sqlite3.connect(place.ledger_path)) as db, db:
        db.execute("update jobs set finished_at = created_at, state = 'failed', reason = 'no' where folder = 'mine'")
    assert "backends" not in status_of(settings, clock.now())


def test_a_backend_is_told_of_while_jobs_of_a_folder_that_left_wait_for_it(both: Make) -> None:
    """They were never sent there, and their folder is in no configuration any more."""
    place = both()
    place.toy.trouble = "there is no wool"
    place.drop_both()
    until(place, lambda: "mine" in {job["folder"] for job in place.jobs()} and bool(place.ended("notes")))
    settings = both(folder=[{}, {"name": "mine"}]).settings
    with closing(sqlite3.connect(place.ledger_path)) as db, db:
        db.execute("update folders set state = 'retired' where name = 'mine'")
    status = status_of(settings, clock.now())
    assert [row["kind"] for row in status["backends"]] == ["helix", "local"]
    assert "nothing is learned here now: there is no wool" in [need["words"] for need in status["attention"]]


def test_a_status_before_the_first_start(both: Make) -> None:
    """Without a ledger nothing is known of either, and both are named."""
    place = both(folder=[{"backend": "local"}])
    status = status_of(place.settings, clock.now())
    assert [(row["kind"], row["reachable"]) for row in status["backends"]] == [("local", None)]


def test_what_a_job_waits_for_is_its_backend_s_matter(both: Make) -> None:
    """A server that is away is told of its own jobs alone; those that are learned here are told how far they are."""
    place = both()
    place.network.before = no_connection
    place.drop_both()
    until(place, lambda: "training (simulated)" in {job["stage"] for job in place.jobs()})
    with closing(sqlite3.connect(place.ledger_path)) as db, db:
        db.execute("update sessions set stage = 'finetune', progress = 50 where stage = 'training (simulated)'")
    told = waits(place)
    assert told["notes"].startswith("the server, which cannot be used now: ")
    assert told["mine"].startswith("the training here")


def test_a_turn_is_counted_where_it_is_waited_for(both: Make) -> None:
    """So many under way here, whatever is at the server."""
    folders = [{"max_files": 1}, {"name": "mine", "backend": "local", "max_files": 1}]
    place = both(folder=folders, helix={"max_in_flight": 1})
    place.drop_both(5)
    until(place, lambda: sorted(j["state"] for j in place.jobs()) == ["queued"] * 6 + ["running"] * 4)
    with place.reader() as reader:
        outlook = Outlook.of(place.settings, reader)
        assert outlook is not None
        told = {outlook.of_job(job["id"]) for job in place.jobs()}
    assert "its job's turn: 3 under way here (at most 3), 0 before it in the queue" in told
    assert "its job's turn: 1 on the server (max_in_flight = 1), 3 before it in the queue" in told
    assert any(words.startswith("its pairs, and then for the training") for words in told)
