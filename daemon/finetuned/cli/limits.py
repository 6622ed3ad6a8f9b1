"""What SQL that people typed may cost the machine: memory, and time where SQLite does not look at the clock."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from finetuned.amounts import size
from finetuned.errors import FinetunedError

#: so much more memory than it has a process may take, in bytes
MEMORY: Final = 1024 * 1024 * 1024
#: how often is looked whether a statement is over its time, in seconds
_EVERY: Final = 0.1


@contextmanager
def bounded_memory(what: str) -> Iterator[None]:
    """Let this process have no more than MEMORY more than it has. Raises FinetunedError if `what` needs more."""
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    with open("/proc/self/statm", encoding="ascii") as file:
        wanted = int(file.read().split()[5]) * os.sysconf("SC_PAGESIZE") + MEMORY
    bounds = [bound for bound in (wanted, before, most) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), most))
    try:
        yield
    except MemoryError:
        raise FinetunedError(
            f"{what} needs more than {size(MEMORY)} of memory", remedy="ask for less at a time"
        ) from None
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


@contextmanager
def watched(look: Callable[[], None]) -> Iterator[None]:
    """Have a thread beside this one look again and again, as long as something is done."""
    is_done = threading.Event()

    def watch() -> None:
        while not is_done.wait(_EVERY):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()
