"""Seams: the points at which what we do begins to show outside this process, found by standing at its border.

1. Whatever of ours reaches the disk or the wire goes through one of the doors that `watch` stands at: the calls of `os`
   that change a folder or bring it to disk, renameat2, syncfs, SQLite's connection, the start of a program. A request
   is two seams, for the server acts between them. `tests/crash/test_no_other_seam.py` lets strace tell whether a door
   was overlooked.
2. A seam is met before its deed; to die there is to die after the deed before. After the last one nothing is left.
3. `watch` puts its doors in for good: call it in a process of its own.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol

from finetuned.folders import libc

_not_ours: ContextVar[bool] = ContextVar("_not_ours", default=False)
#: calls of `os` whose deed is a seam, and how many of their first arguments name a place
_CALLS = {
    "fsync": 1,
    "fdatasync": 1,
    "sync": 0,
    "rename": 2,
    "replace": 2,
    "link": 2,
    "symlink": 2,
    "unlink": 1,
    "remove": 1,
    "rmdir": 1,
    "mkdir": 1,
}
#: a table of one connection, which lies in memory
TEMPORARY = "changed_jobs"
_SCHEMA = frozenset({"create", "drop", "alter"})
_WRITES = _SCHEMA | {"insert", "update", "delete"}


class Watcher(Protocol):
    """Told of every seam: entered before the deed, left after it."""

    def at(self, kind: str, what: str) -> Any:
        """A context around the deed."""


@contextmanager
def others() -> Iterator[None]:
    """What is done herein is not ours: the server's in this process, or a person's."""
    token = _not_ours.set(True)
    try:
        yield
    finally:
        _not_ours.reset(token)


def watch(watcher: Watcher) -> None:
    """Tell `watcher` from now on."""
    for name, places in _CALLS.items():
        setattr(os, name, _watched(watcher, name, getattr(os, name), places))
    _watch_libc(watcher)
    _watch_sqlite(watcher)
    subprocess.Popen = partial(_start, watcher, subprocess.Popen)  # type: ignore[assignment,misc]


def _watched(watcher: Watcher, kind: str, real: Callable[..., Any], places: int) -> Callable[..., Any]:
    def call(*args: Any, **words: Any) -> Any:
        if _not_ours.get():
            return real(*args, **words)
        folders = (words.get("src_dir_fd", words.get("dir_fd")), words.get("dst_dir_fd"))
        with watcher.at(kind, " → ".join(map(_place, args[:places], folders))):
            return real(*args, **words)

    return call


def _place(what: Any, folder: int | None = None) -> str:
    """The absolute path of what a call is about."""
    if isinstance(what, int):
        return os.readlink(f"/proc/self/fd/{what}")
    return os.path.join("" if folder is None else _place(folder), os.fsdecode(what))


def _rename_new(watcher: Watcher, real: Callable[..., int], *args: Any) -> int:
    old_dir, old, new_dir, new, _ = args
    with watcher.at("rename", f"{_place(old, old_dir)} → {_place(new, new_dir)}"):
        return real(*args)


def _start(watcher: Watcher, real: Callable[..., Any], command: Sequence[str], **words: Any) -> Any:
    with watcher.at("program", command[0]):
        return real(command, **words)


def _watch_libc(watcher: Watcher) -> None:
    real = libc.call

    def call(name: str, *types: str) -> Callable[..., int] | None:
        found = real(name, *types)
        if found is None or name not in {"renameat2", "syncfs"}:
            return found
        return partial(_rename_new, watcher, found) if name == "renameat2" else _watched(watcher, name, found, 1)

    libc.call = call  # type: ignore[assignment]


def _watch_sqlite(watcher: Watcher) -> None:
    class Writer(sqlite3.Connection):
        """One whose commits are seams; a transaction that changed nothing is none."""

        _before, _first = 0, ""

        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            word, *more = sql.lower().split()[:3]
            if word == "begin":
                self._before, self._first = self.total_changes, ""
            if word == "commit" and self.total_changes != self._before:
                deed = "commit", self._first
            elif not self.in_transaction and word in _WRITES and TEMPORARY not in sql:
                deed = "commit", " ".join((word, *more))
            elif word == "pragma" and more[0].startswith("wal_checkpoint"):
                deed = "fold", "the log"
            elif word == "pragma" and "=" in more:
                deed = "pragma", " ".join(more)
            else:
                if word in _WRITES:
                    self._first = self._first or " ".join((word, *more))
                    self._before -= word in _SCHEMA  # no row, but a change
                return super().execute(sql, *args)
            with watcher.at(*deed):
                done = super().execute(sql, *args)
                if word == "pragma":
                    done.fetchall()  # it takes effect at its end, not at its first row
                return done

    real = sqlite3.connect

    def connect(path: str, *args: Any, **words: Any) -> sqlite3.Connection:
        """A reader, whose address says so, commits nothing."""
        return real(path, *args, **words) if "?mode=ro" in path else real(path, *args, factory=Writer, **words)

    sqlite3.connect = connect  # type: ignore[assignment]
