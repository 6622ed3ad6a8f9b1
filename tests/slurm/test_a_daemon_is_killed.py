"""A daemon that is killed again and again while it sends and looks after a training: it trains once, and is found."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support.tries import OVER, pause, sh, starts, until

#: what a daemon does with a try
DAEMON = """
import os, sys, anyio
from finetuned.local.place import Task
from finetuned.local.slurm import Slurm
from finetuned.runtime import SystemRuntime, Wake

async def main(folder, command):
    runtime = SystemRuntime()
    async def pause(seconds):
        await runtime.wait(Wake(), seconds)
    place = Slurm(runtime.in_thread, os.environ, runs="/nowhere", pause=pause, steady=runtime.steady, settle=0.5)
    print("begins", flush=True)
    await place.start(folder, Task(name="test", command=tuple(command)))
    await place.wait(folder)

anyio.run(main, sys.argv[1], sys.argv[2:])
"""


def lives_for_a_while(folder, command, environment):
    """Start a daemon; return once it begins."""
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, folder, *command], env=environment, stdout=subprocess.PIPE)
    with daemon.stdout:
        assert daemon.stdout.readline() == b"begins\n"
    return daemon


@pytest.mark.parametrize("step", [0.01, 0.02, 0.04, 0.07])
async def test_it_trains_once(tries, step):
    """Whenever it is killed: before it asks, while sbatch runs, before the number is noted, later."""
    tries.in_the_way("sbatch", "sleep 0.05", '"$REAL" "$@" || exit', "sleep 0.05")
    place, folder = tries.place(), tries.folder()
    task = sh("sleep 0.5")
    environment = {**os.environ, **tries.slurm.environment, "PATH": f"{tries.bin}:{os.environ['PATH']}"}
    for number in range(4):
        daemon = lives_for_a_while(folder, task.command, environment)
        await pause(number * step)
        daemon.kill()
        daemon.wait()
    await place.start(folder, task)
    end = await until(lambda: place.look(folder), OVER)
    assert end.succeeded, end
    assert starts(folder) == 1, tries.jobs()
