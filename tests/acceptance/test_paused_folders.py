"""A folder that a person pauses: nothing new is made or sent of it, and what is under way goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.place import Place

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
ROUND = "The stone is round. It lies in a garden."


def folder_events(place: Place) -> list[tuple[str, str, str]]:
    """What was told of pauses."""
    with place.reader() as reader:
        events = [event for event in reader.events() if event["subject"] == "folder"]
    return [(e["was"], e["became"], e["cause"]) for e in events if e["cause"] in {"pause", "resume"}]


def folder_states(place: Place) -> set[str]:
    """What the folders are now."""
    with place.reader() as reader:
        return {folder["state"] for folder in reader.folders().values()}


async def test_files_wait_until_it_is_resumed(a_place: APlace) -> None:
    """They are seen, and ready; a flush does not make jobs of them; then they are learned at once."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "1m"})

    async def script() -> None:
        assert await place.ask("pause", folder="notes") == (
            "done",
            "notes: paused; what is on the server goes on, and nothing new is made or sent",
        )
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states() == {"a.txt": "waiting"})
        assert (await place.ask("flush"))[1].endswith("; those of notes once it is resumed")
        await place.pass_time(3600)
        assert place.states() == {"a.txt": "waiting"}
        assert (place.notes / "a.txt").exists()
        assert await place.ask("resume", folder="notes") == ("done", "notes: resumed")
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=120)

    await place.run(until_idle=False, script=script)
    assert folder_events(place) == [("watched", "paused", "pause"), ("paused", "watched", "resume")]


async def test_what_is_on_the_server_goes_on_and_what_is_queued_is_not_sent(a_place: APlace) -> None:
    """The job that runs ends and is archived, the one that waits for its slot is kept back, a restart or not."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}], helix={"max_in_flight": 1})

    async def paused() -> None:
        place.drop("a.txt", GREY)
        place.drop("b.txt", ROUND)
        await place.until(lambda: (place.state(0), place.state(1)) == ("running", "queued"))
        assert (await place.ask("pause"))[0] == "done"
        await place.until(lambda: place.state(0) == "done")
        await place.pass_time(600)

    async def later() -> None:
        await place.pass_time(600)
        assert (place.state(0), place.state(1)) == ("done", "queued")
        assert (await place.ask("resume"))[0] == "done"
        await place.until(lambda: place.state(1) == "done")

    await place.run(until_idle=False, script=paused)
    assert len(place.network.sent()) == 1
    await place.run(until_idle=False, script=later)
    assert len(place.network.sent()) == 2


async def test_a_run_until_idle_does_not_wait_for_it(a_place: APlace) -> None:
    """Its files are no work; those of another folder are. What was asked while no daemon ran is done at the start."""
    place = a_place(folder=[{"linger": "1h"}, {"linger": "1h"}])
    second = place.settings.folders[1]
    await place.run()
    place.leave("pause", folder=second.name)
    place.drop("a.txt", GREY)
    (place.root / second.path / "b.txt").write_text(ROUND)
    outcome = await place.run()
    assert (outcome.failed, outcome.unusable, outcome.away) == (False, False, ())
    assert place.states() == {"a.txt": "learned", "b.txt": "waiting"}
    place.leave("resume")
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}


async def test_it_stays_paused_while_it_is_away(a_place: APlace) -> None:
    """Unmounted and mounted again it is still paused."""
    place = a_place(folder=[{"linger": "0s"}])

    def state() -> str:
        with place.reader() as reader:
            return str(reader.folders()["notes"]["state"])

    async def script() -> None:
        assert (await place.ask("pause", folder="notes"))[0] == "done"
        place.notes.rename(place.root / "elsewhere")
        await place.until(lambda: state() == "away")
        (place.root / "elsewhere").rename(place.notes)
        await place.until(lambda: state() == "paused")
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states() == {"a.txt": "waiting"})
        await place.pass_time(60)
        assert place.states() == {"a.txt": "waiting"}

    await place.run(until_idle=False, script=script)


async def test_a_folder_that_is_away_is_still_away_when_it_goes_on(a_place: APlace) -> None:
    """The events say so, and why it is away is not forgotten."""
    place = a_place()
    await place.run()

    def known() -> dict[str, Any]:
        with place.reader() as reader:
            return reader.folders()["notes"]

    async def script() -> None:
        place.notes.rename(place.root / "elsewhere")
        await place.until(lambda: known().get("state") == "away")
        why = known()["away_because"]
        for verb in ("pause", "resume"):
            assert (await place.ask(verb, folder="notes"))[0] == "done"
            assert (known()["state"], known()["away_because"]) == ("away", why)
        assert "cannot be opened" in why

    await place.run(until_idle=False, script=script)
    assert folder_events(place) == [("away", "away", "pause"), ("away", "away", "resume")]


async def test_all_are_those_of_the_configuration(a_place: APlace) -> None:
    """A folder that left it is paused only by its name, and goes on with all the others."""
    place = a_place(folder=[{"linger": "0s"}, {"linger": "0s"}])
    left, stays = place.settings.folders

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: bool(place.jobs()) and place.state() == "running")
        await place.reload(folder=[{"name": stays.name, "path": stays.path}])
        await place.until(lambda: "retired" in folder_states(place))
        assert (await place.ask("pause"))[1].startswith(f"{stays.name}: paused; ")
        assert (await place.ask("pause", folder=left.name))[1].startswith(f"{left.name}: paused; ")
        assert (await place.ask("resume"))[1] in {
            f"{a.name}, {b.name}: resumed" for a, b in ((left, stays), (stays, left))
        }

    await place.run(until_idle=False, script=script)
    retired = [told for told in folder_events(place) if "retired" in told]
    assert retired == [("retired", "retired", "pause"), ("retired", "retired", "resume")]


async def test_asked_twice_nothing_is_told_twice(a_place: APlace) -> None:
    """The answer says that it was so already; a folder that does not exist is refused."""
    place = a_place()

    async def script() -> None:
        assert (await place.ask("resume"))[1] == "notes: not paused"
        for _ in range(2):
            answer = await place.ask("pause")
        assert answer == ("done", "notes: paused already")
        refused = await place.ask("pause", folder="nowhere")
        assert refused == ("refused", "there is no folder nowhere; there are: notes")

    await place.run(until_idle=False, script=script)
    assert folder_events(place) == [("watched", "paused", "pause")]
