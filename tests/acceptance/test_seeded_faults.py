"""The daemon against a server that goes wrong by itself, in the ways that anyone can rehearse with the sandbox."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from finetuned.sandbox import Faults
from support.place import Place

APlace = Callable[..., Place]


async def learn_all(place: Place, *names: str) -> None:
    """Drop files and wait, an hour at most, until all are learned."""

    async def script() -> None:
        for name in names:
            place.drop(name, f"The otter of {name} is a mammal.")
        await place.until(lambda: place.states() == dict.fromkeys(names, "learned"))

    await place.run(until_idle=False, script=script)


@pytest.mark.parametrize(
    "faults",
    [
        ("reply-lost:1",),
        ("reply-lost:1", "list-late:1"),
        ("busy:5",),
        ("500-text:3",),
        ("html:3",),
        ("slow",),
    ],
    ids="+".join,
)
async def test_one_session_whatever_befalls_the_requests(a_place: APlace, faults: tuple[str, ...]) -> None:
    """The file is learned in one job with one session on the server: nothing lost, nothing paid twice."""
    place = a_place(faults=Faults.parse(faults), folder=[{"linger": "0s"}])
    await learn_all(place, "otter.txt")
    assert [job["state"] for job in place.jobs()] == ["done"]
    assert place.sessions_on_server() == 1


@pytest.mark.parametrize("seed", range(8))
async def test_a_server_that_often_goes_wrong(a_place: APlace, seed: int) -> None:
    """With a fifth of the answers none at all every file is learned, each in one session."""
    faults = Faults.parse(["reply-lost@0.3", "list-late@0.5", "busy@0.1", "html@0.05", "500-text@0.05", "slow@0.2"])
    place = a_place(faults=faults, seed=str(seed), folder=[{"linger": "0s", "max_files": 1}])
    await learn_all(place, *(f"{number}.txt" for number in range(4)))
    assert place.sessions_on_server() == len(place.jobs()) == 4
