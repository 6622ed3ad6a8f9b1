"""Where one folder's files lie, and what lies there: what claiming and archiving share.

1. A path is below the folder (`tree`) or below the directory beside the ledger (`beside`), or it is none of ours.
2. Every error of the operating system leaves here as the problem of one file, or as Away if the whole folder is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, reduce
from operator import and_
from typing import ClassVar

from finetuned.errors import Changed, Gone, Unusable
from finetuned.folders.mounts import is_written
from finetuned.folders.names import Names, Parts
from finetuned.folders.os_errors import problem
from finetuned.folders.papers import Readers
from finetuned.folders.recoders import BAD_LINES, recoder
from finetuned.folders.rights import readers
from finetuned.folders.text import Recoder, content_of, is_same
from finetuned.folders.tree import READ, Tree
from finetuned.model import RESERVED, Content, Signature
from finetuned.readymade import SUFFIX, is_ready_made
from finetuned.settings import FolderSettings


def _by_folder(found: Iterable[tuple[Tree, Parts]]) -> dict[tuple[Tree, Parts], list[str]]:
    """Gather the names of what lies in the same folder, which is opened once then."""
    names: dict[tuple[Tree, Parts], list[str]] = {}
    for tree, parts in found:
        names.setdefault((tree, parts[:-1]), []).append(parts[-1])
    return names


def _readers(tree: Tree, folder: Parts, names: Iterable[str], gid: int) -> Iterator[int | None]:
    """Tell who may read each of what lies there, as `rights.readers` has it; nobody if we may not. None: it is gone."""
    try:
        with tree.folder(folder) as above:
            for name in names:
                tree.on_progress()
                yield _readers_of(name, above, gid)
    except (FileNotFoundError, NotADirectoryError):
        yield None
    except OSError:
        yield 0


def _readers_of(name: str, above: int, gid: int) -> int | None:
    try:
        fd = os.open(name, READ, dir_fd=above)
    except FileNotFoundError:
        return None
    except OSError:
        return 0
    try:
        return readers(fd, gid)
    finally:
        os.close(fd)


class Places:
    """One folder's rules and its two trees."""

    #: whether files are moved at all
    moves: ClassVar[bool] = True

    def __init__(
        self,
        rules: FolderSettings,
        beside: str,
        *,
        leases: bool | None = None,
        bad_lines: int = BAD_LINES,
        owner: int | None = None,
    ) -> None:
        self.rules = rules
        self.name = rules.name
        self._bad_lines = bad_lines
        self._leases = leases
        self.names = Names(rules, self._is_ours)
        self.tree = Tree(rules.path, owner=owner)
        self.beside = Tree(beside, ours=True, owner=owner)

    def tell_progress(self, on_progress: Callable[[], object]) -> None:
        """Have `on_progress` called at each step of what takes long: a listing, a move, a read or a write."""
        self.tree.on_progress = self.beside.on_progress = on_progress

    @property
    def quiet_time(self) -> float:
        """Seconds for which a file of no rhythm must be quiet."""
        return self.rules.settle

    def _is_ours(self, parts: Parts) -> bool:
        return parts[0] in RESERVED

    @contextmanager
    def guard(self, done: str) -> Iterator[None]:
        """Tell what an OSError means for the file that was to be `done`; Away if the folder itself is gone."""
        try:
            yield
        except OSError as error:
            found = problem(error, done, self.tree.mount)
            if isinstance(found, Gone) and self.tree.held:
                self.tree.check()
            raise found from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """Bring what is made or moved within to disk at the end, all at the price of one. Raises Stuck, Away."""
        with self.guard("brought to disk"), self.tree.together(), self.beside.together():
            yield

    def find(self, path: str) -> tuple[Tree, Parts]:
        """Find the tree that `path` lies in and the way there. Raises Gone if it lies in neither."""
        for tree in (self.tree, self.beside):
            parts = tree.below(path)
            if parts is not None:
                return tree, parts
        raise Gone(f"it does not lie below {self.tree.path}")

    def below(self, path: str) -> Parts:
        """Return the way to `path` below the folder. Raises Gone if it does not lie there."""
        parts = self.tree.below(path)
        if parts is None:
            raise Gone(f"it does not lie below {self.tree.path}")
        return parts

    def relative(self, path: str) -> Parts:
        """Return the way to `path` that is kept when it moves; its base name alone if it does not lie below."""
        parts = self.tree.below(path)
        if parts is None:
            return (os.path.basename(path),)
        if self.names.is_ours(parts) and len(parts) > 2:  # <reserved>/<job>/<what we want>
            return parts[2:]
        return parts

    def readers(self, files: Iterable[str | None], record: Iterable[tuple[Tree, Parts]] = ()) -> Readers:
        """Tell who may read a paper on the files at these paths (None: it is gone): who may read each of them.

        Of a file that is gone, papers on `record` from when it was here tell; without any, nobody may.
        """
        there = [None if path is None else self._found(path) for path in files]
        lie, lay = _by_folder(found for found in there if found is not None), _by_folder(record)

        @cache  # several papers of one job are asked for
        def allowed(gid: int) -> int:
            before = {bits for folder, names in lay.items() for bits in _readers(*folder, names, gid)} - {None}
            now = {bits for folder, names in lie.items() for bits in _readers(*folder, names, gid)}
            if not before and (None in now or None in there or not now):
                return 0
            return reduce(and_, (bits for bits in before | now if bits is not None))

        return allowed

    def _found(self, path: str) -> tuple[Tree, Parts] | None:
        with suppress(Gone):
            return self.find(path)
        return None

    def open(self, path: str) -> int:
        """Open `path` to read from. Raises Gone, Stuck, Away."""
        tree, parts = self.find(path)
        with self.guard("read"):
            return tree.open(parts)

    def read(
        self,
        path: str,
        expected: Signature | None = None,
        *,
        named: str | None = None,
        quiet: bool = False,
        sent: Callable[[bytes], object] | None = None,
    ) -> Content:
        """Read what `path` holds as it would be sent, if it were named so; that goes to `sent`, too, piece by piece.

        With `expected` Changed if it is not the file that this tells of; then, and with `quiet`, Changed if somebody
        has it open for writing. What is to be `quiet` was judged when it was taken in. Raises Gone, Changed, Unusable,
        Stuck, Away.
        """
        tree, parts = self.find(path)
        with self.guard("read"):
            fd = tree.open(parts)
            try:
                if quiet or expected is not None:
                    self.prove_quiet(fd)
                return self.content(fd, named or path, expected=expected, judges=not quiet, sent=sent)
            finally:
                os.close(fd)

    def has_writer(self, fd: int) -> bool:
        """Tell whether the open file is known to have a writer."""
        asked = self._leases
        if asked is None:
            mount = self.tree.mount
            asked = mount is not None and mount.tells_writers
        return asked and is_written(fd) is True

    def prove_quiet(self, fd: int) -> None:
        """Raise Changed if the open file is known to have a writer."""
        if self.has_writer(fd):
            raise Changed("somebody has it open for writing")

    def content(
        self,
        fd: int,
        path: str,
        *,
        expected: Signature | None = None,
        out: Callable[[bytes], object] | None = None,
        sent: Callable[[bytes], object] | None = None,
        judges: bool = True,
    ) -> Content:
        """Read what an open file that was dropped at `path` holds by the rules.

        Its bytes go to `out`, too, and to `sent` as they would be sent. With `expected` Changed if it is not the file
        that this tells of.
        """
        most, signed = self.rules.max_file_bytes, self.tree.signature
        recoder = self.recoder(path, judges=judges)

        def take(piece: bytes) -> None:
            self.tree.on_progress()
            if out is not None:
                out(piece)

        return content_of(fd, expected=expected, recoder=recoder, most=most, out=take, sent=sent, signed=signed)

    def recoder(self, path: str, *, judges: bool = True) -> Recoder:
        """Make what turns a file that was dropped at `path` into what is sent. Raises Unusable."""
        return recoder(self.rules, path, bad_lines=self._bad_lines, judges=judges)

    def holds(self, parts: Parts, content: Content) -> bool:
        """Tell whether a file with just this content lies there: text or pairs, whatever a person has renamed it to.

        Raises Stuck, Away.
        """
        path = self.tree.at(parts)
        for name in (path, f"{path}.txt" if is_ready_made(path) else f"{path}{SUFFIX}"):
            with suppress(Gone, Changed, Unusable):
                if is_same(self.read(path, named=name), content):
                    return True
        return False

    def has_changed(self, path: str, since: Signature) -> bool:
        """Tell whether what lies at `path` is not what was seen; not if nothing is to be seen there."""
        try:
            found = self.tree.stat(self.below(path))
        except OSError:
            return False
        return found is not None and self.tree.signature(found) != since

    def is_that(self, parts: Parts, signature: Signature | None) -> bool:
        """Tell whether the very file with this signature lies there; a rename changes its ctime, nothing else."""
        found = self.tree.stat(parts)
        if found is None or signature is None or not stat.S_ISREG(found.st_mode):
            return False
        now = self.tree.signature(found)
        same = (now.size, now.mtime_ns) == (signature.size, signature.mtime_ns)
        return same and now.inode in {0, signature.inode}  # 0: this file system cannot be asked
