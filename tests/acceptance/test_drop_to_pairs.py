"""From a dropped file to its pairs."""

from __future__ import annotations

import json
from collections.abc import Callable

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
    begin = place.world
    outcome = await place.run()
    assert not outcome.failed
    assert place.states() == {"otter.txt": "learned"}
    assert begin.steady() < 60
