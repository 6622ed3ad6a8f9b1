"""What signals mean to the daemon.

1. SIGTERM, SIGINT (Ctrl-C) and SIGHUP (its terminal closes, or `kill -HUP`) stop it in order. A second one changes
   nothing: signals are heard from before the loop begins until the process is gone, so the exit code stays the same.
2. SIGUSR1 switches the debug log on and off. SIGUSR2 does nothing.
3. Who starts it with SIGHUP ignored (`nohup`) wants it to outlive the terminal.
"""

from __future__ import annotations

import atexit
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from finetuned import logs

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_OTHERS: Final = (signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def heard() -> Iterator[socket.socket]:
    """Hear signals in the main thread; each one is a byte, its number, to be read from the socket."""
    ear, mouth = socket.socketpair()
    with ear, mouth:
        ear.setblocking(False)
        mouth.setblocking(False)
        signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, _noted) for number in _heeded()}
        try:
            yield ear
        except BaseException:
            for number, handler in before.items():
                signal.signal(number, handler)
            raise
        finally:
            signal.set_wakeup_fd(-1)
    atexit.register(_ignore, tuple(before))  # Python gives up its handlers a moment before the process is gone


async def heed(ear: socket.socket, stop: Callable[[], None]) -> None:
    """Do what each signal asks for, until cancelled."""
    while True:
        await anyio.wait_readable(ear)
        for number in map(signal.Signals, ear.recv(64)):
            if number in _STOPPING:
                words = "it stops"
                stop()
            elif number is signal.SIGUSR1:
                words = f"the debug log is {'on' if logs.toggle_debug() else 'off'}"
            else:
                words = "it does nothing"
            logs.get().info("signal_received", signal=number.name, detail=words)


def _heeded() -> list[signal.Signals]:
    kept = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in (*_STOPPING, *_OTHERS) if not (kept and number is signal.SIGHUP)]


def _noted(*_: object) -> None:
    """Do nothing: the number is in the socket already."""


def _ignore(numbers: tuple[signal.Signals, ...]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
