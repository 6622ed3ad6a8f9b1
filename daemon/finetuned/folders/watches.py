"""Wakes the daemon when something changes below a folder; a hint, never the truth: sweeps find what events lose.

1. Folders are watched one by one: the tops, and those that a sweep has walked to. So nothing is watched through a link
   (but for a top that is one), and nothing below `done`, `failed` and `.processing`.
2. There is one set of watches, and one thread that listens. The set is made anew when a sweep tells of another tree,
   when a top comes, goes or is replaced, and after any failure (one name that is not UTF-8 ends it). After each time
   every folder counts as changed: what happened in between was not seen.
3. To make it takes about 50 µs a folder, and holds up all that is Python. So that is a tenth of the time at most: in a
   tree of 5,000 folders to which new ones come all the while, each has its watch within 3 seconds.
4. Where a limit of the system is met only the tops are watched, or nothing; that is told, and tried again later.
5. A watch that is cancelled ends at once: its thread, which cannot be cancelled, is told to stop.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import anyio
import anyio.to_thread
from watchfiles import Change
from watchfiles._rust_notify import RustNotify

from finetuned.folders.probes import is_probe
from finetuned.model import RESERVED, Value

#: milliseconds: how long changes are gathered, how often the watch looks for more, how long it looks at nothing
_GATHER: Final = 75
_STEP: Final = 75
IDLE: Final = 2000
#: at how many looks for more it is asked once whether other folders are to be watched: to ask takes longer than a look
_ASK_EACH: Final = 3
#: seconds from a failure to the next try
_PAUSE: Final = 1.0
#: … and from a limit that was met
_LIMIT_PAUSE: Final = 300.0
#: after a set of watches was made it stays for so many times the time that this took
_REST: Final = 10

#: by absolute path: a folder's device and inode
Identities: TypeAlias = Mapping[str, tuple[int, int]]


class Watched(Protocol):
    """A folder to watch, by its absolute path; `subfolders` is replaced when others are to be watched below it.

    So many more are `unwatched`. A file that went is no news if finetuned `took` it, which is told once.
    """

    @property
    def root(self) -> str: ...

    @property
    def subfolders(self) -> Identities: ...

    @property
    def unwatched(self) -> int: ...

    def took(self, path: str, /) -> bool: ...


class Single(Value, frozen=True):
    """A folder that is watched without what is below it."""

    root: str
    subfolders: Identities = MappingProxyType({})
    unwatched: int = 0

    def took(self, _path: str) -> bool:
        """Take nothing."""
        return False


class _Stop:
    """What the listening thread asks every few milliseconds: is it over?

    It is when the caller says so, when the task is cancelled (`set`), and when there is something else to watch
    (`is_outdated`), as soon as that is `due`.
    """

    def __init__(self, stop: anyio.Event | None, is_outdated: Callable[[], bool]) -> None:
        self._stop = stop
        self._is_outdated = is_outdated
        self._own = False
        self._looks = 0
        self.due = False

    def is_set(self) -> bool:
        if self._own or (self._stop is not None and self._stop.is_set()):
            return True
        self._looks += 1
        return self.due and self._looks % _ASK_EACH == 0 and self._is_outdated()

    def set(self) -> None:
        self._own = True


def _is_set(stop: anyio.Event | None) -> bool:
    return stop is not None and stop.is_set()


async def watch(
    places: Sequence[Watched],
    on_change: Callable[[str], None],
    stop: anyio.Event | None = None,
    *,
    pause: Callable[[float], Awaitable[None]],
    trouble: Callable[[str], None] = lambda _: None,
    lacks: Callable[[str | None], None] = lambda _: None,
) -> None:
    """Call `on_change` with a root whenever something changes below it, until `stop` is set or for ever.

    `pause` waits so many seconds; `trouble` hears why a watch ended, and `lacks` why not all folders are watched (None:
    they are).
    """
    lack = None
    while not _is_set(stop):
        roots = await anyio.to_thread.run_sync(_identities, places)
        failed = not roots
        try:
            if roots:
                lack = await _watch_once(places, roots, on_change, stop, pause=pause, lacks=lacks, lack=lack)
        except* (OSError, RuntimeError, UnicodeError) as group:
            failed = True
            trouble("; ".join(str(error) for error in _leaves(group)))
        if failed and not _is_set(stop):
            await pause(_PAUSE)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _identities(places: Sequence[Watched]) -> Identities:
    """Find which folder lies at each root that is there."""
    found = {}
    for place in places:
        with suppress(OSError):
            status = os.stat(place.root)
            found[place.root] = (status.st_dev, status.st_ino)
    return found


class _LimitError(Exception):
    """The system allows no more watches."""


class _Watches:
    """One set of watches: of the roots, and, if there is no lack of watches, of what was told to lie below them."""

    def __init__(self, places: Sequence[Watched], roots: Identities, lack: str | None) -> None:
        """Make them. Raises _LimitError, OSError, RuntimeError, UnicodeError."""
        self.places = places
        self.roots = roots
        self._told = [place.subfolders for place in places]
        self.left_out = sum(place.unwatched for place in places)
        self.below = {p for one in self._told for p, identity in one.items() if not lack and _lies(p, identity)}
        self._outdated = lack is not None
        try:
            # errors are not ignored: of those that it may ignore one is a limit that is met
            self.notify = RustNotify([*roots, *self.below], False, False, 0, False, False)
        except (FileNotFoundError, PermissionError):  # gone, or closed, in this very moment
            raise
        except (OSError, RuntimeError) as error:
            cause = str(error).partition(" about [")[0].rstrip(".")
            raise _LimitError(
                f"{len(roots) + sum(map(len, self._told))} folders cannot all be watched: {cause}"
            ) from error

    def look(self, ended: _Stop) -> tuple[set[tuple[int, str]] | str, bool]:
        """Wait for changes, a while; return them, or why there are none, and whether the roots are still the same."""
        found = self.notify.watch(_GATHER, _STEP, IDLE, ended)
        return found, _identities(self.places) == self.roots

    def is_outdated(self) -> bool:
        """Tell whether other folders are to be watched."""
        moved = any(place.subfolders is not told for place, told in zip(self.places, self._told, strict=True))
        return self._outdated or moved

    def news(self, changes: set[tuple[int, str]]) -> Iterator[str]:
        """Yield the paths that changed, but for those of files that finetuned took away."""
        for change, path in changes:
            if change != Change.deleted or not any(place.took(path) for place in self.places):
                yield path

    def heed(self, changes: set[tuple[int, str]]) -> None:
        """Note folders that went: one may be made anew before the sweep sees that it went."""
        self._outdated |= any(change == Change.deleted and path in self.below for change, path in changes)


async def _watch_once(
    places: Sequence[Watched],
    roots: Identities,
    on_change: Callable[[str], None],
    stop: anyio.Event | None,
    *,
    pause: Callable[[float], Awaitable[None]],
    lacks: Callable[[str | None], None],
    lack: str | None,
) -> str | None:
    """Watch until there is something else to watch, the tops alone if there is a `lack` of watches.

    Returns why the tops alone are to be watched next; None: everything is.
    """
    begun = anyio.current_time()
    try:
        watches = await anyio.to_thread.run_sync(_Watches, places, roots, lack)
    except _LimitError as error:
        lacks(str(error))
        await pause(_LIMIT_PAUSE if lack else _PAUSE)  # the watches that could be made go away in a moment
        return None if lack else str(error)
    rest = _LIMIT_PAUSE if lack else _REST * (anyio.current_time() - begun)
    if not lack:
        many = f"{watches.left_out} sub-folders more than can be watched" if watches.left_out else None
        lacks(many)
    for root in roots:
        on_change(root)
    ended = _Stop(stop, watches.is_outdated)
    with closing(watches.notify):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_see_to_its_end, ended, pause, rest)
            await _listen(watches, ended, on_change)
            tasks.cancel_scope.cancel()
    return None


async def _listen(watches: _Watches, ended: _Stop, on_change: Callable[[str], None]) -> None:
    """Tell of changes until it is ended, or a root came, went or was replaced."""
    same = True
    while same:
        found, same = await anyio.to_thread.run_sync(watches.look, ended)
        if found == "stop":
            return
        changes = found if isinstance(found, set) else set()
        watches.heed(changes)
        for root in touched(watches.roots, watches.news(changes), watches.below):
            on_change(root)
        if any(change == Change.deleted and path in watches.roots for change, path in changes):
            return


async def _see_to_its_end(ended: _Stop, pause: Callable[[float], Awaitable[None]], rest: float) -> None:
    """Let the watches be made anew once the `rest` is over; end them when this is cancelled."""
    try:
        await pause(rest)
        ended.due = True
        await anyio.sleep_forever()
    finally:
        ended.set()


def _lies(path: str, identity: tuple[int, int]) -> bool:
    """Tell whether the very folder lies there still; not if its name is one that cannot be watched."""
    try:
        status = os.lstat(path.encode())
    except (OSError, UnicodeError):
        return False
    return stat.S_ISDIR(status.st_mode) and (status.st_dev, status.st_ino) == identity


def is_heard(root: str, act: Callable[[], str], within: float) -> bool:
    """Tell whether an event tells, within so many seconds, of what `act` does right in the folder `root`.

    `act` returns the path that it changed. Raises OSError, RuntimeError.
    """
    with closing(RustNotify([root], False, False, 0, False, False)) as notify:
        path = act()
        for _ in range(int(within * 1000 / _STEP)):
            changes = notify.watch(_STEP, _STEP, _STEP, None)
            if isinstance(changes, set) and any(changed == path for _, changed in changes):
                return True
        return False


def touched(roots: Iterable[str], paths: Iterable[str], walked: Container[str] = ()) -> set[str]:
    """Return the roots below which something changed that is not in our own folders, nor a probe of ours.

    What was `walked` to is not ours: with after = "keep" a `done` may be the owner's.
    """
    prefixes = [(root, root.rstrip("/") + "/") for root in roots]
    found: set[str] = set()
    for path in paths:
        for root, prefix in prefixes:
            below = path[len(prefix) :] if path.startswith(prefix) else ""
            first = below.split("/", 1)[0]
            ours = (first in RESERVED and prefix + first not in walked) or is_probe(below)
            if path == root or (below and not ours):
                found.add(root)
    return found
