"""A newer text lies where an older file is to be taken, or put away: each is taken for what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from finetuned.sandbox import Faults
from support.place import Place, is_send, named

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
FLAT = "The stone is flat. It was under a stair."
ROUND = "The stone is round. It lies on a beach."


def versions(place: Place, name: str) -> list[str]:
    """The states of all files of this name, the first that came first."""
    with place.reader() as reader:
        return [row["state"] for row in reader.files() if row["path"].endswith(f"/{name}")]


async def test_a_kept_file_that_was_edited_since_its_job_failed(a_place: APlace) -> None:
    """The edit waits as a new file: of a job that is tried again the old one is lost, and it says so."""
    place = a_place(folder=[{"after": "keep", "linger": "0s"}], faults=Faults.parse(["state-error:1"]))
    path = place.drop("a.txt", GREY)
    place.drop("b.txt", FLAT)
    await place.run()
    assert place.states() == {"a.txt": "failed", "b.txt": "failed"}
    job = place.jobs()[0]["id"]

    async def script() -> None:
        await waits_paused(place, path)
        assert (await place.ask("retry", job=job))[0] == "done"
        assert (await place.ask("resume", folder="notes"))[0] == "done"
        await place.until(lambda: versions(place, "a.txt") == ["vanished", "learned"])
        await place.until(lambda: place.states()["b.txt"] == "learned")

    await place.run(until_idle=False, script=script)
    with place.reader() as reader:
        old = next(iter(reader.files()))
    assert old["reason"] == "it changed after it was read; what lies there now is taken as a new file"
    assert (path.read_text(), place.sessions_on_server()) == (ROUND, 3)


async def test_a_kept_file_that_is_edited_while_its_job_is_sent_and_then_split(a_place: APlace) -> None:
    """Nobody asks for anything: of the two jobs that go on, one lacks the old version."""
    place = a_place(folder=[{"after": "keep", "linger": "0s"}])
    path = place.drop("a.txt", GREY)
    place.drop("b.txt", FLAT)
    refused: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if not is_send(request) or refused:
            return None
        refused.append(request)
        path.write_text(ROUND)
        place.sweep_soon()
        return httpx.Response(413, request=request)

    place.network.before = refuse
    await place.run()
    assert versions(place, "a.txt") == ["vanished", "learned"]
    assert versions(place, "b.txt") == ["learned"]
    assert len(refused) == 1


async def waits_paused(place: Place, path: Path) -> None:
    """Pause the folder, and edit a file of it, which waits then."""
    assert (await place.ask("pause", folder="notes"))[0] == "done"
    path.write_text(ROUND)
    place.sweep_soon()
    await place.until(lambda: versions(place, path.name)[-1] == "waiting")


async def test_a_file_of_which_a_newer_version_waits_is_not_retried(a_place: APlace) -> None:
    """Whoever asks is told what lies there now."""
    place = a_place(folder=[{"after": "keep", "linger": "0s"}], faults=Faults.parse(["qa-fails-one:1"]))
    place.drop("a.txt", GREY)
    place.drop("b.txt", FLAT)
    await place.run()
    assert place.state() == "partial"
    (lost,) = [place.notes / name for name, state in place.states().items() if state != "learned"]

    async def script() -> None:
        await waits_paused(place, lost)
        answer = await place.ask("retry", job=place.jobs()[0]["id"])
        words = f"another version lies at {lost}, and is taken as a new file; see `finetuned why` on it"
        assert answer == ("refused", words)

    await place.run(until_idle=False, script=script)


async def test_a_lost_file_whose_name_came_back(a_place: APlace) -> None:
    """A retry of its job finds another file in its place, which waits for a job of its own."""
    place = a_place(folder=[{"linger": "0s"}], faults=Faults.parse(["state-error:1"]))
    place.drop("a.txt", GREY)
    place.drop("b.txt", ROUND)

    async def remove() -> None:
        await place.until(lambda: place.state() == "running")
        next(place.notes.glob(".processing/*/a.txt")).unlink()
        await place.until(lambda: place.state() == "failed")

    await place.run(until_idle=False, script=remove)
    await place.run()
    job = place.jobs()[0]["id"]

    async def script() -> None:
        assert (await place.ask("pause", folder="notes"))[0] == "done"
        place.drop("a.txt", "The stone is a jewel. It was cut by hand.")
        place.sweep_soon()
        await place.until(lambda: versions(place, "a.txt") == ["failed", "waiting"])
        assert (await place.ask("retry", job=job))[0] == "done"
        await place.until(lambda: versions(place, "a.txt") == ["vanished", "waiting"])
        assert (await place.ask("resume", folder="notes"))[0] == "done"
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    place.audit()


async def test_a_file_that_grew_before_it_was_refused_is_one_file(a_place: APlace) -> None:
    """It was seen when it was still empty: as it is when it is read, so it is put away."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        path = place.drop("a.txt", b"")
        place.sweep_soon()
        await place.until(lambda: place.states() == {"a.txt": "settling"})
        path.write_bytes(b"caf\xe9")
        await place.until(lambda: list(place.notes.glob("failed/refused/a.txt")) != [])

    await place.run(until_idle=False, script=script)
    assert versions(place, "a.txt") == ["refused"]
    assert place.files()["a.txt"]["location"] == str(place.notes / "failed" / "refused" / "a.txt")


async def test_a_refused_file_that_was_not_mended_well_is_refused_once_more(a_place: APlace) -> None:
    """It is put back where it lay, and stays one file."""
    place = a_place(folder=[{"linger": "0s"}])
    path = place.drop("a.txt", b"caf\xe9")
    await place.run()
    refused = place.notes / "failed" / "refused" / "a.txt"
    refused.write_bytes(b"caf\xe9 once more")

    async def script() -> None:
        assert (await place.ask("retry", **named(path)))[0] == "done"
        await place.until(lambda: place.states() == {"a.txt": "settling"})
        await place.until(lambda: place.states() == {"a.txt": "refused"} and refused.exists())

    await place.run(until_idle=False, script=script)
    assert versions(place, "a.txt") == ["refused"]
    assert place.files()["a.txt"]["location"] == str(refused)


@pytest.mark.parametrize("dies", [False, True])
async def test_a_refused_file_that_is_corrected_before_it_is_put_away(a_place: APlace, dies: bool) -> None:
    """The corrected text is learned, and never filed with the reason of the old one."""
    place = a_place(folder=[{"linger": "0s"}])
    obstacle = place.drop("failed/refused", "no folder")
    path = place.drop("a.txt", b"caf\xe9")

    async def until_refused() -> None:
        await place.until(lambda: place.states() == {"a.txt": "refused"})

    async def script() -> None:
        await until_refused()
        path.write_text(GREY)
        place.sweep_soon()
        await place.pass_time(30.0)
        obstacle.unlink()
        await place.until(lambda: place.states()["a.txt"] == "learned")

    if dies:
        await place.run(until_idle=False, script=until_refused)
    await place.run(until_idle=False, script=script)
    assert versions(place, "a.txt") == ["refused", "learned"]
    with place.reader() as reader:
        assert next(iter(reader.files()))["location"] is None
    assert not list(place.notes.glob("failed/refused/*"))
