"""One folder and all below it, walked by descriptor.

1. No symbolic link below the folder is followed, at any step; the folder itself and its parents may be links.
2. Every open is non-blocking, so that a fifo blocks nothing.
3. What was made or moved is on disk (fsync) when a method returns; within `together`, when that ends: many files at
   about the price of one.
4. A folder is opened anew each time it is listed, as a copy of a descriptor is not another place to read from: sshfs
   lists an open folder once, and shows it empty from then on, to every program.
5. Errors are the operating system's; who calls knows what they mean for the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from finetuned.errors import Away, Held, Stuck
from finetuned.folders import papers, rights
from finetuned.folders.mounts import Mount, mount_of
from finetuned.folders.names import Parts, numbered
from finetuned.folders.os_errors import words
from finetuned.folders.papers import Readers
from finetuned.folders.renames import is_half_done, rename_new
from finetuned.folders.syncs import sync, sync_all, sync_file_system
from finetuned.folders.text import looks_same, signature_of
from finetuned.model import PROCESSING, Signature

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: errors that say "this file system has no locks for folders", not "it is locked"
_NO_LOCKS: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EISDIR})
_NO_NAMES: Final = frozenset({"", ".", ".."})
#: so many are brought to disk one by one; of more, the whole file system is
FEW: Final = 16
#: how many folders one batch keeps open
MOST_OPEN: Final = 64


@contextmanager
def listed(fd: int) -> Iterator[Iterator[os.DirEntry[str]]]:
    """List the folder of `fd`; ask the entries within, as one may look at the folder once more."""
    fresh = os.open(".", _FOLDER, dir_fd=fd)
    try:
        with os.scandir(fresh) as entries:
            yield entries
    finally:
        os.close(fresh)


def _names_in(fd: int) -> set[str]:
    with listed(fd) as entries:
        return {entry.name for entry in entries}


@dataclass(slots=True)
class _Batch:
    """What one `together` has opened, and what it has changed, in order."""

    folders: dict[Parts, int] = field(default_factory=dict)
    unsynced: dict[Parts, None] = field(default_factory=dict)


class _Batches(threading.local):
    """Each thread's own batch: an upload in another one neither sees nor closes its descriptors."""

    now: _Batch | None = None


