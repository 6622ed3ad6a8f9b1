"""What leaves a job, or the folder, and comes back the same way is held for longer each time."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetuned.daemon.pauses import LONGEST, MANY, Pauses
from support.cli import Desk, desks
from support.kernel import renames_by
from support.memory import counted_memory, held
from support.place import Place

HALF_A_DAY = 43200.0
HOUR = 3600.0
#: doubling to a quarter of an hour, then four an hour at most, twice that for the jitter of what has some
MOST_TRIES = 110
TEXT = "The stone is grey. It came from a river."


@pytest.fixture
def a_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    """Makes desks; at the end each one's ledger is audited."""
    made: list[Desk] = []
    with desks(tmp_path) as make:

        def one(sweep: str = "5s", **rules: Any) -> Desk:
            made.append(make(folder=[{"linger": "0s", "settle": "2s"} | rules], watch={"sweep": sweep}))
            return made[-1]

        yield one
        for desk in made:
            desk.place.audit()


def after_each_claim(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], None]) -> dict[str, bool]:
    """Something is done to each file right after it was moved to `.processing`, as long as `on` is true."""
    switch = {"on": True}

    def rename_and(rename: Callable[[], None], old: str, new: str) -> None:
        rename()
        if switch["on"] and "/.processing/" in new:
            act(new)

    renames_by(monkeypatch, rename_and)
    return switch


def append(path: str) -> None:
    """A program goes on writing."""
    with open(path, "a") as file:
        file.write("more\n")


def why(desk: Desk, name: str) -> str:
    """What `why` says."""
    return desk("why", str(desk.place.notes / name)).out


def rows(place: Place) -> int:
    """How many files the ledger knows."""
    with place.reader() as reader:
        return sum(1 for _ in reader.files())


def test_a_file_that_changes_at_each_claim(a_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is held for longer each time, and says so; once it stands still it is learned."""
    desk = a_desk(sweep="20s")
    place = desk.place
    switch = after_each_claim(monkeypatch, append)

    async def script() -> None:
        place.drop("a.txt", TEXT)
        await place.pass_time(HALF_A_DAY)
        assert 10 < len(place.jobs()) < MOST_TRIES
        assert {job["state"] for job in place.jobs()} == {"cancelled"}
        assert place.states() == {"a.txt": "settling"}
        assert "it changed after it was read" in place.files()["a.txt"]["reason"]
        assert "th time in a row, so it is left alone for 900 seconds" in place.files()["a.txt"]["reason"]
        assert "th time in a row, so it is left alone for 900 seconds" in why(desk, "a.txt").replace("\n", " ")
        switch["on"] = False
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=LONGEST + 60)

    desk.run(script)


def test_a_file_that_cannot_be_moved_alone(a_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only that file cannot be moved, jobs are made of it in vain, and ever more seldom."""
    desk = a_desk(sweep="20s")
    place = desk.place
    switch = {"on": True}

    def refuse(rename: Callable[[], None], old: str, new: str) -> None:
        if old.endswith("/a.txt") and switch["on"]:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        rename()

    renames_by(monkeypatch, refuse)

    async def script() -> None:
        place.drop("a.txt", TEXT)
        await place.pass_time(HALF_A_DAY)
        assert 10 < len(place.jobs()) < MOST_TRIES
        assert "permission denied" in place.files()["a.txt"]["reason"]
        switch["on"] = False
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=LONGEST + 60)

    desk.run(script)


