"""The ledger's folder is moved away under a real daemon: nothing is made in its place, and it is found all the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from support.process import Home, wait_for

AHome = Callable[..., Home]


@pytest.mark.parametrize("rules", ["", 'after = "keep"'])
def test_moved_away_and_back(a_home: AHome, rules: str) -> None:
    """Commands find the daemon by its folders' locks and say what is wrong; put back, all goes on by itself."""
    home = a_home(folder=rules)
    home.start()
    wait_for(lambda: b"folder_watched" in home.log.read_bytes(), "daemon at work")  # one that still starts would end
    state, aside = home.ledger.parent, home.root / "aside"
    state.rename(aside)
    home.drop("stone.txt", "The stone is grey. It came from a river.")
    wait_for(lambda: b"ledger_stuck" in home.log.read_bytes(), "daemon that noticed")
    status = home.finetuned("status", "--json")
    assert status.returncode == 1
    told = json.loads(status.stdout)
    assert told["daemon"]["running"] is True
    assert told["daemon"]["pid"] == home.pid
    assert "was it moved away?" in told["ledger"]["stuck_because"]
    assert f"pid {home.pid}" in home.says("status")
    for words in (["jobs"], ["flush"], ["doctor"], ["why", str(home.notes / "stone.txt")]):
        answer = home.finetuned(*words)
        assert answer.returncode == 1, words
        assert "was it moved away?" in answer.stdout + answer.stderr, words
        assert "finetuned run" not in answer.stdout + answer.stderr, words
    second = home.finetuned("run", "--until-idle")
    assert second.returncode == 75
    assert str(home.notes) in second.stderr
    assert not os.path.lexists(state)
    aside.rename(state)
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    assert home.finetuned("status").returncode == 0
    assert home.stop() == 0
    home.audit()


def test_a_daemon_that_is_refused_leaves_no_ledger(a_home: AHome) -> None:
    """Another configuration with the same folder: 75, and nothing was made for it."""
    home = a_home()
    home.start()
    wait_for(home.is_watched, "daemon at work")
    other = a_home("other")
    other.config.write_text(other.config.read_text().replace(str(other.notes), str(home.notes)))
    assert other.finetuned("run").returncode == 75
    assert not os.path.lexists(other.ledger.parent)
    assert home.stop() == 0


def test_an_empty_file_is_told(a_home: AHome) -> None:
    """A ledger of 0 bytes is what a copy that failed leaves, too: the log says that a new one is begun."""
    home = a_home()
    home.ledger.parent.mkdir()
    home.ledger.touch()
    home.start("--until-idle")
    assert home.wait() == 0
    assert b"ledger_empty" in home.log.read_bytes()
    home.start("--until-idle")
    assert home.wait() == 0
    assert home.log.read_bytes().count(b"ledger_empty") == 1
