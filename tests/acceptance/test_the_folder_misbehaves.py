"""A drop folder that is full, read-only, gone, replaced, or patched together of disks: told, waited for, and healed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import disks
from support.cli import Desk, desks

ADesk = Callable[..., Desk]
GREY = "The stone is grey. It came from a river."
ROUND = GREY + " And it is round."
HOUR = 3600.0
LONG = HOUR / 3


@pytest.fixture
def a_desk(tmp_path: Path) -> Iterator[ADesk]:
    """Makes desks; at the end each one's ledger is audited."""
    made: list[Desk] = []
    with desks(tmp_path) as make:

        def one(**words: Any) -> Desk:
            made.append(make(folder=[{"linger": "0s"}], **words))
            return made[-1]

        yield one
        for desk in made:
            desk.place.audit()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[None]:
    """The first desk's folder is a small disk of its own."""
    with disks.small_disk(tmp_path / "desk0" / "notes", "1m"):
        yield


@contextmanager
def no_right_to_write(folder: Path) -> Iterator[None]:
    """The folder belongs to others, who let us read."""
    folder.chmod(0o555)
    with disks.without_the_rights_of_root():
        yield
    folder.chmod(0o755)


def why(desk: Desk, path: Path) -> dict[str, Any]:
    """What `finetuned why` says."""
    found: dict[str, Any] = desk("why", str(path), "--json").json
    return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("fault", "words", "doctor"),
    [
        (disks.read_only, "the file system is read-only", "no file can be made"),
        (no_right_to_write, "give the user that finetuned runs as the right", "no file can be made"),
    ],
)
def test_a_folder_that_cannot_be_written(
    a_desk: ADesk, fault: Callable[[Path], AbstractContextManager[None]], words: str, doctor: str
) -> None:
    """Its files wait with the reason, no job is made of them at each try, and they go when it can be written."""
    desk = a_desk()
    place = desk.place

    async def script() -> None:
        place.drop("a.txt", GREY)
        with fault(place.notes):
            await place.until(lambda: bool(place.states() and place.files()["a.txt"]["reason"]))
            await place.pass_time(LONG)
            told = why(desk, place.notes / "a.txt")
            assert (told["state"], words in told["reason"]) == ("waiting", True)
            assert len(told["history"]) < 6
            assert place.jobs() == []
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=120)

    desk.run(script)
    with fault(place.notes):
        answer = desk("doctor")
    assert (answer.code, doctor in answer.out) == (1, True)
    assert len(place.jobs()) == 1


@pytest.mark.usefixtures("small")
def test_a_folder_that_turns_read_only_makes_one_empty_job_at_most(a_desk: ADesk) -> None:
    """What went well before is tried with the files themselves; from then on with a file of our own."""
    desk = a_desk()
    place = desk.place

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        place.drop("b.txt", ROUND)
        with disks.read_only(place.notes):
            await place.until(lambda: place.states().get("b.txt") == "waiting")
            await place.pass_time(LONG)
            assert len(place.jobs()) <= 2
        await place.until(lambda: place.states().get("b.txt") == "learned", within=120)

    desk.run(script)
    assert place.sessions_on_server() == 2


@pytest.mark.usefixtures("small")
def test_a_full_folder(a_desk: ADesk) -> None:
    """Renames need no space, so files are learned; the papers follow, whole, when there is some."""
    desk = a_desk()
    place = desk.place

    async def script() -> None:
        place.drop("a.txt", GREY)
        with disks.full(place.notes):
            await place.until(lambda: place.states() == {"a.txt": "learned"}, within=HOUR)
            await place.pass_time(LONG)
            job_id = place.jobs()[0]["id"]
            events = desk("job", job_id, "--json").json["events"]
            held_up = [event for event in events if event["cause"] == "held_up"]
            assert len(held_up) == 1
            assert "no space is left on the device; free some" in held_up[0]["detail"]
            told = desk("why", str(place.notes / "a.txt")).out
            assert "It is put away later: its files cannot be moved" in told
            assert "no space is left on the device; free some" in told
        await place.until(lambda: bool(list(place.notes.glob("done/*/pairs.jsonl"))), within=120)

    desk.run(script)
    assert [path.read_text() for path in place.notes.rglob("*.txt")] == [GREY]
    assert all(path.stat().st_size for path in place.notes.glob("done/*/*"))
    assert not list(place.notes.glob("**/.*.part"))
    assert "put away later" not in desk("why", str(place.notes / "a.txt")).out


