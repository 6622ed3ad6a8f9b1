"""Processes that are forked from one that has read the code already, so that most of a short life is work."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

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


def born(log: str, words: list[str], program: Callable[[list[str]], Any]) -> None:
    """Run the main function of a program in this process, uncounted, with its words in a log."""
    uncounted()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ["FINETUNED_API_KEY"] = "hl-sandbox"
    sys.argv = ["finetuned", *words]
    program(words)
