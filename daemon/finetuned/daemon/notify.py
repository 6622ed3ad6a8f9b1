"""What systemd is told, over the socket it names: readiness, one line of status, the end. Source: sd_notify(3)."""

from __future__ import annotations

import socket
from typing import Final

from finetuned import logs
from finetuned.paths import escape

#: how long somebody who listens may take to make room for a message, in seconds; the loop waits meanwhile
PATIENCE: Final = 0.5


class Notifier:
    """Sends datagrams to `$NOTIFY_SOCKET`; does nothing without one.

    Who listens there and takes nothing is waited for once, until a message is taken again; the others are dropped.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address and ("\0" + address[1:] if address.startswith("@") else address)
        self._status = ""
        self._hangs = False

    def reloading(self, steady: float) -> None:
        """Tell that a reload has begun, at that time by the steady clock; it is over with the next `ready`."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(steady * 1_000_000)}")

    def ready(self) -> None:
        """Tell that ledger, folders and configuration are sound."""
        self._send("READY=1")

    def alive(self) -> None:
        """Have the watchdog wait anew."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Tell the service manager that the daemon has begun to end."""
        self._send("STOPPING=1")

    def status(self, words: str) -> None:
        """Tell in one line what the daemon does, if that differs from what was told last."""
        line = escape(words)  # what a server says may hold a line of its own
        if line != self._status:
            self._status = line if self._send(f"STATUS={line}") else ""

    def _send(self, message: str) -> bool:
        """Send it, and tell whether it was taken."""
        if not self._address:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
                door.settimeout(0.0 if self._hangs else PATIENCE)
                door.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._hangs:
                logs.get().debug("service_manager_not_told", message=message, why=str(error))
            self._hangs = True
            return False
        self._hangs = False
        return True
