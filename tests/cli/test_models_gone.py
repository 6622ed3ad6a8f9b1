"""Every door says it when a job's session and model are gone from the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from finetuned.daemon.requests import Request, leave_request
from support.cli import Desk, desks


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A place where one file was learned."""
    with desks(tmp_path) as make:
        desk = make()
        desk.place.drop("a.txt", "The otter is a mammal.")
        desk.run()
        yield desk


def test_a_removed_model_is_told_wherever_one_asks(desk: Desk) -> None:
    """`job`, `jobs`, `why` and `chat` say since when, and that a person asked for it."""
    place = desk.place
    (job,) = place.jobs()
    path = str(place.notes / "a.txt")
    assert desk("why", path, "--json").json["reason"] is None
    leave_request(place.ledger_path, Request(id="r1", verb="cancel", job=job["id"], delete=True), "1")
    desk.run()
    said = desk("why", path, "--json").json["reason"]
    assert said.startswith("its session and its model were removed from the server ")
    assert said.endswith(", as a person asked")
    assert "Dropped again, it is learned anew." in " ".join(desk("why", path).out.split())
    assert desk("job", job["id"], "--json").json["reason"].startswith("its session and its model were removed")
    (line,) = [line for line in desk("job", job["id"]).out.splitlines() if line.lstrip().startswith("model ")]
    assert line.split()[1] == "removed"
    answer = desk("chat", "hi", "--job", job["id"])
    assert (answer.code, answer.out) == (1, "")
    assert f"the model of {job['id']} is gone: its session and its model were removed" in " ".join(answer.err.split())
    assert "drop the job's files again" in " ".join(answer.err.split())


def test_a_model_on_another_server_is_told(desk: Desk) -> None:
    """The address in the configuration was changed."""
    desk.write_config(url="http://other.test")
    told = desk("why", str(desk.place.notes / "a.txt"), "--json").json
    assert told["state"] == "learned"
    assert told["reason"].startswith("it lies on another server, http://")


def test_what_finetuned_removed_itself_is_no_persons_doing(desk: Desk) -> None:
    """Nobody asked for it."""
    desk.write("update sessions set removed_at = '2026-11-28T06:00:00.000Z'")
    assert desk("why", str(desk.place.notes / "a.txt"), "--json").json["reason"].endswith(", by finetuned")


def test_what_went_with_a_forgotten_file_was_asked_for(tmp_path: Path) -> None:
    """Of the other file of the job it is told as by the job itself."""
    with desks(tmp_path) as make:
        desk = make()
        paths = [str(desk.place.drop(name, f"The {name} is a mammal.")) for name in ("a.txt", "b.txt")]
        desk.run()
        assert desk("forget", paths[0], "--yes").code == 0
        desk.run()
        assert desk("why", paths[1], "--json").json["reason"].endswith(", as a person asked")