def test_a_sub_folder_on_another_disk(a_desk: ADesk) -> None:
    """Its files can't be renamed out of it: they wait, are told, and are learned once they lie elsewhere."""
    desk = a_desk()
    place = desk.place
    with disks.small_disk(place.notes / "sub", "1m"):

        async def script() -> None:
            other = place.drop("sub/b.txt", ROUND)
            place.drop("a.txt", GREY)
            await place.until(lambda: place.states().get("a.txt") == "learned")
            await place.pass_time(LONG)
            told = why(desk, other)
            assert told["state"] == "waiting"
            assert "another file system than the folder's top" in told["reason"]
            assert len(told["history"]) < 6
            assert [job["state"] for job in place.jobs()] == ["done"]
            shutil.move(other, place.notes / "c.txt")
            wanted = {"a.txt": "learned", "b.txt": "vanished", "c.txt": "learned"}
            await place.until(lambda: place.states() == wanted, within=120)

        desk.run(script)
        answer = desk("doctor")
        assert f"{place.notes}/sub lies on another file system" in answer.out
    assert place.sessions_on_server() == 2


def states(desk: Desk) -> list[str]:
    """What became of the folder, by its events."""
    with desk.place.reader() as reader:
        return [event["became"] for event in reader.events() if event["subject"] == "folder"]


def test_a_folder_that_goes_away_and_comes_back(a_desk: ADesk) -> None:
    """Nothing in it has vanished, nothing is made in its place, and everything goes on."""
    desk = a_desk()
    place = desk.place
    away = place.root / "away"

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: bool(place.network.sent()))
        place.drop("b.txt", ROUND)
        place.notes.rename(away)
        await place.until(lambda: states(desk)[-1] == "away")
        await place.pass_time(LONG)
        assert not place.notes.exists()
        assert place.states()["a.txt"] == "learned"  # the server goes on; only the file cannot be put away
        told = why(desk, place.notes / "a.txt")
        assert told["state"] == "learned"
        assert "make the folder, or mount it again" in desk("status").out
        away.rename(place.notes)
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"}, within=120)
        await place.until(lambda: len(list(place.notes.glob("done/*/pairs.jsonl"))) == 2, within=120)

    desk.run(script)
    assert states(desk) == ["watched", "away", "watched"]
    place.notes.rename(away)
    answer = desk("doctor")
    assert (answer.code, "make the folder, or mount it again" in answer.out) == (1, True)
    away.rename(place.notes)


def test_another_folder_in_its_place(a_desk: ADesk) -> None:
    """While the first one has files of jobs in it, nothing is taken from the other, even if they have ended."""
    desk = a_desk()
    place = desk.place
    away = place.root / "away"

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states() == {"a.txt": "packed"} and bool(place.network.sent()))
        place.notes.rename(away)
        place.sweep_soon()
        await place.until(lambda: states(desk)[-1] == "away")
        assert place.states() == {"a.txt": "packed"}
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        place.notes.mkdir()
        (place.notes / "b.txt").write_text(ROUND)
        await place.pass_time(60)
        assert os.listdir(place.notes) == ["b.txt"]
        assert "b.txt" not in place.states()
        (place.notes / "b.txt").rename(away / "b.txt")
        place.notes.rmdir()
        away.rename(place.notes)
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"}, within=120)

    desk.run(script)


MOMENTS: dict[str, Callable[[Desk], bool]] = {
    "it settles": lambda desk: desk.place.states() == {"a.txt": "settling"},
    "it waits": lambda desk: desk.place.states() == {"a.txt": "waiting"},
    "it is on the server": lambda desk: bool(desk.place.network.sent()),
    "it is learned": lambda desk: desk.place.states() == {"a.txt": "learned"},
}


@pytest.mark.parametrize("day", [24 * HOUR, -24 * HOUR])
@pytest.mark.parametrize("moment", MOMENTS)
def test_the_clock_jumps_by_a_day(tmp_path: Path, moment: str, day: float) -> None:
    """Whenever it is: nobody waits a day for anything, and nothing is done twice."""
    with desks(tmp_path) as make:
        desk = make(folder=[{"linger": "20s"}])
        place = desk.place

        async def script() -> None:
            place.drop("a.txt", GREY)
            await place.until(lambda: MOMENTS[moment](desk))
            place.runtime.jump(day)
            await place.until(lambda: bool(list(place.notes.glob("done/*/pairs.jsonl"))), within=300)
            place.drop("b.txt", ROUND)
            await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"}, within=300)

        desk.run(script)
        assert place.sessions_on_server() == 2
        place.audit()


def test_what_lies_claimed_and_may_not_be_read_keeps_only_its_folder_away(a_desk: ADesk) -> None:
    """A note of another user's in .processing: the folder is away with that reason, and taken once it can be read."""
    desk = a_desk()
    place = desk.place
    note = place.drop(".processing/notes-20261123-052311-7fka/job.json", "{}")
    note.chmod(0)
    place.drop("a.txt", GREY)

    async def script() -> None:
        with disks.without_the_rights_of_root():
            await place.pass_time(LONG)
            with place.reader() as reader:
                assert reader.folders()["notes"]["state"] == "away"
                away = [event["detail"] for event in reader.events() if event["became"] == "away"]
            assert len(away) == 1
            assert ".processing" in away[0]
            assert "permission denied" in away[0]
        note.unlink()
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=120)

    desk.run(script)
