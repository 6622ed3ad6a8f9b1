"""Tries of trainings on a cluster: their folders, their trainers, and what may stand in the way."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from finetuned.local.place import Look, State, Task
from finetuned.local.slurm import Slurm
from finetuned.runtime import SystemRuntime, Wake
from support.slurm import Cluster

RUNTIME = SystemRuntime()
#: so long anything may take, in seconds
PATIENCE = 30.0


async def pause(seconds: float) -> None:
    """Wait."""
    await RUNTIME.wait(Wake(), seconds)


async def until(ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool] = bool) -> Any:
    """Ask until it holds; what it said."""
    end = RUNTIME.steady() + PATIENCE
    while not holds(said := await ask()):
        assert RUNTIME.steady() < end, said
        await pause(0.05)
    return said


class Tries:
    """The tries of one test: a run of its own, on the cluster."""

    def __init__(self, slurm: Cluster, root: Path) -> None:
        self.slurm = slurm
        self.run = root / "runs" / f"{root.name.replace('_', '-')}.1"
        self.bin = root / "bin"

    def place(self, **more: Any) -> Slurm:
        """The place for trainings; a program in `bin` stands in the way of Slurm's."""
        around = {**self.slurm.environment, "FINETUNED_API_KEY": "secret", "SQUEUE_STATES": "FAILED"}
        around["PATH"] = f"{self.bin}:{around['PATH']}"
        return Slurm(
            RUNTIME.in_thread,
            more.pop("around", around),
            **{"runs": str(self.run.parent), "pause": pause, "steady": RUNTIME.steady, "settle": 0.5} | more,
        )

    def folder(self) -> str:
        """A try's folder, made as the backend makes it."""
        number = len(list(self.run.glob("training.*"))) + 1
        path = self.run / f"training.{number}"
        path.mkdir(parents=True)
        return str(path)

    def jobs(self) -> list[tuple[str, str, str]]:
        """The run's jobs, as Slurm tells of them."""
        return [job for job in self.slurm.jobs() if job[2].startswith(f"finetuned-{self.run.name}.")]

    def in_the_way(self, program: str, *lines: str) -> None:
        """Put a script in the way of one of Slurm's programs, which it can run as `"$REAL"`."""
        self.bin.mkdir(exist_ok=True)
        real = next(
            path
            for folder in self.slurm.environment["PATH"].split(":")
            if os.access(path := f"{folder}/{program}", os.X_OK)
        )
        path = self.bin / program
        path.write_text("\n".join(["#!/bin/sh", f"REAL={real}", *lines, ""]))
        path.chmod(0o755)

    def out_of_the_way(self, program: str) -> None:
        """Take the script away again."""
        (self.bin / program).unlink()


def sh(*lines: str, **more: Any) -> Task:
    """A trainer that is a script: it says in `ran` each time it is started."""
    script = "\n".join(["echo ran >> ran", *lines])
    return Task(name="test", command=("sh", "-c", script), **more)


def starts(folder: str) -> int:
    """How often the trainer of a try was started."""
    path = Path(folder, "ran")
    return path.read_text().count("ran\n") if path.exists() else 0


def in_state(*states: State) -> Callable[[Look], bool]:
    """Whether a look says one of these."""
    return lambda look: look.state in states


FOREVER = ("trap 'echo asked >> asked; exit 0' TERM", "while :; do sleep 0.1; done")
OVER = in_state(State.ENDED, State.LOST)
