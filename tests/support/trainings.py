"""Trainings to try: a try's folder, programs in place of a trainer, and what lives of them."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from finetuned.local.place import InThread, Look, State, Task
from finetuned.local.training import Here
from finetuned.runtime import SystemRuntime, Wake

SYSTEM = SystemRuntime()


async def at_once(work: Callable[..., Any], *args: Any, **words: Any) -> Any:
    """Do it in this thread: others may not see the mounts of a test."""
    return work(*args, **words)


def here(in_thread: InThread = SYSTEM.in_thread) -> Here:
    """This machine."""
    measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return Here(in_thread, {"PATH": os.environ["PATH"], "FINETUNED_API_KEY": "hl-x", **measured})


def shell(text: str, **more: Any) -> Task:
    """A task that is a line of a shell."""
    return Task(name="a try", command=("sh", "-c", text), **more)


async def within(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is so."""
    with anyio.fail_after(seconds):
        while not condition():
            await SYSTEM.wait(Wake(), 0.01)


async def ended(folder: Path, place: Here | None = None, seconds: float = 120.0) -> Look:
    """Wait for a try to end, and look at it."""
    place = place or here()
    with anyio.fail_after(seconds):
        await place.wait(str(folder))
    return await place.look(str(folder))


async def begun(folder: Path) -> int:
    """Wait until the trainer runs; return its process."""
    await within((folder / "begun.json").exists)
    return int(json.loads((folder / "begun.json").read_text())["pid"])


def holder(folder: Path) -> int:
    """The process of the runner."""
    return int(json.loads((folder / "started.json").read_text())["pid"])


@contextmanager
def few_descriptors(left: int) -> Iterator[None]:
    """Let this process open so many files more, and no others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(left):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in taken:
            os.close(one)


def lives(pid: int) -> bool:
    """Whether a process is there, and no corpse."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def no_longer(folder: Path, *states: State) -> Look:
    """Wait until a try stands elsewhere."""
    with anyio.fail_after(20):
        while (seen := await here().look(str(folder))).state in states:
            await SYSTEM.wait(Wake(), 0.01)
    return seen


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a try."""
    made = tmp_path / "a-job.1" / "training.1"
    made.mkdir(parents=True)
    return made
