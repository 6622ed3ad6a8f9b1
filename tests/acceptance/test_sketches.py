"""Sketches of the texts that were learned: in the ledger, so that an export need not read the texts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from finetuned.daemon.sketches import SHORT
from finetuned.likeness import estimate, sketch_of
from support.place import Place

APlace = Callable[..., Place]
TEXT = "The otter is a mammal. It lives in rivers. It eats fish, and crabs if it finds some."


def sketches(place: Place) -> dict[str, Any]:
    """By name, what the ledger has of each file."""
    with closing(sqlite3.connect(place.ledger_path)) as db:
        return {path.rpartition("/")[2]: sketch for path, sketch in db.execute("select path, sketch from files")}


def first_sketch(place: Place) -> bytes | None:
    """What the ledger has of the first file."""
    with closing(sqlite3.connect(place.ledger_path)) as db:
        return next((sketch for (sketch,) in db.execute("select sketch from files order by id limit 1")), None)


@pytest.mark.parametrize("after", ["move", "keep", "delete"])
async def test_what_is_learned_is_sketched(a_place: APlace, after: str) -> None:
    """Wherever it lies then; what is like it is known to be, in another encoding, too."""
    place = a_place(folder=[{"after": after, "settle": "0s"}])
    place.drop("otter.txt", TEXT)
    place.drop("marked.txt", (TEXT + " So they say.").encode("utf-16"))
    place.drop("fox.txt", "Foxes are red. They run.")
    await place.run()
    found = sketches(place)
    assert found["otter.txt"] == sketch_of([TEXT])
    assert estimate(found["otter.txt"], found["marked.txt"]) > 0.6
    assert estimate(found["otter.txt"], found["fox.txt"]) == 0


@pytest.mark.parametrize("is_short", [False, True])
async def test_a_text_that_cannot_be_read_any_more_is_learned_without_one(a_place: APlace, is_short: bool) -> None:
    """Somebody took it out of .processing while the server learned it; a short one was sketched before that."""
    text = TEXT if is_short else TEXT * SHORT
    place = a_place()
    place.drop("otter.txt", text)

    async def script() -> None:
        await place.until(lambda: place.sessions_on_server() == 1)
        (moved,) = place.notes.glob(".processing/*/otter.txt")
        moved.write_text("Something else.")
        await place.until(lambda: place.jobs()[0]["state"] == "done")

    await place.run(until_idle=False, script=script)
    assert first_sketch(place) == (sketch_of([text]) if is_short else None)


async def test_a_text_that_changes_while_it_waits_is_sketched_as_it_is_then(a_place: APlace) -> None:
    """Not as it was read first."""
    place = a_place(folder=[{"settle": "0s", "linger": "1h"}])
    place.drop("otter.txt", "Foxes are red. They run.")

    async def script() -> None:
        await place.until(lambda: first_sketch(place) is not None)
        place.drop("otter.txt", TEXT)
        await place.until(lambda: first_sketch(place) == sketch_of([TEXT]))

    await place.run(until_idle=False, script=script)


async def test_of_a_file_that_stays_the_text_that_was_sent_is_sketched(a_place: APlace) -> None:
    """Not what somebody wrote into it while the server learned."""
    place = a_place(folder=[{"after": "keep", "settle": "0s"}])
    place.drop("otter.txt", TEXT)

    async def script() -> None:
        await place.until(lambda: place.sessions_on_server() == 1)
        (place.notes / "otter.txt").write_text("Something else.")
        await place.until(lambda: place.jobs()[0]["state"] == "done")

    await place.run(until_idle=False, script=script)
    assert first_sketch(place) == sketch_of([TEXT])
