"""One daemon, two backends: a folder whose files go to a server, and one whose files a toy learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.toy import EACH_SECONDS
from finetuned.settings import LOCAL_URL
from support.both import BothPlace
from support.place import URL, no_connection

Make = Callable[..., BothPlace]


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Make]:
    """Makes the place; at the end of the test its ledger is audited."""
    places: list[BothPlace] = []

    def make(**words: Any) -> BothPlace:
        places.append(BothPlace(tmp_path, **words))
        return places[-1]

    yield make
    for place in places:
        place.app.state.store.close()
        place.audit()


async def test_each_folder_goes_to_its_backend(both: Make) -> None:
    """From the file to its pairs, at both, in one run; each session is named, and known by where it is."""
    place = both()
    place.drop_both(2)
    assert not (await place.run()).failed
    assert {job["state"] for job in place.jobs()} == {"done"}
    assert place.where() == {("notes", URL), ("mine", LOCAL_URL)}
    with place.reader() as reader:
        assert (reader.server(URL)["dialect"], reader.server(LOCAL_URL)["dialect"]) == ("form", "toy")
    (job,) = place.ended("mine")
    assert place.toy.sessions[job["session_id"]].name == job["id"]


async def test_an_outage_of_the_server_delays_nothing_here(both: Make) -> None:
    """Files for the toy are learned as fast as if nothing were wrong; what is left is told with 69, in the end."""
    place = both()
    place.network.before = no_connection
    place.drop_both(2)
    outcome = await place.run()
    assert (outcome.failed, outcome.unusable) == (False, True)
    assert len(place.ended("mine")) == 1
    assert place.runtime.steady() < 150
    with place.reader() as reader:
        assert "connection refused" in reader.server(URL)["paused_because"]
        assert reader.server(LOCAL_URL)["paused_because"] is None
    place.network.before = lambda _: None
    assert not (await place.run()).unusable
    assert len(place.ended("notes")) == 1


async def test_an_outage_here_delays_nothing_at_the_server(both: Make) -> None:
    """The toy is probed at growing pauses, and its jobs go on once it answers again."""
    place = both()
    place.toy.trouble = "there is no wool"
    place.drop_both(2)

    async def script() -> None:
        await place.until(lambda: len(place.ended("notes")) == 1, within=120)
        with place.reader() as reader:
            assert reader.server(LOCAL_URL)["paused_because"] == "there is no wool"
        await place.pass_time(300)
        place.toy.trouble = ""
        await place.until(lambda: len(place.ended("mine")) == 1, within=400)

    await place.run(until_idle=False, script=script)
    assert 3 <= len(place.toy.probes) < 20


async def test_slots_are_counted_apart(both: Make) -> None:
    """A full server takes no slot of the toy's, and each takes as many as its own limit allows."""
    folders = [{"max_files": 1}, {"name": "mine", "backend": "local", "max_files": 1}]
    place = both(folder=folders, helix={"max_in_flight": 1}, trainer={"max_in_flight": 2})
    place.drop_both(6)
    await place.run()
    assert len(place.ended("notes")) == len(place.ended("mine")) == 6
    assert place.toy.most == 4  # its trainings, and two whose pairs are made meanwhile


async def test_a_folder_that_changes_its_backend(both: Make) -> None:
    """What is at the old one ends there, what is queued goes to the new one, and nothing is learned twice."""
    place = both(folder=[{"max_files": 1}, {"name": "mine", "backend": "local"}], helix={"max_in_flight": 1})
    place.drop_both(3, to="notes")

    async def script() -> None:
        await place.until(lambda: sorted(j["state"] for j in place.jobs()) == ["queued", "queued", "running"])
        here = {"name": "notes", "path": str(place.notes), "max_files": 1, "backend": "local"}
        there = {"name": "mine", "path": str(place.mine)}
        await place.reload(folder=[here, there])
        await place.until(lambda: len(place.ended("notes")) == 3)

    await place.run(until_idle=False, script=script)
    with place.reader() as reader:
        urls = [[s["url"] for s in reader.job(job["id"])["sessions"]] for job in place.jobs()]
    assert sorted(urls) == [[URL], [LOCAL_URL], [LOCAL_URL]]
    assert len(place.network.sent()) == 1


