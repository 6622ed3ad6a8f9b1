"""Files laid into a drop folder by a test of the folder alone."""

from __future__ import annotations

import os

from finetuned.folders.folder import DropFolder


def put(folder: DropFolder, name: str, data: str = "words") -> str:
    """Write a file below the folder; its path."""
    path = f"{folder.root}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(data)
    return path
