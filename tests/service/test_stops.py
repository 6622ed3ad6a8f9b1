"""How soon the process ends that is told to stop: whatever it is at, systemd must not have to kill it."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from finetuned.runtime import SystemRuntime
from support.process import Home, Sandbox, wait_for

AHome = Callable[..., Home]
CLOCK = SystemRuntime()
GREY = "The stone is grey. It came from a river."
#: what is promised, in seconds; the unit allows 15
ALLOWED = 5.0


def took(home: Home) -> float:
    """Stop in order; how many seconds that took."""
    begun = CLOCK.steady()
    assert home.stop() == 0
    return CLOCK.steady() - begun


def test_idle_it_takes_less_than_two_seconds(a_home: AHome) -> None:
    """Once what was dropped is learned."""
    home = a_home()
    home.start()
    home.drop("stone.txt", GREY)
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    assert took(home) < 2
    assert not home.ledger.with_name("ledger.db-wal").exists()


@pytest.mark.parametrize("besides", ["nothing", "a reload waits", "another program writes to the ledger"])
def test_during_an_upload_it_takes_what_the_unit_allows(a_home: AHome, sandbox: Sandbox, besides: str) -> None:
    """The server does not answer; afterwards the job is looked for, and there is one session of it."""
    home = a_home(helix="max_in_flight = 1")
    home.start()
    wait_for(lambda: home.is_watched() and home.ask("select count(*) from servers where reachable"), "server")
    sandbox.signal(signal.SIGSTOP)
    home.drop("stone.txt", GREY)
    wait_for(lambda: [job["state"] for job in home.jobs()] == ["submitting"], "upload")
    with closing(sqlite3.connect(home.ledger, isolation_level=None)) as other:
        if besides == "a reload waits":
            home.signal(signal.SIGHUP)
            wait_for(lambda: '"SIGHUP"' in home.log.read_text(), "reload")
        if besides == "another program writes to the ledger":
            other.execute("begin immediate")
        assert took(home) < ALLOWED
    sandbox.signal(signal.SIGCONT)
    home.start()
    wait_for(lambda: home.states() == {"stone.txt": "learned"}, "learned file")
    assert home.sessions_on_server() == 1
    assert home.stop() == 0
