"""From a dropped file to its pairs."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from finetuned.sandbox import Pace
from support.place import Place

APlace = Callable[..., Place]


async def test_a_dropped_file_is_learned_within_a_minute(a_place: APlace) -> None:
    """The main job: a file, thirty seconds of linger, a session, its pairs, and the file in done/."""
    place = a_place()

    async def script() -> None:
        path = place.drop("otter.txt")
        took = await place.until(lambda: place.jobs() != [] and place.jobs()[0]["state"] == "done")
        assert 30 <= took < 60
        await place.until(lambda: not path.exists() and bool(list(place.notes.glob("done/*/pairs.jsonl"))))

    await place.run(until_idle=False, script=script)
    job = place.jobs()[0]
    folder = place.notes / "done" / job["id"]
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    assert (folder / "otter.txt").read_text() == "The otter is a mammal. It lives in rivers."
    assert len(pairs) == job["pairs"] > 0
    assert {pair["file"] for pair in pairs} == {str(place.notes / "otter.txt")}
    assert "otter" in pairs[0]["question"]
    assert json.loads((folder / "job.json").read_text())["state"] == "done"
    assert place.sessions_on_server() == 1


async def test_until_idle_does_not_wait_out_linger(a_place: APlace) -> None:
    """A run until idle takes what is there and ends as soon as it is learned."""
    place = a_place(folder=[{"linger": "1h"}])
    place.drop("otter.txt")
    begin = place.runtime
    outcome = await place.run()
    assert not outcome.failed
    assert place.states() == {"otter.txt": "learned"}
    assert begin.steady() < 60


async def test_a_session_is_named_after_its_job_once(a_place: APlace) -> None:
    """So that people know it again on the server's own page; somebody who names it otherwise is left alone."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "1m"}, pace=Pace(train=600.0))
    place.drop("a.txt")

    def names() -> list[str]:
        return [session.name for session in place.app.state.store.newest_first()]

    async def script() -> None:
        await place.until(lambda: bool(place.jobs()) and names() == [place.jobs()[0]["id"]])
        backend = place.learner
        await backend.rename(await backend.observe(place.jobs()[0]["session_id"]), "mine")
        await place.until(lambda: place.states() == {"a.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert names() == ["mine"]


@pytest.mark.parametrize("answer", [httpx.Response(500, text="no"), httpx.Response(200, text="<html>"), None])
async def test_a_name_that_is_refused_keeps_nothing_from_being_learned(
    a_place: APlace, answer: httpx.Response | None
) -> None:
    """It is tried once, and not minded; a server that does not answer to it is waited for a few seconds at most."""
    place = a_place(folder=[{"linger": "0s"}])
    tries = []

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/meta"):
            return None
        tries.append(place.runtime.now())
        if answer is None:
            raise httpx.ReadError("cut", request=request)
        return answer

    place.network.before = refuse
    place.drop("a.txt")
    await place.run()
    assert (place.states(), len(tries)) == ({"a.txt": "learned"}, 1)
