"""The program that runs one try of a training, and outlives whoever started it. It imports nothing of ours.

    python -I -m finetuned.local.runner FOLDER    here: goes on in a session of its own, returns once that is certain
    python -I runner.py --stay FOLDER             on a cluster: is itself what runs; another node may begin it again

1. Its first act is a record lock on `lock`, held until it dies: the kernel tells others whose it is, and lets go of it
   whatever happens. A second runner leaves at once; so does one of a folder in which another began.
2. Then the space for what it will tell is set aside, `started.json` is laid, and the lock of the GPU is waited for.
3. The trainer has a process group of its own, dies with the runner, and is waited for with all that it ever started:
   what outlives its parent becomes the runner's child. The first code that is not 0 counts. A trainer that fails takes
   the rest with it.
4. To stop, to be over the time, and to lose its folder is all the same: TERM, a while (`grace`), KILL, until nothing of
   it is left.
5. `exit.json` is laid by rename, last of all. For want of space that is tried again and again; who cannot wait sends
   TERM, and the try is lost.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

#: a cluster sends TERM to the trainer and to the runner, one after the other: so long it may take between, in seconds
BETWEEN: Final = 1.0
#: what marks the processes of a try, in their environment
MARK: Final = "FINETUNED_TRY"
#: how long a trainer has between TERM and KILL if its task does not say, in seconds
GRACE: Final = 10.0
#: how often a lock is tried, a full disk, whether the folder is there; and how often KILL is sent, in seconds
TRY_LOCK, TRY_DISK, LOOK_AROUND, KILL_AGAIN = 0.5, 2.0, 2.0, 0.05
#: what is set aside for the end, in bytes
RESERVED: Final = 4096
#: less than that of free space is a full disk, in bytes
FULL: Final = 1024 * 1024
#: what the runner ends with if nothing was started, and may be later; or never can be
LATER, NEVER = 75, 78
_HEARD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


class NotBegun(Exception):
    """Nothing was started; `code` is what to end with."""

    def __init__(self, words: str, code: int = LATER) -> None:
        super().__init__(words)
        self.code = code


class Stop(Exception):
    """Somebody asked to end."""


def main(arguments: list[str]) -> int:
    """Run a try; return what to end with."""
    stays = arguments[:1] == ["--stay"]
    folder = arguments[-1]
    try:
        os.chdir(folder)  # from here on it is this folder, whatever lies at its path later
        folder = os.getcwd()
    except OSError as error:
        return _told(NotBegun(f"{folder} cannot be entered: {error.strerror}"))
    if stays:
        try:
            return run(folder, stays=True, begun=lambda: None)
        except NotBegun as error:
            return _told(error)
    return _apart(folder)


def _told(error: NotBegun) -> int:
    sys.stderr.write(f"{error}\n")
    return error.code


def _apart(folder: str) -> int:
    """Go on in a process and a session of its own; return in the first one once it began."""
    hears, says = os.pipe2(os.O_CLOEXEC)
    if apart := os.fork():
        os.close(says)
        with open(hears, "rb") as pipe:
            code, _, words = pipe.read().decode().partition(" ")
        if code == "0":
            return 0
        os.waitpid(apart, 0)  # whoever looks now finds that nothing was started
        return _told(NotBegun(words, int(code)) if code else NotBegun("the runner died before it began"))
    os.close(hears)
    os.setsid()
    _log_of_our_own()

    def begun(words: str = "0") -> None:
        with suppress(BrokenPipeError):
            os.write(says, words.encode("utf-8", "surrogateescape"))
        os.close(says)

    try:
        return run(folder, stays=False, begun=begun)
    except NotBegun as error:
        begun(f"{error.code} {error}")
        return error.code


def _log_of_our_own() -> None:
    """Let go of what whoever started it may close or wait for; a mistake of ours is told in the trainer's log."""
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        log = _log()
    except OSError:
        log = os.dup(nothing)
    for descriptor, at in ((nothing, 0), (nothing, 1), (log, 2)):
        os.dup2(descriptor, at)


