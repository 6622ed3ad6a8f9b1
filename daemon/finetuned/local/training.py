"""Trainings on this machine: started, found, ended and waited for through the lock that each try's runner holds.

1. Nothing is kept in memory: whatever starts, looks or stops finds a try by its folder, before and after a restart.
2. The kernel says whose the lock is. A signal goes by a descriptor of that process, opened before the lock is looked
   at again: no other process can be meant.
3. A runner that was killed takes its trainer with it; what the trainer had started bears the try's mark in its
   environment, and is ended before the try is called lost; what dies of it by itself is waited for. So the next try of
   a run is alone. What is left of a try whose folder somebody removed is ended before any other is started.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import anyio

from finetuned.clock import steady
from finetuned.errors import Refused, ReplyLost, Unreachable
from finetuned.local import runner
from finetuned.local.place import (
    BEGUN,
    EXIT,
    LOCK,
    STARTED,
    InThread,
    Look,
    State,
    Task,
    ending_of,
    lay_task,
    runner_of,
    task_of,
)
from finetuned.paths import escape

#: how long a runner may take to begin, in seconds: it does next to nothing, on a machine that may be busy
BEGINS_WITHIN: Final = 60.0
#: variables of ours, of systemd's and of a service's secrets: no business of a trainer's
_OURS: Final = ("FINETUNED_", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_", "JOURNAL_STREAM")
#: how long a process may take to end once it was killed, in seconds
KILLED_WITHIN: Final = 10.0
_FLOCK: Final = "hhqqi"
_EXITING: Final = 0x4  # PF_EXITING, among the flags of a process
#: what is heard of a process that has ended, or is none of ours
_GONE: Final = (FileNotFoundError, ProcessLookupError, PermissionError)


def environment(whole: Mapping[str, str]) -> dict[str, str]:
    """Choose what a trainer gets of an environment: all but what is ours."""
    return {name: value for name, value in whole.items() if not name.startswith(_OURS)}


class Here:
    """This machine, as a place for trainings; `around` is the environment that they run in."""

    def __init__(self, in_thread: InThread, around: Mapping[str, str]) -> None:
        self._in_thread = in_thread
        self._around = environment(around)

    async def start(self, folder: str, task: Task) -> None:
        """Have a try run, unless it was started before. Raises Unreachable, ReplyLost, Refused."""
        await self._in_thread(_start, folder, task, self._around)

    async def look(self, folder: str) -> Look:
        """Tell how a try stands. Raises Unreachable."""
        try:
            return await self._in_thread(_look, folder)
        except OSError as error:
            raise _unreadable(folder, error) from error

    async def stop(self, folder: str) -> None:
        """Have a try end: what ignores TERM is killed once its grace is over."""
        with _holder(folder) as process:
            if process is not None:
                signal.pidfd_send_signal(process, signal.SIGTERM)

    async def wait(self, folder: str) -> None:
        """Return once a try's runner has ended, at once if there is none."""
        with _holder(folder) as process:
            if process is not None:
                await anyio.wait_readable(process)
                _bury(process)

    async def probe(self) -> str:
        """Say that trainings can run here. Raises Refused."""
        if not await self._in_thread(os.path.isdir, "/proc/self"):
            raise Refused("trainings cannot run here: there is no /proc", remedy="mount it: mount -t proc proc /proc")
        return f"trainings run on this machine, under {escape(sys.executable)}"


def _start(folder: str, task: Task, around: Mapping[str, str]) -> None:
    try:
        lay_task(folder, task)
        _end_the_removed(os.path.join(folder, "..", ".."))
        ended = subprocess.run(
            [sys.executable, "-I", "-m", runner.__name__, folder],
            cwd="/",
            env=around,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=BEGINS_WITHIN,
            check=False,
        )
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from error
    except subprocess.TimeoutExpired as error:
        words = f"a training did not begin within {BEGINS_WITHIN:g} s"
        raise ReplyLost(words, remedy="see what this machine is busy with") from error
    if ended.returncode == 0:
        return
    words = escape(ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2])
    if ended.returncode == runner.NEVER:
        raise Refused(words, remedy="put the ledger, and with it the folder of runs, on a local disk")
    raise _unwritable(folder, words)


def _unwritable(folder: str, words: str) -> Unreachable:
    return Unreachable(
        f"a training cannot begin in {escape(folder)}: {words}", remedy="see that the folder can be written"
    )


def _unreadable(folder: str, error: OSError) -> Unreachable:
    return Unreachable(
        f"the training in {escape(folder)} cannot be looked at: {error.strerror}",
        remedy="see that the folder can be read",
    )


def _look(folder: str) -> Look:
    """Raise OSError."""
    if pid := pid_of_holder(os.path.join(folder, LOCK)):
        return _look_at_one_that_lives(folder, pid)
    if end := ending_of(folder):
        return end
    if not os.path.exists(os.path.join(folder, STARTED)):
        return Look(state=State.NONE)
    if pid_of_holder(os.path.join(folder, LOCK)) or ending_of(folder):  # it began since
        return _look(folder)
    _end_what_is_left(folder)
    return Look(state=State.LOST, reason="what ran it was killed, or the machine went down")


