"""A canary: a hidden, empty file whose name a daemon notes when it sees it, and no more.

It proves that what is dropped into a folder is seen, and how soon, all the way to the ledger. It is never read, moved
or sent. Its name is an id, by which the daemon tells of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from finetuned.folders.folder import DropFolder
from finetuned.folders.probes import fresh_canary


@contextmanager
def dropped_canary(folder: DropFolder) -> Iterator[str]:
    """Drop a canary at the folder's top, and take it away at the end; its id. Raises Away, OSError."""
    canary = fresh_canary()
    name = f".{canary}"
    with folder.tree.folder() as fd:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd))
        try:
            yield canary
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
