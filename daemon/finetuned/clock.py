"""The system's clocks: for `runtime`, and for commands that ask what time it is and wait for nothing."""

from __future__ import annotations

import time


def now() -> float:
    """Read the wall clock: seconds since 1970 UTC. It may jump."""
    return time.time()


def steady() -> float:
    """Read a clock in seconds that only goes forward, from any start; from any thread."""
    return time.monotonic()
