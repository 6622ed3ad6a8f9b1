"""Hooks of the real daemon: none holds it up, whatever it does, and what was begun before a death is told again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from finetuned.runtime import SystemRuntime
from support.process import Home, wait_for

AHome = Callable[..., Home]
GREY = "The stone is grey. It came from a river."


def hooks(*commands: str) -> str:
    """The configuration of hooks, each a line of a shell, which have an hour for each message."""
    return "".join(f'[[hook]]\ncommand = ["sh", "-c", {json.dumps(words)}]\ntimeout = "1h"\n' for words in commands)


def lines(path: Path) -> list[str]:
    """The lines of a file; none if it is not there."""
    return path.read_text().splitlines() if path.exists() else []


def lives(pid: str) -> bool:
    """Whether this process is there, and no corpse."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_more_hooks_that_hang_than_are_told_at_a_time_hold_up_nothing(a_home: AHome, tmp_path: Path) -> None:
    """The job is learned meanwhile, and the daemon stops in time and in order: none begins then, and none is left."""
    pids = tmp_path / "pids"
    home = a_home(top=hooks(*(f"echo $$ >> {pids}; sleep 60{number}" for number in range(10))))
    home.drop("bad.txt", b"\xff")
    home.start()
    wait_for(lambda: len(lines(pids)) == 8, "hooks that hang")
    home.drop("a.txt", GREY)
    (job,) = home.ended()
    assert job["state"] == "done"
    begun = SystemRuntime().steady()
    assert home.stop() == 0
    assert SystemRuntime().steady() - begun < 12
    assert len(lines(pids)) == 8
    wait_for(lambda: not any(map(lives, lines(pids))), "end of what hung")
    home.audit()


def test_what_was_being_told_when_the_daemon_was_killed_is_told_again(a_home: AHome, tmp_path: Path) -> None:
    """And then noted: a third start tells nothing."""
    heard, tried = tmp_path / "heard", tmp_path / "tried"
    text = f"echo $$ >> {tried}; [ $(wc -l < {tried}) -gt 1 ] || exec sleep 600; cat >> {heard}"
    home = a_home(top=hooks(text))
    home.drop("bad.txt", b"\xff")
    home.start()
    wait_for(lambda: lines(tried), "first try")
    home.kill()
    os.kill(int(lines(tried)[0]), signal.SIGKILL)  # only systemd ends what a daemon leaves that is killed
    home.start("--until-idle")
    assert home.wait() == 0
    home.start("--until-idle")
    assert home.wait() == 0
    (told,) = map(json.loads, lines(heard))
    assert (told["on"], len(lines(tried))) == ("file_refused", 2)
    home.audit()


def test_doctor_has_the_daemon_send_a_test_message(a_home: AHome, tmp_path: Path) -> None:
    """As the user that the daemon runs as, with what the daemon gives to it: no key."""
    heard, around = tmp_path / "heard", tmp_path / "around"
    home = a_home(top=hooks(f"cat >> {heard}; env > {around}"))
    home.start()
    wait_for(home.is_watched, "daemon at work")
    found = home.finetuned("doctor", "--hooks", "--json").stdout
    told = [row["words"] for row in json.loads(found) if row["subject"] == "hook 1 (sh)"]
    assert told[-1] == "took a test message"
    assert json.loads(heard.read_text())["title"] == "finetuned: a test"
    assert "KEY" not in around.read_text()
    assert "FINETUNED_ON=hook_test" in around.read_text()
    assert home.stop() == 0


def test_a_reload_takes_up_new_hooks_and_lets_go_of_old_ones(a_home: AHome, tmp_path: Path) -> None:
    """A new one hears what happens from now on; a configuration with one that cannot be used is refused."""
    old, new = tmp_path / "old", tmp_path / "new"
    home = a_home(top=hooks(f"cat >> {old}"))
    home.start()
    wait_for(home.is_watched, "daemon at work")
    home.drop("bad.txt", b"\xff")
    wait_for(lambda: lines(old), "first message")
    before = home.config.read_text()
    home.config.write_text(before.replace(str(old), str(new)))
    home.signal(signal.SIGHUP)
    wait_for(lambda: "reloaded" in str(home.rows_of_events("daemon")), "reload")
    home.drop("worse.txt", b"\xfe")
    wait_for(lambda: lines(new), "second message")
    assert [len(lines(old)), len(lines(new))] == [1, 1]
    home.config.write_text(before.replace('command = ["sh"', 'command = "sh" #'))
    home.signal(signal.SIGHUP)
    wait_for(lambda: "reload_refused" in str(home.rows_of_events("daemon")), "refusal")
    assert home.stop() == 0
