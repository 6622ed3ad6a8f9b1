"""A slot that gets free is passed on at once, whatever the round is at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from finetuned.daemon.submit import Submissions
from finetuned.lifecycle import Requested
from finetuned.runtime import Wake
from finetuned.sandbox import Pace
from support.place import Place
from support.virtual import VirtualRuntime

APlace = Callable[..., Place]
SLOTS = 3
JOBS = 12
#: how long a slow sweep takes, in seconds
SWEEP = 30.0


class SlowDisk(VirtualRuntime):
    """Takes `seconds` for each work of this name beside the loop."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.seconds = 0.0
        self._name = name

    async def in_thread(self, work: Any, *args: Any, **words: Any) -> Any:
        done = await super().in_thread(work, *args, **words)
        if getattr(getattr(work, "func", work), "__name__", "") == self._name:
            await self.wait(Wake(), self.seconds)
        return done


def drop(place: Place, count: int) -> None:
    """Drop files, each of which makes a job."""
    for number in range(count):
        place.drop(f"note-{number}.txt", f"The otter of {number} is a mammal. It lives in river {number}.")


def most_at_once(place: Place) -> int:
    """How many jobs were on the server, or on their way there, at a time."""
    there, most = set(), 0
    for event in place.events():
        if event["subject"] == "job":
            (there.add if event["became"] in {"submitting", "running"} else there.discard)(event["subject_id"])
            most = max(most, len(there))
    return most


@pytest.fixture
def queue(a_place: APlace) -> Place:
    """A place where each file is a job, and a few of them are on the server at a time."""
    return a_place(folder=[{"linger": "0s", "max_files": 1}], helix={"max_in_flight": SLOTS})


async def test_the_next_job_does_not_wait_for_a_sweep(queue: Place) -> None:
    """However long folders are looked through: a slot goes from one job to the next at once."""
    queue.runtime = disk = SlowDisk("sweep")

    async def script() -> None:
        drop(queue, JOBS)
        await queue.until(lambda: queue.state(JOBS - 1) == "queued")
        disk.seconds = SWEEP
        await queue.until(lambda: [*queue.states().values()] == ["learned"] * JOBS)

    await queue.run(until_idle=False, script=script)
    ended = [at for at, _, path in queue.network.requests if "/conversations/" in path]
    sent = queue.network.sent()
    assert len(sent) == JOBS
    assert [round(at - before) for at, before in zip(sent[-SLOTS:], ended[-2 * SLOTS :], strict=False)] == [0] * SLOTS
    assert most_at_once(queue) == SLOTS


async def test_no_slot_is_passed_on_twice(queue: Place) -> None:
    """From the first job to the last there are as many on the server as there are slots, and never more."""
    drop(queue, JOBS)
    await queue.run()
    assert [*queue.states().values()] == ["learned"] * JOBS
    assert most_at_once(queue) == SLOTS
    assert len(queue.network.sent()) == JOBS


async def test_the_next_job_is_sent_before_the_one_before_gets_its_name(a_place: APlace) -> None:
    """Nobody waits for a session's name on the server's own page: first the slot is passed on."""
    at_once = Pace(queue=0.0, chunk=0.0, train=0.0)
    queue = a_place(pace=at_once, folder=[{"linger": "0s", "max_files": 1}], helix={"max_in_flight": 1})
    drop(queue, JOBS)
    await queue.run()
    asked = [method for _, method, path in queue.network.requests if method == "PUT" or path == "/api/v1/sessions"]
    first = asked.index("POST")
    assert asked[first:] == ["POST"] + ["POST", "PUT"] * (JOBS - 1) + ["PUT"]


async def test_a_job_that_was_just_cancelled_is_not_sent(queue: Place) -> None:
    """Its turn may come between the answer to who asked for that, and the round that ends it."""

    async def script() -> None:
        drop(queue, SLOTS + 1)
        await queue.until(lambda: queue.state(SLOTS) == "queued")
        ledger, last = queue.here.ledger, queue.jobs()[SLOTS]["id"]
        ledger.requests.give_up(ledger.jobs.get(last), Requested.CANCEL, queue.runtime.now())
        assert await Submissions(queue.here).intend(last) is None
        await queue.until(lambda: queue.state(SLOTS) == "cancelled")

    await queue.run(until_idle=False, script=script)
    assert len(queue.network.sent()) == SLOTS
