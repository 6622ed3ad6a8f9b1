"""A training on this machine: one for a try, found again whatever died, ended in the end, and told truly."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from finetuned.errors import Unreachable
from finetuned.local.place import Cause, Look, State, Task
from finetuned.local.training import pid_of_holder
from support.trainings import (
    SYSTEM,
    at_once,
    begun,
    ended,
    few_descriptors,
    folder,
    here,
    holder,
    lives,
    no_longer,
    shell,
    within,
)

__all__ = ["folder"]
pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Real time, in both."""
    return str(request.param)


async def test_a_training_that_ends_well_succeeded(folder: Path) -> None:
    """Its words are in its log, it ran in its folder, and nothing of ours was in its environment."""
    assert (await here().look(str(folder))).state is State.NONE
    task = shell('pwd; echo "$TOY"; env >&2; cat; echo done > out', environment={"TOY": "a toy"})
    await here().start(str(folder), task)
    seen = await ended(folder)
    assert (seen.state, seen.cause, seen.code, seen.reason) == (State.ENDED, Cause.CODE, 0, "")
    assert seen.succeeded
    log = (folder / "log").read_text()
    assert log.startswith(f"{folder}\na toy\n")
    assert "FINETUNED_API_KEY" not in log
    assert (folder / "out").read_text() == "done\n"


async def test_a_try_is_started_once(folder: Path) -> None:
    """However often, at the same time, while it runs and after it ended."""
    task = shell("echo $$ >> runs; sleep 0.3")
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(here().start, str(folder), task)
    await here().start(str(folder), task)
    first = await ended(folder)
    await here().start(str(folder), task)
    assert await ended(folder) == first
    assert len((folder / "runs").read_text().split()) == 1


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("exit 3", Look(state=State.ENDED, cause=Cause.CODE, code=3, reason="it ended with code 3")),
        ("echo x > model; exit 1", Look(state=State.ENDED, cause=Cause.CODE, code=1, reason="it ended with code 1")),
        (
            "kill -SEGV $$",
            Look(state=State.ENDED, cause=Cause.SIGNAL, signal=11, reason="it was ended by SIGSEGV"),
        ),
        (
            "kill -9 $$",
            Look(
                state=State.ENDED,
                cause=Cause.MEMORY,
                signal=9,
                reason="it was killed, perhaps for want of memory",
            ),
        ),
    ],
)  # fmt: skip
async def test_one_that_fails_is_told(folder: Path, text: str, seen: Look) -> None:
    """With its code, or the signal that ended it."""
    await here().start(str(folder), shell(text))
    end = await ended(folder)
    assert (end.state, end.cause, end.code, end.signal, end.reason) == (
        seen.state, seen.cause, seen.code, seen.signal, seen.reason
    )  # fmt: skip
    assert not end.succeeded


async def test_a_trainer_that_is_not_there_is_named(folder: Path) -> None:
    """The try ends, and says which program it was."""
    await here().start(str(folder), Task(name="x", command=("/no/such/trainer", "train")))
    end = await ended(folder)
    assert (end.cause, end.reason) == (
        Cause.NOT_STARTED,
        "/no/such/trainer cannot be used: No such file or directory",
    )


async def test_one_that_forks_and_leaves_is_waited_for(folder: Path) -> None:
    """What it leaves behind is the training: its end is the end, and its code counts."""
    await here().start(str(folder), shell("(setsid sh -c 'sleep 0.4; echo late > late; exit 7') & exit 0"))
    end = await ended(folder)
    assert (folder / "late").exists()
    assert (end.cause, end.code) == (Cause.CODE, 7)


async def test_one_that_fails_takes_what_it_started_along(folder: Path) -> None:
    """Nobody waits for the helpers of a training that failed."""
    await here().start(str(folder), shell("setsid sleep 600 & echo $! > child; exit 2"))
    end = await ended(folder)
    assert end.code == 2
    assert not lives(int((folder / "child").read_text()))


