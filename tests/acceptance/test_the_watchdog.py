"""What systemd's watchdog hears: that the daemon lives, for as long as its loop gets on."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

from finetuned.daemon.notify import Notifier
from finetuned.daemon.service import PATIENCE
from finetuned.runtime import Wake
from support.kernel import renames_by
from support.place import Place
from support.virtual import VirtualRuntime

APlace = Callable[..., Place]


class Listener:
    """A notify socket, and when in virtual time each sign of life came."""

    def __init__(self, path: Path) -> None:
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.door.bind(str(path))
        self.door.setblocking(False)
        self.signs: list[float] = []

    async def listen(self) -> None:
        while True:
            await anyio.wait_readable(self.door)
            if self.door.recv(4096) == b"WATCHDOG=1":
                self.signs.append(anyio.current_time())


class SlowDisk(VirtualRuntime):
    """One in which a sweep takes so many seconds, once a test says so."""

    takes = 0.0

    async def in_thread(self, work: Any, *args: Any, **words: Any) -> Any:
        if self.takes and getattr(work, "__name__", "") == "sweep":
            await self.wait(Wake(), self.takes)
        return await super().in_thread(work, *args, **words)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """Somebody at the notify socket."""
    listener = Listener(tmp_path / "notify")
    yield listener
    listener.door.close()


def watched(place: Place, listener: Listener, within: float) -> SlowDisk:
    """Have the place's daemon tell the listener that it lives."""
    place.notifier, place.watchdog = Notifier(str(listener.door.getsockname())), within
    place.runtime = SlowDisk()
    return place.runtime


async def heard(place: Place, listener: Listener, script: Callable[[], Any]) -> None:
    """Run the daemon beside the listener."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.listen)
        await place.run(until_idle=False, script=script)
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("within", [0.1, 30.0, 3600.0])
async def test_it_hears_twice_in_its_time(a_place: APlace, listener: Listener, within: float) -> None:
    """Whatever time it allows, and however seldom folders are swept."""
    place = a_place(watch={"sweep": "1d"})
    watched(place, listener, within)
    await heard(place, listener, lambda: place.pass_time(10 * within))
    assert len(listener.signs) >= 20
    assert max(b - a for a, b in pairwise(listener.signs)) <= within / 2 + 0.001


async def test_long_work_on_the_disk_is_no_hang(a_place: APlace, listener: Listener) -> None:
    """A sweep that takes longer than the watchdog's time does not silence it; a reload does not, either."""
    place = a_place()
    runtime = watched(place, listener, 10.0)

    async def script() -> None:
        runtime.takes = 300.0
        await place.pass_time(1000)
        await place.reload()
        await place.pass_time(1000)

    await heard(place, listener, script)
    assert max(b - a for a, b in pairwise(listener.signs)) <= 5.001


async def test_a_loop_that_hangs_is_silent(a_place: APlace, listener: Listener) -> None:
    """Once a step takes longer than any does, it hears nothing more."""
    place = a_place()
    runtime = watched(place, listener, 10.0)
    signs: list[float] = []

    async def script() -> None:
        await place.pass_time(100)
        runtime.takes = 10_000.0
        await place.pass_time(9_000)
        signs.extend(listener.signs)  # once the step ends after all, it may be heard again

    await heard(place, listener, script)
    assert 100 + PATIENCE - 20 < signs[-1] - signs[0] < 100 + PATIENCE + 20


@pytest.mark.parametrize("what", ["listings", "renames"])
async def test_what_is_slow_and_moves_on_does_not_look_hung(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A sweep of thirty folders, or a claim of thirty files, takes most of an hour: each of them is a sign of life."""
    place = a_place(folder=[{"linger": "5s", "max_files": 30}])
    stood: list[float] = []

    def slow() -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(100.0)
        stood.append(place.runtime.steady() - place.here.turned_at)

    def renamed(rename: Callable[[], None], *_: str) -> None:
        slow()
        rename()

    scan = os.scandir

    def listed(path: Any) -> Any:
        slow()
        return scan(path)

    async def script() -> None:
        await place.pass_time(5)
        for number in range(30):
            place.drop(f"folder{number}/a.txt", f"Otter number {number} is a mammal. It lives in rivers.")
        if what == "listings":
            monkeypatch.setattr(os, "scandir", listed)
        else:
            renames_by(monkeypatch, renamed)
        await place.until(lambda: list(place.states().values()) == ["learned"], within=10**6)
        monkeypatch.undo()

    await place.run(until_idle=False, script=script)
    assert sum(stood) > 2 * PATIENCE
    assert max(stood) < PATIENCE / 2
