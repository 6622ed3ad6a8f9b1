"""kill -9 at random moments: whatever was under way, the next start goes on where it was."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from support.process import Home, wait_for

AHome = Callable[..., Home]


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_any_moment_everything_is_learned_once(a_home: AHome, seed: int) -> None:
    """Five kills in a run; then the audit is clean, each content is learned once, each job has one live session."""
    chance = random.Random(seed)
    home = a_home(folder="max_files = 3")
    names = [f"{n}.txt" for n in range(12)]
    for name in names:
        (home.notes / name).write_text(f"The stone number {name} is grey.")
    for _ in range(5):
        home.start()
        threading.Event().wait(0.2 + chance.random() * 1.2)
        home.kill()
        if home.has_ledger():
            home.audit()
    home.start("--until-idle")
    assert home.wait() == 0, f"seed {seed}: {home.log.read_text()[-2000:]}"
    assert home.states() == dict.fromkeys(names, "learned"), f"seed {seed}"
    home.audit()
    learned = sorted(p.name for p in home.notes.glob("done/*/*.txt"))
    assert learned == sorted(names), f"seed {seed}"
    markers = [s for job in home.jobs() for s in home.sessions(job["id"])]
    assert len([s for s in markers if s["state"] == "trained"]) == len(home.jobs())
    assert wait_for(lambda: home.sessions_on_server() == len(home.jobs()), "one session for each job")