@pytest.mark.parametrize("text", ["trap '' TERM; echo up; sleep 600 & wait; wait", "kill -STOP $$"])
async def test_one_that_ignores_to_be_stopped_is_killed(folder: Path, text: str) -> None:
    """With all that it started, in its group or out of it."""
    text = f"setsid sh -c 'trap \"\" TERM; sleep 600' & echo $! > child; {text}"
    await here().start(str(folder), shell(text, grace=0.3))
    trainer = await begun(folder)
    await within((folder / "child").exists)
    await here().stop(str(folder))
    end = await ended(folder)
    assert (end.cause, end.reason) == (Cause.STOPPED, "it was stopped")
    assert not lives(trainer)
    assert not lives(int((folder / "child").read_text()))


async def test_one_that_obeys_is_still_stopped(folder: Path) -> None:
    """A trainer that saves what it has and ends with 0 has not trained to the end."""
    await here().start(str(folder), shell("trap 'exit 0' TERM; touch up; while :; do sleep 0.05; done"))
    await within((folder / "up").exists)
    await here().stop(str(folder))
    end = await ended(folder)
    assert (end.cause, end.code, end.succeeded) == (Cause.STOPPED, 0, False)


async def test_one_that_takes_too_long_is_ended(folder: Path) -> None:
    """It need not have printed a word."""
    await here().start(str(folder), shell("sleep 600", time_limit=0.3))
    end = await ended(folder)
    assert (end.cause, end.reason) == (Cause.TIME_LIMIT, "it ran longer than its time limit of 0.3 s")


async def test_what_outlives_its_trainer_keeps_to_the_time_too(folder: Path) -> None:
    """A helper that never ends is told as what it is."""
    await here().start(str(folder), shell("setsid sleep 600 & exit 0", time_limit=0.5))
    end = await ended(folder)
    assert end.cause is Cause.TIME_LIMIT
    assert end.reason == "what it started ran longer than its time limit of 0.5 s"


