"""The watch: it rings, whatever becomes of the folders it watches."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.lowlevel
import pytest

from finetuned.folders import watches
from finetuned.folders.claims import Wanted
from finetuned.folders.kept import drop_folder
from finetuned.folders.sweep import MOST_WATCHED
from finetuned.folders.watches import Single, watch
from finetuned.lifecycle import FileState
from finetuned.model import File
from finetuned.settings import FolderSettings
from support import disks


class Rings:
    """Collects rings; `of` waits until a root rang anew."""

    def __init__(self):
        self._events = {}

    def ring(self, root):
        self._events.pop(root, anyio.Event()).set()

    def next(self, root):
        return self._events.setdefault(root, anyio.Event())


def singles(*roots):
    return [Single(root=str(root)) for root in roots]


@asynccontextmanager
async def watched(places, rings, troubles):
    paused = []

    async def pause(seconds):
        paused.append(seconds)
        await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        first = [rings.next(place.root) for place in places if os.path.exists(place.root)]
        tasks.start_soon(lambda: watch(places, rings.ring, pause=pause, trouble=troubles.append))
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
    async with watched(singles(a, b), rings, []):
        for root in (a, b):
            rung = rings.next(str(root))
            (root / "x.txt").write_text("words")
            await rung.wait()


async def test_survives_what_ends_a_watch(tmp_path):
    """A name that is not UTF-8 ends a watch, not the watching; the folder rings."""
    rings, troubles = Rings(), []
    async with watched(singles(tmp_path), rings, troubles) as paused:
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
    async with watched(singles(root), rings, []):
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
        await watch(singles(root), lambda _: stop.set(), stop, pause=pause)
        await watch(singles(root), lambda _: None, stop, pause=pause)


async def test_a_watch_that_is_cancelled_ends_at_once(tmp_path):
    """A daemon that is told to stop does not wait until its watch has looked at nothing for long enough."""
    rings = Rings()
    async with watched(singles(tmp_path), rings, []):
        while not anyio.to_thread.current_default_thread_limiter().borrowed_tokens:  # until it waits in its thread
            await anyio.wait_all_tasks_blocked()
        begun = anyio.current_time()
    assert anyio.current_time() - begun < watches.IDLE / 1000 / 2


def test_what_rings():
    """Changes in our own folders do not ring, nor those of a neighbour with a longer name."""
    roots = ["/in/a", "/in/ab"]
    assert watches.touched(roots, ["/in/a/x.txt", "/in/a/x/done/y.txt"]) == {"/in/a"}
    assert watches.touched(roots, ["/in/ab/done.txt", "/in/a"]) == {"/in/a", "/in/ab"}
    assert watches.touched(roots, ["/in/a/done/x.txt", "/in/a/.processing", "/in/abc/x", "/in/ab/failed/x"]) == set()
    assert watches.touched(roots, ["/in/a/done/x.txt", "/in/ab/done/x.txt"], {"/in/a/done"}) == {"/in/a"}
    assert watches.touched(roots, ["/in/a/.finetuned-probe-x.part", "/in/a/x/.finetuned-probe-y/z"]) == {"/in/a"}
    assert watches.touched(roots, ["/in/a/.finetuned-probe-x.part", "/in/a/x/.finetuned-probe.part"]) == set()


@contextmanager
def swept(path, **rules):
    """A held folder that was swept once, as far as the watch cares."""
    path.mkdir(exist_ok=True)
    folder = drop_folder(FolderSettings(name="notes", path=str(path), **rules), beside=f"{path}.beside")
    folder.hold()
    folder.sweeper.sweep(0.0)
    try:
        yield folder
    finally:
        folder.close()


def claim(folder, *names):
    """Claim files for a job."""
    paths = [f"{folder.root}/{name}" for name in names]
    wanted = [Wanted(source=path, name=str(n), content=folder.read(path)) for n, path in enumerate(paths)]
    taken = folder.claim("notes-20261123-052313-abcd", b"{}", wanted)
    assert all(isinstance(one, str) for one in taken)


def inodes():
    """The inodes of what this process watches."""
    found = set()
    for fd in os.listdir("/proc/self/fdinfo"):
        try:
            with open(f"/proc/self/fdinfo/{fd}") as info:
                found |= {int(line.split("ino:")[1].split()[0], 16) for line in info if line.startswith("inotify")}
        except OSError:
            continue
    return found


async def test_no_link_is_watched(tmp_path):
    """Folders are watched one by one: nothing beyond a link, nothing below our own folders, nothing hidden."""
    for name in ("notes/sub/deep", "notes/done/job", "notes/.processing", "notes/.git", "outside/below"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "notes/link").symlink_to(tmp_path / "outside")
    (tmp_path / "notes/sub/link").symlink_to(tmp_path / "outside")
    (tmp_path / "notes/failed").symlink_to(tmp_path / "outside")
    with swept(tmp_path / "notes") as folder:
        before = inodes()
        async with watched([folder], Rings(), []):
            expected = {(tmp_path / name).stat().st_ino for name in ("notes", "notes/sub", "notes/sub/deep")}
            assert inodes() - before == expected


async def test_new_folders_are_watched_and_old_ones_no_more(tmp_path):
    """A folder that a sweep finds gets its watch; one that was moved away or exchanged with a link loses it."""
    root = tmp_path / "notes"
    (root / "old").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    with swept(root) as folder:
        rings = Rings()
        async with watched([folder], rings, []):
            for name in ("new", "new/er", "old"):  # the last is made anew, perhaps with its inode
                rung = rings.next(str(root))
                if name == "old":
                    (root / "old").rmdir()
                (root / name).mkdir()
                await rung.wait()
                rung = rings.next(str(root))
                folder.sweeper.sweep(1.0)
                await rung.wait()
                while (root / name).stat().st_ino not in inodes():  # an older ring may still have been under way
                    rung = rings.next(str(root))
                    await rung.wait()
                rung = rings.next(str(root))
                (root / name / "x.txt").write_text("words")
                await rung.wait()
            moved = (root / "new").stat().st_ino
            (root / "new").rename(tmp_path / "moved")
            (root / "new").symlink_to(tmp_path / "outside")
            while moved in inodes():
                rung = rings.next(str(root))
                folder.sweeper.sweep(2.0)
                await rung.wait()
            assert (tmp_path / "outside").stat().st_ino not in inodes()


async def test_a_link_in_the_last_moment_is_not_watched(tmp_path):
    """What a sweep told is watched only if that very folder lies there still."""
    root = tmp_path / "notes"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    with swept(root) as folder:
        (root / "sub").rmdir()
        (root / "sub").symlink_to(tmp_path / "outside")
        before = inodes()
        async with watched([folder], Rings(), []):
            assert inodes() - before == {root.stat().st_ino}


async def test_a_name_that_cannot_be_watched_does_not_end_the_others(tmp_path):
    """A sub-folder whose name is not UTF-8 is found by sweeps; all others are watched."""
    root = tmp_path / "notes"
    (root / "sub").mkdir(parents=True)
    os.mkdir(os.fsencode(root) + b"/\xff")
    with swept(root) as folder:
        assert len(folder.subfolders) == 2
        rings, troubles = Rings(), []
        async with watched([folder], rings, troubles):
            rung = rings.next(str(root))
            (root / "sub" / "x.txt").write_text("words")
            await rung.wait()
        assert troubles == []


async def test_what_finetuned_takes_is_no_news(tmp_path):
    """A claim out of many thousands of files does not have all of them listed again; what others take away rings."""
    other = tmp_path / "other"
    other.mkdir()
    with swept(tmp_path / "notes") as folder:
        for name in ("a.txt", "b.txt", "c.txt"):
            (tmp_path / "notes" / name).write_text(f"words of {name}")
        rings = Rings()
        async with watched([folder, *singles(other)], rings, []):
            rung, heard = rings.next(str(other)), rings.next(folder.root)
            claim(folder, "a.txt", "b.txt")
            (other / "x.txt").write_text("words")
            await rung.wait()
            assert not heard.is_set()
            (tmp_path / "notes" / "c.txt").unlink()
            await heard.wait()


def test_what_is_archived_by_itself_is_no_news(tmp_path):
    """Nor is the marker of a file that goes along with it; only what lies where it was dropped is told of."""
    (tmp_path / "notes").mkdir()
    for name in ("a.txt", "a.txt.ok", "b.txt", "b.txt.ok"):
        (tmp_path / "notes" / name).write_text("words")
    with swept(tmp_path / "notes", ready_file="{name}.ok") as folder:
        claim(folder, "a.txt")
        refused = {"folder": "notes", "state": FileState.REFUSED, "signature": None, "version": 1, "job_id": None}
        path = f"{folder.root}/b.txt"
        folder.archive(File(id=1, path=path, location=path, **refused), "why")
        names = ("a.txt", "a.txt.ok", "b.txt", "b.txt.ok")
        assert [folder.took(f"{folder.root}/{name}") for name in names] == [True] * 4
        assert sorted(set(os.listdir(folder.root)) & set(names)) == []


async def test_an_event_is_no_news_once(tmp_path):
    """Who drops another file of that name, and takes it away, is heard, and so is who does long after the claim."""
    with swept(tmp_path / "notes") as folder:
        path = tmp_path / "notes" / "a.txt"
        for sweeps, told in ((0, [True, False]), (1, [True, False]), (2, [False, False])):
            path.write_text("words")
            claim(folder, "a.txt")
            for _ in range(sweeps):
                folder.sweeper.sweep(1.0)
            assert [folder.took(str(path)) for _ in told] == told


async def test_the_watches_of_a_large_tree_are_not_made_all_the_time(tmp_path):
    """After the watches were made they stay for a while that grows with them, however much the tree changes."""
    root = tmp_path / "notes"
    for number in range(300):
        (root / str(number)).mkdir(parents=True)
    rests, made = [], []
    due = anyio.Event()

    async def pause(seconds):
        rests.append(seconds)
        await due.wait()

    rings = Rings()
    with swept(root) as folder:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: watch([folder], rings.ring, pause=pause, lacks=made.append))
            with anyio.fail_after(20):
                await rings.next(str(root)).wait()
                for number in range(5):
                    rung = rings.next(str(root))
                    (root / f"new{number}").mkdir()
                    await rung.wait()
                    folder.sweeper.sweep(1.0 + number)
                assert made == [None]
                rung = rings.next(str(root))
                due.set()
                await rung.wait()
                assert made[:2] == [None, None]
            tasks.cancel_scope.cancel()
    assert rests[0] > 300 * 10e-6


async def test_of_a_hundred_thousand_folders_some_are_watched(tmp_path):
    """To watch each takes memory: the others are left to the sweeps, and that is told until there are fewer."""
    root = tmp_path / "notes"
    root.mkdir()
    for number in range(MOST_WATCHED + 3):
        (root / str(number)).mkdir()
    told = []

    async def pause(_):
        await anyio.lowlevel.checkpoint()

    with swept(root) as folder:
        assert (len(folder.subfolders), folder.unwatched) == (MOST_WATCHED, 3)
        rings = Rings()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: watch([folder], rings.ring, pause=pause, lacks=told.append))
            with anyio.fail_after(60):
                await rings.next(str(root)).wait()
                for number in range(3):
                    (root / str(number)).rmdir()
                while told[-1] is not None:
                    rung = rings.next(str(root))
                    folder.sweeper.sweep(1.0)
                    await rung.wait()
            tasks.cancel_scope.cancel()
    assert told[0] == "3 sub-folders more than can be watched"


LIMITED = """
import sys
import anyio
from finetuned.folders import watches
from finetuned.folders.kept import drop_folder
from finetuned.folders.watches import watch
from finetuned.runtime import SystemRuntime, Wake
from finetuned.settings import FolderSettings

