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
import itertools
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from finetuned.cli.terminal import harmless
from finetuned.errors import FinetunedError
from finetuned.folders.names import fitted

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
        errno.ENAMETOOLONG: "choose a shorter name",
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
            check_free(os.path.join(folder, name), force=force)

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
        self._path = os.path.realpath(path)  # a link stays, and leads there
        where, name = os.path.split(self._path)
        self._part = os.path.join(where, fitted(f".{name}", ".part"))
        self._former = os.path.join(where, fitted(f".{name}", ".former.part"))
        self._files: list[NewFile] = []
        self._force = force
        self._gone = False
        if _is_there(self._path):
            _check_replaceable(self._path, names_of, force=force)
        try:
            self._lock = _new_folder(self._part)
        except OSError as error:
            raise not_written(self._path, error) from error

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
            if not (self._force and self._exchanged()):
                self._put()
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                raise _there(self._path) from error
            raise not_written(self._path, error) from error

    def _exchanged(self) -> bool:
        """Put the folder in the place of an earlier one, in one step; False: there is none, or that cannot be."""
        from finetuned.folders.renames import exchange

        try:
            former = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            _check_left(former, self._path)  # and hold it: it gets the name of what is being written
            if not exchange(self._part, self._path):
                return False
            sync_folder(os.path.dirname(self._path))
            shutil.rmtree(self._part, ignore_errors=True)
        finally:
            os.close(former)
        self._gone = True
        return True

    def _put(self) -> None:
        """Name the folder; an earlier one, which was looked through at the beginning, steps aside whole."""
        shutil.rmtree(self._former, ignore_errors=True)  # left by a kill
        if self._force:
            with suppress(FileNotFoundError):
                os.rename(self._path, self._former)
        try:
            os.rename(self._part, self._path)  # nothing is replaced but an empty folder
        except OSError:
            with suppress(OSError):
                os.rename(self._former, self._path)
            raise
        self._gone = True
        sync_folder(os.path.dirname(self._path))
        shutil.rmtree(self._former, ignore_errors=True)

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


def check_free(path: str, *, force: bool) -> None:
    """Raise FinetunedError if no file can get this name; with `force` a regular file there may be replaced."""
    if os.path.isdir(path):
        raise FinetunedError(f"{harmless(path)} is a folder", remedy="name a file in it")
    if not _is_there(path):
        return
    if not stat.S_ISREG(os.lstat(path).st_mode):  # a device is needed by others, a link leads elsewhere
        raise FinetunedError(f"{harmless(path)} is no regular file", remedy="name another")
    if not force:
        raise _there(path)


def _check_replaceable(path: str, names_of: Callable[[str], set[str]], *, force: bool) -> None:
    """Raise FinetunedError unless a folder is empty or, with `force`, an earlier export."""
    if not os.path.isdir(path):
        raise FinetunedError(f"{harmless(path)} is no folder", remedy="name a new one")
    strange = _strange_in(path, names_of(path))
    if strange is not None:
        raise FinetunedError(
            f"{harmless(path)} holds what no export put there: {harmless(strange)}",
            remedy="name a new folder, it may be one in there; --force replaces earlier exports, and nothing else",
        )
    if os.listdir(path) and not force:
        raise _there(path)


def _strange_in(folder: str, known: set[str]) -> str | None:
    """Find what in a folder is neither a `known` file nor a folder of one, and look no further; null: nothing is."""
    ways = {os.path.dirname(name) for name in known}
    for way, *inside in os.walk(folder):
        for name in sorted(itertools.chain(*inside)):
            below = os.path.relpath(os.path.join(way, name), folder)
            if below not in known and below not in ways:
                return below
    return None


def _is_there(path: str) -> bool:
    """Tell whether anything is there, if only a broken link. Raises FinetunedError: nothing could be."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise not_written(path, error) from error
    return True


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
