"""The watch: it rings, whatever becomes of the folders it watches."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from finetuned.folders import watch, watching


class Rings:
    """Collects rings; `of` waits until a root rang anew."""

    def __init__(self):
        self._events = {}

    def ring(self, root):
        self._events.pop(root, anyio.Event()).set()

    def next(self, root):
        return self._events.setdefault(root, anyio.Event())


@asynccontextmanager
async def watched(roots, rings, troubles):
    paused = []

    async def pause(seconds):
        paused.append(seconds)
        await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        first = [rings.next(root) for root in watching._identities(roots)]
        tasks.start_soon(lambda: watch(roots, rings.ring, pause=pause, trouble=troubles.append))
        with anyio.fail_after(20):
            for event in first:
                await event.wait()
            yield paused
        tasks.cancel_scope.cancel()


async def test_rings_on_a_change(tmp_path):
    """A drop rings for its own folder."""
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    rings = Rings()
    async with watched([str(a), str(b)], rings, []):
        for root in (a, b):
            rung = rings.next(str(root))
            (root / "x.txt").write_text("words")
            await rung.wait()


async def test_survives_what_ends_a_watch(tmp_path):
    """A name that is not UTF-8 ends a watch, not the watching; the folder rings."""
    rings, troubles = Rings(), []
    async with watched([str(tmp_path)], rings, troubles) as paused:
        rung = rings.next(str(tmp_path))
        os.mkdir(os.fsencode(tmp_path) + b"/\xff.txt")
        await rung.wait()
        rung = rings.next(str(tmp_path))
        (tmp_path / "x.txt").write_text("words")
        await rung.wait()
        assert "decode" in troubles[0]
        assert paused


async def test_root_comes_and_is_replaced(tmp_path):
    """A missing folder is waited for, and one that is made anew is watched anew."""
    root = tmp_path / "a"
    rings = Rings()
    async with watched([str(root)], rings, []):
        for _ in range(2):
            rung = rings.next(str(root))
            root.mkdir()
            await rung.wait()
            rung = rings.next(str(root))
            (root / "x.txt").write_text("words")
            await rung.wait()
            (root / "x.txt").unlink()
            root.rmdir()


@pytest.mark.parametrize("there", [True, False])
async def test_stops(tmp_path, there):
    """The watch ends when told to, whether or not there is anything to watch."""
    root = tmp_path if there else tmp_path / "none"
    stop = anyio.Event()

    async def pause(seconds):
        stop.set()

    with anyio.fail_after(20):
        await watch([str(root)], lambda _: stop.set(), stop, pause=pause)
        await watch([str(root)], lambda _: None, stop, pause=pause)


async def test_a_watch_that_is_cancelled_ends_at_once(tmp_path):
    """A daemon that is told to stop does not wait until its watch has looked at nothing for long enough."""
    rings = Rings()
    async with watched([str(tmp_path)], rings, []):
        while not anyio.to_thread.current_default_thread_limiter().borrowed_tokens:  # until it waits in its thread
            await anyio.wait_all_tasks_blocked()
        begun = anyio.current_time()
    assert anyio.current_time() - begun < watching._IDLE / 1000 / 2


async def test_own_stop_stops_nobody_else():
    """The watch may set its own stop; the caller's event stays as it is."""
    theirs = anyio.Event()
    ours = watching._Stop(theirs)
    await ours.wait()
    assert not ours.is_set()
    ours.set()
    assert ours.is_set()
    assert not theirs.is_set()


def test_what_rings():
    """Changes in our own folders do not ring, nor those of a neighbour with a longer name."""
    roots = ["/in/a", "/in/ab"]
    assert watching.touched(roots, ["/in/a/x.txt", "/in/a/x/done/y.txt"]) == {"/in/a"}
    assert watching.touched(roots, ["/in/ab/done.txt", "/in/a"]) == {"/in/a", "/in/ab"}
    assert watching.touched(roots, ["/in/a/done/x.txt", "/in/a/.processing", "/in/abc/x", "/in/ab/failed/x"]) == set()
