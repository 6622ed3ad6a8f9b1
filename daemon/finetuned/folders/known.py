"""The files of a folder that the ledger knows: what settles, what has settled, and the pace of both.

1. There may be a hundred thousand, so they are kept by folder and name, and of a signature only its hash. Those that
   have settled are packed between two looks at their folder: 25 bytes for a short plain name, where a dict takes 140.
2. A sweep has a thread of its own, and files are remembered and forgotten meanwhile: one lock guards both.
3. A file is known from its first sight on; it is recorded once the ledger has it.
"""

from __future__ import annotations

import threading
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from finetuned.folders.pace import Pace
from finetuned.model import Signature


@dataclass(slots=True)
class Noted:
    """A file that settles, or did a moment ago: `recorded` once the ledger has it, None if it settles no more."""

    recorded: bool | None = None
    pace: Pace | None = None


#: stands in the place of what is empty, and is only read: there may be a hundred thousand sub-folders
_NONE_NOTED: Final[dict[str, Noted]] = {}


@dataclass(slots=True)
class Known:
    """The known files of one sub-folder, by their names; `KnownFiles` opens and writes it, under its lock, but for the
    paces and `listed`, which are the sweep's own.

    `noted` is of those that settle, and of paths with a pace. While `changed` is set, an older listing may lack one
    that must be checked from now on. `listed` is the number of the last sweep that met the sub-folder.
    """

    noted: dict[str, Noted] = field(default_factory=lambda: _NONE_NOTED)
    changed: bool = False
    listed: int = 0
    _opened: dict[str, int] | None = None
    _names: str = ""
    _versions: bytes | None = b""  # None: something else was opened, and written to

    @property
    def settled(self) -> dict[str, int]:
        """The hash of each settled one's signature, to be read until they are packed."""
        if self._opened is None:
            names = self._names.split("/") if self._versions else ()
            self._opened = dict(zip(names, array("q", self._versions or b""), strict=True))
        return self._opened

    @property
    def is_packed(self) -> bool:
        """Whether nobody reads or writes what has settled."""
        return self._opened is None

    def _written(self) -> dict[str, int]:
        settled = self.settled
        if self._versions is not None:
            self._names, self._versions = "", None
        return settled

    def pack(self) -> None:
        """Let those that have settled take the least memory, until they are asked for."""
        if self._versions is None and self._opened is not None:
            self._names, self._versions = "/".join(self._opened), array("q", self._opened.values()).tobytes()
        self._opened = None

    def settles(self, name: str) -> bool:
        """Tell whether the file is known, and has not settled."""
        noted = self.noted.get(name)
        return noted is not None and noted.recorded is not None

    def has(self, name: str) -> bool:
        """Tell whether the file is known."""
        return name in self.settled or self.settles(name)

    def names(self) -> set[str]:
        """Return the names of all."""
        return {*self.settled, *filter(self.settles, [*self.noted])}

    def note(self, name: str) -> Noted:
        """Return what is noted of a path, made if need be."""
        if self.noted is _NONE_NOTED:
            self.noted = {}
        if (noted := self.noted.get(name)) is None:
            noted = self.noted[name] = Noted()
        return noted

    def remember(self, name: str, signature: Signature, *, settled: bool) -> None:
        """Note that the ledger knows the file: as settling, or as something later, while its pace may go on."""
        self.changed |= not self.settles(name)
        if settled:
            self._written()[name] = hash(signature)
            if self.noted:
                self._settles_no_more(name)
            return
        came_by_itself = self.has(name)
        self._unsettle(name)
        noted = self.note(name)
        noted.recorded = True
        if not came_by_itself:
            noted.pace = None

    def forget(self, name: str) -> None:
        """Forget the file, but not the pace of its path."""
        self._unsettle(name)
        self._settles_no_more(name)

    def _unsettle(self, name: str) -> None:
        if name in self.settled:
            del self._written()[name]

    def _settles_no_more(self, name: str) -> None:
        if (noted := self.noted.get(name)) is not None:
            noted.recorded = None
            if noted.pace is None:
                del self.noted[name]

    def let_go(self, steady: float) -> bool:
        """Forget the paces that are over, and pack the rest; tell whether anything is left."""
        for name, noted in [*self.noted.items()]:
            if noted.recorded is None and (noted.pace is None or noted.pace.is_over(steady)):
                del self.noted[name]
        self.noted = self.noted or _NONE_NOTED  # a dict keeps the memory of its largest size
        self.pack()
        return bool(self._versions or self.noted)


