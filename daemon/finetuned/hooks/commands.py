"""A program that is run once, within bounds of time and output, with text on its standard input."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from typing import IO, Final, cast

from finetuned.amounts import size, span
from finetuned.errors import HookFailed
from finetuned.paths import escape
from finetuned.redaction import redact

#: a program that writes more is ended, in bytes
MOST_OUTPUT: Final = 1024 * 1024
#: so much of the end of its output is told, in characters
TOLD: Final = 500
#: how long one that was killed is waited for, in seconds
DYING: Final = 2.0
_CHUNK: Final = 64 * 1024
_BY_HAND: Final = "try it by hand: finetuned doctor --hooks"


class Stopper:
    """Tells every program that runs, from any thread, that it has only so many seconds left."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._source, self._drain = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._steady = steady
        self.grace = self.ends_at = float("inf")

    def fileno(self) -> int:
        """Return what can be read from once it was told; nobody ever reads it."""
        return self._source

    def stop(self, grace: float) -> None:
        """Have what runs, and what may still begin, end within `grace` seconds from now."""
        self.grace, self.ends_at = grace, self._steady() + grace
        os.write(self._drain, b".")

    def close(self) -> None:
        """Let go of the descriptors."""
        os.close(self._source)
        os.close(self._drain)


def run(
    command: Sequence[str],
    given: bytes,
    *,
    timeout: float,
    environment: Mapping[str, str],
    steady: Callable[[], float],
    stopper: Stopper | None = None,
) -> None:
    """Run a program that is given these bytes, and wait for its end. Raises HookFailed.

    That it does not read all of them is its own affair. It is killed with its group after `timeout` seconds, or when
    `stopper` says so; what is left of its group once it has ended is killed, too.
    """
    name = escape(os.path.basename(command[0]))
    process = _started(command, environment)
    talk = _Talk(process, given, steady, stopper)
    try:
        why = talk.until_end(timeout)
    except OSError as error:  # no descriptor is left to watch it by
        why = f"was ended: {error.strerror}"
    finally:
        code = _ended(process)
    if why is not None or code is None:
        raise HookFailed(f"{name} {why}", remedy=f"see what it waits for; {_BY_HAND}")
    if code != 0:
        ended = f"exit code {code}" if code > 0 else f"signal {-code}"
        raise HookFailed(f"{name} ended with {ended}{talk.told()}", remedy=_BY_HAND)


def _started(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            bufsize=0,
            cwd="/",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise _not_started(command[0], error, environment) from error


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    """Kill what is left of a program's group; return its exit code, or None if it cannot be killed: another user's."""
    with suppress(ProcessLookupError, PermissionError):  # it is not waited for yet: the number is still its own
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    with suppress(subprocess.TimeoutExpired):
        return process.wait(DYING)
    return None


class _Talk:
    """What is said to a program, and what it says, until it ends."""

    def __init__(
        self, process: subprocess.Popen[bytes], given: bytes, steady: Callable[[], float], stopper: Stopper | None
    ) -> None:
        self._process = process
        self._stdin, self._stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        self._left = memoryview(given)
        self._steady = steady
        self._stopper = stopper
        self._tail = b""
        self._written = 0

    def told(self) -> str:
        """Give the end of its output as one line, with what stands before it."""
        words = " ".join(redact(self._tail.decode("utf-8", "replace")).split())
        return f": {escape(words[-TOLD:].lstrip())}" if words else ""

    def until_end(self, timeout: float) -> str | None:
        """Talk until the program ends; say why it has to be ended instead, if it has to be."""
        deadline = self._steady() + timeout
        ends = os.pidfd_open(self._process.pid)
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(ends, selectors.EVENT_READ)
                selector.register(self._stdin, selectors.EVENT_WRITE)
                selector.register(self._stdout, selectors.EVENT_READ)
                if self._stopper is not None:
                    selector.register(self._stopper, selectors.EVENT_READ)
                while (left := deadline - self._steady()) > 0:
                    ready = {key.fileobj for key, _ in selector.select(left)}
                    self._say(selector, ready)
                    self._hear(selector, ready)
                    if self._written > MOST_OUTPUT:
                        return f"was ended: it wrote more than {size(MOST_OUTPUT)}{self.told()}"
                    if ends in ready:
                        return None
                    if self._stopper in ready and self._stopper is not None:
                        selector.unregister(self._stopper)
                        timeout = min(left, self._stopper.grace)
                        deadline = min(deadline, self._stopper.ends_at)
        finally:
            os.close(ends)
        return f"did not end within {span(timeout)} and was killed{self.told()}"

    def _say(self, selector: selectors.BaseSelector, ready: Container[object]) -> None:
        if self._stdin not in ready:
            return
        try:
            self._left = self._left[os.write(self._stdin.fileno(), self._left[:_CHUNK]) :]
        except BrokenPipeError:  # it has heard enough
            self._left = self._left[:0]
        if not self._left:
            selector.unregister(self._stdin)
            self._stdin.close()

    def _hear(self, selector: selectors.BaseSelector, ready: Container[object]) -> None:
        if self._stdout not in ready:
            return
        heard = os.read(self._stdout.fileno(), _CHUNK)
        self._written += len(heard)
        self._tail = (self._tail + heard)[-4 * TOLD :]
        if not heard:
            selector.unregister(self._stdout)


def _not_started(program: str, error: OSError, environment: Mapping[str, str]) -> HookFailed:
    """Say why a program cannot be started, and what to do: the system's word may be about its interpreter."""
    words = f"{escape(program)} cannot be started: {error.strerror}"
    found = shutil.which(program, path=environment.get("PATH")) or (program if os.path.exists(program) else None)
    match error:
        case FileNotFoundError() if found:
            remedy = f"see whether the program in the first line of {escape(found)} is there"
        case FileNotFoundError():
            remedy = "install it, or name its whole path in [[hook]] command"
        case PermissionError():
            remedy = f"make it executable for the daemon's user: chmod a+rx {escape(program)}"
        case _:
            remedy = "see whether it runs in a shell; a script begins with a line such as #!/bin/sh"
    return HookFailed(words, remedy=remedy)
