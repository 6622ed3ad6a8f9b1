"""Whatever is killed, and whenever: no two trainings of a run at a time, none of one try, and its end is told truly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finetuned.local import runner
from finetuned.local.place import State, Task, lay_task
from support.trainings import SYSTEM, ended, folder, here, lives, no_longer, shell

__all__ = ["folder"]
pytestmark = pytest.mark.anyio
#: runs the runner, and kills it before the n-th thing that it asks of the system
MORTAL = """
import os, runpy, signal, sys
left = int(sys.argv.pop(1))
on = False
def hook(event, arguments):
    global left, on
    on = on or event == "os.chdir"
    if on and event.partition(".")[0] in ("open", "os", "fcntl", "subprocess", "ctypes", "signal"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
#: tells if another trainer lives, and has a child that left its group
TRAINER = (
    "for pid in $(cat ../pids); do grep '^State:.[^ZX]' /proc/$pid/status 2>/dev/null && echo $pid >> ../two; done; "
    "echo $$ >> ../pids; "
    "setsid sh -c 'echo $$ >> ../pids; sleep 0.05' & sleep 0.05; wait; echo end >> ../ends"
)


@pytest.fixture
def anyio_backend() -> str:
    """Real time."""
    return "asyncio"


def die_at(step: int, folder: Path, task: Task) -> None:
    """Start a try whose runner, or what starts it, dies at a step."""
    lay_task(str(folder), task)
    command = [sys.executable, "-I", "-c", MORTAL, str(step), runner.__file__, str(folder)]
    subprocess.run(command, check=False, env={"PATH": os.environ["PATH"]}, stderr=subprocess.DEVNULL, timeout=60)


async def train(run: Path) -> int:
    """Go on with a run until one of its tries has succeeded, as a daemon does; tell how many tries it took."""
    for number in range(1, 5):
        one = run / f"training.{number}"
        one.mkdir(exist_ok=True)
        await here().start(str(one), shell(TRAINER))
        if (await ended(one)).succeeded:
            return number
    raise AssertionError("it never succeeds")


async def test_a_runner_may_die_at_any_step(folder: Path) -> None:
    """The next look finds what is left; what comes next is alone, and succeeds."""
    stood = set()
    for step in range(1, 400):
        run = folder.parent.parent / f"job-{step}.1"
        one = run / "training.1"
        one.mkdir(parents=True)
        (run / "pids").touch()
        await SYSTEM.in_thread(die_at, step, one, shell(TRAINER))
        seen = await no_longer(one, State.RUNNING, State.QUEUED)
        stood.add(seen.state)
        tries = await train(run)
        assert not (run / "two").exists(), f"two trainers at step {step}"
        assert tries == (2 if seen.state is State.LOST else 1)
        pids = [int(pid) for pid in (run / "pids").read_text().split()]
        assert not any(lives(pid) for pid in pids)
        if seen.state is State.ENDED and step > 60:
            break
    assert stood == {State.NONE, State.LOST, State.ENDED}
    assert step < 399