def _log() -> int:
    return os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def run(folder: str, *, stays: bool, begun: Callable[[], None]) -> int:
    """Run the try whose folder is the working directory; call `begun` once it is certain. Raises NotBegun."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    lock = _locked(stays=stays)
    if lock is None or os.path.exists("exit.json") or (not stays and os.path.exists("started.json")):
        begun()  # that one is another's: it was started, which is all that was asked
        return 0
    try:
        _reserve()
        _lay("started.json", {"pid": os.getpid(), "host": os.uname().nodename, "started_at": time.time()})
        if stays:
            with suppress(FileNotFoundError):
                os.unlink("begun.json")
    except OSError as error:
        raise NotBegun(f"{folder} cannot be written: {error.strerror}") from error
    begun()
    end = _run(folder, BETWEEN if stays else 0.0)
    if end is not None:
        _leave(end)
    return 0


def _locked(*, stays: bool) -> int | None:
    """Take the lock of the folder; null if another has it."""
    try:
        descriptor = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NotBegun(f"{os.getcwd()}/lock cannot be opened: {error.strerror}") from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        if not stays:  # a cluster runs a job once by itself
            words = f"the file system of {os.getcwd()} knows no locks: {error.strerror}"
            raise NotBegun(words, NEVER) from error
    return descriptor


def _run(folder: str, between: float) -> dict[str, Any] | None:
    """Wait for the GPU, run the trainer to its end; give what is to be told of it, or null if nobody wants to know."""
    try:
        with open("task.json", "rb") as file:
            task = json.load(file)
        command, limit, grace = task["command"], float(task["time_limit"]), float(task.get("grace", GRACE))
    except (OSError, ValueError, KeyError, TypeError) as error:
        return _end("not_started", reason=f"{folder}/task.json cannot be read: {error}")
    gpu = None
    try:
        if task.get("lock_file"):
            gpu = _wait_for(task["lock_file"])
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        trainer = _start(task, folder, gpu)
    except Stop:
        return _end("stopped", reason="it was stopped before it began")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        named = getattr(error, "filename", None) or command[0]
        words = getattr(error, "strerror", None) or str(error)
        return _end("not_started", reason=f"{os.fsdecode(named)} cannot be used: {words}")
    with suppress(OSError):
        _lay("begun.json", {"pid": trainer.pid, "began_at": time.time()})
    return _Watch(trainer.pid, limit, grace).until_end(between)


def _wait_for(path: str) -> int:
    """Wait for a lock that is shared with others. Raises OSError, Stop."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            heard = signal.sigtimedwait(_HEARD, TRY_LOCK)
            if (heard and heard.si_signo != signal.SIGCHLD) or _is_removed():
                raise Stop from None
        else:
            return descriptor


