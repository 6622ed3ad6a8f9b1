"""Where trainings run: what is asked of a place, and how a try stands there.

1. A try is a folder, `training.N` of its run: its number is never used again. It is the key: who starts it twice starts
   one training, and a try that is `lost` is followed by another with a folder of its own.
2. Before anything is started, the folder has `task.json`: the task. It is for `runner`, which imports nothing of ours.
3. In the folder, all of it written by `runner`: `lock` (held while it lives), `started.json`, `begun.json` (the trainer
   itself was started), `log` (what the trainer says), `exit.json` (its end, laid by rename). `out/` is the trainer's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, ParamSpec, Protocol, TypeVar

import msgspec

from finetuned.model import Value

P = ParamSpec("P")
T = TypeVar("T")
#: the names in a try's folder
TASK: Final = "task.json"
STARTED: Final = "started.json"
BEGUN: Final = "begun.json"
EXIT: Final = "exit.json"
LOCK: Final = "lock"
LOG: Final = "log"
OUT: Final = "out"


class Task(Value, frozen=True):
    """What a try runs, in its own folder.

    `environment` is added to what the runner was started with. `time_limit` counts in seconds from the trainer's own
    start; `grace` is how long it has between TERM and KILL. `lock_file` is waited for (`flock`) before it starts, and
    held as long as anything of the training lives (empty: none). `name` is for people, and for a cluster's list.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    time_limit: float = 12 * 3600.0
    grace: float = 10.0
    nice: int = 0
    lock_file: str = ""


class State(StrEnum):
    """Where a try stands."""

    NONE = "none"  # it was never started here, as far as can be seen
    QUEUED = "queued"  # for a lock, or for a cluster
    RUNNING = "running"
    ENDED = "ended"  # its end was left: code or signal, and cause
    LOST = "lost"  # it was started, nothing of it lives, and no end was left


class Cause(StrEnum):
    """Why a try ended."""

    CODE = "code"  # by itself, with an exit code: 0 alone is a success
    SIGNAL = "signal"  # by a signal that was not ours
    MEMORY = "memory"  # killed for want of memory
    STOPPED = "stopped"  # somebody asked for it
    TIME_LIMIT = "time_limit"
    NOT_STARTED = "not_started"  # its program cannot be started
    REMOVED = "removed"  # its folder was taken away
    PLACE = "place"  # the place ended it: preempted, a node that failed


class Look(Value, frozen=True):
    """How a try stands; of one that ended: `code` or `signal`, `cause`, and `reason` in words for people.

    `reason` of one that waits says what for. `handle` is the process, or the cluster's job, for people.
    """

    state: State
    code: int | None = None
    signal: int | None = None
    cause: Cause | None = None
    reason: str = ""
    handle: str = ""
    ended_at: float | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it ended by itself with code 0; whether there is a result is another question."""
        return self.state is State.ENDED and self.cause is Cause.CODE and self.code == 0


class Place(Protocol):
    """Starts, finds and ends trainings: on this machine, or on a cluster."""

    async def start(self, folder: str, task: Task) -> None:
        """Have a try run; do nothing if it was started before, however that went.

        Raises Unreachable if it certainly was not started, ReplyLost if it may have been, Refused if it never can be.
        """
        ...

    async def look(self, folder: str) -> Look:
        """Tell how a try stands. Raises Unreachable if that cannot be told for now."""
        ...

    async def stop(self, folder: str) -> None:
        """Have a try end, politely and then not; return before it did. Do nothing if it does not run."""
        ...

    async def wait(self, folder: str) -> None:
        """Return soon after a try ended, at once if it does not run."""
        ...

    async def probe(self) -> str:
        """Say in words that trainings can run here. Raises Unreachable or Refused, with a remedy."""
        ...


class InThread(Protocol):
    """Runs blocking work without holding up the loop."""

    async def __call__(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> T:
        """Return the value of `work(*args, **words)`."""
        ...


class Ending(Value, frozen=True):
    """What `exit.json` says; the runner writes it without us."""

    cause: Cause
    code: int | None = None
    signal: int | None = None
    reason: str = ""
    ended_at: float = 0.0


def ending_of(folder: str) -> Look | None:
    """Read the end that a try's runner left; null if there is none. Raises OSError."""
    try:
        with open(os.path.join(folder, EXIT), "rb") as file:
            end = msgspec.json.decode(file.read(), type=Ending)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        return Look(state=State.LOST, reason=f"its {EXIT} cannot be read")
    return Look(
        state=State.ENDED,
        code=end.code,
        signal=end.signal,
        cause=end.cause,
        reason=end.reason,
        ended_at=end.ended_at,
    )


def task_of(folder: str) -> Task | None:
    """Read the task of a try; null if none was laid, or none that can be read. Raises OSError."""
    try:
        with open(os.path.join(folder, TASK), "rb") as file:
            return msgspec.json.decode(file.read(), type=Task)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


class _Started(Value, frozen=True):
    """What `started.json` says; the runner writes it without us."""

    pid: int


def runner_of(folder: str) -> int:
    """Read which process the runner of a try is, or was; 0 if that cannot be told. Raises OSError."""
    try:
        with open(os.path.join(folder, STARTED), "rb") as file:
            return msgspec.json.decode(file.read(), type=_Started).pid
    except (FileNotFoundError, msgspec.DecodeError):
        return 0


def lay_task(folder: str, task: Task) -> None:
    """Write a try's task, once: one that lies there stays. Raises OSError."""
    path = os.path.join(folder, TASK)
    if os.path.exists(path):
        return
    descriptor, fresh = tempfile.mkstemp(prefix=f".{TASK}.", dir=folder)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.encode(task))
        file.flush()
        os.fsync(descriptor)
    os.rename(fresh, path)
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Bring the names in a folder to the disk. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