def _look_at_one_that_lives(folder: str, pid: int) -> Look:
    if not os.path.exists(os.path.join(folder, BEGUN)):
        task = task_of(folder)
        reason = f"it waits for {escape(task.lock_file)}" if task is not None and task.lock_file else ""
        return Look(state=State.QUEUED, reason=reason, handle=str(pid))
    is_over = not os.path.exists(os.path.join(folder, EXIT)) and _is_alone(pid)
    reason = "it ended, and its end cannot be written: is the disk full?" if is_over else ""
    return Look(state=State.RUNNING, reason=reason, handle=str(pid))


def pid_of_holder(lock: str) -> int:
    """Ask the kernel which process holds a lock; 0 if none does. Raises OSError."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        asked = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    finally:
        os.close(descriptor)
    kind, _, _, _, pid = struct.unpack(_FLOCK, asked)
    return 0 if kind == fcntl.F_UNLCK else int(pid)


@contextmanager
def opened(pid: int) -> Iterator[int]:
    """Open a process by its number, and close it. Raises OSError."""
    process = os.pidfd_open(pid)
    try:
        yield process
    finally:
        os.close(process)


@contextmanager
def _holder(folder: str) -> Iterator[int | None]:
    """Open the process that holds the lock of a folder; null if none does. Raises Unreachable."""
    lock, process = os.path.join(folder, LOCK), None
    with ExitStack() as held:
        try:
            pid = pid_of_holder(lock)
            if pid > 0:
                with suppress(ProcessLookupError):
                    process = held.enter_context(opened(pid))
                    if pid_of_holder(lock) != pid:  # it has ended, and the number may be another's
                        process = None
        except OSError as error:
            raise _unreadable(folder, error) from error
        with suppress(ProcessLookupError):
            yield process


def _bury(process: int) -> None:
    """Let the kernel forget one that ended: it is our own child where orphans are ours, as in a container."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, process, os.WEXITED | os.WNOHANG)


def _is_alone(pid: int) -> bool:
    """Whether a process has no children, as far as the kernel tells."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", "rb") as file:
            return not file.read()
    except OSError:
        return False


def _end_what_is_left(folder: str) -> None:
    """Kill what is left of a try, and wait for what dies by itself, as its trainer does with the runner.

    Raises OSError, Unreachable.
    """
    give_up_at = steady() + KILLED_WITHIN
    whole = os.fsencode(os.path.realpath(folder))
    _kill_all_of(lambda of: of == whole, give_up_at)
    for process in _dying_in(runner_of(folder)):
        _see_out(process, give_up_at)


def _end_the_removed(runs: str) -> None:
    """Kill what is left of tries whose folders were removed: each ends by itself, but not at once.

    Raises OSError, Unreachable.
    """
    beneath = os.path.join(os.fsencode(os.path.realpath(runs)), b"")
    _kill_all_of(lambda of: of.startswith(beneath) and not os.path.exists(of), steady() + KILLED_WITHIN)


def _kill_all_of(is_meant: Callable[[bytes], bool], give_up_at: float) -> None:
    """Kill each process that bears the mark of such a try, until there is none that we may see.

    Raises OSError, Unreachable.
    """
    while True:
        with ExitStack() as held:
            killed: list[int] = []
            for pid in filter(lambda pid: is_meant(_try_of(pid)), _pids()):
                with suppress(ProcessLookupError):
                    process = held.enter_context(opened(pid))
                    if is_meant(_try_of(pid)):  # still
                        signal.pidfd_send_signal(process, signal.SIGKILL)
                        killed.append(process)
            if not killed:
                return
            for process in killed:
                _see_out(process, give_up_at)


def _see_out(process: int, give_up_at: float) -> None:
    """Wait until a process that was killed has let go of all it held. Raises Unreachable.

    Its memory goes first, and with it the mark in its environment; what it has open, such as a GPU, goes later.
    """
    if not ends_within(max(0.0, give_up_at - steady()), process):
        raise Unreachable(
            "what a former training had started was killed, and does not end",
            remedy="see which disk or driver holds it (ps axo pid,stat,wchan,args); it is tried again",
        )


def ends_within(seconds: float, process: int) -> bool:
    """Wait so long until an opened process has ended, and tell whether it has."""
    end = select.poll()
    end.register(process, select.POLLIN)
    return bool(end.poll(seconds * 1000))


def _dying_in(session: int) -> Iterator[int]:
    """Open each process of a runner's session that is on its way out: its memory may be gone, its session is not.

    Where the session's first process goes on, the runner's number is another's by now. Raises OSError.
    """
    with suppress(*_GONE):
        if not _is_dying_in(session, session):
            return
    for pid in _pids():
        with suppress(*_GONE), opened(pid) as process:
            if _is_dying_in(session, pid):
                yield process


def _is_dying_in(session: int, pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b") ")[2].split()
    return int(fields[3]) == session != 0 and bool(int(fields[6]) & _EXITING)


def _try_of(pid: int) -> bytes:
    """Read of which try's folder a process is; empty: of none, or of none that we may see. Raises OSError."""
    mark = b"%s=" % runner.MARK.encode()
    with suppress(*_GONE), open(f"/proc/{pid}/environ", "rb") as file:
        return next((line[len(mark) :] for line in file.read().split(b"\0") if line.startswith(mark)), b"")
    return b""


def _pids() -> Iterator[int]:
    return map(int, filter(str.isdigit, os.listdir("/proc")))
