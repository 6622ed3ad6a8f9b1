"""The files of a folder that the ledger knows: what settles, what has settled, and the pace of both.

1. There may be a hundred thousand, so they are kept by folder and name, and of a signature only its hash: an eighth of
   the memory.
2. A sweep has a thread of its own, and files are remembered and forgotten meanwhile: one lock guards both.
3. A file is known from its first sight on; it is recorded once the ledger has it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from finetuned.folders.pace import Pace
from finetuned.model import Signature


@dataclass(slots=True)
class Noted:
    """A file that settles, or did a moment ago: `recorded` once the ledger has it, None if it settles no more."""

    recorded: bool | None = None
    pace: Pace | None = None


#: stand in the place of what is empty, and are only read: there may be a hundred thousand sub-folders
_NONE_SETTLED: Final[dict[str, int]] = {}
_NONE_NOTED: Final[dict[str, Noted]] = {}


@dataclass(slots=True)
class Known:
    """The known files of one sub-folder, by their names; `KnownFiles` writes it, under its lock, but for the paces
    and `listed`, which are the sweep's own.

    `settled` holds the hash of each one's signature; `noted` is of those that settle, and of paths with a pace. While
    `changed` is set, an older listing may lack one that must be checked from now on. `listed` is the number of the last
    sweep that met the sub-folder.
    """

    settled: dict[str, int] = field(default_factory=lambda: _NONE_SETTLED)
    noted: dict[str, Noted] = field(default_factory=lambda: _NONE_NOTED)
    changed: bool = False
    listed: int = 0

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

    def settle(self, name: str, version: int) -> None:
        """Note that the file has settled; its pace may go on."""
        if self.settled is _NONE_SETTLED:
            self.settled = {}
        self.settled[name] = version
        self._settles_no_more(name)

    def forget(self, name: str) -> None:
        """Forget the file, but not the pace of its path."""
        self.settled.pop(name, None)
        self._settles_no_more(name)

    def _settles_no_more(self, name: str) -> None:
        if (noted := self.noted.get(name)) is not None:
            noted.recorded = None
            if noted.pace is None:
                del self.noted[name]

    def let_go(self, steady: float) -> bool:
        """Forget the paces that are over; tell whether anything is left."""
        for name, noted in [*self.noted.items()]:
            if noted.recorded is None and (noted.pace is None or noted.pace.is_over(steady)):
                del self.noted[name]
        self.settled = self.settled or _NONE_SETTLED  # a dict keeps the memory of its largest size
        self.noted = self.noted or _NONE_NOTED
        return bool(self.settled or self.noted)


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
        folder, name = _split(path)
        with self._lock:
            known = self._folders[folder]
            known.changed |= not known.settles(name)
            if settled:
                known.settle(name, hash(signature))
                return
            came_by_itself = known.has(name)
            known.settled.pop(name, None)
            noted = known.note(name)
            noted.recorded = True
            if not came_by_itself:
                noted.pace = None

    def forget(self, path: str) -> None:
        """Forget a file that was taken away; what lies at its path from now on is another."""
        folder, name = _split(path)
        with self._lock:
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


def _split(path: str) -> tuple[str, str]:
    cut = path.rindex("/") + 1
    return path[:cut], path[cut:]
