"""What systemd hears."""

from __future__ import annotations

import os
import socket

import pytest

from finetuned.daemon.notify import Notifier


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


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all"])
def test_nobody_has_to_listen(address):
    """Without systemd, or with a socket that is gone, telling is no error."""
    notifier = Notifier(address)
    notifier.ready()
    notifier.status("idle")
    notifier.stopping()
