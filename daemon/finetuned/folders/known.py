"""The files of a folder that the ledger knows: what settles, what has settled, and the pace of both.

1. There may be a hundred thousand, so they are kept by folder and name, and of a signature only its hash: an eighth of
   the memory.
2. A sweep has a thread of its own, and files are remembered and forgotten meanwhile: one lock guards both.
3. A file is known from its first sight on; it is recorded once the ledger has it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from finetuned.folders.pace import Pace
from finetuned.model import Signature


@dataclass(slots=True)
class Known:
    """The known files of one sub-folder, by their names.

    `settled` holds the hash of each one's signature; `fresh` tells of each that settles whether it is recorded. While
    `changed` is set, an older listing may lack one that must be checked from now on.
    """

    settled: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, bool] = field(default_factory=dict)
    paces: dict[str, Pace] = field(default_factory=dict)
    changed: bool = False

    def has(self, name: str) -> bool:
        """Tell whether the file is known."""
        return name in self.settled or name in self.fresh

    def names(self) -> set[str]:
        """Return the names of all."""
        return {*self.settled, *self.fresh}

    def let_go(self, steady: float) -> bool:
        """Forget the paces that are over; tell whether anything is left."""
        over = [name for name, pace in self.paces.items() if name not in self.fresh and pace.is_over(steady)]
        for name in over:
            del self.paces[name]
        left = False
        for kept in (self.settled, self.fresh, self.paces):
            if kept:
                left = True
            else:
                kept.clear()  # a dict keeps the memory of its largest size, until it is told to
        return left


class KnownFiles:
    """The known files of a folder and all below it; told and asked by their absolute paths."""

    def __init__(self) -> None:
        self._folders: defaultdict[str, Known] = defaultdict(Known)  # by path, with a slash at its end
        self._lock = threading.Lock()

    def of(self, folder: str, *, make: bool = False) -> Known | None:
        """Return what is known in a sub-folder; None if nothing is, and it is not to be made."""
        with self._lock:
            return self._folders[folder] if make else self._folders.get(folder)

    def remember(self, path: str, signature: Signature, *, settled: bool) -> None:
        """Note that the ledger knows this file: as settling, or as something later (`settled`)."""
        folder, name = _split(path)
        with self._lock:
            known = self._folders[folder]
            known.changed |= name not in known.fresh
            if settled:
                known.fresh.pop(name, None)
                known.settled[name] = hash(signature)
                return
            if known.settled.pop(name, None) is None and name not in known.fresh:
                known.paces.pop(name, None)  # it did not come by itself
            known.fresh[name] = True

    def forget(self, path: str) -> None:
        """Forget a file that was taken away; what lies at its path from now on is another."""
        folder, name = _split(path)
        with self._lock:
            if folder in self._folders:
                known = self._folders[folder]
                known.fresh.pop(name, None)
                known.settled.pop(name, None)
                known.changed = True

    def unsettle(self, path: str, steady: float) -> None:
        """Begin the quiet time of a file anew, as it still has a writer."""
        folder, name = _split(path)
        with self._lock:
            known = self._folders.get(folder)
            if known is not None and name in known.fresh and name in known.paces:
                known.paces[name].since, known.paces[name].written = steady, True

    def is_recorded(self, path: str) -> bool:
        """Tell whether the ledger knows a file that is gone; if not, forget it."""
        folder, name = _split(path)
        with self._lock:
            known = self._folders[folder]
            recorded = name in known.settled or known.fresh.get(name, False)
            if not recorded:
                known.fresh.pop(name, None)
            return recorded

    def has_changed(self, folder: str) -> bool:
        """Tell, once, whether an older listing of the sub-folder may lack a file that must be checked from now on."""
        with self._lock:
            known = self._folders.get(folder)
            if known is None or not known.changed:
                return False
            known.changed = False
            return True

    def outside(self, folders: Collection[str]) -> Iterator[str]:
        """Yield the paths of the known files in all other sub-folders than these."""
        with self._lock:
            others = [(folder, known.names()) for folder, known in self._folders.items() if folder not in folders]
        return (folder + name for folder, names in others for name in names)

    def let_go(self, steady: float, listed: Collection[str]) -> None:
        """Let go of what is not needed any more; `listed` are the sub-folders that were listed just now."""
        with self._lock:
            for folder, known in [*self._folders.items()]:
                if not known.let_go(steady) and not (known.changed and folder in listed):
                    del self._folders[folder]


def _split(path: str) -> tuple[str, str]:
    cut = path.rindex("/") + 1
    return path[:cut], path[cut:]
