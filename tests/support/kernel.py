"""What the kernel says instead, and what comes between two of its answers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

import pytest

from finetuned.folders import libc


def fail(code: int) -> Callable[..., NoReturn]:
    """A call of Python's that fails."""

    def call(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return call


def without_renames(monkeypatch: pytest.MonkeyPatch, code: int | None = None) -> None:
    """Let the C library have no renameat2 (and nothing else), or let it always fail."""
    monkeypatch.setattr(libc, "call", lambda *_: None if code is None else partial(_failed, code))


def _failed(code: int, *_: object) -> int:
    ctypes.set_errno(code)
    return -1


def _path(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


def renames_by(monkeypatch: pytest.MonkeyPatch, act: Callable[[Callable[[], None], str, str], None]) -> None:
    """Let `act(rename, old, new)` be called for each rename without replacing; both places are absolute paths.

    It calls `rename()`, which is the deed, or raises what the kernel is to say.
    """
    real = libc.call

    def call(name: str, *types: type) -> Callable[..., int] | None:
        found = real(name, *types)
        if name != "renameat2" or found is None:
            return found

        def renameat2(old_dir: int, old: bytes, new_dir: int, new: bytes, flags: int) -> int:
            def rename() -> None:
                if found(old_dir, old, new_dir, new, flags) != 0:
                    raise libc.failure()

            try:
                act(rename, f"{_path(old_dir)}/{os.fsdecode(old)}", f"{_path(new_dir)}/{os.fsdecode(new)}")
            except OSError as error:
                return _failed(error.errno)
            return 0

        return renameat2

    monkeypatch.setattr(libc, "call", call)


def listings_by(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], None], *, before: bool = False) -> None:
    """Let `act` be called with the path of each folder after (or `before`) its names are read."""
    real = os.scandir

    @contextmanager
    def scandir(fd: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        path = _path(fd)
        if before:
            act(path)
        with real(fd) as entries:
            found = list(entries)
        if not before:
            act(path)
        yield iter(found)

    monkeypatch.setattr(os, "scandir", scandir)