@pytest.mark.parametrize(("kind", "other"), [("local", "helix"), ("helix", "local")])
async def test_jobs_end_where_they_began(both: Make, kind: str, other: str) -> None:
    """Though no folder goes there any more, and after a restart, too; what is queued goes to the new backend."""
    limits = {"trainer": {"max_in_flight": 1}, "helix": {"max_in_flight": 3}}
    place = both(folder=[{"name": "mine", "backend": kind, "max_files": 1}], **limits)
    place.drop_both(4, to="mine")

    async def begun() -> None:
        await place.until(lambda: sum(job["state"] == "running" for job in place.jobs()) == 3)
        await place.reload(folder=[{"name": "mine", "path": str(place.mine), "backend": other, "max_files": 1}])
        await place.until(lambda: len(place.ended("mine")) >= 1, within=400)

    await place.run(until_idle=False, script=begun)
    await place.run()
    with place.reader() as reader:
        urls = [session["url"] for job in place.ended("mine") for session in reader.job(job["id"])["sessions"]]
    at = {"helix": URL, "local": LOCAL_URL}
    assert sorted(urls) == sorted([at[kind]] * 3 + [at[other]])


async def test_what_is_to_be_removed_is_removed_where_no_folder_goes_any_more(both: Make) -> None:
    """The backend is there from the next start on, until nothing is left to do at it."""
    place = both(folder=[{"name": "mine", "backend": "helix"}])
    place.drop_both(1, to="mine")
    await place.run()
    (job,) = place.jobs()
    place.configure(folder=[{"name": "mine", "path": str(place.mine), "backend": "local"}])
    place.load()

    async def ask() -> None:
        done, words = await place.ask("cancel", job=job["id"], delete=True)
        assert (done, words.endswith("after the next start or reload")) == ("done", True)

    await place.run(until_idle=False, script=ask)
    assert place.sessions_on_server() == 1
    await place.run()
    assert place.sessions_on_server() == 0


async def test_a_folder_that_is_removed_keeps_its_backend(both: Make) -> None:
    """Its jobs end where they were to be learned, the queued ones too, though no other folder goes there."""
    place = both(trainer={"max_in_flight": 1})
    place.configure(folder=[{"name": "mine", "path": str(place.mine), "backend": "local", "max_files": 1}])
    place.load()
    place.drop_both(4, to="mine")

    async def script() -> None:
        await place.until(lambda: sum(job["state"] == "running" for job in place.jobs()) == 3)
        await place.reload(folder=[{"name": "notes", "path": str(place.notes)}])
        await place.until(lambda: len(place.ended("mine")) == 4)

    await place.run(until_idle=False, script=script)
    assert place.where() == {("mine", LOCAL_URL)}


async def test_a_backend_tells_by_itself_that_something_moved(both: Make) -> None:
    """The session is polled within a second, however far off its next poll was, and whatever a list showed before."""
    place = both(folder=[{"name": "mine", "backend": "local", "max_files": 1}])
    place.drop_both(2, to="mine")
    before, hour = 0, 3600.0

    async def script() -> None:
        nonlocal before
        await place.until(lambda: [job["state"] for job in place.jobs()] == ["running", "running"])
        for session in place.toy.sessions.values():
            session.begun += hour  # nothing moves
        await place.pass_time(400)
        moved, _ = place.toy.sessions
        place.toy.sessions[moved].begun -= hour + 2 * EACH_SECONDS  # it is trained, all at once
        before = len(place.toy.asked)
        place.changed(moved)
        assert await place.until(lambda: bool(place.ended("mine")), within=5) < 1.0
        assert {one for _, one in place.toy.asked[before:]} == {moved}
        place.changed(moved)
        place.changed("never heard of")
        await place.pass_time(2)
        assert {one for _, one in place.toy.asked[before:]} == {moved}

    await place.run(until_idle=False, script=script)


async def test_a_change_during_a_poll_is_looked_at_after_it(both: Make) -> None:
    """What the poll under way has not seen is not lost with it."""
    place = both(folder=[{"name": "mine", "backend": "local"}])
    place.drop_both(1, to="mine")
    observe = place.toy.observe

    async def slowly(session_id: str) -> Any:
        seen = await observe(session_id)
        if place.toy.sessions[session_id].begun > place.toy.clock():
            place.toy.sessions[session_id].begun -= 3600.0 + 2 * EACH_SECONDS
            place.changed(session_id)
            await place.pass_time(3)
        return seen

    async def script() -> None:
        await place.until(lambda: [job["state"] for job in place.jobs()] == ["running"])
        (session,) = place.toy.sessions.values()
        session.begun += 3600.0
        await place.pass_time(400)
        begun = place.toy.clock()
        place.toy.observe = slowly
        await place.until(lambda: bool(place.ended("mine")), within=120)
        asked = [at for at, _ in place.toy.asked if at >= begun]
        assert asked[1] - asked[0] < 4.0

    await place.run(until_idle=False, script=script)
