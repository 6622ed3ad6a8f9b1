"""The program that keeps a model's server for whoever chats, and ends it when nobody does. It imports nothing of ours.

    python -I keeper.py FOLDER IDLE PROGRAM [WORD ...]      a word {port} is filled in

1. Its first act, in a session of its own, is a record lock on `lock`, held until it dies: a second keeper of the folder
   leaves at once. The server dies with the keeper, whatever kills it.
2. `port.json` is laid once the server itself listens, not another that took its port; who finds it, and the lock held,
   can ask. What the server says is in `log`.
3. Who asks holds a shared lock on `use` meanwhile, and touches it. `IDLE` seconds after the last touch the keeper takes
   that lock for itself, and ends: nobody is ever cut off, and who comes next waits for the end, and starts another.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final

LOCK, USE, PORT, LOG, MODELS = "lock", "use", "port.json", "log", "models"
#: what it ends with if nothing could be started
FAILED: Final = 75
#: how often a port is chosen anew that another program took meanwhile
PORTS: Final = 3
#: how often is looked whether the server listens, and whether the folder is there, in seconds
LOOK_SOON, LOOK_AROUND = 0.02, 5.0
_HEARD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> int:
    """Go on in a process of its own; return once that has the lock, or another has it."""
    folder, idle, *command = arguments
    try:
        os.chdir(folder)
        log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        sys.stderr.write(f"{folder} cannot be used: {error.strerror}\n")
        return FAILED
    hears, says = os.pipe2(os.O_CLOEXEC)
    if os.fork():
        os.close(says)
        with open(hears, "rb") as pipe:
            return 0 if pipe.read() else FAILED
    os.close(hears)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor, at in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, at)
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    is_first = _locked()
    if is_first:
        os.truncate(LOG, 0)
        _forget_port()
        _forget_models()
    os.write(says, b"0")
    os.close(says)
    return keep(float(idle), command) if is_first else 0


def _locked() -> bool:
    """Take the lock of the folder, for life; tell whether it was free."""
    lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def keep(idle: float, command: list[str]) -> int:
    """Start the server, and end it when it is idle, asked to, or alone."""
    for _ in range(PORTS):
        port = _free_port()
        try:
            server = _start([word.replace("{port}", str(port)) for word in command])
        except (OSError, subprocess.SubprocessError) as error:
            sys.stderr.write(f"{command[0]} cannot be started: {getattr(error, 'strerror', None) or error}\n")
            return FAILED
        while server.poll() is None and not _listens(server.pid, port):
            if _asked_to_end(LOOK_SOON):
                return _end(server)
        if server.poll() is None:
            _lay_port(port, server.pid)
            _until_idle(server, idle)
            return _end(server)
        if not _is_taken(port):
            break
    return FAILED


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    keeper = os.getpid()

    def in_the_child() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    # the one thread that there is starts it, and lives as long as the keeper
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=in_the_child)  # noqa: PLW1509


def _until_idle(server: subprocess.Popen[bytes], idle: float) -> None:
    """Return once the server has ended, or is to: with the lock of `use` then, so that nobody begins to ask."""
    use = os.open(USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    while server.poll() is None and os.stat(".").st_nlink:
        left = os.fstat(use).st_mtime + idle - time.time()
        if left <= 0:
            try:
                fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                left = min(idle, LOOK_AROUND)  # somebody asks
            else:
                return
        if _asked_to_end(min(left, LOOK_AROUND, idle)):  # a clock that is set back keeps it `idle` seconds more
            return


def _asked_to_end(within: float) -> bool:
    heard = signal.sigtimedwait(_HEARD, max(0.0, within))
    return heard is not None and heard.si_signo != signal.SIGCHLD


def _end(server: subprocess.Popen[bytes]) -> int:
    _forget_port()
    server.kill()
    server.wait()
    return 0


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _listens(pid: int, port: int) -> bool:
    """Whether it is this process that listens at a port of loopback."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    with suppress(OSError):
        return any(_link(f"/proc/{pid}/fd/{name}") in sockets for name in os.listdir(f"/proc/{pid}/fd"))
    return False


def _is_taken(port: int) -> bool:
    return bool(_listening(port))


def _listening(port: int) -> list[str]:
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return [row[9] for row in rows if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port]


def _link(path: str) -> str:
    with suppress(OSError):
        return os.readlink(path)
    return ""


def _lay_port(port: int, pid: int) -> None:
    new = os.open(f"{PORT}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.write(new, json.dumps({"port": port, "pid": pid}).encode())
    os.close(new)
    os.rename(f"{PORT}.new", PORT)


def _forget_models() -> None:
    """Remove the links by which an earlier server knew models."""
    with suppress(FileNotFoundError):
        for name in os.listdir(MODELS):
            os.unlink(os.path.join(MODELS, name))


def _forget_port() -> None:
    with suppress(FileNotFoundError):
        os.unlink(PORT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