async def main(root, limits):
    folder = drop_folder(FolderSettings(name="notes", path=root), beside=root + ".beside")
    folder.hold()
    folder.sweeper.sweep(0.0)
    async def pause(seconds):
        print("pause", seconds >= 300)
        if seconds >= 300:
            with open(limits, "w") as file:
                file.write("1000")
        else:
            await SystemRuntime().wait(Wake(), seconds)  # the watches that could be made go away meanwhile
    stop = anyio.Event()
    def lacks(why):
        print("lacks", why)
        if why is None:
            stop.set()
    await watch([folder], lambda root: print("ring"), stop, pause=pause, trouble=print, lacks=lacks)

anyio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("limit", "most", "then"),
    [
        ("watches", 5, ["pause False", "ring", "pause True"]),
        ("instances", 0, ["pause False", "lacks", "pause True"]),
    ],
)
def test_a_limit_leaves_the_sweeps(tmp_path, limit, most, then):
    """Where the system allows no more watches the tops alone are watched, or nothing; all are once it allows them."""
    root = tmp_path / "notes"
    for number in range(10):
        (root / str(number)).mkdir(parents=True)
    limits, within = disks.limited(f"max_inotify_{limit}", most)
    words = [*within, sys.executable, "-c", LIMITED, str(root), limits]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=50)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0].startswith("lacks 11 folders cannot all be watched: "), lines
    told = ["lacks" if line.startswith("lacks 11") else line for line in lines]
    assert told[1:6] == [*then, "lacks None", "ring"], lines
