"""Files that people asked for: whole under their names, or not there at all.

1. Each is written beside its place under a name that begins with a dot and ends in `.part`, brought to disk, and named
   in the end. Nothing that lies there is replaced unless that is wished, and a folder only if all in it was written by
   the same command before (`names_of`).
2. Several files get their names one after the other, the last of them the one that tells of the others. If one cannot
   get its name, those before it lose theirs.
3. A part that a kill left is removed by the next that wants its name: the kernel knows that none holds it any more.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from finetuned.cli.terminal import harmless
from finetuned.errors import FinetunedError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MAKE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REMEDIES: Final = MappingProxyType(
    {
        errno.ENOSPC: "free some space on its disk; nothing is left of it",
        errno.EDQUOT: "free some space on its disk; nothing is left of it",
        errno.ENOENT: "make its folder first",
        errno.ENOTDIR: "make its folder first",
        errno.EACCES: "name one in a folder in which you may write",
        errno.EPERM: "name one in a folder in which you may write",
        errno.EROFS: "name one in a folder in which you may write",
    }
)


class NewFile(io.RawIOBase):
    """A file that is being written; `sha256` and `size` tell what is in it so far."""

    def __init__(self, fd: int) -> None:
        self.size = 0
        self._fd = fd
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of what was written, in hex."""
        return self._digest.hexdigest()

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of `data`."""
        left = whole = memoryview(data).cast("B")
        while left:
            left = left[os.write(self._fd, left) :]
        self._digest.update(whole)
        self.size += len(whole)
        return len(whole)

    def sync(self) -> None:
        """Bring it to disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Let go of it."""
        if not self.closed:
            os.close(self._fd)
        super().close()


class Output(Protocol):
    """Where the files of a command go: they are opened, written, and named together; or left, and nothing is there."""

    def open(self, name: str) -> NewFile:
        """Begin a file. Raises FinetunedError."""
        ...

    def publish(self, last: str, data: bytes, *, stale: Sequence[str] = ()) -> None:
        """Give all files their names, and at the end `last`, which holds `data`; remove `stale` ones of before."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Beside:
    """Files in one folder that is there already."""

    def __init__(self, folder: str, names: Sequence[str], *, force: bool) -> None:
        self._folder = folder
        self._force = force
        self._open: dict[str, NewFile] = {}
        for name in names:
            _check_free(os.path.join(folder, name), force=force)

    def open(self, name: str) -> NewFile:
        """Begin a file that is to have this name. Raises FinetunedError."""
        part = self._part(name)
        try:
            file = NewFile(_new_part(part))
        except OSError as error:
            raise not_written(os.path.join(self._folder, name), error) from error
        self._open[name] = file
        return file

    def publish(self, last: str, data: bytes, *, stale: Sequence[str] = ()) -> None:
        """Give the files their names, `last` in the end; with `force` the earlier `last` goes first."""
        told = self.open(last)
        named: list[str] = []
        name = last
        try:
            told.write(data)
            for file in self._open.values():
                file.sync()
            if self._force:
                for name in (last, *stale):
                    with suppress(FileNotFoundError):
                        os.unlink(os.path.join(self._folder, name))
            for name in self._open:
                self._name(name)
                named.append(name)
            sync_folder(self._folder)
        except OSError as error:
            for done in () if self._force else named:
                os.unlink(os.path.join(self._folder, done))
            raise not_written(os.path.join(self._folder, name), error) from error

    def _name(self, name: str) -> None:
        from finetuned.folders.renames import rename_new

        if self._force:
            os.replace(self._part(name), os.path.join(self._folder, name))
            return
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            rename_new(os.path.basename(self._part(name)), name, folder, folder)
        finally:
            os.close(folder)

    def _part(self, name: str) -> str:
        from finetuned.folders.names import fitted

        return os.path.join(self._folder, fitted(f".{name}", ".part"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, file in self._open.items():
            with suppress(FileNotFoundError):
                os.unlink(self._part(name))
            file.close()


class NewFolder:
    """Files in a folder of their own, which appears as a whole."""

    def __init__(self, path: str, *, force: bool, names_of: Callable[[str], set[str]]) -> None:
        self._path = path
        self._part = os.path.join(os.path.dirname(path), f".{os.path.basename(path)[:200]}.part")
        self._files: list[NewFile] = []
        self._force = force
        self._gone = False
        if os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path)):
            if not force:
                raise _there(path)
            strange = _files_below(path) - names_of(path) if os.path.isdir(path) else {path}
            if strange:
                raise FinetunedError(
                    f"{harmless(path)} holds what no export put there: {harmless(min(strange))}",
                    remedy="name a new folder; --force replaces earlier exports, and nothing else",
                )
        try:
            self._lock = _new_folder(self._part)
        except OSError as error:
            raise not_written(path, error) from error

    def open(self, name: str) -> NewFile:
        """Begin a file in the folder. Raises FinetunedError."""
        path = os.path.join(self._part, name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = NewFile(os.open(path, _MAKE, 0o666))
        except OSError as error:
            raise not_written(os.path.join(self._path, name), error) from error
        self._files.append(file)
        return file

    def publish(self, last: str, data: bytes, *, stale: Sequence[str] = ()) -> None:  # noqa: ARG002 - all is new
        """Give the folder its name, with `last` in it."""
        try:
            self.open(last).write(data)
            for file in self._files:
                file.sync()
            for way, _, _ in os.walk(self._part):
                sync_folder(way)
            self._put()
            sync_folder(os.path.dirname(self._path))
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                raise _there(self._path) from error
            raise not_written(self._path, error) from error

    def _put(self) -> None:
        """Name the folder; an earlier one, which was looked through at the beginning, steps aside whole."""
        former = f"{self._part.removesuffix('.part')}.former.part"
        shutil.rmtree(former, ignore_errors=True)  # left by a kill
        if self._force:
            with suppress(FileNotFoundError):
                os.rename(self._path, former)
        os.rename(self._part, self._path)  # nothing is replaced but an empty folder
        self._gone = True
        shutil.rmtree(former, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        if not self._gone:
            shutil.rmtree(self._part, ignore_errors=True)
        os.close(self._lock)


def not_written(path: str, error: OSError) -> FinetunedError:
    """Make the error of what cannot be written, with the way out."""
    if isinstance(error, FileExistsError):
        return _there(path)
    remedy = _REMEDIES.get(error.errno or 0, "")
    return FinetunedError(f"{harmless(path)} cannot be written: {error.strerror or error}", remedy=remedy)


def sync_folder(path: str) -> None:
    """Bring the names in a folder to disk. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _there(path: str) -> FinetunedError:
    return FinetunedError(f"{harmless(path)} is there already", remedy="name another, or replace it: --force")


def _check_free(path: str, *, force: bool) -> None:
    if os.path.isdir(path):
        raise FinetunedError(f"{harmless(path)} is a folder", remedy="name a file in it")
    if os.path.lexists(path) and not force:
        raise _there(path)


def _files_below(path: str) -> set[str]:
    return {os.path.relpath(os.path.join(way, name), path) for way, _, names in os.walk(path) for name in names}


def _new_part(path: str) -> int:
    """Make an empty file and hold it. Raises OSError."""
    with suppress(FileNotFoundError):
        left = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check_left(left, path)
        finally:
            os.close(left)
        os.unlink(path)
    fd = os.open(path, _MAKE, 0o666)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def _new_folder(path: str) -> int:
    """Make an empty folder and hold it. Raises OSError."""
    with suppress(FileNotFoundError):
        left = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check_left(left, path)
        finally:
            os.close(left)
        shutil.rmtree(path)
    os.mkdir(path)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd


def _check_left(fd: int, path: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(errno.EBUSY, "another export writes it now", path) from None
