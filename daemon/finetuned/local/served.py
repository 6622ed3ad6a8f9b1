"""The server of mlx-lm for whoever chats: one for a ledger, started when it is needed, ended when it is idle.

1. All that is known of it lies in its folder, which is ours alone (`keeper` tells what): any process finds it there.
2. Who asks holds a shared lock on `use`; the keeper ends only once it has that lock for itself.
3. A model is named by a link in `models/`, whose name changes with its files: the server, which keeps by path what
   it has loaded, never answers with an older one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
import httpx
import msgspec

from finetuned.errors import Unreachable
from finetuned.local import keeper
from finetuned.local.machine import Machine
from finetuned.local.training import ends_within, environment, opened, pid_of_holder
from finetuned.model import Value
from finetuned.paths import escape

#: how long the server may take to come up, and to say that it is well, in seconds
COMES_UP_WITHIN: Final = 120.0
SAYS_WITHIN: Final = 10.0
#: how often is looked whether it has, in seconds
LOOK_EVERY: Final = 0.05
_TAIL: Final = 4096


class _Port(Value, frozen=True):
    port: int
    pid: int


class _NotUp(Exception):
    """The server is not there, or not any more."""


class Served:
    """A server; its folder, and who it is: its program and words, in which {port} is filled in."""

    def __init__(
        self,
        folder: str,
        command: Callable[[], Sequence[str]],
        machine: Machine,
        http: httpx.AsyncClient,
        *,
        idle: float,
        around: Mapping[str, str],
    ) -> None:
        self.folder: Final = folder
        self._command = command
        self._machine = machine
        self._http = http
        self._idle = idle
        # it compiles code, and runs what it finds: no other may lay anything there
        self._around = environment(around) | {"TMPDIR": folder}

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[str]:
        """Yield the server's address, and keep it up meanwhile. Raises Unreachable."""
        use = await self._machine.in_thread(self._open_use)
        try:
            while not _shared(use):  # a keeper is just ending
                await _a_moment()
            os.utime(use)
            try:
                port = await self._port()
            except OSError as error:
                raise self._unusable(error.strerror or str(error)) from error
            yield f"http://127.0.0.1:{port}"
            os.utime(use)
        finally:
            os.close(use)

    def alias(self, path: str) -> str:
        """Return a path by which the server knows the model at `path` as it is now; a name at the hub stays."""
        if not os.path.isabs(path):
            return path
        seen = sorted((one.name, one.stat().st_ino, one.stat().st_mtime_ns) for one in os.scandir(path))
        name = hashlib.sha256(repr((path, seen)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        link = os.path.join(self.folder, keeper.MODELS, name)
        os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.symlink(path, link)
        return link

    async def _port(self) -> int:
        for is_last in (False, True):
            await self._machine.in_thread(self._start)
            try:
                with anyio.fail_after(COMES_UP_WITHIN):
                    port = await self._is_up()
                if await self._is_well(port.port):
                    return port.port
            except TimeoutError:
                raise self._complaint(f"does not listen within {COMES_UP_WITHIN:g} s") from None
            except _NotUp:
                pass
            if not is_last:
                await self._machine.in_thread(self._stop)
        raise self._complaint("does not come up")

    async def _is_up(self) -> _Port:
        while True:
            holder, port = pid_of_holder(os.path.join(self.folder, keeper.LOCK)), self._read_port()
            if holder and port:
                return port
            if not holder:
                raise _NotUp
            await _a_moment()

    async def _is_well(self, port: int) -> bool:
        with suppress(httpx.HTTPError):
            answer = await self._http.get(f"http://127.0.0.1:{port}/health", timeout=SAYS_WITHIN)
            return answer.status_code == httpx.codes.OK
        return False

    def _open_use(self) -> int:
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            return os.open(os.path.join(self.folder, keeper.USE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error

    def _start(self) -> None:
        if pid_of_holder(os.path.join(self.folder, keeper.LOCK)):
            return
        words = [sys.executable, "-I", keeper.__file__, self.folder, str(self._idle), *self._command()]
        try:
            ended = subprocess.run(
                words,
                cwd="/",
                env=self._around,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=COMES_UP_WITHIN,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._unusable(str(error)) from error
        if ended.returncode:
            raise self._unusable(ended.stderr.decode("utf-8", "replace").strip())

    def _stop(self) -> None:
        """End a server that is not well, with its keeper."""
        lock = os.path.join(self.folder, keeper.LOCK)
        pid = pid_of_holder(lock)
        if pid > 0:
            with suppress(ProcessLookupError), opened(pid) as process:
                if pid_of_holder(lock) == pid:
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    ends_within(SAYS_WITHIN, process)

    def _read_port(self) -> _Port | None:
        with suppress(FileNotFoundError), open(os.path.join(self.folder, keeper.PORT), "rb") as file:
            return msgspec.json.decode(file.read(), type=_Port)
        return None

    def _complaint(self, what: str) -> Unreachable:
        log = os.path.join(self.folder, keeper.LOG)
        said = ""
        with suppress(OSError), open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            said = file.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        words = f"the server of mlx-lm {what}" + (f": {escape(said)}" if said else "")
        return Unreachable(words, remedy=f"its log says more: {escape(log)}; or name an endpoint in chat.url")

    def _unusable(self, words: str) -> Unreachable:
        what = f"the server of mlx-lm cannot be started in {escape(self.folder)}: {escape(words)}"
        return Unreachable(what, remedy="see that the folder can be written; or name an endpoint in chat.url")


async def _a_moment() -> None:
    with anyio.move_on_after(LOOK_EVERY):
        await anyio.sleep_forever()


def _shared(use: int) -> bool:
    try:
        fcntl.flock(use, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
