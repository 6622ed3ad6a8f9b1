"""A folder tried as it is used: a probe goes the way that every file goes, and is taken away again.

1. Every try has names of its own, so that any number of them disturb neither each other nor a daemon; they are hidden,
   and neither sweeps, nor the watch, nor adoption heed them, should a kill leave one behind.
2. A step that fails ends the try: of what was not tried nothing is said.
3. `.processing` is used, but never made here: it would belong to whoever asks, who need not be the daemon's user.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from finetuned.errors import FileProblem
from finetuned.folders.leases import is_written
from finetuned.folders.mounts import Mount
from finetuned.folders.names import PROBE, Parts
from finetuned.folders.os_errors import words
from finetuned.folders.tree import Tree
from finetuned.folders.watches import is_heard
from finetuned.model import PROCESSING, Value

_WORDS: Final = b"a probe of finetuned's own\n"


class Trial(Value, frozen=True):
    """What became of the probe: the steps that went well, in their order, and the one that failed, and why.

    `is_heard` tells whether an event told of it (null: not tried, see `deaf`), and `lease_tells` whether a lease told
    of its writer, and did so no more when there was none.
    """

    done: tuple[str, ...]
    failed: str | None = None
    why: str | None = None
    is_heard: bool | None = None
    deaf: str = ""
    lease_tells: bool | None = None


class _Missing(Exception):
    """What was done is not to be seen."""


class _Probe:
    """A file and a folder of our own on their way."""

    def __init__(self, tree: Tree, within: float) -> None:
        name = f"{PROBE}-{os.urandom(6).hex()}"
        self._tree = tree
        self._within = within
        self._file: Parts = (f"{name}.part",)
        self._area = self._usable_area()
        self._folder: Parts = (*self._area, name)
        self._begun = False
        self.heard: bool | None = None
        self.deaf = ""
        self.lease_tells: bool | None = None

    @property
    def moved_to(self) -> str:
        """What is said of the place that it is moved to."""
        return PROCESSING if self._area else "a sub-folder"

    def _usable_area(self) -> Parts:
        """`.processing`, if it is there and it is for us to use it."""
        found = self._tree.stat((PROCESSING,))
        if found is None or not stat.S_ISDIR(found.st_mode):
            return ()
        with self._tree.folder() as fd:
            ours = found.st_uid == os.geteuid() or os.access(PROCESSING, os.W_OK | os.X_OK, dir_fd=fd)
        return (PROCESSING,) if ours else ()

    def make(self) -> None:
        try:
            self.heard = is_heard(self._tree.path, self._write, self._within)
        except (OSError, RuntimeError, UnicodeError) as error:
            if self._begun and isinstance(error, OSError):
                raise
            self.deaf = str(error)
            if not self._begun:
                self._write()

    def _write(self) -> str:
        self._begun = True
        with self._tree.folder() as fd:
            writer = os.open(self._file[0], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd)
            with os.fdopen(writer, "wb", buffering=0) as out, os.fdopen(self._tree.open(self._file), "rb") as read:
                out.write(_WORDS)
                while_written = is_written(read.fileno())
                out.close()
                self.lease_tells = while_written is True and is_written(read.fileno()) is not True
        return self._tree.at(self._file)

    def find(self) -> None:
        if self._file[-1] not in self._tree.names(self._file[:-1]):
            raise _Missing("the folder's listing does not name it")

    def move(self) -> None:
        target = (*self._folder, self._file[-1])
        self._tree.move(self._file, target)
        self._file = target

    def read(self) -> None:
        if self._tree.read(self._file) != _WORDS:
            raise _Missing("it does not hold what was written into it")

    def remove(self) -> None:
        self._tree.remove(self._file)
        self._tree.remove_folder(self._folder)
        if self._tree.stat(self._file) is not None:
            raise _Missing("it is still there")


def attempt(tree: Tree, mount: Mount | None, *, moving: bool, within: float) -> Trial:
    """Send a probe through a folder, moved if files are; an event may take so many seconds. Raises Away."""
    probe = _Probe(tree, within)
    first = (("made", probe.make), ("listed", probe.find))
    then = ((f"moved to {probe.moved_to}", probe.move), ("read back", probe.read), ("listed there", probe.find))
    steps = (*first, *(then if moving else ()), ("removed", probe.remove))
    done: list[str] = []
    failed = why = None
    for name, step in steps:
        try:
            step()
        except (OSError, FileProblem, _Missing) as error:
            failed, why = name, words(error, mount) if isinstance(error, OSError) else str(error)
            break
        done.append(name)
    if failed:
        _clean_up(probe)
    return Trial(
        done=tuple(done), failed=failed, why=why, is_heard=probe.heard, deaf=probe.deaf, lease_tells=probe.lease_tells
    )


def _clean_up(probe: _Probe) -> None:
    try:
        probe.remove()
    except (OSError, FileProblem, _Missing):  # what failed was told; the remains disturb nobody
        return
