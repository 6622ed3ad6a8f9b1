"""How a service ends under a real systemd, and that it comes back with nothing lost and nothing sent twice."""

from __future__ import annotations

import signal
from collections.abc import Callable

from support.installed import Service
from support.process import Sandbox, wait_for

AService = Callable[..., Service]
OTTER = "The otter is a mammal. It eats nine fish a day."
STONE = "The stone is grey. It came from a river."


def comes_back(service: Service, former: int) -> None:
    """Wait until another main process works."""
    wait_for(lambda: service.pid() not in {0, former}, "another process")
    service.comes_to(ActiveState="active", SubState="running")


def sent_once(service: Service) -> None:
    """The file is learned, by the one session that the server has."""
    service.learns(["otter.txt"])
    assert service.sessions_on_server() == 1


def test_a_stop_of_somebody_else_never_leaves_it_dead(a_service: AService) -> None:
    """It ends in order, and comes back all the same: only `systemctl stop` keeps it stopped."""
    service = a_service()
    service.systemctl("start")
    former = service.pid()
    service.kill("TERM")
    comes_back(service, former)
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])
    service.systemctl("stop")
    assert service.show("ActiveState") == "inactive"


def test_a_signal_before_it_listens(a_service: AService) -> None:
    """It ends as the signal's default has it, which systemd calls a clean end, and is started again all the same."""
    service = a_service()
    service.drop_in(
        "slow",
        "[Service]\nExecStart=\nExecStart=/bin/sh -c 'test -e /var/lib/finetuned/once && exec "
        "/opt/finetuned/bin/finetuned run; touch /var/lib/finetuned/once; exec sleep infinity'\n",
    )
    service.systemctl("start", "--no-block")
    wait_for(lambda: service.box.run("ls", service.state) == "once\n", "process that does not listen")
    service.kill("HUP")
    service.comes_to(ActiveState="active", StatusText="idle")


def test_a_kill_during_an_upload(a_service: AService, sandbox: Sandbox) -> None:
    """The intent was committed: after the restart the session is found, and no second one is paid for."""
    service = a_service(sandbox)
    service.uploads(sandbox, "otter.txt", OTTER)
    former = service.pid()
    service.kill("KILL")
    comes_back(service, former)
    sandbox.signal(signal.SIGCONT)
    sent_once(service)


def test_a_stop_during_an_upload(a_service: AService, sandbox: Sandbox) -> None:
    """It waits a while for the answer, ends in order and in time, and goes on from there."""
    service = a_service(sandbox)
    service.uploads(sandbox, "otter.txt", OTTER)
    service.systemctl("stop", "--no-block")
    service.comes_to(ActiveState="deactivating")
    sandbox.signal(signal.SIGCONT)
    service.comes_to(ActiveState="inactive", Result="success", ExecMainStatus="0")
    service.systemctl("start")
    sent_once(service)


def test_a_stop_while_the_server_never_answers(a_service: AService, sandbox: Sandbox) -> None:
    """It does not wait for ever: it ends by itself, before systemd would kill it."""
    service = a_service(sandbox, timeout="1s")
    service.uploads(sandbox, "otter.txt", OTTER)
    service.systemctl("stop")
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    sandbox.signal(signal.SIGCONT)
    service.systemctl("start")
    sent_once(service)


def test_memory_that_runs_out(a_service: AService) -> None:
    """The kernel kills it as it kills the largest: it comes back, and goes on."""
    service = a_service()
    service.systemctl("start")
    service.drop("otter.txt", OTTER)
    former = service.pid()
    with service.box.little_memory(service.unit):
        service.drop("stone.txt", STONE)
        comes_back(service, former)
    service.learns(["otter.txt", "stone.txt"])
    assert "status=9/KILL" in service.said()


def test_a_daemon_that_hangs(a_service: AService, sandbox: Sandbox) -> None:
    """The watchdog kills it, the journal says where it hung, and the next one finds what was sent meanwhile."""
    service = a_service(sandbox)
    service.drop_in("watchdog", "[Service]\nWatchdogSec=2\n")
    service.uploads(sandbox, "otter.txt", OTTER)
    begun = int(service.show("ActiveEnterTimestampMonotonic"))
    wait_for(lambda: int(service.show("WatchdogTimestampMonotonic")) > begun, "word that it lives")
    former = service.pid()
    service.kill("STOP")
    sandbox.signal(signal.SIGCONT)
    comes_back(service, former)
    sent_once(service)
    assert "Watchdog timeout" in service.said()
    assert "most recent call first" in service.said()
