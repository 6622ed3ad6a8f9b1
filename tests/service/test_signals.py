"""What signals do to the real daemon."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from finetuned.ledger.lock import is_held
from support.process import Home, environment, wait_for

AHome = Callable[..., Home]
STOPPING = [signal.SIGTERM, signal.SIGINT]


def at_work(home: Home, **more: str) -> Home:
    """A daemon that watches its folder."""
    home.start(anew=True, **more)
    wait_for(home.is_watched, "daemon at work")
    return home


def log_of(home: Home) -> str:
    """What the daemon has logged."""
    return home.log.read_text()


@pytest.mark.parametrize("number", STOPPING)
def test_it_stops_in_order(a_home: AHome, number: signal.Signals) -> None:
    """Whatever asks it to stop: it says so, ends with 0, and leaves a ledger that stands alone."""
    home = at_work(a_home())
    home.signal(number)
    assert home.wait() == 0
    assert f'"{number.name}"' in log_of(home)
    assert "daemon_stopped" in log_of(home)
    assert not os.path.exists(f"{home.ledger}-wal")


@pytest.mark.parametrize("number", STOPPING)
def test_asked_again_and_again_it_ends_as_if_asked_once(a_home: AHome, number: signal.Signals) -> None:
    """Signals that come while it stops, up to its very end, do not change the exit code."""
    home = at_work(a_home())

    def ended() -> bool:
        home.signal(number)
        return not home.still_runs()

    wait_for(ended, "end")
    assert home.wait() == 0
    assert "daemon_stopped" in log_of(home)


def test_a_hangup_reloads_where_there_is_no_terminal(a_home: AHome) -> None:
    """As under systemd: the process goes on with what its configuration says by now."""
    home = at_work(a_home())
    other = home.root / "other"
    other.mkdir()
    with home.config.open("a") as config:
        config.write(f'[[folder]]\nname = "other"\npath = "{other}"\nsettle = "100ms"\nlinger = "0s"\n')
    home.signal(signal.SIGHUP)
    wait_for(lambda: home.ask("select count(*) from folders where state = 'watched'") == 2, "other folder")
    (other / "stone.txt").write_text("The stone is grey. It came from a river.")
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    home.config.write_text("[[folder]]\nname = ")
    home.signal(signal.SIGHUP)
    wait_for(lambda: "daemon_reload_refused" in log_of(home), "refusal")
    assert home.stop() == 0
    assert [event["became"] for event in home.rows_of_events("daemon")] == [
        "started", "reloaded", "reload_refused", "stopped",
    ]  # fmt: skip


def test_reload_upon_reload_loses_nothing(a_home: AHome) -> None:
    """Signals that come faster than reloads end are some reloads fewer; each file is sent once."""
    home = at_work(a_home())
    names = [f"stone{number}.txt" for number in range(3)]

    def reloaded() -> bool:
        home.signal(signal.SIGHUP)
        return home.ask("select count(*) from events where became = 'reloaded'") >= 10

    for name in names:
        home.drop(name, f"The stone {name} is grey. It came from a river.")
    wait_for(reloaded, "reloads")
    wait_for(lambda: home.states() == dict.fromkeys(names, "learned"), "learned files")
    assert home.sessions_on_server() == len(home.jobs())
    assert home.stop() == 0


@pytest.mark.parametrize("how", ["it leads the session", "under a shell", "the shell is killed"])
def test_a_terminal_that_goes_stops_it(a_home: AHome, how: str) -> None:
    """The process at a terminal ends in order when that goes; a person who sends the signal before reloads it."""
    home = a_home()
    words = [sys.executable, "-m", "finetuned", "--config", str(home.config), "run"]
    if how != "it leads the session":
        words = ["/bin/sh", "-c", '"$@"; exit 0', "sh", *words]
    leader, terminal = pty.fork()
    if leader == 0:
        os.execvpe(words[0], words, environment())  # noqa: S606 - the child is the daemon, or its shell, from here on
    try:
        wait_for(home.is_watched, "daemon at work")
        os.kill(home.ask("select pid from daemon"), signal.SIGHUP)
        wait_for(lambda: home.ask("select count(*) from events where became = 'reloaded'") == 1, "reload")
        if how == "the shell is killed":
            os.kill(leader, signal.SIGKILL)
            wait_for(lambda: home.ask("select count(*) from events where became = 'stopped'") == 1, "end in order")
    finally:
        os.close(terminal)
    wait_for(lambda: home.ask("select count(*) from events where became = 'stopped'") == 1, "end in order")
    wait_for(lambda: not is_held(str(home.ledger)), "end of the process")
    ended = {"it leads the session": 0, "under a shell": -signal.SIGHUP, "the shell is killed": -signal.SIGKILL}
    assert os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]) == ended[how]


def test_a_signal_switches_the_debug_log(a_home: AHome) -> None:
    """SIGUSR1 turns it on, another one off; SIGUSR2 does nothing; work goes on."""
    home = at_work(a_home())
    home.signal(signal.SIGUSR2)
    home.signal(signal.SIGUSR1)
    wait_for(lambda: "the debug log is on" in log_of(home), "debug log")
    home.drop("stone.txt", "The stone is grey. It came from a river.")
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    assert '"debug"' in log_of(home)
    home.signal(signal.SIGUSR1)
    wait_for(lambda: "the debug log is off" in log_of(home), "no debug log")
    assert home.stop() == 0


def test_who_wants_it_to_outlive_the_terminal_is_heeded(a_home: AHome) -> None:
    """With SIGHUP ignored at the start, as by nohup, it reloads at the signal, whether the terminal is gone or not."""
    home = a_home()
    words = ["nohup", sys.executable, "-m", "finetuned", "--config", str(home.config), "run"]
    daemon, terminal = pty.fork()
    if daemon == 0:
        os.chdir(home.root)  # where nohup may write what it says
        os.execvpe(words[0], words, environment())  # noqa: S606 - the child is the daemon from here on
    try:
        wait_for(home.is_watched, "daemon at work")
        os.kill(daemon, signal.SIGHUP)
        wait_for(lambda: home.ask("select count(*) from events where became = 'reloaded'") == 1, "reload")
    finally:
        os.close(terminal)  # the kernel sends the signal once more
    wait_for(lambda: home.ask("select count(*) from events where became = 'reloaded'") == 2, "another reload")
    home.drop("stone.txt", "The stone is grey. It came from a river.")
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    os.kill(daemon, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(daemon, 0)[1]) == 0


@pytest.mark.parametrize("gone", ["the terminal", "the reader"])
def test_what_cannot_be_said_does_not_change_how_it_ends(a_home: AHome, gone: str) -> None:
    """Nobody reads what it writes: a mistake of the configuration is 78 all the same, and an end in order 0."""
    home = a_home()
    reads, writes = pty.openpty() if gone == "the terminal" else os.pipe()
    words = [sys.executable, "-m", "finetuned", "--config", str(home.config), "run"]
    with subprocess.Popen(words, env=environment(), stdout=writes, stderr=writes) as daemon:
        try:
            wait_for(home.is_watched, "daemon at work")
            os.close(reads)
            home.drop("stone.txt", "The stone is grey. It came from a river.")
            wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
        finally:
            daemon.terminate()
        assert daemon.wait() == 0
    home.config.write_text("[[folder]]\nname = ")
    assert subprocess.run(words, env=environment(), stdout=writes, stderr=writes, check=False).returncode == 78
    os.close(writes)


def test_without_standard_streams_it_works(a_home: AHome) -> None:
    """Started with all of them closed it learns and stops in order, and no file of its own takes their numbers."""
    home = a_home()
    home.drop("stone.txt", "The stone is grey. It came from a river.")
    words = ["/bin/sh", "-c", 'exec "$0" -m finetuned --config "$1" run <&- >&- 2>&-', sys.executable, home.config]
    with subprocess.Popen(words, env=environment()) as process:
        try:
            wait_for(lambda: process.poll() is not None or home.states() == {"stone.txt": "learned"}, "learned file")
            streams = {os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)}
        finally:
            process.terminate()
    assert (streams, process.returncode) == ({"/dev/null"}, 0)
