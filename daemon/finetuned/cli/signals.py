"""What signals mean to the daemon.

1. SIGTERM and SIGINT (Ctrl-C) stop it in order. A second one changes nothing: signals are heard from before the loop
   begins until the process is gone, so the exit code stays the same.
2. SIGHUP has it read its configuration again; but if it had a terminal that is gone, the signal tells of that, and it
   stops in order. A terminal goes for good: the kernel takes it from all its processes. When a shell that leads the
   session ends, the signal comes a moment earlier: so where there is a terminal, it is looked for after a pause.
3. SIGUSR1 switches the debug log on and off. SIGUSR2 does nothing.
4. Who starts it with SIGHUP ignored (`nohup`) wants it to outlive the terminal: the signal has it reload then, too,
   also when it tells that the terminal is gone.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

from finetuned import logs

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
_OTHERS: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
#: how long after a SIGHUP the terminal is looked for, in seconds
_TERMINAL_GOES: Final = 0.2


class Ear:
    """Where signals are heard: each one is a byte, its number, in `socket`."""

    def __init__(self, heard_from: socket.socket) -> None:
        self.socket = heard_from
        self._ends_with_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    async def heeds_hangup(self, pause: Callable[[float], Awaitable[None]]) -> bool:
        """Tell whether a SIGHUP says that the terminal is gone with which it ends, as there was one at the start."""
        if self._ends_with_terminal:
            await pause(_TERMINAL_GOES)
        return self._ends_with_terminal and not _has_terminal()


@contextmanager
def heard() -> Iterator[Ear]:
    """Hear signals in the main thread, to be heeded."""
    ear, mouth = socket.socketpair()
    with ear, mouth:
        ear.setblocking(False)
        mouth.setblocking(False)
        signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
        heeded = Ear(ear)
        before = {number: signal.signal(number, _noted) for number in (*_STOPPING, *_OTHERS)}
        try:
            yield heeded
        except BaseException:
            for number, handler in before.items():
                signal.signal(number, handler)
            raise
        finally:
            signal.set_wakeup_fd(-1)
    atexit.register(_ignore, tuple(before))  # Python gives up its handlers a moment before the process is gone


async def heed(
    ear: Ear, *, stop: Callable[[], None], reload: Callable[[], None], pause: Callable[[float], Awaitable[None]]
) -> None:
    """Do what each signal asks for, until cancelled; `pause` waits so many seconds."""
    while True:
        await anyio.wait_readable(ear.socket)
        for number in map(signal.Signals, ear.socket.recv(64)):
            if number is signal.SIGHUP and not await ear.heeds_hangup(pause):
                words = "it reads its configuration again"
                reload()
            elif number in {*_STOPPING, signal.SIGHUP}:
                words = "it stops"
                stop()
            elif number is signal.SIGUSR1:
                words = f"the debug log is {'on' if logs.toggle_debug() else 'off'}"
            else:
                words = "it does nothing"
            logs.get().info("signal_received", signal=number.name, detail=words)


def _has_terminal() -> bool:
    """Tell whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _noted(*_: object) -> None:
    """Do nothing: the number is in the socket already."""


def _ignore(numbers: tuple[signal.Signals, ...]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