@pytest.mark.parametrize("when", ["while it settles", "at the claim"])
def test_a_file_that_is_exchanged_with_a_link(
    a_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], when: str
) -> None:
    """What vanishes and appears again and again is looked at ever more seldom; neither ledger nor log fill up."""
    desk = a_desk(settle="2s" if when == "while it settles" else "500ms")
    place = desk.place
    path = place.notes / "a.txt"

    def rename_late(rename: Callable[[], None], old: str, new: str) -> None:
        if old == str(path) and when == "at the claim" and not done:
            path.unlink(missing_ok=True)
        rename()

    renames_by(monkeypatch, rename_late)
    done: list[bool] = []

    async def script() -> None:
        for second in range(int(HOUR)):
            if when == "at the claim":
                if not path.exists():
                    path.write_text(TEXT)
            else:
                path.unlink(missing_ok=True)
                path.write_text(TEXT) if second % 2 else path.symlink_to("/etc/passwd")
            place.sweep_soon()
            await place.pass_time(1.0)
        assert rows(place) < 20
        assert len(place.jobs()) < 20
        assert "th time in a row" in why(desk, "a.txt").replace("\n", " ")
        done.append(True)
        path.unlink(missing_ok=True)
        path.write_text(TEXT)
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=LONGEST + 60)

    desk.run(script)
    assert len(capfd.readouterr().err.splitlines()) < 150


def test_a_file_that_changes_while_it_waits(a_desk: Callable[..., Desk]) -> None:
    """A log that is written to whenever it has just settled fills no ledger with its changes."""
    desk = a_desk(linger="10m", after="keep")
    place = desk.place

    async def script() -> None:
        place.drop("a.txt", TEXT)
        for _ in range(int(HOUR * 6 / 25)):
            append(str(place.notes / "a.txt"))
            await place.pass_time(25.0)
        told = [event["detail"] for event in place.events() if event["cause"] == "changed"]
        assert 10 < len(told) < MOST_TRIES
        assert "it changed while it waited; this was the" in told[-1]
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=LONGEST + 700)

    desk.run(script)


def test_a_file_that_is_another_version_each_time_it_is_archived(a_desk: Callable[..., Desk]) -> None:
    """Who edits what is under way gets it back, and learned, but not trained without end."""
    desk = a_desk()
    place = desk.place

    async def script() -> None:
        place.drop("a.txt", TEXT)
        begun = place.runtime.steady()
        while place.runtime.steady() < begun + HOUR * 3:
            for lying in place.notes.glob(".processing/*/a.txt"):
                append(str(lying))
            await place.pass_time(1.0)
        assert 1 < rows(place) <= len(place.jobs())  # some it leaves before it is sent, as it changed
        assert 10 < len(place.jobs()) < 30
        assert any("th time in a row" in (event["detail"] or "") for event in place.events())

    desk.run(script)


def test_a_folder_that_goes_and_comes(a_desk: Callable[..., Desk]) -> None:
    """A folder that is gone at every other sweep is looked at ever more seldom, and used once it stays."""
    desk = a_desk()
    place = desk.place
    aside = place.notes.with_name("aside")

    async def script() -> None:
        for _ in range(int(HOUR * 3 / 10)):
            place.notes.rename(aside)
            await place.pass_time(5.0)
            aside.rename(place.notes)
            await place.pass_time(5.0)
        assert sum(event["subject"] == "folder" for event in place.events()) < 50
        place.drop("a.txt", TEXT)
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=LONGEST + 60)

    desk.run(script)


def test_who_is_well_is_forgotten() -> None:
    """However many come, no more are remembered than those that may come back still."""
    now = [0.0]
    pauses = Pauses(lambda: now[0])
    with counted_memory():
        for number in range(20 * MANY):
            pauses.came_back(str(number))
            now[0] += 1
            if number == MANY:
                begin = held()
        assert held().bytes < begin.bytes + 100 * MANY


def test_pauses() -> None:
    """Twice is free, then the pause doubles to the longest; what was well for as long is forgotten."""
    now = [0.0]
    pauses = Pauses(lambda: now[0])
    told = []
    for _ in range(14):
        pause = pauses.came_back("a")
        told.append(pause.seconds)
        now[0] += pause.seconds + 1
    assert told == [0, 0, 8, 16, 32, 64, 128, 256, 512, *[LONGEST] * 5]
    now[0] += 2 * LONGEST
    assert pauses.came_back("a").seconds == 0
