"""What a cluster does when parts of it are away, or forget; each test has one of its own."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from finetuned.errors import Unreachable
from finetuned.local.place import Cause, State
from support.slurm import cluster
from support.tries import FOREVER, OVER, Tries, in_state, sh, starts, until

RUNNING = in_state(State.RUNNING)


@pytest.fixture(scope="module")
def slurm():
    """None is shared."""


@pytest.fixture
def tries(tmp_path):
    """Tries on a cluster of their own."""
    (tmp_path / "slurm").mkdir()
    with cluster(tmp_path / "slurm") as one:
        yield Tries(one, tmp_path)


async def begun(place, folder):
    """Wait until the trainer of a try runs."""

    async def ran():
        return starts(folder)

    await until(ran)
    return await until(lambda: place.look(folder), RUNNING)


async def file(path):
    """Wait until a file is there."""

    async def there():
        return path.exists()

    await until(there)


async def test_the_controller_is_away(tries):
    """A try that runs goes on, one that succeeded is known, and none is sent, or sent twice."""
    place = tries.place()
    first, second, third = tries.folder(), tries.folder(), tries.folder()
    await place.start(first, sh("while ! [ -e go ]; do sleep 0.02; done"))
    await place.start(second, sh(*FOREVER))
    look = await begun(place, second)
    await begun(place, first)
    tries.slurm.stop_controller()

    async def refused(ask):
        with pytest.raises(Unreachable, match="Unable to contact") as told:
            await ask
        assert "no job is sent twice" in told.value.remedy

    async with anyio.create_task_group() as group:
        for ask in (place.look(second), place.stop(second), place.start(third, sh()), place.probe()):
            group.start_soon(refused, ask)
    Path(first, "go").touch()
    await file(Path(first, "exit.json"))
    assert (await place.look(first)).succeeded
    tries.slurm.start_controller()
    assert (await place.look(second)).handle == look.handle
    await place.start(third, sh())
    await place.wait(third)
    await place.stop(second)
    assert (await until(lambda: place.look(second), OVER)).cause is Cause.STOPPED
    assert [starts(folder) for folder in (first, second, third)] == [1, 1, 1]
    assert len(tries.jobs()) == 3


async def test_the_controller_forgets(tries):
    """After MinJobAge: the runner's files tell of a success and of a failure; what left nothing is lost."""
    tries.slurm.configure(min_job_age=2)
    tries.slurm.run("scontrol", "reconfigure")
    place = tries.place()
    folders = [tries.folder() for _ in range(4)]
    for folder, line in zip(folders[:3], ("exit 0", "exit 3", "kill -9 $PPID"), strict=True):
        await place.start(folder, sh(line))
    held = tries.place(options=["--hold"])
    await held.start(folders[3], sh())
    tries.slurm.run("scancel", (await held.look(folders[3])).handle)

    async def forgotten():
        return tries.jobs() == []

    await until(forgotten)
    ends = [await place.look(folder) for folder in folders]
    assert [(end.state, end.code) for end in ends] == [
        (State.ENDED, 0), (State.ENDED, 3), (State.LOST, None), (State.LOST, None),
    ]  # fmt: skip
    assert "Slurm knows nothing of it any more" in ends[2].reason
    assert ends[3].reason == "it left Slurm's queue before it began"
    assert [await place.look(folder) for folder in folders] == ends
    for folder in folders:
        await place.start(folder, sh())
    assert tries.jobs() == []


async def test_a_lost_answer_whose_job_is_forgotten(tries):
    """The runner's files say that there was one."""
    tries.in_the_way("sbatch", '"$REAL" "$@" > /dev/null', "exec sleep 60")
    place, folder = tries.place(), tries.folder()
    async with anyio.create_task_group() as group:
        group.start_soon(place.start, folder, sh("exit 3"))
        await file(Path(folder, "exit.json"))
        group.cancel_scope.cancel()
    tries.out_of_the_way("sbatch")
    tries.slurm.kill("slurmctld")
    tries.slurm.start_controller(forgetful=True)
    await place.start(folder, sh())
    end = await place.look(folder)
    assert (end.state, end.cause, end.code) == (State.ENDED, Cause.CODE, 3)
    assert tries.jobs() == []
    assert starts(folder) == 1


async def test_a_node_fails(tries):
    """Slurm says so after its own time; the next try is another's, even if the node turns out to have worked on."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh("while ! [ -e go ]; do sleep 0.02; done"))
    await begun(place, folder)
    tries.slurm.kill("slurmd")
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause, end.reason) == (State.ENDED, Cause.PLACE, "its node failed")
    other = tries.folder()
    await place.start(other, sh())
    assert (await until(lambda: place.look(other), lambda look: "down" in look.reason)).state is State.QUEUED
    Path(folder, "go").touch()
    await file(Path(folder, "exit.json"))
    assert (await place.look(folder)).succeeded
    tries.slurm.start_node()
    await place.wait(other)
    assert (await place.look(other)).succeeded


async def test_a_node_cannot_launch_it(tries):
    """Its prolog fails, which Slurm calls a job that was cancelled: it is no person who did that."""
    prolog = tries.slurm.root / "prolog"
    prolog.write_text("#!/bin/sh\nexit 1\n")
    prolog.chmod(0o755)
    with (tries.slurm.root / "slurm.conf").open("a") as file:
        file.write(f"Prolog={prolog}\n")
    tries.slurm.run("scontrol", "reconfigure")
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh())
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause, end.reason) == (State.ENDED, Cause.PLACE, "its node did not launch it")


async def test_the_accounting_remembers(tries):
    """What the controller forgot is asked there, where there is one; the answers are recorded, as it is a database."""
    place, folder = tries.place(), tries.folder()
    await place.start(folder, sh(*FOREVER))
    await begun(place, folder)
    tries.slurm.kill("slurmd")
    tries.slurm.kill("slurmctld")
    tries.slurm.start_controller(forgetful=True)
    refused = ["sacct: error: Sending PersistInit msg: Connection refused", "Problem talking to the database"]
    tries.in_the_way("sacct", *(f'echo "{line}" >&2' for line in refused), "exit 1")
    with pytest.raises(Unreachable, match="sacct ended with 1"):
        await until(lambda: place.look(folder), OVER)
    tries.in_the_way("sacct", f"echo '1|NODE_FAIL|0:0|node1|finetuned-{tries.run.name}.1'")
    end = await until(lambda: place.look(folder), OVER)
    assert (end.state, end.cause, end.reason) == (State.ENDED, Cause.PLACE, "its node failed")


async def test_nobody_closed_the_row_of_the_accounting(tries):
    """It says for ever that a job runs of which the controller knows nothing: the controller is believed."""
    place, folder = tries.place(options=["--hold"]), tries.folder()
    await place.start(folder, sh())
    tries.slurm.kill("slurmctld")
    tries.slurm.start_controller(forgetful=True)
    tries.in_the_way("sacct", f"echo '1|RUNNING|0:0|node1|finetuned-{tries.run.name}.1'")
    assert (await place.look(folder)).state is State.LOST
