"""Soak: so many daemons killed with SIGKILL while files keep coming, and now and then the server; nothing comes of it.

1. It is the ring of kills of the tests, with more of them; what it checks is told in `tests/support/soaking.py`.
2. A promise that is broken ends it with an AssertionError that says which.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from table import Row
from workshop import Options, say, scratch

sys.path.append(str(Path(__file__).parents[1]))

from support.soaking import Tally, soak

#: kills in one home; then another seed and another fault begin anew
HOME = 250
FAULTS = ((), ("runner-error:9",), ("qa-fails-one:5", "state-error:5"), ())


def measure(options: Options) -> Iterator[Row]:
    """Kills, and the files, jobs and sessions that went through them, each as it should be."""
    tallies: list[Tally] = []
    with scratch(options) as root:
        while (left := options.kills - sum(tally.kills for tally in tallies)) > 0:
            seed = len(tallies)
            say(f"soak: seed {seed}")
            where = root / str(seed)
            tallies.append(soak(where, seed=seed, kills=min(left, HOME), faults=FAULTS[seed % len(FAULTS)], told=say))
    kills = sum(t.kills for t in tallies)
    for name, unit in (
        ("server_kills", "kills of the server"),
        *((n, n) for n in ("files", "jobs", "sessions", "seconds")),
    ):
        measured = [sum(getattr(tally, name) for tally in tallies)]
        yield Row(what=f"soak, {kills:,} kills of the daemon: {unit}", measured=measured, unit=unit)
