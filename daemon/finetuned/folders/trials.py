"""A folder tried as it is used: a probe goes the way that every file goes, and is taken away again.

1. Every trial of `doctor` has names of its own, so that any number of them disturb neither each other nor a daemon.
2. A step that fails ends the trial: of what was not tried nothing is said.
3. `.processing` is used, but never made by `doctor`: it would belong to its user, who need not be the daemon's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from finetuned.errors import FileProblem
from finetuned.folders.folder import DropFolder
from finetuned.folders.mounts import Mount, is_written, mount_of
from finetuned.folders.names import Parts
from finetuned.folders.os_errors import words
from finetuned.folders.probes import fresh_probe, make_probe
from finetuned.folders.tree import Tree
from finetuned.folders.watches import is_heard
from finetuned.model import PROCESSING, RESERVED, Value

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


class Examination(Value, frozen=True):
    """What is true of a folder.

    `mount` is what it lies on (null: not known), `elsewhere` names the sub-folders on other file systems, whose files
    can never be moved, and `crooked` those of our own folders that are none, each with what it is.
    """

    root: str
    mount: Mount | None
    trial: Trial
    elsewhere: tuple[str, ...] = ()
    crooked: tuple[tuple[str, str], ...] = ()


class _Missing(Exception):
    """What was done is not to be seen."""


class _Probe:
    """A file and a folder of our own on their way."""

    def __init__(self, tree: Tree, within: float) -> None:
        name = fresh_probe()
        self._tree = tree
        self._within = within
        self._file: Parts = (name,)
        self._area = self._usable_area()
        self._folder: Parts = (*self._area, name.removesuffix(".part"))
        self._begun = False
        self.heard: bool | None = None
        self.deaf = ""
        self.lease_tells: bool | None = None

    @property
    def moved_to(self) -> str:
        """What is said of the place that it is moved to."""
        return PROCESSING if self._area else "a sub-folder"

    def _usable_area(self) -> Parts:
        """Return the way to `.processing`, if it is there and for us to use; else none."""
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
            writer = make_probe(self._file[0], fd)
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


def _attempt(tree: Tree, mount: Mount | None, *, moving: bool, within: float) -> Trial:
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
        with suppress(OSError, FileProblem, _Missing):  # what failed is told; the remains do no harm
            probe.remove()
    return Trial(
        done=tuple(done), failed=failed, why=why, is_heard=probe.heard, deaf=probe.deaf, lease_tells=probe.lease_tells
    )


def examine(folder: DropFolder, within: float) -> Examination:
    """Try all that taking files needs, and leave nothing behind; an event may take so many seconds.

    Raises Away, OSError.
    """
    tree = folder.tree
    with tree.folder() as fd:
        mount, device = mount_of(fd), os.fstat(fd).st_dev
    others = [(name, tree.stat((name,))) for name in tree.folders(()) if not folder.names.is_ours((name,))]
    return Examination(
        root=tree.path,
        mount=mount,
        trial=_attempt(tree, mount, moving=folder.moves, within=within),
        elsewhere=tuple(tree.at((n,)) for n, status in others if status is not None and status.st_dev != device),
        crooked=tuple(_crooked(folder)),
    )


def _crooked(folder: DropFolder) -> Iterator[tuple[str, str]]:
    """Yield those of the folders that files are moved to that are something else, and what."""
    for name in sorted(RESERVED):
        found = folder.tree.stat((name,)) if folder.moves else None
        if found is not None and not stat.S_ISDIR(found.st_mode):
            yield folder.tree.at((name,)), "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no folder"
