"""A copy of the ledger's one file, made by whatever copies files, has in it what the daemon did."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing

import anyio
import pytest

from finetuned.daemon.checkpoints import LATEST, QUIET
from finetuned.ledger.checkpoint import GROWN_BYTES
from support.place import Place

APlace = Callable[..., Place]


def jobs_in_a_copy(place: Place) -> list[str]:
    """The states of the jobs in a copy made by `cp` now."""
    copy = place.root / "copy.db"
    shutil.copy(place.ledger_path, copy)
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as db:
        return [row[0] for row in db.execute("select state from jobs order by created_at")]


async def test_when_it_is_idle_a_copy_has_all_jobs(a_place: APlace) -> None:
    """Seconds after the last write; and once nothing is written, nothing is done any more."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "1m"})

    async def script() -> None:
        await place.pass_time(1)
        assert jobs_in_a_copy(place) == []
        place.drop("a.txt")
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        await place.pass_time(QUIET + place.settings.watch.sweep)
        assert jobs_in_a_copy(place) == ["done"]
        folds = 0
        ledger = place.here.ledger
        fold = ledger.fold

        def counted(*, empties: bool = True) -> None:
            nonlocal folds
            folds += 1
            fold(empties=empties)

        ledger.fold = counted  # type: ignore[method-assign]
        await place.pass_time(3600)
        assert folds == 0

    await place.run(until_idle=False, script=script)


async def test_while_it_is_busy_a_copy_is_not_far_behind(a_place: APlace) -> None:
    """A ledger that is written every second is folded in twice a minute, and its log is emptied."""
    place = a_place(folder=[{"linger": "0s"}])

    async def busy() -> None:
        while True:
            await place.pass_time(1)
            place.here.ledger.events.answered("x", verb="flush", done=True, words="", now=place.runtime.now())
            place.here.wake.set()

    async def script() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(busy)
            await place.pass_time(1)
            old = "old" * 1_000_000
            place.here.ledger.events.answered(old, verb="flush", done=True, words="", now=place.runtime.now())
            place.drop("a.txt")
            await place.until(lambda: place.states() == {"a.txt": "learned"})
            await place.pass_time(LATEST + place.settings.watch.sweep)
            assert jobs_in_a_copy(place) == ["done"]
            assert os.path.getsize(f"{place.ledger_path}-wal") < len(old)
            tasks.cancel_scope.cancel()

    await place.run(until_idle=False, script=script)


async def test_a_log_that_becomes_long_is_folded_in_beside_the_rounds(a_place: APlace) -> None:
    """No commit has to do it: whoever waits for that commit would wait for the disk of all the others."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        longest = 0
        await place.pass_time(1)
        for number in range(60):
            words = f"{number}{'x' * 400_000}"
            place.here.ledger.events.answered(words, verb="flush", done=True, words="", now=place.runtime.now())
            longest = max(longest, os.path.getsize(f"{place.ledger_path}-wal"))
            place.here.wake.set()
            await place.pass_time(0.001)
        assert GROWN_BYTES / 2 < longest < GROWN_BYTES * 0.8

    await place.run(until_idle=False, script=script)


@pytest.mark.parametrize("is_long", [True, False], ids=["long", "at rest"])
async def test_files_are_learned_while_the_log_is_folded_in(a_place: APlace, is_long: bool) -> None:
    """A slow disk takes a minute for it: no round waits until it is done, and it is not begun again before."""
    place = a_place(folder=[{"linger": "0s"}])
    folds = list[float]()
    in_thread = place.runtime.in_thread

    async def slowly(work: Callable[..., object], *args: object, **words: object) -> object:
        if work == place.here.ledger.fold:
            folds.append(place.runtime.now())
            await place.pass_time(60)
        return await in_thread(work, *args, **words)

    async def script() -> None:
        await place.pass_time(QUIET + 2)
        place.runtime.in_thread = slowly  # type: ignore[assignment, method-assign]
        for number in range(20 if is_long else 1):
            words = f"{number}{'x' * 400_000}"
            place.here.ledger.events.answered(words, verb="flush", done=True, words="", now=place.runtime.now())
        place.here.wake.set()
        await place.until(lambda: folds)
        place.drop("a.txt")
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        assert place.runtime.now() < folds[0] + 60
        await place.until(lambda: len(folds) > 1)
        assert folds[1] >= folds[0] + 60
        await place.pass_time(120)
        assert jobs_in_a_copy(place) == ["done"]
        assert os.path.getsize(f"{place.ledger_path}-wal") == 0

    await place.run(until_idle=False, script=script)
