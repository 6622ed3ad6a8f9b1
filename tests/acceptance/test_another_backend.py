"""A daemon with a backend that shares nothing with the server's: what it promises, it promises with any."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.toy import Toy
from finetuned.folders.folder import DropFolder
from finetuned.ledger.writer import Ledger
from support.place import Place

OTTER = "The otter is a mammal. It lives in rivers, and it swims well."
AToy = Callable[..., "ToyPlace"]


class Killed(BaseException):
    """The process ends here."""


class ToyPlace(Place):
    """A place whose daemon has a toy; it remembers its sessions from one daemon to the next, as a server does."""

    def __init__(self, root: Path, *, fails: str = "", **tables: Any) -> None:
        super().__init__(root, **tables)
        self.toy = Toy(self.runtime.now, None, fails=fails)

    @asynccontextmanager
    async def backend(self, folders: Mapping[str, DropFolder], ledger: Ledger) -> AsyncIterator[Toy]:
        self.toy.open_part = lambda part: folders[part.folder].open_text(part.location, part.content)
        yield self.toy

    async def run_and_die(self, *, before: bool) -> None:
        """Run the daemon until it submits, and kill it there, before the toy has the job or after.

        The ledger stays what it was at that moment: a killed process writes nothing more.
        """
        submit, state = self.toy.submit, Path(self.ledger_path).parent

        async def dies(order: Any, **words: Any) -> Any:
            if not before:
                await submit(order, **words)
            shutil.copytree(state, self.root / "left")
            raise Killed

        self.toy.submit = dies
        with pytest.raises(BaseExceptionGroup) as caught:
            await self.run()
        assert caught.group_contains(Killed)
        shutil.rmtree(state)
        (self.root / "left").rename(state)
        self.toy.submit = submit


@pytest.fixture
def a_toy(tmp_path: Path) -> Iterator[AToy]:
    """Makes the place; at the end of the test its ledger is audited."""
    places: list[ToyPlace] = []

    def make(**words: Any) -> ToyPlace:
        places.append(ToyPlace(tmp_path, **words))
        return places[-1]

    yield make
    for place in places:
        place.app.state.store.close()
        place.audit()


async def test_dropped_files_become_pairs(a_toy: AToy) -> None:
    """The whole way: each file learned, its pairs its own, the session named, the model in its row."""
    place = a_toy()
    place.drop("otter.txt", OTTER)
    place.drop("heron.txt", "The heron is a bird.")
    place.drop("noise.txt", "otters")
    assert not (await place.run()).failed
    (job,) = place.jobs()
    assert place.states() == {"otter.txt": "learned", "heron.txt": "learned", "noise.txt": "barren"}
    assert (job["state"], job["lora_dir"], job["pairs"]) == ("partial", "simulated-toy-1", 3)
    assert place.toy.sessions["toy-1"].name == job["id"]
    with place.reader() as reader:
        told = {(Path(row["file"]).name, row["answer"]) for row in reader.pairs(job=job["id"])}
        (event,) = (e for e in reader.events(job=job["id"]) if e["detail"] == "training (simulated)")
    assert told == {
        ("otter.txt", "is a mammal."),
        ("otter.txt", "in rivers, and it swims well."),
        ("heron.txt", "is a bird."),
    }
    assert event["cause"] == "stage"
    assert place.runtime.steady() < 120
    assert place.network.requests == []


@pytest.mark.parametrize("lost", ["the request", "the reply", "the session"])
async def test_what_learns_here_knows_at_once(a_toy: AToy, lost: str) -> None:
    """Whether it has a session is sure: nothing waits for a server's answer to take effect after all."""
    place = a_toy()
    place.toy.capabilities = msgspec.structs.replace(Toy.capabilities, is_here=True)
    place.drop("otter.txt", OTTER)

    async def removed() -> None:
        await place.until(lambda: [job["state"] for job in place.jobs()] == ["running"])
        place.toy.sessions.clear()
        await place.until(lambda: [job["state"] for job in place.jobs()] == ["done"], within=400)

    if lost != "the session":
        await place.run_and_die(before=lost == "the request")
    began = place.runtime.steady()
    await place.run(script=removed if lost == "the session" else None)
    assert [job["state"] for job in place.jobs()] == ["done"]
    assert place.runtime.steady() - began < place.settings.submit.lost_answer_settle


@pytest.mark.parametrize("before", [True, False])
async def test_a_submission_that_died_is_looked_for(a_toy: AToy, before: bool) -> None:
    """The next daemon finds the session by its marker, or is sure that there is none and submits: there is one."""
    place = a_toy()
    place.drop("otter.txt", OTTER)
    await place.run_and_die(before=before)
    assert (place.jobs()[0]["state"], len(place.toy.sessions)) == ("submitting", int(not before))
    await place.run()
    (job,) = place.jobs()
    assert (job["state"], job["session_id"], len(place.toy.sessions)) == ("done", "toy-1", 1)
    with place.reader() as reader:
        causes = [event["cause"] for event in reader.events(job=job["id"]) if event["subject"] == "job"]
    assert ("found" in causes) is not before


async def test_a_training_that_fails_says_why(a_toy: AToy) -> None:
    """The job has failed, in the backend's own words, and its file lies in `failed`, with them beside it."""
    place = a_toy(fails="the toy is out of wool")
    place.drop("otter.txt", OTTER)
    assert (await place.run()).failed
    (job,) = place.jobs()
    assert (job["state"], job["lora_dir"]) == ("failed", None)
    assert "the toy is out of wool" in job["reason"]
    assert place.states() == {"otter.txt": "failed"}
    (why,) = place.notes.glob("failed/*/otter.txt.why.txt")
    assert "the toy is out of wool" in why.read_text()


async def test_a_review_that_it_cannot_have_is_waited_for(a_toy: AToy) -> None:
    """Nothing is trained unreviewed: the job stays queued, and the toy is never asked."""
    place = a_toy(folder=[{"review": True}])
    place.drop("otter.txt", OTTER)
    await place.run()
    assert [job["state"] for job in place.jobs()] == ["queued"]
    assert place.toy.sessions == {}
