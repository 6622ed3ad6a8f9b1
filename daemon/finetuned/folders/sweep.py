"""One pass over a whole folder: what is new, what is ready, what is gone.

1. A sweep tells what is true now; it tells it again until `remember` or `forget` says that it was recorded. So a
   lost answer costs nothing.
2. Only names are read, but for files that are unknown or unsettled, or that may go on in their rhythm; with
   after = "keep" all known ones are checked too, for they may be edited in place: as often as a four-hundredth of a
   core allows (`CHECK_PAUSE`), and as a tenth does when something was `heard`.
3. A sub-folder is not listed again while its times stand still, on file systems where that is proof: its times must
   have been seen MARGIN seconds before a listing of it began.
4. What cannot be listed is not gone: nothing below it vanishes. What is missing from a listing is looked up by name
   before it is called vanished.
5. Quiet time is counted on the steady clock from the first sight in this process, by the rules of `settling`. Whether
   somebody has a quiet file open for writing is asked once more when it is read.
6. A quiet file waits for its ready file to come, and for an unfinished name of its own to go: events tell of both.
7. While a million files come, as many begin to settle as can be read while they do (`MOST_NEW`); the others lie where
   they are, and need no memory. Nor do any begin while `MOST_EMPTY` wait that are empty, as these take a minute. Until
   more may begin, a sub-folder that held only such, and in which nothing is known, is not looked into, whatever its
   times say: an exception to 1 and 3.
8. That a file went which finetuned takes itself is no news (`takes`): a claim of few out of many thousands would have
   them all listed again.
9. There may be a hundred thousand sub-folders: the first `MOST_WATCHED` are told of, to be watched; in the others only
   sweeps find what changes.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, filterfalse, islice
from math import inf
from types import MappingProxyType
from typing import Final, TypeAlias

from msgspec.structs import replace

from finetuned.folders.foreign import is_unfinished, same
from finetuned.folders.known import Known, KnownFiles
from finetuned.folders.names import Choice, Parts, suffix_of
from finetuned.folders.os_errors import words
from finetuned.folders.pace import HAIR, Pace
from finetuned.folders.places import Places
from finetuned.folders.probes import canary_of
from finetuned.folders.tree import READ, listed
from finetuned.model import Signature, Value

#: longer than any clock tick of a file system
MARGIN: Final = 2.5
#: how long an oddity that is gone is remembered as told, in seconds: it may come back
ODD_FORGOTTEN: Final = 3600.0
#: how many suffixes are counted in each sub-folder, of files that no rule takes
MOST_SUFFIXES: Final = 30
#: how many suffixes are told of the files that no rule takes
MOST_UNTAKEN: Final = 100
#: how many sub-folders are told of that cannot be looked into
MOST_CLOSED: Final = 1000
#: how many files begin to settle in a second, at most, and within one quiet time in any case
MOST_NEW: Final = 2500
LEAST_NEW: Final = 8000
#: how many empty files wait at a time, for each takes some 500 bytes for a minute
MOST_EMPTY: Final = 20_000
#: how long files that may be edited in place are not checked again without a reason, in seconds for each of them: four
#: hundred times what it takes
CHECK_PAUSE: Final = 0.0015
#: the same once something was heard: some ten times what it takes
HEARD_PAUSE: Final = 0.00003
#: at how many names of a listing it is told once that it goes on
PROGRESS_EACH: Final = 1024
#: how many sub-folders of a folder are watched: to watch one takes memory, and 50 µs in which all of Python waits
MOST_WATCHED: Final = 10_000
#: how many files that were taken are remembered until an event tells that they went
MOST_TAKEN: Final = 20_000
#: how many canaries one sweep tells of: whoever may drop files may drop those, too
MOST_CANARIES: Final = 8


class Seen(Value, frozen=True):
    """A file in the folder; `group` is its first-level sub-folder if the folder groups by it."""

    path: str
    signature: Signature
    group: str = ""


class Odd(Value, frozen=True):
    """So many things that are never taken, for the same reason; the path of one of them."""

    why: str
    path: str
    count: int


class Sweep(Value, frozen=True):
    """What a sweep found; with settle = 0 a file may be in `appeared` and `ready` at once.

    `wake_in` is the time in seconds until a file may become ready; None: nothing settles. `odd` tells what matches the
    rules and can never be taken, or cannot be looked into: once for each reason, and again when there is twice as much
    of it. `unfinished` names the quiet files that an unfinished name beside them keeps, with the reason; once, with
    None, those that it keeps no more. `canaries` are the ids of those that lie at the top, each told once.
    """

    appeared: tuple[Seen, ...] = ()
    ready: tuple[Seen, ...] = ()
    vanished: tuple[str, ...] = ()
    changed: tuple[Seen, ...] = ()
    wake_in: float | None = None
    odd: tuple[Odd, ...] = ()
    unfinished: tuple[tuple[str, str | None], ...] = ()
    canaries: tuple[str, ...] = ()


@dataclass(slots=True)
class _Listing:
    """What lay in a sub-folder at its last listing; `sure` while unchanged times prove that it still does.

    `times` is the hash of its identity and its times. `files` are those that had not settled when it was last looked
    at, `missing` those known ones that did not lie there; `odd` counts what is never taken, by reason; `markers` are
    the names of ready files, `unfinished` those that programs still write to, by their lower case; `untaken` counts by
    suffix the files that no rule takes; `more`: new files are left for the next one. `folders` has the sub-folders by
    name, each with what is kept of it: its listing; of one that holds nothing the times alone if it is sure, `_LATER`
    if there is more; None if it was not looked into.
    """

    times: int
    since: float
    sure: bool
    more: bool = False
    files: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)
    folders: dict[str, _Kept] = field(default_factory=dict)
    odd: dict[str, Odd] = field(default_factory=dict)
    markers: set[str] = field(default_factory=set)
    unfinished: dict[str, str] = field(default_factory=dict)
    untaken: Counter[str] = field(default_factory=Counter)
    canaries: set[str] = field(default_factory=set)

    def kept(self) -> _Kept:
        """Return what is to be kept of it: there may be a hundred thousand."""
        if (self.sure or self.more) and not any(getattr(self, name) for name in _EMPTY):
            return self.times if self.sure else _LATER
        for name, empty in _EMPTY.items():
            if not getattr(self, name):
                setattr(self, name, empty)
        return self


_Kept: TypeAlias = _Listing | int | None
#: stands in the place of what is empty once a listing is made: nothing is ever put into it
_EMPTY: Final[dict[str, object]] = {
    "files": [],
    "missing": set(),
    "folders": {},
    "odd": {},
    "markers": set(),
    "unfinished": {},
    "untaken": Counter(),
    "canaries": set(),
}
#: stands in the place of a listing of which the times alone are kept
_NOTHING: Final = _Listing(times=0, since=0.0, sure=True)
#: stands in the place of a listing of new files alone that are left for later
_LATER: Final = _Listing(times=0, since=inf, sure=False, more=True)


@dataclass(slots=True)
class _Found:
    """What one sweep has gathered so far."""

    steady: float
    now: float | None
    missing: list[str] = field(default_factory=list)
    appeared: list[Seen] = field(default_factory=list)
    ready: list[Seen] = field(default_factory=list)
    changed: list[Seen] = field(default_factory=list)
    odd: dict[str, Odd] = field(default_factory=dict)
    unfinished: dict[str, str | None] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    untaken: Counter[str] = field(default_factory=Counter)
    shape: dict[str, tuple[int, int]] = field(default_factory=dict)
    unwatched: int = 0
    empty: int = 0
    wake_in: float | None = None
    checked: int = 0

    def wake(self, seconds: float) -> None:
        """Sweep again in `seconds` at the latest."""
        self.wake_in = seconds if self.wake_in is None else min(self.wake_in, seconds)

    def watch(self, path: str, lies: tuple[int, int] | None) -> None:
        """Have a sub-folder watched, while there are few; `lies` is its device and inode, if that is known."""
        if lies is not None and len(self.shape) < MOST_WATCHED:
            self.shape[path] = lies
        else:
            self.unwatched += 1


def _count(counted: dict[str, Odd], more: Odd) -> None:
    """Add to what is counted by its reason: there may be a hundred thousand."""
    so_far = counted.get(more.why)
    counted[more.why] = more if so_far is None else replace(so_far, count=so_far.count + more.count)


def _counted_as(name: str, counts: Counter[str]) -> str:
    """Return the suffix that a file is counted by; past MOST_SUFFIXES it is none: names must not fill the memory."""
    suffix = suffix_of(name)
    return suffix if suffix in counts or len(counts) < MOST_SUFFIXES else ""


def _oddity(entry: os.DirEntry[str]) -> str:
    """Tell what an entry is that is neither file nor folder."""
    if entry.is_symlink():
        return "it is a symbolic link, and links are never followed; put the file itself there"
    try:
        mode = entry.stat(follow_symlinks=False).st_mode
    except OSError:
        mode = 0
    if stat.S_ISFIFO(mode):
        return "it is a named pipe, not a file; write its content into a file"
    return "it is a socket, not a file" if stat.S_ISSOCK(mode) else "it is a device or the like, not a file"


class Sweeper:
    """What is known of one folder's files, and the sweep that finds what is not."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._names = places.names
        self._tree = places.tree
        #: the files that the ledger knows, or soon will
        self.known = KnownFiles()
        #: set it when something may have changed in the folder
        self.heard = True
        self._checks_all, self._check_due, self._heard_due = True, 0.0, 0.0
        self._new_since, self._new = 0.0, 0
        self._empty = 0
        #: whether the last sweep left new files for the next one
        self.has_more = False
        self._left_alone: dict[str, float] = {}
        #: the files that were taken since the last sweep, and before it since the last but one
        self._taken: set[str] = set()
        self._taken_before: set[str] = set()
        self._odd_told: dict[str, tuple[int, float]] = {}
        self._unfinished: set[str] = set()
        self._canaries: set[str] = set()
        self._top: _Listing | None = None
        #: the folders that are to be watched of those that the last sweep walked to, by absolute path, with device and
        #: inode; replaced, never changed
        self.subfolders: Mapping[str, tuple[int, int]] = MappingProxyType({})
        #: how many more sub-folders there were when these were told
        self.unwatched = 0
        #: by suffix, commonest first: how many files the last sweep met that no rule takes, and none leaves out
        self.untaken: dict[str, int] = {}
        #: the sub-folders that the last sweep could not look into, by absolute path, each with the reason
        self.closed: dict[str, str] = {}

    def leave_alone(self, path: str, until: float) -> None:
        """Report the file neither as new nor as ready before `until`, on the clock of `sweep`."""
        self._left_alone[path] = until

    def takes(self, paths: Iterable[str]) -> None:
        """Note files that are about to be taken from the folder."""
        if len(self._taken) < MOST_TAKEN:
            self._taken.update(paths)

    def took(self, path: str) -> bool:
        """Tell, once, of a file that went whether it was taken: since the last sweep but one, as events come late."""
        for taken in (self._taken, self._taken_before):
            if path in taken:
                taken.discard(path)
                return True
        return False

    def sweep(self, steady: float, now: float | None = None) -> Sweep:
        """Check everything; `now` in seconds since 1970, if ctimes are to be believed. Raises Away."""
        self._tree.check()
        self._left_alone = {path: until for path, until in self._left_alone.items() if steady < until}
        self._taken, self._taken_before = set(), self._taken
        found = _Found(steady, now)
        self._begin_anew(steady)
        self.known.begin()
        try:
            self._walk(found)
            self._empty = found.empty
            self._wait_for(found)
            vanished = self._vanished(found)
            self._tree.check()  # a folder that went away meanwhile looked empty
        except BaseException:
            self._top, self.heard = None, True
            raise
        self.untaken = dict(found.untaken.most_common(MOST_UNTAKEN))
        self.closed = {path: found.closed[path] for path in sorted(found.closed)[:MOST_CLOSED]}
        self._tell_shape(found)
        canaries = self._top.canaries if self._top else set()
        new, self._canaries = canaries - self._canaries, canaries
        free = dict.fromkeys(self._unfinished - found.unfinished.keys())
        self._unfinished = set(found.unfinished)
        self.known.let_go(steady)
        return Sweep(
            appeared=tuple(found.appeared),
            ready=tuple(found.ready),
            vanished=vanished,
            changed=tuple(found.changed),
            wake_in=found.wake_in,
            odd=tuple(self._to_be_told(found)),
            unfinished=(*free.items(), *found.unfinished.items()),
            canaries=tuple(sorted(new)[:MOST_CANARIES]),
        )

    @property
    def more_soon(self) -> bool:
        """Whether the last sweep left new files for the next, and not until empty ones had their minute."""
        return self.has_more and self._empty < MOST_EMPTY

    def _begin_anew(self, steady: float) -> None:
        """Let new files settle again once those before them had their time; check known ones if it is time."""
        self._checks_all = steady >= (self._heard_due if self.heard else self._check_due)
        if self._checks_all:
            self.heard = False
        self.has_more = False
        if steady - self._new_since >= self._places.quiet_time:
            self._new_since, self._new = steady, 0

    def _wait_for(self, found: _Found) -> None:
        """Say when the rest of the new files may settle, and when known ones are checked again."""
        if self.more_soon:  # else the first of the empty ones tells
            found.wake(max(0.0, self._new_since + self._places.quiet_time - found.steady))
        if self._checks_all:
            self._check_due = found.steady + CHECK_PAUSE * found.checked
            self._heard_due = found.steady + HEARD_PAUSE * found.checked
        elif self.heard:
            found.wake(max(0.0, self._heard_due - found.steady))

    def _to_be_told(self, found: _Found) -> Iterator[Odd]:
        """Yield what is odd and was not told yet, or is twice as much by now; forget what was not seen for an hour."""
        told = self._odd_told
        for why, (most, at) in [*told.items()]:
            if why in found.odd:
                told[why] = (most, found.steady)
            elif found.steady - at > ODD_FORGOTTEN:
                del told[why]
        for why, odd in found.odd.items():
            if why not in told or odd.count >= 2 * told[why][0]:
                told[why] = (odd.count, found.steady)
                yield odd

    def _tell_shape(self, found: _Found) -> None:
        """Say which folders are to be watched, if they are others than before."""
        if found.shape != self.subfolders or bool(found.unwatched) != bool(self.unwatched):
            self.subfolders, self.unwatched = MappingProxyType(found.shape), found.unwatched

    def _walk(self, found: _Found) -> None:
        """Look into all there is; what is kept of a folder goes with what is kept of the one above."""
        self._top = self._visit((), self._top, found)
        ways: list[tuple[Parts, _Listing]] = [((), self._top)] if self._top else []
        while ways:
            above, listing = ways.pop()
            for name, old in listing.folders.items():
                parts = (*above, name)
                if old is _LATER and self._leaves(parts, found):
                    continue
                new = self._visit(parts, old, found)
                listing.folders[name] = None if new is None else old if new is _NOTHING else new.kept()
                if new is not None and new.folders:
                    ways.append((parts, new))

    def _leaves(self, parts: Parts, found: _Found) -> bool:
        """Tell whether a sub-folder of new files is left for later: to look into 100,000 again and again takes seconds.

        Where any file is known it is not: all of them would be looked for by their names.
        """
        path = self._tree.at(parts)
        if self._has_room() or self.known.of(f"{path}/") is not None:
            return False
        self.has_more = True
        found.watch(path, self.subfolders.get(path))
        return True

    def _visit(self, parts: Parts, old: _Kept, found: _Found) -> _Listing | None:
        """Look into one sub-folder; None if it is gone or cannot be looked into. `old`: what is kept of it."""
        try:
            with self._tree.folder(parts) as fd:
                folder = self._tree.at((*parts, ""))
                listing = self._list(fd, parts, folder, old, found)
                for odd in listing.odd.values():
                    _count(found.odd, odd)
                found.untaken.update(listing.untaken)
                known = self.known.listed(folder, make=bool(listing.files))
                if known is not None:
                    if listing.missing:
                        found.missing.extend(folder + name for name in self.known.among(known, listing.missing))
                    self._judge(fd, parts, folder, known, listing, found)
                    self.known.pack(known)
                return listing
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._is_closed(parts, error, found)
            return None

    def _is_closed(self, parts: Parts, error: OSError, found: _Found) -> None:
        """Note that a sub-folder cannot be looked into, or what lies in it cannot."""
        path = self._tree.at(parts)
        if path not in found.closed:
            found.closed[path] = words(error)
            _count(found.odd, Odd(why=f"the folder cannot be looked into: {words(error)}", path=path, count=1))

    def _list(self, fd: int, parts: Parts, folder: str, old: _Kept, found: _Found) -> _Listing:
        status, steady = os.fstat(fd), found.steady
        times = hash((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
        if parts:
            found.watch(folder[:-1], (status.st_dev, status.st_ino))
        changed = self.known.has_changed(folder)
        if isinstance(old, int):
            if old == times and not changed:
                return _NOTHING
            old = _Listing(times=old, since=-inf, sure=True)
        unchanged = old is not None and old.times == times
        if old is not None and unchanged and old.sure and not changed:
            return old
        since = old.since if old is not None and unchanged else steady
        mount = self._tree.mount
        sure = mount is not None and mount.exact and steady - since >= MARGIN
        listing = _Listing(times=times, since=since, sure=sure)
        with listed(fd) as entries:
            self._sort(entries, parts, folder, listing, old.folders if old is not None else {})
        return listing

    def _sort(
        self,
        entries: Iterable[os.DirEntry[str]],
        parts: Parts,
        folder: str,
        listing: _Listing,
        kept: dict[str, _Kept],
    ) -> None:
        known = self.known.of(folder) or Known()
        settled, noted, common = self.known.settled(known), known.noted, self._names.common
        choose, add = self._names.chooser(parts), listing.files.append
        listing.missing = missing = known.names()
        # it asks the least it can of each, as there are many; what is noted meanwhile marks the listing as too old
        for entry in chain.from_iterable(self._going_on(entries)):
            name = entry.name
            if not entry.is_file(follow_symlinks=False):
                self._sort_other(entry, parts, listing, kept, choose)
                continue
            missing.discard(name)
            if name in settled or (listing.more and name not in noted and common(name) is not None):
                continue
            if (choice := choose(name)) is Choice.TAKEN:
                if known.settles(name) or (not listing.more and self._may_begin(folder, name, listing)):
                    add(name)
            else:
                self._note(name, listing)
                if choice is Choice.UNTAKEN:
                    listing.untaken[_counted_as(name, listing.untaken)] += 1

    def _sort_other(
        self,
        entry: os.DirEntry[str],
        parts: Parts,
        listing: _Listing,
        kept: dict[str, _Kept],
        choose: Callable[[str], Choice],
    ) -> None:
        """Sort what is no regular file."""
        parts = (*parts, entry.name)
        if entry.is_dir(follow_symlinks=False):
            if self._names.why_not_into(parts) is None:
                listing.folders[entry.name] = kept.pop(entry.name, None)  # else all names are there twice
            else:
                self._note(entry.name, listing)
        elif choose(entry.name) is Choice.TAKEN:
            _count(listing.odd, Odd(why=_oddity(entry), path=self._tree.at(parts), count=1))

    def _going_on(self, entries: Iterable[os.DirEntry[str]]) -> Iterator[list[os.DirEntry[str]]]:
        """Yield what is listed, so many at a time, and tell each time that it goes on."""
        entries = iter(entries)
        while some := [*islice(entries, PROGRESS_EACH)]:
            self._tree.on_progress()
            yield some

    def _may_begin(self, folder: str, name: str, listing: _Listing) -> bool:
        """Tell whether a new file may begin to settle by now; if not, a sweep that comes soon finds it."""
        if self._left_alone and folder + name in self._left_alone:
            return True
        if self._has_room():
            self._new += 1
            return True
        self.has_more = listing.more = True
        listing.sure = False
        return False

    def _has_room(self) -> bool:
        """Tell whether one more new file may begin to settle by now."""
        return self._empty < MOST_EMPTY and self._new < max(LEAST_NEW, MOST_NEW * self._places.quiet_time)

    def _note(self, name: str, listing: _Listing) -> None:
        """Remember a name that is not taken, if another file may wait for it to come or to go, and a canary's."""
        if self._names.is_marker(same(name)):
            listing.markers.add(same(name))
        if is_unfinished(lower := same(name).lower()):
            listing.unfinished[lower] = name
        if (canary := canary_of(name)) is not None:
            listing.canaries.add(canary)

    def _judge(self, fd: int, parts: Parts, folder: str, known: Known, listing: _Listing, found: _Found) -> None:
        checks_all = self._checks_all and not self._places.moves
        if not (checks_all or listing.files or known.noted):
            return
        group = parts[0] if parts and self._places.rules.group_by == "subfolder" else ""
        settled = self.known.settled(known)
        if checks_all:
            found.checked += len(settled)
        for name in self._to_check(known, settled, listing, every=checks_all):
            self._tree.on_progress()
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:  # since it was listed: the next sweep tells
                continue
            except OSError as error:  # its name may be read, and nothing else
                self._is_closed(parts, error, found)
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            signature = self._tree.signature(status)
            settled_as = settled.get(name)
            if settled_as == hash(signature):
                continue
            seen = Seen(path=folder + name, signature=signature, group=group)
            pace = self._pace(known, seen, name, partial(self._is_written, fd, name), found)
            if settled_as is not None:
                found.changed.append(seen)
            else:
                self._settle(known, seen, name, pace, listing, found)

    def _to_check(self, known: Known, settled: Collection[str], listing: _Listing, *, every: bool) -> Iterator[str]:
        """Name the files that may have changed: those that settle, or go on in their rhythm, or `every` one."""
        if listing.files:  # what has settled by now is not looked at again, nor kept
            listing.files = [*filterfalse(settled.__contains__, listing.files)]
        return chain(listing.files, [*settled] if every else [name for name in [*known.noted] if name in settled])

    def _pace(self, known: Known, seen: Seen, name: str, has_writer: Callable[[], bool], found: _Found) -> Pace:
        noted = self.known.note(known, name)
        pace = noted.pace  # who remembers the file as settled takes it away
        if pace is None:
            pace = noted.pace = Pace.new(seen.signature, found.steady, has_writer, found.now)
        else:
            pace.check(seen.signature, found.steady, has_writer, found.now)
        return pace

    def _is_written(self, folder: int, name: str) -> bool:
        """Tell whether the file is known to have a writer."""
        try:
            fd = os.open(name, READ, dir_fd=folder)
        except OSError:  # gone, or closed to us: who reads it finds out
            return False
        try:
            return self._places.has_writer(fd)
        finally:
            os.close(fd)

    def _settle(self, known: Known, seen: Seen, name: str, pace: Pace, listing: _Listing, found: _Found) -> None:
        left_alone = self._left_alone.get(seen.path, found.steady) - found.steady
        if left_alone > 0 and not known.settles(name):
            found.wake(left_alone)
            return
        if self.known.begins(known, name):
            found.appeared.append(seen)
        left = max(pace.left(found.steady, self._places.rules.settle, self._places.quiet_time), left_alone)
        if left > HAIR:
            found.wake(left)
            found.empty += pace.empty and not pace.written
            return
        marker = self._names.marker(name)
        why = self._names.unfinished(name, listing.unfinished, empty=not seen.signature.size)
        if why is not None:
            found.unfinished[seen.path] = why
        elif marker is None or same(marker) in listing.markers:
            found.ready.append(seen)

    def _vanished(self, found: _Found) -> tuple[str, ...]:
        closed = tuple(f"{path}/" for path in found.closed)
        missing = [path for path in (*found.missing, *self.known.outside()) if self._is_gone(path, closed)]
        return tuple(sorted(filter(self.known.is_recorded, missing)))

    def _is_gone(self, path: str, closed: tuple[str, ...]) -> bool:
        """Tell whether no regular file lies there: a rule or a folder that changed has taken nothing away."""
        if path.startswith(closed):
            return False
        parts = self._tree.below(path)
        try:
            return parts is None or not self._tree.is_file(parts)
        except OSError:
            return False
