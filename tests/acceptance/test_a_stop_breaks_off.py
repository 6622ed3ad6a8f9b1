"""A stop does not wait for what takes long: it is broken off where it is, and the next daemon goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetuned.daemon.intake import SLICE
from finetuned.runtime import SystemRuntime
from support.kernel import listings_by, renames_by
from support.place import Place
from support.virtual import VirtualRuntime

APlace = Callable[..., Place]
MANY = 12
ONE_JOB = [{"settle": "1s", "linger": "1s", "max_files": MANY}]


class StopsAt(VirtualRuntime):
    """Calls `act` when work of this name begins beside the loop, which is done in a thread of its own if `apart`."""

    def __init__(self, name: str, act: Callable[[], None], *, apart: bool = False) -> None:
        super().__init__()
        self._name = name
        self._act = act
        self._apart = apart

    async def in_thread(self, work: Any, *args: Any, **words: Any) -> Any:
        if getattr(getattr(work, "func", work), "__name__", "") != self._name:
            return await super().in_thread(work, *args, **words)
        self._act()
        inside = SystemRuntime() if self._apart else super()
        return await inside.in_thread(work, *args, **words)


async def goes_on(place: Place, files: int) -> None:
    """The next daemon brings all of it to its end, and sends nothing twice."""
    await place.run()
    assert list(place.states().values()) == ["learned"] * files
    assert len(place.network.sent()) == len(place.jobs())


async def test_a_sweep_is(a_place: APlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders that are left are not listed any more, and none of its files counts as gone."""
    place = a_place(folder=ONE_JOB)
    for number in range(MANY):
        place.drop(f"{number}/note-{number}.txt", f"The otter of {number} is a mammal.")
    listed: list[str] = []

    def act(path: str) -> None:
        if path.startswith(f"{place.notes}/"):
            listed.append(path)
            if len(listed) == 3:
                place.service.stop()

    with monkeypatch.context() as patched:
        listings_by(patched, act)
        await place.run()
    assert len(listed) == 3
    await goes_on(place, MANY)


async def test_writing_down_what_a_sweep_found_is(a_place: APlace) -> None:
    """What was committed stays, and the rest is found anew."""
    place = a_place(folder=[{"settle": "1h"}])
    for number in range(SLICE + 1):
        place.drop(f"note-{number}.txt")
    place.runtime = StopsAt("appeared", lambda: place.service.stop())  # noqa: PLW0108 - there is none yet
    await place.run()
    assert len(place.files()) == SLICE
    place.runtime = VirtualRuntime()

    async def until_all_are_known() -> None:
        await place.until(lambda: len(place.files()) == SLICE + 1)

    await place.run(until_idle=False, script=until_all_are_known)


async def test_remembering_what_lies_there_is(a_place: APlace) -> None:
    """In whatever thread that was done, the ledger is free for every other one."""
    place = a_place(folder=[{"settle": "1h"}])
    for number in range(SLICE + 1):
        place.drop(f"note-{number}.txt")

    async def until_all_are_known() -> None:
        await place.until(lambda: len(place.files()) == SLICE + 1)

    await place.run(until_idle=False, script=until_all_are_known)
    place.runtime = StopsAt("_remember", lambda: place.service.stop(), apart=True)  # noqa: PLW0108 - there is none yet
    await place.run()
    assert len(place.files()) == SLICE + 1


@pytest.mark.parametrize("area", [".processing", "done"])
async def test_moving_the_files_of_a_job_is(a_place: APlace, monkeypatch: pytest.MonkeyPatch, area: str) -> None:
    """On the way into the job's folder, and out of it: one by one, as a file lies beside them that is not theirs."""
    place = a_place(folder=ONE_JOB)
    for number in range(MANY):
        place.drop(f"note-{number}.txt", f"The otter of {number} is a mammal.")
    moved: list[str] = []

    def act(rename: Callable[[], None], _: str, new: str) -> None:
        rename()
        if "/.processing/" in new and area == "done":
            (Path(new).parent / "mine.md").touch()
        if f"/{area}/" in new and new.endswith(".txt"):
            moved.append(new)
            if len(moved) == 3:
                place.service.stop()

    with monkeypatch.context() as patched:
        renames_by(patched, act)
        await place.run()
    assert len(moved) == 3
    for mine in place.notes.glob(".processing/*/mine.md"):
        mine.unlink()
    await goes_on(place, MANY)
