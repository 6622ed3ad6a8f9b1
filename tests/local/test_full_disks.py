"""A disk without space: nothing begins on it, what ended on it is told, and no end is lost."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from finetuned.errors import Unreachable
from finetuned.local.place import Cause, State, lay_task
from finetuned.runtime import Wake
from support.disks import full, small_disk
from support.trainings import SYSTEM, at_once, ended, folder, here, shell

__all__ = ["folder"]
pytestmark = pytest.mark.anyio
HERE = here(at_once)


@pytest.fixture
def anyio_backend() -> str:
    """Real time."""
    return "asyncio"


async def test_a_disk_that_is_filled_hides_no_end(folder: Path) -> None:
    """The space for it was set aside before."""
    with small_disk(folder / "disk", "2m") as disk:
        await HERE.start(str(disk), shell("cat /dev/zero > model; echo more; exit 1"))
        end = await ended(disk, HERE)
    assert (end.cause, end.code, end.reason) == (Cause.CODE, 1, "it ended with code 1; the disk is full")


async def test_an_end_that_cannot_be_written_is_written_later(folder: Path) -> None:
    """As long as the disk is full, people are told so; once there is space, the training has succeeded after all."""
    with small_disk(folder / "disk", "2m") as disk:
        await HERE.start(str(disk), shell("rm exit.json.new; cat /dev/zero > model; ln -s x y; exit 0"))
        with anyio.fail_after(10):
            while not (seen := await HERE.look(str(disk))).reason:
                await SYSTEM.wait(Wake(), 0.01)
        words = "it ended, and its end cannot be written: is the disk full?"
        assert (seen.state, seen.reason) == (State.RUNNING, words)
        (disk / "model").unlink()
        assert (await ended(disk, HERE)).succeeded


async def test_who_does_not_wait_for_space_loses_the_try(folder: Path) -> None:
    """A stop ends what tries to write, too."""
    with small_disk(folder / "disk", "2m") as disk:
        await HERE.start(str(disk), shell("rm exit.json.new; cat /dev/zero > model; exit 0"))
        with anyio.fail_after(10):
            while not (await HERE.look(str(disk))).reason:
                await SYSTEM.wait(Wake(), 0.01)
        await HERE.stop(str(disk))
        assert (await ended(disk, HERE)).state is State.LOST


async def test_on_a_full_disk_nothing_begins(folder: Path) -> None:
    """It was certainly not started, and can be once there is space."""
    with small_disk(folder / "disk", "2m") as disk:
        lay_task(str(disk), shell("exit 0"))
        with full(disk), pytest.raises(Unreachable, match=r"cannot be written: No space left on device$"):
            await HERE.start(str(disk), shell("exit 0"))
        assert (await HERE.look(str(disk))).state is State.NONE
        await HERE.start(str(disk), shell("exit 0"))
        assert (await ended(disk, HERE)).succeeded
