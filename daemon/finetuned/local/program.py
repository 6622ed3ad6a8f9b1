"""Runs a program that is given lines and writes lines, and ends it with all that it began.

1. It runs in a session of its own. Once it has ended, or its time is up, or we stop, its whole group is ended: with
   TERM, and what ignores that for some seconds with KILL. Nothing it began is left behind.
2. Lines are handed over as they come. A line has a longest length; of its complaints (standard error) the end is told.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import IO, Final, cast

import anyio

from finetuned.amounts import size, span
from finetuned.errors import FinetunedError, ReplyLost, Unreachable
from finetuned.local.machine import Machine
from finetuned.paths import escape
from finetuned.redaction import redact

LONGEST_LINE: Final = 16 * 1024 * 1024
#: so much of the end of its complaints is told, in characters
TOLD: Final = 300
#: how long it may take to end once it is told to, in seconds
GRACE: Final = 3.0
_PIECE: Final = 64 * 1024
#: what a program of others is not given: keys, and what a service is told by its manager
_OURS: Final = ("FINETUNED_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")


def environment(whole: Mapping[str, str]) -> dict[str, str]:
    """Choose what a program is given of the `whole` environment."""
    return {name: value for name, value in whole.items() if not name.startswith(_OURS)}


async def talk(
    command: Sequence[str],
    given: AsyncGenerator[bytes, None],
    hear: Callable[[bytes], Awaitable[None]],
    *,
    machine: Machine,
    within: float,
) -> None:
    """Run a program that is `given` pieces and is heard line by line, for so many seconds at most.

    Raises Unreachable if it cannot be started, ReplyLost if it does not end well; what was heard by then counts.
    """
    name = escape(os.path.basename(command[0]))
    one = _Talk(*await machine.in_thread(_started, command))
    in_time = False
    try:
        with anyio.move_on_after(within):
            await one.until_end(given, hear)
            in_time = True
    finally:
        with anyio.CancelScope(shield=True):
            code = await one.ended()
    if one.trouble is not None:
        raise one.trouble
    if one.is_too_long:
        raise ReplyLost(f"{name} wrote a line of more than {size(LONGEST_LINE)}, and was ended", remedy=_BY_HAND)
    if not in_time:
        raise ReplyLost(
            f"{name} did not end within {span(within)}, and was ended{one.told()}",
            remedy="raise maker.timeout, which counts for each passage, or see what it waits for",
        )
    if code != 0:
        ended = f"exit code {code}" if code > 0 else f"signal {-code}"
        raise ReplyLost(f"{name} ended with {ended}{one.told()}", remedy=_BY_HAND)


_BY_HAND: Final = "try it by hand: it reads passages as JSON Lines, and writes pairs as JSON Lines"


def _started(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], int]:
    """Start the program, and open its process. Raises Unreachable."""
    try:
        process = subprocess.Popen(
            command,
            bufsize=0,
            env=environment(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            return process, os.pidfd_open(process.pid)
        except OSError:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
    except OSError as error:
        raise Unreachable(
            f"{escape(command[0])} cannot be started: {error.strerror}",
            remedy="see maker.command: is it installed, and executable for the daemon's user?",
        ) from error


class _Talk:
    """What is said to a program, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], ends: int) -> None:
        self._process = process
        self._ends = ends
        self._pipes = [cast("IO[bytes]", pipe) for pipe in (process.stdin, process.stdout, process.stderr)]
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)
        self._tail = b""
        self.is_too_long = False
        #: what ended it that is no fault of its own
        self.trouble: FinetunedError | None = None

    def told(self) -> str:
        """Give the end of its complaints as one line, with what stands before it."""
        words = " ".join(redact(self._tail.decode("utf-8", "replace")).split())
        return f": {escape(words[-TOLD:].lstrip())}" if words else ""

    async def until_end(self, given: AsyncGenerator[bytes, None], hear: Callable[[bytes], Awaitable[None]]) -> None:
        """Talk until it has ended, and all is heard."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._minded, partial(self._say, given), tasks.cancel_scope)
            tasks.start_soon(self._hear_complaints)
            tasks.start_soon(self._minded, partial(self._hear, hear, tasks.cancel_scope), tasks.cancel_scope)
            await anyio.wait_readable(self._ends)
            self._signal(signal.SIGKILL)  # what it left behind holds its pipes open

    async def _minded(self, work: Callable[[], Awaitable[None]], crew: anyio.CancelScope) -> None:
        """Do some work; what goes wrong with it ends the talk."""
        try:
            await work()
        except FinetunedError as error:
            self.trouble = error
            crew.cancel()

    async def ended(self) -> int:
        """Have it end, if it has not, with all of its group; return its exit code."""
        self._signal(signal.SIGTERM)
        with anyio.move_on_after(GRACE):
            await anyio.wait_readable(self._ends)
        self._signal(signal.SIGKILL)
        await anyio.wait_readable(self._ends)
        for pipe in self._pipes:
            with suppress(OSError):
                pipe.close()
        os.close(self._ends)
        return self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it is not waited for yet: the number is still its own
            os.killpg(self._process.pid, number)

    async def _say(self, given: AsyncGenerator[bytes, None]) -> None:
        pipe = self._pipes[0]
        try:
            async with aclosing(given):
                async for piece in given:
                    await _write(pipe, piece)
        except BrokenPipeError:  # it has heard enough
            return
        finally:
            with suppress(OSError):
                pipe.close()

    async def _hear(self, hear: Callable[[bytes], Awaitable[None]], crew: anyio.CancelScope) -> None:
        begun = bytearray()
        while piece := await _piece(self._pipes[1]):
            *lines, rest = piece.split(b"\n")
            for line in lines:
                await hear(bytes(begun) + line)
                begun.clear()
            begun += rest
            if len(begun) > LONGEST_LINE:
                self.is_too_long = True
                crew.cancel()
                return
        if begun:
            await hear(bytes(begun))

    async def _hear_complaints(self) -> None:
        while piece := await _piece(self._pipes[2]):
            self._tail = (self._tail + piece)[-4 * TOLD :]


async def _write(pipe: IO[bytes], piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        try:
            left = left[os.write(pipe.fileno(), left[:_PIECE]) :]
        except BlockingIOError:
            await anyio.wait_writable(pipe)


async def _piece(pipe: IO[bytes]) -> bytes:
    """Read what comes next; nothing at the end."""
    while True:
        await anyio.wait_readable(pipe)
        try:
            return os.read(pipe.fileno(), _PIECE)
        except BlockingIOError:
            continue
