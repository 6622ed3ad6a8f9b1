"""Questions that people ask about a folder: why is this never taken, and is the folder sound?"""

from __future__ import annotations

import os
import stat

from finetuned.folders.leases import is_written
from finetuned.folders.mounts import mount_of
from finetuned.folders.names import Parts
from finetuned.folders.places import Places
from finetuned.folders.probing import PROBE
from finetuned.folders.trouble import words
from finetuned.model import PROCESSING, Value


class Examination(Value, frozen=True):
    """What is true of a folder; `lease_usable` and `same_filesystem` are None where it could not be tried.

    `filesystem` is its type ("" if unknown), `trusted` whether leases are asked there, `writable` whether files can be
    moved, `elsewhere` the sub-folders on other file systems, whose files can never be moved.
    """

    root: str
    filesystem: str
    trusted: bool
    writable: bool
    same_filesystem: bool | None
    lease_usable: bool | None
    elsewhere: tuple[str, ...] = ()


def examine(places: Places) -> Examination:
    """Try everything in a folder that taking files needs; leaves nothing behind."""
    with places.tree.folder() as fd:
        mount = mount_of(fd)
        device = os.fstat(fd).st_dev
        writable, lease = _probe(fd)
        processing = places.tree.stat((PROCESSING,))
        found = [(name, places.tree.stat((name,))) for name in places.tree.folders(())]
    return Examination(
        root=places.tree.path,
        filesystem=mount.kind if mount else "",
        trusted=mount is not None and mount.local,
        writable=writable,
        same_filesystem=processing.st_dev == device if processing else (True if writable else None),
        lease_usable=lease,
        elsewhere=tuple(
            places.tree.at((name,))
            for name, status in found
            if status is not None and status.st_dev != device and not places.names.is_ours((name,))
        ),
    )


def _probe(fd: int) -> tuple[bool, bool | None]:
    """Whether a file can be made here, and whether a lease on it tells the truth."""
    try:
        writer = os.open(PROBE, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=fd)
    except OSError:
        return False, None
    try:
        reader = os.open(PROBE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            while_written = is_written(reader)
            os.close(writer)
            writer = -1
            return True, (while_written, is_written(reader)) == (True, False)
        finally:
            os.close(reader)
    finally:
        if writer >= 0:
            os.close(writer)
        os.unlink(PROBE, dir_fd=fd)


def explain(places: Places, path: str) -> str | None:
    """Why `path` is never taken; None if it would be."""
    parts = places.tree.below(path)
    if parts is None:
        return f"it does not lie below {places.tree.path}"
    if places.names.is_ours(parts):
        return places.names.why_not_into(parts)
    try:
        return _way(places, parts) or _kind(places, parts) or places.names.why_not(parts) or _marker(places, parts)
    except OSError as error:
        return f"it cannot be looked at: {words(error)}"


def _way(places: Places, parts: Parts) -> str | None:
    """Why nothing is taken out of the sub-folders that lead to it."""
    for depth in range(1, len(parts)):
        found = places.tree.stat(parts[:depth])
        if found is not None and stat.S_ISLNK(found.st_mode):
            return f"its folder {parts[depth - 1]!r} is a symbolic link, and links are never followed"
        why_not = places.names.why_not_into(parts[:depth])
        if why_not is not None:
            return why_not
    return None


def _kind(places: Places, parts: Parts) -> str | None:
    """Why what lies there is no file to take."""
    found = places.tree.stat(parts)
    if found is None:
        return "there is no such file"
    kinds = (
        (stat.S_ISREG, None),
        (stat.S_ISDIR, places.names.why_not_into(parts) or "it is a folder; the files in it are looked at one by one"),
        (stat.S_ISLNK, "it is a symbolic link, and links are never followed"),
        (stat.S_ISFIFO, "it is a named pipe, no file"),
        (stat.S_ISSOCK, "it is a socket, no file"),
    )
    return next((why for is_it, why in kinds if is_it(found.st_mode)), "it is a device, no file")


def _marker(places: Places, parts: Parts) -> str | None:
    marker = places.names.marker(parts[-1])
    if marker is None or places.tree.stat((*parts[:-1], marker)) is not None:
        return None
    return f"it waits for its ready file {marker!r}, which is not there"
