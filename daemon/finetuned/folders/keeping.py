"""The directory beside the ledger, for what after = "keep" may not write into a drop folder."""

from __future__ import annotations

import os
from contextlib import suppress

from finetuned.errors import Stuck


def make(path: str) -> None:
    """Make it, but nothing in the place of a ledger's folder that was moved away. Raises Stuck, OSError."""
    try:
        with suppress(FileExistsError):
            os.mkdir(path, 0o755)
    except FileNotFoundError as error:
        raise Stuck(f"cannot be kept: {os.path.dirname(path)} is not there") from error
