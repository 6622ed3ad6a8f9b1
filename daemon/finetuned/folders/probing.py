"""Whether files can be moved at all from where they lie: tried with a file of our own, before a job is made of them.

Only a rename tells (rights, a read-only disk, another file system below the same folder), and theirs must not be tried
before the ledger knows of it. The file is empty, and its name one that nobody takes.
"""

from __future__ import annotations

import os
from typing import Final

from finetuned.folders.names import PROBE
from finetuned.folders.places import Places
from finetuned.model import PROCESSING

_NAME: Final = PROBE + ".part"
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def probe(places: Places, source: str) -> None:
    """Raise Stuck if nothing can be moved from where `source` lies. Raises Gone, Away."""
    if places.stays(source):
        return
    tree, parts = places.tree, places.below(source)
    with places.guard("moved"), tree.folder(parts[:-1]) as here, tree.folder((PROCESSING,), make=True) as there:
        os.close(os.open(_NAME, _MAKE, 0o600, dir_fd=here))
        try:
            os.rename(_NAME, _NAME, src_dir_fd=here, dst_dir_fd=there)
        except OSError:
            os.unlink(_NAME, dir_fd=here)
            raise
        os.unlink(_NAME, dir_fd=there)