async def test_a_lock_file_is_shared_with_others(folder: Path, tmp_path: Path) -> None:
    """The training waits for it, can be stopped meanwhile, and holds it to its end."""
    gpu, over = tmp_path / "gpu.lock", tmp_path / "over"
    with gpu.open("w") as others:
        fcntl.flock(others, fcntl.LOCK_EX)
        await here().start(str(folder), shell(f"until [ -e {over} ]; do sleep 0.02; done", lock_file=str(gpu)))
        second = folder.parent / "training.2"
        second.mkdir()
        await here().start(str(second), shell("true", lock_file=str(gpu)))
        seen = await here().look(str(folder))
        assert (seen.state, seen.reason) == (State.QUEUED, f"it waits for {gpu}")
        await here().stop(str(second))
        assert (await ended(second)).cause is Cause.STOPPED
    await begun(folder)
    with gpu.open("w") as others:
        with pytest.raises(BlockingIOError):
            fcntl.flock(others, fcntl.LOCK_EX | fcntl.LOCK_NB)
        over.touch()
        assert (await ended(folder)).succeeded
        fcntl.flock(others, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_a_lock_file_that_cannot_be_is_named(folder: Path) -> None:
    """The try ends with its path."""
    await here().start(str(folder), shell("true", lock_file="/no/such/lock"))
    end = await ended(folder)
    assert (end.cause, end.reason) == (Cause.NOT_STARTED, "/no/such/lock cannot be used: No such file or directory")


def children() -> list[str]:
    """The processes, dead or alive, whose parent this one is."""
    found: list[str] = []
    for thread in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            found += Path("/proc/self/task", thread, "children").read_text().split()
    return found


async def test_it_is_nicer_than_who_started_it(folder: Path) -> None:
    """And goes first if memory runs out."""
    await here().start(str(folder), shell("nice; cat /proc/self/oom_score_adj", nice=7))
    assert (await ended(folder)).succeeded
    assert (folder / "log").read_text().split() == [str(os.nice(0) + 7), "500"]


async def test_a_runner_that_is_killed_takes_its_training_along(folder: Path) -> None:
    """The try is lost, once nothing of it lives."""
    await here().start(str(folder), shell("setsid sh -c 'sleep 600' & echo $! > child; sleep 600"))
    trainer = await begun(folder)
    await within((folder / "child").exists)
    os.kill(holder(folder), signal.SIGKILL)
    seen = await no_longer(folder, State.RUNNING)
    assert (seen.state, seen.reason) == (State.LOST, "what ran it was killed, or the machine went down")
    assert not lives(int((folder / "child").read_text()))
    assert not lives(trainer)
    await here().start(str(folder), shell("touch again"))
    assert (await ended(folder)).state is State.LOST
    assert not (folder / "again").exists()


#: ends slowly: what it has in memory goes first, then what it has open
LARGE = """
import os, sys, time
held = b"x" * (256 << 20)
open(sys.argv[1], "w").write(f"{os.getpid()} ")
time.sleep(600)
"""


async def test_one_that_is_lost_has_let_go_of_all_it_held(folder: Path) -> None:
    """The next try may want the memory, or the GPU: letting go of much takes a while."""
    one, two, trainer = (shlex.join([sys.executable, "-c", LARGE, name]) for name in ("one", "two", "trainer"))
    await here().start(str(folder), shell(f"{one} & {two} & exec {trainer}"))
    said = [folder / name for name in ("one", "two", "trainer")]
    await within(lambda: all(path.exists() and path.read_text().endswith(" ") for path in said))
    pids = [int(path.read_text()) for path in said]
    assert await begun(folder) == pids[-1]
    os.kill(holder(folder), signal.SIGKILL)
    seen = await no_longer(folder, State.RUNNING)
    assert (seen.state, [pid for pid in pids if lives(pid)]) == (State.LOST, [])


async def test_one_whose_rest_cannot_be_looked_for_is_not_lost(folder: Path) -> None:
    """What is left of it lives on as long as the daemon has too many files open, and is ended by a later look."""
    await here().start(str(folder), shell("for n in 1 2 3; do setsid sleep 600 & echo $! >> rest; done; sleep 600"))
    await begun(folder)
    await within(lambda: (folder / "rest").exists() and (folder / "rest").read_text().count("\n") == 3)
    rest = [int(pid) for pid in (folder / "rest").read_text().split()]
    os.kill(holder(folder), signal.SIGKILL)
    await within(lambda: not pid_of_holder(str(folder / "lock")))
    for left in range(3):
        before = os.listdir("/proc/self/fd")
        with few_descriptors(left), pytest.raises(Unreachable, match=r" cannot be looked at: Too many open files$"):
            await here(at_once).look(str(folder))
        assert os.listdir("/proc/self/fd") == before
        assert any(map(lives, rest))
    assert (await here().look(str(folder))).state is State.LOST
    assert not any(map(lives, rest))


async def test_it_outlives_who_started_it(folder: Path) -> None:
    """It is found by its folder, waited for, and its end is heard of in less than a second."""
    starter = (
        "import os, signal, sys, anyio; from support.trainings import *\n"
        f"anyio.run(here().start, {str(folder)!r}, shell('while [ ! -e go ]; do sleep 0.02; done; date +%s.%N > at'))\n"
        "os.killpg(0, signal.SIGKILL)"
    )
    around = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    died = await SYSTEM.in_thread(subprocess.run, [sys.executable, "-c", starter], start_new_session=True, env=around)
    assert died.returncode == -signal.SIGKILL
    await begun(folder)
    assert (await here().look(str(folder))).state is State.RUNNING
    async with anyio.create_task_group() as group:
        group.start_soon(here().wait, str(folder))
        (folder / "go").touch()
    heard = SYSTEM.now()
    assert (await here().look(str(folder))).succeeded
    assert heard - float((folder / "at").read_text()) < 1


async def test_one_whose_folder_is_removed_has_ended_before_another_begins(tmp_path: Path) -> None:
    """Also if it will not hear of its end: there is never one more at a time than there may be."""
    first, second, neighbour = (tmp_path / name / "training.1" for name in ("run-1", "run-2", "run-3"))
    for one in (first, second, neighbour):
        one.mkdir(parents=True)
    await here().start(str(first), shell("trap '' TERM; touch deaf; while :; do sleep 1; done", grace=600.0))
    await here().start(str(neighbour), shell("sleep 600"))
    gone, lasts = await begun(first), await begun(neighbour)
    await within((first / "deaf").exists)
    shutil.rmtree(first.parent)
    await here().start(str(second), shell("sleep 600"))
    assert not lives(gone)
    assert lives(lasts)
    for one in (second, neighbour):
        await here().stop(str(one))
        await ended(one)


async def test_no_corpse_is_left(folder: Path) -> None:
    """Neither of what starts it, nor of what runs it."""
    before = set(children())
    await here().start(str(folder), shell("sleep 0.1"))
    runner = holder(folder)
    assert (await ended(folder)).succeeded
    await within(lambda: not Path(f"/proc/{runner}").exists())
    assert set(children()) <= before


async def test_one_whose_folder_is_removed_ends(folder: Path) -> None:
    """Nobody could find it any more: it is stopped, and its number does not matter."""
    await here().start(str(folder), shell("sleep 600"))
    trainer = await begun(folder)
    shutil.rmtree(folder)
    assert (await here().look(str(folder))).state is State.NONE
    await within(lambda: not lives(trainer))


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Nothing was started."""
    with pytest.raises(Unreachable, match=r"^a training cannot begin in .*/gone: No such file or directory$"):
        await here().start(str(tmp_path / "gone"), shell("true"))
    assert (await here().look(str(tmp_path / "gone"))).state is State.NONE
    await here().stop(str(tmp_path / "gone"))
    await here().wait(str(tmp_path / "gone"))


async def test_a_task_that_cannot_be_read_ends_the_try(folder: Path) -> None:
    """Its file may have been written by hand."""
    (folder / "task.json").write_text("{")
    await here().start(str(folder), shell("true"))
    end = await ended(folder)
    assert end.cause is Cause.NOT_STARTED
    assert end.reason.startswith(f"{folder}/task.json cannot be read: ")


async def test_this_machine_can_train(folder: Path) -> None:
    """Where there is /proc."""
    assert (await here().probe()).startswith("trainings run on this machine, under ")


async def test_a_stranger_with_the_same_number_is_never_stopped(folder: Path) -> None:
    """What the files say of a process does not count: the lock does."""
    await here().start(str(folder), shell("true"))
    await ended(folder)
    stranger = subprocess.Popen(["sleep", "600"])  # noqa: ASYNC220
    try:
        for name in ("started.json", "begun.json"):
            (folder / name).write_text(json.dumps({"pid": stranger.pid}))
        (folder / "exit.json").unlink()
        await here().stop(str(folder))
        assert (await here().look(str(folder))).state is State.LOST
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_an_end_that_cannot_be_read_is_none(folder: Path) -> None:
    """Somebody wrote into it."""
    await here().start(str(folder), shell("true"))
    await ended(folder)
    (folder / "exit.json").write_text("{}")
    seen = await here().look(str(folder))
    assert (seen.state, seen.reason) == (State.LOST, "its exit.json cannot be read")


async def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    """Neither looked at, nor stopped, nor waited for."""
    (tmp_path / "file").touch()
    for what in (here().look, here().stop, here().wait):
        with pytest.raises(Unreachable, match=r"^the training in .*/file cannot be looked at: Not a directory$"):
            await what(str(tmp_path / "file"))
