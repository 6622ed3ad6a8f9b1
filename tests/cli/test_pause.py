"""`pause` and `resume` as they are typed, and what every command says of a folder that is paused."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import anyio
import pytest

from finetuned.cli import wiring
from finetuned.cli.progress import Waiting
from finetuned.cli.terminal import Spinner
from support.cli import Desk, MakeDesk
from support.place import URL

TEXT = "The otter is a mammal. It lives outside."


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """A paused folder with a file that waits; no daemon runs."""
    desk = make_desk(folder=[{"linger": "0s"}])
    place = desk.place

    async def script() -> None:
        assert (await place.ask("pause"))[0] == "done"
        place.drop("otter.txt", TEXT)
        await place.until(lambda: place.states() == {"otter.txt": "waiting"})

    desk.to_the_present()
    desk.run(script)
    return desk


def test_without_a_daemon_it_is_done_at_its_next_start(make_desk: MakeDesk) -> None:
    """The words are `flush`'s; then the folder is paused, or goes on."""
    desk = make_desk(folder=[{"linger": "0s"}])
    desk.run()
    for verb, state in (("pause", "waiting"), ("resume", "learned")):
        answer = desk(verb, "notes")
        assert (answer.code, answer.err) == (0, "no daemon runs: this will be done at its next start\n")
        if verb == "pause":
            desk.place.drop("otter.txt", TEXT)
        desk.run()
        assert desk.place.states() == {"otter.txt": state}


def test_a_folder_that_is_not_configured_is_named(make_desk: MakeDesk) -> None:
    """Nothing is asked of a daemon."""
    for verb in ("pause", "resume"):
        desk = make_desk()
        desk.run()
        answer = desk(verb, "nowhere")
        assert answer.code == 2
        assert "nowhere" in answer.err


def test_no_folder_is_called_watched_while_no_daemon_runs(make_desk: MakeDesk) -> None:
    """For people; programs are told what the daemon found last, and that it does not run."""
    desk = make_desk()
    desk.run()
    assert "folder   notes: not watched now (" in desk("status").out
    status = desk("status", "--json").json
    assert (status["daemon"]["running"], status["folders"][0]["state"]) == (False, "watched")
    with desk.daemon():
        assert "folder   notes: watched (" in desk("status").out


def test_the_status_says_so(desk: Desk) -> None:
    """For people with the way out, for programs with its time, and as what needs a person."""
    with desk.daemon():
        told, status = desk("status"), desk("status", "--json").json
    (folder,) = status["folders"]
    assert (folder["state"], folder["waiting"]) == ("paused", 1)
    since = folder["paused_since"][:19].replace("T", " ")
    assert f"folder   notes: paused since {since}Z (" in told.out
    assert "; `finetuned resume notes` lets them go on" in told.out
    (need,) = status["attention"]
    assert (need["subject"], need["remedy"]) == ("folder notes", "finetuned resume notes")
    assert need["words"] == f"it is paused since {since}Z: nothing new is made or sent of it"
    assert told.code == 0


def test_why_and_the_listing_of_files_say_so(desk: Desk) -> None:
    """What the file waits for is the person who paused the folder."""
    with desk.daemon():
        why = desk("why", str(desk.place.notes / "otter.txt"))
        listed = desk("files")
        programs = desk("files", "--json")
        others = desk("files", "--folder", "notes", "--state", "waiting")
    assert "It waits for the folder notes, which is paused: `finetuned resume notes`." in why.out
    assert listed.err == others.err == "the folder notes is paused, its files wait: finetuned resume notes\n"
    assert programs.err == ""


def test_a_queued_job_says_so(make_desk: MakeDesk) -> None:
    """It was made before the pause, and is sent after it."""
    desk = make_desk(folder=[{"linger": "0s", "max_files": 1}], helix={"max_in_flight": 1})
    place = desk.place

    async def script() -> None:
        place.drop("a.txt", TEXT)
        place.drop("b.txt", f"{TEXT} It swims.")
        await place.until(lambda: (place.state(0), place.state(1)) == ("running", "queued"))
        assert (await place.ask("pause"))[0] == "done"

    desk.to_the_present()
    desk.run(script)
    (path,) = [row["path"] for row in desk("files", "--json").json if row["job_id"] == place.jobs()[1]["id"]]
    with desk.daemon():
        told = desk("why", path, "--json").json
    assert told["waits_for"] == "the folder notes, which is paused: `finetuned resume notes`"


def test_who_waits_for_a_file_is_told(desk: Desk) -> None:
    """`drop --wait` says why nothing happens, once."""
    place = desk.place
    said = io.StringIO()

    async def script() -> None:
        with redirect_stderr(said):
            path = place.drop("fox.txt", f"{TEXT} It is red.")
            folder = wiring.drop_folders(place.settings)["notes"]
            waiting = Waiting(place.ledger_path, URL, folder, [str(path)], place.runtime.now() - 1, Spinner())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(waiting.until_ended, place.runtime)
                await place.until(lambda: place.states().get("fox.txt") == "waiting")
                await place.pass_time(60)
                assert (await place.ask("resume"))[0] == "done"

    desk.run(script)
    lines = [line for line in said.getvalue().splitlines() if "the folder" in line]
    assert lines == ["the folder notes is paused, its files wait: finetuned resume notes"]
