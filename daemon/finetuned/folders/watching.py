"""Rings when something changes below a folder; a hint, never the truth: sweeps find what events lose.

1. One watch, one thread, for all folders together; it is set up anew when a folder comes, goes or is replaced, and
   after any failure (one name that is not UTF-8 ends it).
2. After each new start every folder rings: what happened in between was seen by nobody.
3. What only happens below our own folders (done, failed, .processing) does not ring.
4. A watch that is cancelled ends at once: its thread, which nobody can cancel, is told to stop.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, suppress
from typing import Final, TypeAlias, cast

import anyio
import anyio.to_thread
from watchfiles import Change, awatch

from finetuned.model import RESERVED

#: milliseconds: how long changes are gathered, how often the watch looks for more, how long it looks at nothing
_GATHER: Final = 100
_STEP: Final = 10
_IDLE: Final = 2000
#: seconds from a failure to the next try
_PAUSE: Final = 1.0

_Identities: TypeAlias = dict[str, tuple[int, int]]


class _Stop:
    """Whether to stop, for the watch, which also wants to set it: that must not stop anybody else."""

    def __init__(self, stop: anyio.Event | None) -> None:
        self._stop = stop
        self._own = False

    def is_set(self) -> bool:
        return self._own or (self._stop is not None and self._stop.is_set())

    def set(self) -> None:
        self._own = True

    async def wait(self) -> None:
        """Part of the shape of an event; nobody waits here."""


async def watch(
    roots: Sequence[str],
    ring: Callable[[str], None],
    stop: anyio.Event | None = None,
    *,
    pause: Callable[[float], Awaitable[None]],
    trouble: Callable[[str], None] = lambda _: None,
) -> None:
    """Ring for a root whenever something changes below it, until `stop` is set or for ever.

    `pause` waits so many seconds after a failure or while no root is there; `trouble` hears why a watch ended.
    """
    while stop is None or not stop.is_set():
        present = await anyio.to_thread.run_sync(_identities, roots)
        failed = not present
        try:
            if present:
                await _watch_once(roots, present, ring, stop)
        except* (OSError, RuntimeError, UnicodeError) as group:
            failed = True
            trouble("; ".join(str(error) for error in _leaves(group)))
        if failed and not (stop is not None and stop.is_set()):
            await pause(_PAUSE)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterable[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _identities(roots: Sequence[str]) -> _Identities:
    """Which folder lies at each root that is there."""
    found: _Identities = {}
    for root in roots:
        with suppress(OSError):
            status = os.stat(root)
            found[root] = (status.st_dev, status.st_ino)
    return found


async def _watch_once(
    roots: Sequence[str], present: _Identities, ring: Callable[[str], None], stop: anyio.Event | None
) -> None:
    """Watch until a root comes, goes or is replaced."""
    ended = _Stop(stop)
    changes = awatch(
        *present,
        watch_filter=None,
        debounce=_GATHER,
        step=_STEP,
        stop_event=cast("anyio.Event", ended),
        rust_timeout=_IDLE,
        yield_on_timeout=True,
        ignore_permission_denied=True,
    )
    for root in present:
        ring(root)
    async with anyio.create_task_group() as tasks, aclosing(changes) as batches:
        tasks.start_soon(_set_when_cancelled, ended)
        async for batch in batches:
            for root in touched(present, (path for _, path in batch)):
                ring(root)
            replaced = any(change is Change.deleted and path in present for change, path in batch)
            if replaced or await anyio.to_thread.run_sync(_identities, roots) != present:
                break
        tasks.cancel_scope.cancel()


async def _set_when_cancelled(event: _Stop) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        event.set()


def touched(roots: Iterable[str], paths: Iterable[str]) -> set[str]:
    """The roots below which something changed that is not in our own folders."""
    prefixes = [(root, root.rstrip("/") + "/") for root in roots]
    found: set[str] = set()
    for path in paths:
        for root, prefix in prefixes:
            below = path[len(prefix) :] if path.startswith(prefix) else ""
            if path == root or (below and below.split("/", 1)[0] not in RESERVED):
                found.add(root)
    return found
