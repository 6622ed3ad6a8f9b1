"""kill -9 at random moments: whatever was under way, the next start goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.soaking import soak

KILLS = 25
#: by seed, what goes wrong on the server besides
FAULTS = (
    (),
    ("runner-error:3",),
    (),
    ("qa-fails-one:3",),
    ("state-error:2",),
    ("runner-error:2", "qa-fails-one:2"),
    (),
    ("qa-fails:1", "state-error:1"),
)


@pytest.mark.parametrize("seed", range(len(FAULTS)))
def test_killed_at_any_moment_everything_is_learned_once(tmp_path: Path, seed: int) -> None:
    """Daemon and server die and come back; each file is learned once or has its reason, each job has one session."""
    try:
        tally = soak(tmp_path, seed=seed, kills=KILLS, faults=FAULTS[seed])
    except AssertionError as error:
        error.add_note(f"again: python -m pytest tests/crash/test_kill.py -k '[{seed}]'")
        raise
    assert tally.kills == KILLS
    assert tally.files >= 15
    assert tally.sessions == tally.jobs >= tally.files / 3, "a job has three files at most"
    print(tally)
