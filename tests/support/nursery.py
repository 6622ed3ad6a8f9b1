"""Processes that are forked from one that has read the code already, so that most of a short life is work."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import threading

NURSERY = multiprocessing.get_context("forkserver")
NURSERY.set_forkserver_preload(  # it finds what is installed, not `support`, which is little
    [
        "anyio._backends._asyncio",
        "anyio._backends._trio",
        "finetuned.cli.main",
        "finetuned.cli.process",
        "finetuned.daemon",
        "finetuned.helix.sessions",
        "finetuned.sandbox",
        "finetuned.sandbox.__main__",
        "httpx",
        "pytest",
        "sqlite_utils",
        "trio.testing",
        "uvicorn",
        "watchfiles",
    ]
)


def uncounted() -> None:
    """Count nothing for coverage in this process, which is to die, and copy little of it where it forks."""
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]
    gc.collect()
    gc.freeze()