def _start(task: dict[str, Any], folder: str, gpu: int | None) -> subprocess.Popen[bytes]:
    """Start the trainer. Raises OSError, SubprocessError."""
    runner = os.getpid()

    def in_the_child() -> None:
        os.setpgid(0, 0)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != runner:
            os._exit(1)
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")  # if memory runs out, let it be this one that goes
        with suppress(OSError):
            os.nice(int(task.get("nice", 0)))
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    log = _log()
    try:
        return subprocess.Popen(
            task["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **task.get("environment", {}), MARK: folder},
            pass_fds=() if gpu is None else (gpu,),
            preexec_fn=in_the_child,  # noqa: PLW1509 - there is one thread
        )
    finally:
        os.close(log)


class _Watch:
    """The trainer, and all that it started, until nothing of it is left."""

    def __init__(self, trainer: int, limit: float, grace: float) -> None:
        self._trainer = trainer
        self._limit = limit
        self._grace = grace
        self._ends_at = time.monotonic() + limit
        self._kill_at: float | None = None
        self._status: int | None = None  # of the trainer; null while it lives
        self._later: int = 0  # the first of what outlived it that is not 0
        self._outlived = False  # by what it started
        self._cause = ""
        self._ooms = _ooms()

    def until_end(self, between: float) -> dict[str, Any] | None:
        """Wait until nothing is left; give what is to be told, or null if the folder is gone.

        A trainer that ended because it was told to may have ended with 0: whether we are told, too, shows in a moment.
        """
        while self._something_lives():
            self._act()
            heard = signal.sigtimedwait(_HEARD, self._pause())
            if heard and heard.si_signo != signal.SIGCHLD:
                self._ask_to_end("stopped")
        if not self._cause and between and signal.sigtimedwait((signal.SIGTERM, signal.SIGINT), between):
            self._cause = "stopped"
        if self._cause == "removed":
            return None
        return self._told()

    def _something_lives(self) -> bool:
        """Take note of all that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._trainer:
                self._status = status
            elif self._status == 0 and not self._cause:
                self._later = self._later or status

    def _act(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None:
            if now >= self._kill_at:
                self._send(signal.SIGKILL)
        elif self._status:  # it failed: what it left is of no use
            self._kill_at = now
            self._send(signal.SIGKILL)
        elif now >= self._ends_at:
            self._outlived = self._status is not None
            self._ask_to_end("time_limit")
        elif _is_removed():
            self._ask_to_end("removed")

    def _pause(self) -> float:
        now = time.monotonic()
        if self._kill_at is not None:
            return max(KILL_AGAIN, self._kill_at - now)
        return max(0.0, min(LOOK_AROUND, self._ends_at - now))

    def _ask_to_end(self, cause: str) -> None:
        if self._kill_at is None:
            self._cause = cause
            self._kill_at = time.monotonic() + self._grace
            self._send(signal.SIGTERM)
            self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self._status is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._trainer, number)
        for pid in _children():  # not waited for yet: the numbers are still their own
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _told(self) -> dict[str, Any]:
        status = self._status or self._later
        code = os.waitstatus_to_exitcode(status)
        by: dict[str, Any] = {"code": code} if code >= 0 else {"signal": -code}
        if self._cause == "stopped":
            return _end("stopped", reason="it was stopped", **by)
        if self._cause == "time_limit":
            who = "what it started" if self._outlived else "it"
            return _end("time_limit", reason=f"{who} ran longer than its time limit of {self._limit:g} s", **by)
        if code == 0:
            return _end("code", **by)
        words = f"it ended with code {code}" if code > 0 else f"it was ended by {_name(-code)}"
        if _ooms() > self._ooms:
            return _end("memory", reason=f"{words}: memory ran out", **by)
        if code == -signal.SIGKILL:
            return _end("memory", reason="it was killed, perhaps for want of memory", **by)
        return _end("code" if code > 0 else "signal", reason=words + _full(), **by)


def _children() -> Iterator[int]:
    """The processes whose parent we are."""
    us = str(os.getpid())
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                if file.read().rpartition(b") ")[2].split()[1].decode() == us:
                    yield int(name)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _ooms() -> int:
    """How many processes the kernel has killed in our control group; 0 if it does not say."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/cgroup") as file:
            (group,) = [line[3:].strip() for line in file if line.startswith("0::")]
        with open(f"/sys/fs/cgroup{group}/memory.events") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    return 0


def _full() -> str:
    with suppress(OSError):
        disk = os.statvfs(".")
        if disk.f_bavail * disk.f_frsize < FULL:
            return "; the disk is full"
    return ""


def _end(cause: str, *, reason: str = "", **by: Any) -> dict[str, Any]:
    return {"cause": cause, "reason": reason, **by, "ended_at": time.time()}


def _is_removed() -> bool:
    try:
        return os.stat(".").st_nlink == 0
    except OSError:  # a server has forgotten it
        return True


def _reserve() -> None:
    """Set space aside for the beginning and the end, so that a full disk hides neither."""
    for name in ("begun.json.new", "exit.json.new"):
        _write(name, b" " * RESERVED)


def _leave(end: dict[str, Any]) -> None:
    """Lay the end down, whole, and go on trying while there is no space for it."""
    told = json.dumps(end)
    if len(told) > RESERVED:
        told = json.dumps({**end, "reason": end["reason"][: RESERVED // 8]})
    while not _is_removed():
        try:
            _write("exit.json.new", told.encode().ljust(RESERVED))
            os.rename("exit.json.new", "exit.json")
            _sync()
        except OSError:
            heard = signal.sigtimedwait(_HEARD, TRY_DISK)
            if heard and heard.si_signo != signal.SIGCHLD:
                return
        else:
            return


def _lay(name: str, what: dict[str, Any]) -> None:
    _write(f"{name}.new", json.dumps(what).encode().ljust(RESERVED))
    os.rename(f"{name}.new", name)
    _sync()


def _write(name: str, what: bytes) -> None:
    """Write over what is there, in its own space, and bring it to the disk."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while what:
            what = what[os.write(descriptor, what) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync() -> None:
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(here)
    finally:
        os.close(here)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
