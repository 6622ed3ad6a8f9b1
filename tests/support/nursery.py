"""Processes that are forked from one that has read the code already, so that most of a short life is work."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from support.disks import join

NURSERY = multiprocessing.get_context("forkserver")
NURSERY.set_forkserver_preload(  # it finds what is installed, not `support`, which is little
    [
        "anyio._backends._asyncio",
        "anyio._backends._trio",
        "finetuned.cli.learning",
        "finetuned.cli.main",
        "finetuned.cli.process",
        "finetuned.cli.run",
        "finetuned.daemon",
        "finetuned.folders.kept",
        "finetuned.helix.sessions",
        "finetuned.local.backend",
        "finetuned.local.maker",  # it has a hundred patterns, which take most of a short life
        "finetuned.local.pairs",
        "finetuned.local.recall",
        "finetuned.local.slurm",
        "finetuned.local.trainers",
        "finetuned.local.trainings",
        "finetuned.sandbox",
        "finetuned.sandbox.__main__",
        "httpx",
        "pytest",
        "sqlite_utils.cli",  # it looks for plug-ins when it is loaded, not in each life
        "tomllib",
        "trio.testing",
        "uvicorn",
        "watchfiles",
    ]
)


def uncounted() -> None:
    """Count nothing for coverage in this process, which is to die, and copy little of it where it forks."""
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    gc.freeze()  # to collect before would copy all that was read, which takes six times as long as to fork


def born(log: str, words: list[str], program: Callable[[list[str]], Any], own: dict[str, str] | None = None) -> None:
    """Run the main function of a program in this process, uncounted, with its words in a log.

    `own` is its environment; without one it has that of the nursery, and a key. It sees the disks that its parent made.
    """
    uncounted()
    if parent := multiprocessing.parent_process():
        join(parent.pid)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if own is not None:
        os.environ.clear()
    os.environ.update({"FINETUNED_API_KEY": "hl-sandbox"} if own is None else own)
    sys.argv = ["finetuned", *words]
    program(words)


class Born:
    """A program that is born in the nursery, asked as a `subprocess.Popen` is."""

    def __init__(self, log: str, words: list[str], program: Callable[[list[str]], Any], own: dict[str, str]) -> None:
        self._process = NURSERY.Process(target=born, args=(log, words, program, own), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """Wait for its end so many seconds; the exit code."""
        self._process.join(timeout)
        code = self.poll()
        assert code is not None, f"it does not end within {timeout} s"
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)
