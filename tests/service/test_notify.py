"""What systemd hears of the real process, over a socket of our own: readiness, a reload, that it lives, its end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from finetuned.runtime import SystemRuntime
from support.process import Home, wait_for

AHome = Callable[..., Home]
CLOCK = SystemRuntime()


class Manager:
    """A notify socket."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.door.bind(self.address)
        self.door.setblocking(False)
        self._heard: list[str] = []
        #: the line of what it does, as it was by `heard`
        self.status = ""

    def heard(self, *, life: bool = False) -> list[str]:
        """Everything that was told so far, of what it does nothing; that it lives only if asked for."""
        try:
            while True:
                self._heard.append(self.door.recv(4096).decode())
        except BlockingIOError:
            pass
        told = [words for words in self._heard if not words.startswith("STATUS=")]
        self.status = next((words for words in reversed(self._heard) if words.startswith("STATUS=")), "")
        return [words for words in told if life == (words == "WATCHDOG=1")]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Whoever started the process."""
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.door.close()


def test_it_says_ready_once_it_is_and_at_last_that_it_stops(a_home: AHome, manager: Manager) -> None:
    """By then the ledger is open and the folder is held."""
    home = a_home()
    home.start(NOTIFY_SOCKET=manager.address)
    wait_for(manager.heard, "word of it")
    assert manager.heard() == ["READY=1"]
    assert home.is_watched()
    assert home.stop() == 0
    assert manager.heard() == ["READY=1", "STOPPING=1"]


def test_what_cannot_be_used_is_named(a_home: AHome, manager: Manager) -> None:
    """Where files are learned on this machine alone, no server is spoken of."""
    here = '[backend]\nkind = "local"\n[maker]\nurl = "http://127.0.0.1:9/v1"\nmodel = "tiny"\n'
    home = a_home(top=here)
    home.start(NOTIFY_SOCKET=manager.address)
    wait_for(lambda: manager.heard() and "paused" in manager.status, "pause")
    assert manager.status.startswith("STATUS=local paused: ")
    assert home.stop() == 0


@pytest.mark.parametrize("wrong", ["[[folder]]\nname =", 'folder = 1\n[log]\nlevel = "loud"'])
def test_a_wrong_configuration_is_never_ready(a_home: AHome, manager: Manager, wrong: str) -> None:
    """It ends with 78, and nothing was told."""
    home = a_home()
    home.config.write_text(wrong)
    home.start(NOTIFY_SOCKET=manager.address)
    assert home.wait() == 78
    assert manager.heard() == []


def test_a_reload_begins_and_ends(a_home: AHome, manager: Manager) -> None:
    """It is told with the time of the clock that systemd reads, and over whether it worked or not."""
    home = a_home()
    home.start(NOTIFY_SOCKET=manager.address)
    wait_for(manager.heard, "readiness")
    good = home.config.read_text()
    for number, text in enumerate([good + "\n", good[:-40], good], 1):
        home.config.write_text(text)
        before = CLOCK.steady()
        home.signal(signal.SIGHUP)
        wait_for(lambda: len(manager.heard()) == 1 + 2 * number, "end of the reload")  # noqa: B023 - called at once
        reloading, ready = manager.heard()[-2:]
        name, _, stamp = reloading.partition("\nMONOTONIC_USEC=")
        assert (name, ready) == ("RELOADING=1", "READY=1")
        assert before < int(stamp) / 1_000_000 < CLOCK.steady()
    assert home.stop() == 0


def test_the_watchdog_hears_it_while_it_runs(a_home: AHome, manager: Manager) -> None:
    """A process that stands still is silent; one that goes on is heard again."""
    home = a_home()
    home.start(NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="100000")
    wait_for(lambda: len(manager.heard(life=True)) > 3, "signs of life")
    home.signal(signal.SIGSTOP)
    wait_for(lambda: Path(f"/proc/{home.pid}/stat").read_text().split()[2] == "T", "standstill")
    silent = len(manager.heard(life=True))
    with pytest.raises(AssertionError, match="no more"):
        wait_for(lambda: len(manager.heard(life=True)) > silent, "more", within=0.5)
    home.signal(signal.SIGCONT)
    wait_for(lambda: len(manager.heard(life=True)) > silent, "signs of life")
    assert home.stop() == 0


@pytest.mark.parametrize("asks", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}])
def test_who_is_not_asked_shows_no_sign_of_life(a_home: AHome, manager: Manager, asks: dict[str, str]) -> None:
    """Another process is meant, or nothing that can be understood."""
    home = a_home()
    home.start(NOTIFY_SOCKET=manager.address, **({"WATCHDOG_USEC": "1000"} | asks))
    wait_for(manager.heard, "readiness")
    assert home.stop() == 0
    assert manager.heard(life=True) == []


def test_each_line_has_its_priority_where_the_journal_reads_it(a_home: AHome) -> None:
    """Of the log, if the journal's socket does not answer, and of the words with which a start is refused."""
    home = a_home()
    home.log.touch()
    stream = f"{home.log.stat().st_dev}:{home.log.stat().st_ino}"
    home.start(JOURNAL_STREAM=stream)
    home.drop("bad.txt", b"caf\xe9")
    wait_for(lambda: "<4>file_refused file=" in home.log.read_text(), "warning")
    assert "<6>daemon_started daemon=" in home.log.read_text()
    assert " folder=notes " in home.log.read_text()
    assert home.stop() == 0
    home.log.write_text("")
    home.config.write_text("[[folder]]\nname =")
    home.start(JOURNAL_STREAM=stream)
    assert home.wait() == 78
    lines = home.log.read_text().splitlines()
    assert lines
    assert all(line.startswith("<3>") for line in lines)