class KnownFiles:
    """The known files of a folder and all below it; told and asked by their absolute paths."""

    def __init__(self) -> None:
        self._folders: defaultdict[str, Known] = defaultdict(Known)  # by path, with a slash at its end
        self._lock = threading.Lock()
        self._sweep = 0

    def begin(self) -> None:
        """Begin a sweep: no sub-folder is listed yet."""
        self._sweep += 1

    def listed(self, folder: str, *, make: bool = False) -> Known | None:
        """Return what is known in a sub-folder that is listed; None if nothing is, and it is not to be made."""
        known = self.of(folder, make=make)
        if known is not None:
            known.listed = self._sweep
        return known

    def of(self, folder: str, *, make: bool = False) -> Known | None:
        """Return what is known in a sub-folder; None if nothing is, and it is not to be made."""
        with self._lock:
            return self._folders[folder] if make else self._folders.get(folder)

    def settled(self, known: Known) -> dict[str, int]:
        """Return what has settled in a sub-folder, with the hash of each signature, to be read until it is packed."""
        with self._lock:
            return known.settled

    def pack(self, known: Known) -> None:
        """Let what has settled in a sub-folder take the least memory."""
        with self._lock:
            known.pack()

    def among(self, known: Known, names: Collection[str]) -> list[str]:
        """List those of these names in a sub-folder whose files are known."""
        with self._lock:
            return [name for name in names if known.has(name)]

    def note(self, known: Known, name: str) -> Noted:
        """Return what is noted of a path in a sub-folder, made if need be."""
        with self._lock:
            return known.note(name)

    def begins(self, known: Known, name: str) -> bool:
        """Note that a file settles; tell whether the ledger has still to be told of it."""
        with self._lock:
            noted = known.note(name)
            noted.recorded = bool(noted.recorded)
            return not noted.recorded

    def remember(self, path: str, signature: Signature, *, settled: bool) -> None:
        """Note that the ledger knows this file: as settling, or as something later (`settled`)."""
        self.remember_all([(path, signature, settled)])

    def remember_all(self, files: Iterable[tuple[str, Signature, bool]]) -> None:
        """Note that the ledger knows these files, each as settling, or as something later (true), in this order."""
        with self._lock:
            for folder, those in groupby(files, _folder_of):
                known, begin = self._folders[folder], len(folder)
                was_packed, before = known.is_packed, len(known.settled)
                for path, signature, settled in those:
                    known.remember(path[begin:], signature, settled=settled)
                # not one that the sweep reads; nor for a few of many, as the next ones may be of this folder, too
                if was_packed and len(known.settled) >= 2 * before:
                    known.pack()

    def forget(self, path: str) -> None:
        """Forget a file that was taken away; what lies at its path from now on is another."""
        self.forget_all([path])

    def forget_all(self, paths: Iterable[str]) -> None:
        """Forget files that were taken away."""
        with self._lock:
            for path in paths:
                folder, name = _split(path)
                if folder in self._folders:
                    known = self._folders[folder]
                    known.forget(name)
                    known.changed = True

    def unsettle(self, path: str, steady: float) -> None:
        """Begin the quiet time of a file anew, as it still has a writer."""
        folder, name = _split(path)
        with self._lock:
            known = self._folders.get(folder)
            if known is not None and known.settles(name) and (pace := known.noted[name].pace) is not None:
                pace.since, pace.written = steady, True

    def is_recorded(self, path: str) -> bool:
        """Tell whether the ledger knows a file that is gone; if not, forget it."""
        folder, name = _split(path)
        with self._lock:
            known = self._folders[folder]
            recorded = name in known.settled or (name in known.noted and known.noted[name].recorded is True)
            if not recorded:
                known.forget(name)
            return recorded

    def has_changed(self, folder: str) -> bool:
        """Tell, once, whether an older listing of the sub-folder may lack a file that must be checked from now on."""
        with self._lock:
            known = self._folders.get(folder)
            if known is None or not known.changed:
                return False
            known.changed = False
            return True

    def outside(self) -> Iterator[str]:
        """Yield the paths of the known files in all sub-folders that this sweep did not list."""
        with self._lock:
            others = [(path, known.names()) for path, known in self._folders.items() if known.listed != self._sweep]
        return (folder + name for folder, names in others for name in names)

    def let_go(self, steady: float) -> None:
        """Let go of what is not needed any more, once a sweep has listed all."""
        with self._lock:
            for folder, known in [*self._folders.items()]:
                if not known.let_go(steady) and not (known.changed and known.listed == self._sweep):
                    del self._folders[folder]


def _folder_of(file: tuple[str, Signature, bool]) -> str:
    return file[0][: file[0].rindex("/") + 1]


def _split(path: str) -> tuple[str, str]:
    cut = path.rindex("/") + 1
    return path[:cut], path[cut:]
