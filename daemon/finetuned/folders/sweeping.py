"""One look at a whole folder: what is new, what is ready, what is gone.

1. A sweep tells what is true now; it tells it again until `remember` or `forget` says that it was recorded. So a
   lost answer costs nothing.
2. Only names are read, but for files that are unknown or unsettled; with after = "keep" the known ones are looked at
   too, for they may be edited in place.
3. A sub-folder is not listed again while its times stand still, on file systems where that is proof: its times must
   have been seen MARGIN seconds before a listing of it began.
4. What cannot be listed is not gone: nothing below it vanishes. What is missing from a listing is looked up by name
   before it is called vanished.
5. Quiet time is counted on the steady clock from the first sight in this process. Whether somebody has a quiet file
   open for writing is asked when it is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from finetuned.folders.names import Names, Parts
from finetuned.folders.tree import Tree, listed
from finetuned.folders.trouble import words
from finetuned.model import Signature, Value
from finetuned.settings import FolderSettings

#: programs touch first and write later
EMPTY_WAIT: Final = 60.0
#: longer than any clock tick of a file system
MARGIN: Final = 2.5
#: what is quiet all but this long is quiet: sums of floats miss their mark by a hair, and would be waited for in vain
HAIR: Final = 0.001


class Seen(Value, frozen=True):
    """A file in the folder; `group` is its first-level sub-folder if the folder groups by it."""

    path: str
    signature: Signature
    group: str = ""


class Sweep(Value, frozen=True):
    """What a sweep found; with settle = 0 a file may be in `appeared` and `ready` at once.

    `wake_in` is the time in seconds until a file may become ready; None: nothing settles. `odd` names, once, what
    matches the rules and can never be taken, or cannot be looked into, with the reason.
    """

    appeared: tuple[Seen, ...] = ()
    ready: tuple[Seen, ...] = ()
    vanished: tuple[str, ...] = ()
    changed: tuple[Seen, ...] = ()
    wake_in: float | None = None
    odd: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Fresh:
    """A file that settles: quiet `since` (steady; None: count from the next look), `recorded` in the ledger."""

    signature: Signature
    since: float | None
    recorded: bool = False


@dataclass(slots=True)
class _Listing:
    """What lay in a sub-folder at its last listing; `sure` while unchanged times prove that it still does."""

    times: tuple[int, ...]
    since: float
    sure: bool
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    odd: list[tuple[str, str]] = field(default_factory=list)
    names: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Look:
    """What one sweep has gathered so far."""

    steady: float
    seen: set[str] = field(default_factory=set)
    appeared: list[Seen] = field(default_factory=list)
    ready: list[Seen] = field(default_factory=list)
    changed: list[Seen] = field(default_factory=list)
    odd: dict[str, str] = field(default_factory=dict)
    blind: list[str] = field(default_factory=list)
    wake_in: float | None = None

    def wake(self, seconds: float) -> None:
        """Look again in `seconds` at the latest."""
        self.wake_in = seconds if self.wake_in is None else min(self.wake_in, seconds)


def _oddity(entry: os.DirEntry[str]) -> str:
    """What an entry is that is neither file nor folder."""
    if entry.is_symlink():
        return "it is a symbolic link, and links are never followed; put the file itself there"
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        mode = 0
    if stat.S_ISFIFO(mode):
        return "it is a named pipe, no file; write its content into a file"
    return "it is a socket, no file" if stat.S_ISSOCK(mode) else "it is a device or the like, no file"


class Sweeper:
    """What is known of one folder's files, and the look that finds what is not."""

    def __init__(self, rules: FolderSettings, names: Names, tree: Tree) -> None:
        self._rules = rules
        self._names = names
        self._tree = tree
        self._settled: dict[str, Signature] = {}
        self._fresh: dict[str, _Fresh] = {}
        self._odd: set[str] = set()
        self._listings: dict[Parts, _Listing] = {}
        self._shape: dict[Parts, tuple[int, ...]] = {}
        #: the folders that the last sweep walked to, by absolute path, with device and inode; replaced, never changed
        self.subfolders: Mapping[str, tuple[int, int]] = MappingProxyType({})

    def remember(self, path: str, signature: Signature, *, settled: bool) -> None:
        """The ledger knows this file: as settling, or as something later (`settled`)."""
        if settled:
            self._fresh.pop(path, None)
            self._settled[path] = signature
            return
        self._settled.pop(path, None)
        fresh = self._fresh.setdefault(path, _Fresh(signature, None))
        fresh.recorded = True

    def forget(self, path: str) -> None:
        """The file was taken away; what lies at its path from now on is another."""
        self._fresh.pop(path, None)
        self._settled.pop(path, None)

    def unsettle(self, path: str, steady: float) -> None:
        """Somebody writes to the file still: its quiet time begins now."""
        if path in self._fresh:
            self._fresh[path].since = steady

    def sweep(self, steady: float) -> Sweep:
        """Look at everything. Raises Away."""
        self._tree.check()
        look = _Look(steady)
        ways: list[Parts] = [()]
        listings: dict[Parts, _Listing] = {}
        while ways:
            parts = ways.pop()
            listing = self._visit(parts, look)
            if listing is not None:
                listings[parts] = listing
                ways.extend((*parts, name) for name in listing.folders)
        vanished = self._vanished(look)
        self._tree.check()  # a folder that went away meanwhile looked empty
        self._listings = listings
        self._tell_shape()
        odd = tuple((path, why) for path, why in look.odd.items() if path not in self._odd)
        self._odd = set(look.odd)
        return Sweep(
            appeared=tuple(look.appeared),
            ready=tuple(look.ready),
            vanished=vanished,
            changed=tuple(look.changed),
            wake_in=look.wake_in,
            odd=odd,
        )

    def _tell_shape(self) -> None:
        """Say which folders are there, if they are others than before."""
        shape = {parts: listing.times[:2] for parts, listing in self._listings.items() if parts}
        if shape != self._shape:
            self._shape = shape
            self.subfolders = MappingProxyType({self._tree.at(p): (times[0], times[1]) for p, times in shape.items()})

    def _visit(self, parts: Parts, look: _Look) -> _Listing | None:
        """Look into one sub-folder; None if it is gone or cannot be looked into."""
        try:
            with self._tree.folder(parts) as fd:
                listing = self._list(fd, parts, look.steady)
                look.seen.update(listing.files)
                look.odd.update(listing.odd)
                self._judge(fd, parts, listing, look)
                return listing
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            path = self._tree.at(parts)
            look.blind.append(path + "/")
            look.odd[path] = f"the folder cannot be looked into: {words(error)}"
            return None

    def _list(self, fd: int, parts: Parts, steady: float) -> _Listing:
        status = os.fstat(fd)
        times = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        old = self._listings.get(parts)
        same = old is not None and old.times == times
        if old is not None and same and old.sure:
            return old
        since = old.since if old is not None and same else steady
        mount = self._tree.mount
        sure = mount is not None and mount.exact and steady - since >= MARGIN
        listing = _Listing(times=times, since=since, sure=sure)
        with listed(fd) as entries:
            self._sort(entries, parts, listing)
        return listing

    def _sort(self, entries: Iterable[os.DirEntry[str]], parts: Parts, listing: _Listing) -> None:
        settled, take, add = self._settled, self._names.taker(parts), listing.files.append
        prefix = self._tree.at((*parts, ""))
        names: list[str] | None = [] if self._rules.ready_file else None
        for entry in entries:  # runs for every file there is, so it asks the least it can
            name = entry.name
            path = prefix + name
            if entry.is_file(follow_symlinks=False):
                if names is not None:
                    names.append(name)
                if path in settled or take(name):
                    add(path)
            elif entry.is_dir(follow_symlinks=False):
                if self._names.why_not_into((*parts, name)) is None:
                    listing.folders.append(name)
            elif take(name):
                listing.odd.append((path, _oddity(entry)))
        if names is not None:
            listing.names = frozenset(names)

    def _judge(self, fd: int, parts: Parts, listing: _Listing, look: _Look) -> None:
        keep, settled = self._rules.after == "keep", self._settled
        cut = len(self._tree.at((*parts, "")))
        group = parts[0] if parts and self._rules.group_by == "subfolder" else ""
        for path in listing.files if keep else [path for path in listing.files if path not in settled]:
            name = path[cut:]
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError:  # gone since it was listed, or for a moment: the next sweep tells
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            seen = Seen(path=path, signature=self._tree.signature(status), group=group)
            if path not in settled:
                self._settle(seen, name, listing, look)
            elif settled[path] != seen.signature:
                look.changed.append(seen)

    def _settle(self, seen: Seen, name: str, listing: _Listing, look: _Look) -> None:
        fresh = self._fresh.get(seen.path)
        if fresh is None:
            fresh = self._fresh[seen.path] = _Fresh(seen.signature, None)
        if fresh.since is None or fresh.signature != seen.signature:
            fresh.signature, fresh.since = seen.signature, look.steady
        if not fresh.recorded:
            look.appeared.append(seen)
        wanted = self._rules.settle if seen.signature.size else max(self._rules.settle, EMPTY_WAIT)
        left = wanted - (look.steady - fresh.since)
        marker = self._names.marker(name)
        if left > HAIR:
            look.wake(left)
        elif marker is None or marker in listing.names:  # else its coming rings
            look.ready.append(seen)

    def _vanished(self, look: _Look) -> tuple[str, ...]:
        vanished = [path for path in self._settled.keys() - look.seen if self._is_gone(path, look.blind)]
        for path in [*(self._fresh.keys() - look.seen)]:
            if self._is_gone(path, look.blind):
                if self._fresh[path].recorded:
                    vanished.append(path)
                else:
                    del self._fresh[path]
        return tuple(sorted(vanished))

    def _is_gone(self, path: str, blind: list[str]) -> bool:
        """Whether no regular file lies there: a rule that changed, or a name that moved, has taken nothing away."""
        if blind and path.startswith(tuple(blind)):
            return False
        parts = self._tree.below(path)
        try:
            return parts is None or not self._tree.is_file(parts)
        except OSError:
            return False
