"""Put a file into a drop folder, so that half of it is never seen."""

from __future__ import annotations

import os
import stat
from typing import Final

from finetuned.errors import FinetunedError, Gone, UsageError
from finetuned.folders.names import Parts, fitted
from finetuned.folders.os_errors import problem
from finetuned.folders.syncs import sync
from finetuned.folders.tree import Tree

_BLOCK: Final = 1 << 20


def drop_into(source_path: str, folder_root: str, relative_name: str) -> str:
    """Copy a file into a folder under a temporary name, then rename it, numbered if the name is taken.

    Returns where it lies. Raises UsageError (the name leads out of the folder), Gone, Stuck, Away.
    """
    tree = Tree(folder_root)
    parts = tree.below(tree.at((relative_name,)))
    if parts is None:
        raise UsageError(f"{relative_name!r} does not lead into {tree.path}", remedy="give a plain relative name")
    try:
        with open(source_path, "rb", buffering=0) as source:
            temporary = _copy(source.fileno(), tree, parts)
    except OSError as error:
        raise _named(source_path, error) from error
    try:
        return tree.at(tree.move_beside(temporary, parts))
    except OSError as error:
        tree.remove(temporary)
        raise _named(source_path, error) from error


def _named(path: str, error: OSError) -> FinetunedError:
    found = problem(error, "dropped")
    return type(found)(f"{path} {found}") if not isinstance(found, Gone) else Gone(f"{path} is not there")


def _copy(source: int, tree: Tree, parts: Parts) -> Parts:
    """Copy to a temporary name in the target's folder; return it."""
    with tree.folder(parts[:-1], make=True) as fd:
        name, target = _fresh(fd, parts[-1], _mode(source, fd))
        try:
            with os.fdopen(target, "wb", buffering=0) as out:
                while block := os.read(source, _BLOCK):
                    view = memoryview(block)
                    while view:
                        view = view[out.write(view) or 0 :]
                sync(target)
        except BaseException:
            os.unlink(name, dir_fd=fd)
            raise
    return (*parts[:-1], name)


def _mode(source: int, folder: int) -> int:
    """Tell who may read the copy: who may read the file, and the group of a folder that is shared (set-group-id)."""
    mode, group = os.fstat(source).st_mode, 0o060 if os.fstat(folder).st_mode & stat.S_ISGID else 0
    return 0o600 | mode & 0o066 | group


def _fresh(fd: int, name: str, mode: int) -> tuple[str, int]:
    """Make a temporary file that nobody else writes to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        temporary = fitted("." + name, f".{os.urandom(4).hex()}.part")
        try:
            return temporary, os.open(temporary, flags, mode, dir_fd=fd)
        except FileExistsError:
            continue
