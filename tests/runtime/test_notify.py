"""What systemd hears."""

from __future__ import annotations

import os
import socket
import sys
from contextlib import suppress

import pytest

from finetuned import logs
from finetuned.daemon.notify import PATIENCE, Notifier
from finetuned.runtime import SystemRuntime

CLOCK = SystemRuntime()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_what_the_daemon_does(tmp_path, abstract):
    """Readiness, a status only when it differs, and the end; by path or by abstract name."""
    name = f"finetuned-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(f"\0{name}" if abstract else str(tmp_path / "notify"))
        notifier = Notifier(f"@{name}" if abstract else str(tmp_path / "notify"))
        notifier.ready()
        notifier.status("idle")
        notifier.status("idle")
        notifier.stopping()
        heard = [door.recv(200) for _ in range(3)]
    assert heard == [b"READY=1", b"STATUS=idle", b"STOPPING=1"]


def test_who_listens_and_hangs_holds_up_nobody(tmp_path, caplog):
    """Once its room is used up what is told is dropped, with one line of the log; what it has room for comes again."""
    logs.configure(level="debug", format="console", terminal=False, stream=sys.stderr)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        notifier = Notifier(str(tmp_path / "notify"))
        begun = CLOCK.steady()
        for number in range(1000):
            notifier.status(f"{number} jobs")
        assert CLOCK.steady() - begun < 10 * PATIENCE
        door.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                heard = door.recv(200)
        notifier.status("999 jobs")
        assert door.recv(200) == b"STATUS=999 jobs"
    assert heard != b"STATUS=999 jobs"
    assert len([one for one in caplog.records if "service_manager_not_told" in str(one.msg)]) == 1


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all"])
def test_nobody_has_to_listen(address):
    """Without systemd, or with a socket that is gone, telling is no error."""
    notifier = Notifier(address)
    notifier.ready()
    notifier.status("idle")
    notifier.stopping()