class Tree:
    """A folder by its absolute path; held, it is the very folder that was opened, wherever its name points.

    `ours`: it is made when it is written to first. Any other is never made: it is away while it is missing. `owner` is
    the daemon's user (uid), if that is another one than ours.
    """

    def __init__(self, path: str, *, ours: bool = False, owner: int | None = None) -> None:
        self.path = os.path.abspath(path)
        self._above = f"{self.path.rstrip('/')}/"
        self._ours = ours
        self.owner = os.geteuid() if owner is None else owner
        self._fd: int | None = None
        self._swapping = threading.Lock()  # a descriptor that is copied in one thread is not closed in another
        self._lies_on: Mount | int | None = None
        #: what the held folder lies on, if that is known; set with `_lies_on`, as it is asked a dozen times a file
        self.mount: Mount | None = None
        self._batches = _Batches()
        #: is called at each step into the folder, in any thread: what takes long moves on
        self.on_progress: Callable[[], object] = lambda: None

    @property
    def held(self) -> bool:
        """Whether the folder is held."""
        return self._fd is not None

    def hold(self) -> None:
        """Open and lock the folder. Raises Held and Away; once held, it must come back on the same mount.

        While the very folder is held it stays so, without a gap: uploads in other threads may be reading from it.
        """
        with suppress(Away, OSError):  # a stale descriptor tells nothing, either
            self.check()
            return
        fd = self._open()
        try:
            self._lock(fd)
            lies_on = mount_of(fd) or os.fstat(fd).st_dev
            self._check_mount(lies_on)
        except BaseException:
            os.close(fd)
            raise
        self._lies_on, self.mount = lies_on, lies_on if isinstance(lies_on, Mount) else None
        self._swap(fd)

    def _check_mount(self, lies_on: Mount | int) -> None:
        """Raise Away if another file system lies there: an unmounted folder shows what lies beneath."""
        if self._lies_on not in {None, lies_on}:
            raise Away(
                f"another file system lies at {self.path}: {lies_on}; it was {self._lies_on}",
                remedy="mount it again; if it is meant to lie there from now on, start finetuned anew",
            )

    def check(self) -> None:
        """Raise Away if the path does not lead to the held folder any more, or is not held."""
        with self._swapping:
            here = None if self._fd is None else os.fstat(self._fd)
        if here is None:
            raise Away(f"{self.path} is not held")
        try:
            there = os.stat(self.path)
        except OSError as error:
            raise self._away(error) from error
        if (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            raise Away(f"another folder lies at {self.path} than the one that was watched")

    def identity(self) -> tuple[int, int] | None:
        """Tell which folder is held, or else lies at the path, by device and inode; None if there is none."""
        with suppress(OSError), self._swapping:
            found = os.stat(self.path if self._fd is None else self._fd)
            return found.st_dev, found.st_ino
        return None

    def take_over(self, other: Tree) -> None:
        """Hold, without a gap, the folder that `other` holds, which lets go of it; it must be the one at our path."""
        with other._swapping:
            fd, other._fd = other._fd, None
        self._lies_on, self.mount = other._lies_on, other.mount
        self._swap(fd)

    def close(self) -> None:
        """Let go; the lock goes too."""
        self._swap(None)

    def _swap(self, fd: int | None) -> None:
        """Hold `fd` from now on, and let go of what was held before."""
        with self._swapping:
            old, self._fd = self._fd, fd
            if old is not None:
                os.close(old)

    def _copy(self) -> int | None:
        """Copy the descriptor of the held folder for the caller; None if it is not held."""
        with self._swapping:
            return None if self._fd is None else os.dup(self._fd)

    def _open(self) -> int:
        try:
            return os.open(self.path, _FOLDER)
        except OSError as error:
            if self._ours:
                raise
            raise self._away(error) from error

    def _away(self, error: OSError) -> Away:
        remedy = "" if isinstance(error, PermissionError) else "make the folder, or mount it again"
        return Away(f"{self.path} cannot be opened: {words(error)}", remedy=remedy)

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Held(
                f"another finetuned watches {self.path}", remedy="stop it, or give each its own folders"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:  # no locks there: the ledger's own lock must do
                raise self._away(error) from error

    def below(self, path: str) -> Parts | None:
        """Return the names that lead from here to `path`; None if it does not lie below."""
        if not path.startswith(self._above):
            return None
        parts = tuple(path[len(self._above) :].split("/"))
        return parts if _NO_NAMES.isdisjoint(parts) else None

    def at(self, parts: Parts) -> str:
        """Return the absolute path of `parts`."""
        return self._above + "/".join(parts)

    def folder(self, parts: Parts = (), *, make: bool = False) -> AbstractContextManager[int]:
        """Open a sub-folder, made on the way if need be; what `together` has open is not opened again."""
        self.on_progress()
        batch = self._batches.now
        fd = batch.folders.get(parts) if batch else None
        return self._walked(parts, make=make) if fd is None else nullcontext(fd)

    @contextmanager
    def _walked(self, parts: Parts, *, make: bool) -> Iterator[int]:
        fd = self._opened(parts, make=make)
        batch = self._batches.now
        try:
            if batch and len(batch.folders) < MOST_OPEN:
                batch.folders[parts] = os.dup(fd)
            yield fd
        finally:
            os.close(fd)

    def _opened(self, parts: Parts, *, make: bool) -> int:
        if not parts:
            if make and self._ours:
                self._make()
            fd = self._copy()
            return self._open() if fd is None else fd
        with self.folder(parts[:-1], make=make) as above:
            return self._step(above, parts, make=make)

    def _make(self) -> None:
        """Make the directory beside the ledger, but nothing in the place of a ledger's folder that was moved away."""
        try:
            with suppress(FileExistsError):
                os.mkdir(self.path, 0o755)
        except FileNotFoundError as error:
            raise Stuck(f"cannot be kept: {os.path.dirname(self.path)} is not there") from error

    def _step(self, above: int, parts: Parts, *, make: bool) -> int:
        name, flags = parts[-1], _FOLDER | os.O_NOFOLLOW
        try:
            fd = os.open(name, flags, dir_fd=above)
        except FileNotFoundError:
            if not make:
                raise
        except NotADirectoryError as error:
            if make:
                raise Stuck(f"cannot be moved: {name!r} in {self.path} is no folder; move it away") from error
            raise
        else:
            return self._trusted(fd, above, parts)
        with suppress(FileExistsError), self.folder() as top:
            if self._ours or parts[0] == PROCESSING:
                os.mkdir(name, 0o755, dir_fd=above)
            else:
                rights.make_shared(name, above, top)
        self._sync(parts[:-1], above)
        return self._trusted(os.open(name, flags, dir_fd=above), above, parts)

    def _trusted(self, fd: int, above: int, parts: Parts) -> int:
        """Return the descriptor if the folder may be used: `.processing` and the jobs in it only if they are ours."""
        if parts[0] != PROCESSING or len(parts) > 2:
            return fd
        with ExitStack() as opened:
            opened.callback(os.close, fd)
            why = rights.why_not_ours(fd, above, self.owner)
            if why is not None:
                raise Stuck(f"cannot be used: {self.at(parts)} {why}; move it away")
            if len(parts) == 1:  # what lies deeper and was open to others tells so, and is no claim
                rights.close_to_others(fd)
            opened.pop_all()
        return fd

    def stat(self, parts: Parts) -> os.stat_result | None:
        """Look at what lies there, links not followed; None if nothing does."""
        try:
            with self.folder(parts[:-1]) as fd:
                return os.stat(parts[-1], dir_fd=fd, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def is_file(self, parts: Parts) -> bool:
        """Tell whether a regular file lies there."""
        found = self.stat(parts)
        return found is not None and stat.S_ISREG(found.st_mode)

    def open(self, parts: Parts) -> int:
        """Open a file to read from; the caller closes it."""
        with self.folder(parts[:-1]) as fd:
            return os.open(parts[-1], READ, dir_fd=fd)

    def names(self, parts: Parts) -> list[str]:
        """List the names in a sub-folder, sorted; none if there is no such folder."""
        return [name for name, _, _ in self._kinds(parts)]

    def folders(self, parts: Parts) -> list[str]:
        """List the names of the folders in a sub-folder, links left out."""
        return [name for name, is_folder, _ in self._kinds(parts) if is_folder]

    def files(self, parts: Parts) -> Iterator[Parts]:
        """Yield all regular files below a sub-folder."""
        for name, is_folder, is_file in self._kinds(parts):
            if is_file:
                yield (*parts, name)
            elif is_folder:
                yield from self.files((*parts, name))

    def _kinds(self, parts: Parts) -> list[tuple[str, bool, bool]]:
        """List what lies in a sub-folder: its name, whether it is a folder, whether it is a regular file."""
        try:
            with self.folder(parts) as fd, listed(fd) as entries:
                return sorted(
                    (e.name, e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False)) for e in entries
                )
        except (FileNotFoundError, NotADirectoryError):
            return []

    def signature(self, status: os.stat_result) -> Signature:
        """Make what tells that a file here is still the same, as far as this file system can be believed."""
        return signature_of(status, local=self.mount is None or self.mount.local)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Bring what this thread makes or moves within to disk at the end, an error or not.

        Folders are opened once. Files that `touch` names are brought to disk, too.
        """
        if self._batches.now is not None:  # within another one, whose end will do
            yield
            return
        batch = self._batches.now = _Batch()
        try:
            yield
        finally:
            self._batches.now = None
            for fd in batch.folders.values():
                os.close(fd)
            self._bring_to_disk(batch.unsynced)

    def _bring_to_disk(self, changed: Collection[Parts]) -> None:
        with ExitStack() as opened:
            if len(changed) > FEW:
                sync_file_system(opened.enter_context(self.folder()))
            else:
                sync_all([fd for parts in changed if (fd := self._reopened(parts, opened)) is not None])

    def _reopened(self, parts: Parts, opened: ExitStack) -> int | None:
        """Open what was changed; None if it is gone since."""
        try:
            fd = self.open(parts) if parts else self._opened((), make=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        opened.callback(os.close, fd)
        return fd

    def touch(self, parts: Parts) -> None:
        """Bring a file's content to disk, too, at the end of `together`."""
        if self._batches.now is not None:
            self._batches.now.unsynced[parts] = None

    def _sync(self, parts: Parts, fd: int) -> None:
        if self._batches.now is None:
            sync(fd)
        else:
            self._batches.now.unsynced[parts] = None

    def move(self, old: Parts, new: Parts) -> None:
        """Rename without replacing; the way to `new` is made. FileExistsError if something lies there."""
        with self.folder(old[:-1]) as source, self.folder(new[:-1], make=True) as target:
            rename_new(old[-1], new[-1], source, target)
            self._sync(new[:-1], target)
            self._sync(old[:-1], source)

    def move_all(
        self, old: Parts, new: Parts, looks: Mapping[str, Signature], *, renamed: bool = False
    ) -> Iterator[str]:
        """Rename regular files that look so (by their names) from one sub-folder to another, without replacing.

        Those that were `renamed` since may have another ctime. Yield which were moved; why another was not, `move`
        tells.
        """
        with self.folder(old) as source, self.folder(new, make=True) as target:
            try:
                for name, signature in looks.items():
                    self.on_progress()
                    with suppress(OSError):
                        found = os.stat(name, dir_fd=source, follow_symlinks=False)
                        if (renamed or found.st_ctime_ns == signature.ctime_ns) and looks_same(found, signature):
                            rename_new(name, name, source, target)
                            yield name
            finally:
                self._sync(new, target)
                self._sync(old, source)

    def move_folder(
        self, old: Parts, new: Parts, looks: Mapping[str, Signature], beside: AbstractSet[str] = frozenset()
    ) -> bool:
        """Rename a sub-folder in which just these files lie that look so, but for their ctime, and names `beside` them.

        It takes the place of an empty one, which is made, and its rights; what lay `beside` the files is removed then,
        and what came in between goes along. False: that cannot be done, or one of the files has changed, and `move_all`
        moves what it can. Raises OSError.
        """
        with self.folder(old[:-1]) as above, self.folder(new[:-1], make=True) as over:
            with self.folder(old) as source, self.folder(new, make=True) as place:
                if _names_in(source) - beside != looks.keys() or _names_in(place):
                    return False
                for name, signature in looks.items():
                    self.on_progress()
                    if not looks_same(os.stat(name, dir_fd=source, follow_symlinks=False), signature):
                        return False
                with rights.given_like(source, place) as fits:
                    if not fits:
                        return False
                    os.rename(old[-1], new[-1], src_dir_fd=above, dst_dir_fd=over)
                for name in beside:
                    with suppress(OSError):  # it is moved all the same; what stays is written over by our papers
                        os.unlink(name, dir_fd=source)
                self._sync(new, source)
            self._sync(new[:-1], over)
            self._sync(old[:-1], above)
        self._let_go(old)
        self._let_go(new)
        return True

    def is_moving(self, old: Parts, new: Parts) -> bool:
        """Tell whether a kill has left a file at `old` and at `new`; to move it again finishes that."""
        try:
            with self.folder(old[:-1]) as source, self.folder(new[:-1]) as target:
                return is_half_done(old[-1], new[-1], source, target)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def move_beside(self, old: Parts, new: Parts) -> Parts:
        """Rename to `new`, or to the first numbered name that is free; return where it lies."""
        for name in numbered(new[-1]):
            target = (*new[:-1], name)
            if target == old:
                return target
            if self.stat(target) is None or self.is_moving(old, target):
                with suppress(FileExistsError):
                    self.move(old, target)
                    return target
        raise AssertionError

    def write(
        self, parts: Parts, pieces: Iterable[bytes], readers: Readers = papers.nobody, *, replace: bool = False
    ) -> None:
        """Write a whole paper or nothing, for these readers; FileExistsError if one lies there that is to stay."""
        replaced = partial(self._sync, parts) if replace else None
        with self.folder(parts[:-1], make=True) as fd, self.folder() as top:
            papers.write(fd, parts[-1], self._moving_on(pieces), readers, top=top, replaced=replaced)
            self._sync(parts[:-1], fd)

    def _moving_on(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self.on_progress()
            yield piece

    def read(self, parts: Parts, most: int = 1 << 24) -> bytes | None:
        """Read a small file of ours; None if there is no such file."""
        if not self.is_file(parts):
            return None
        with os.fdopen(self.open(parts), "rb") as file:
            return file.read(most)

    def remove(self, parts: Parts) -> None:
        """Remove a file; it may be gone already."""
        with suppress(FileNotFoundError, NotADirectoryError), self.folder(parts[:-1]) as fd:
            os.unlink(parts[-1], dir_fd=fd)
            self._sync(parts[:-1], fd)

    def remove_folder(self, parts: Parts) -> None:
        """Remove an empty folder; one that is not empty, or gone, is left."""
        with suppress(OSError), self.folder(parts[:-1]) as fd:
            os.rmdir(parts[-1], dir_fd=fd)
            self._sync(parts[:-1], fd)
            self._let_go(parts)

    def _let_go(self, parts: Parts) -> None:
        """Open a sub-folder anew from now on: another one lies there, or none."""
        if (batch := self._batches.now) and parts in batch.folders:
            os.close(batch.folders.pop(parts))
