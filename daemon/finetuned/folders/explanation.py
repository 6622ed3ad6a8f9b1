"""Why a path is never taken, in a sentence: by its names, by what lies there, and by what lies beside it."""

from __future__ import annotations

import stat

from finetuned.folders.foreign import is_unfinished, same
from finetuned.folders.names import Choice, Parts
from finetuned.folders.os_errors import words
from finetuned.folders.places import Places


def explain(places: Places, path: str) -> str | None:
    """Say why `path` is never taken; None if it would be."""
    parts = places.tree.below(path)
    if parts is None:
        return f"it does not lie below {places.tree.path}"
    if places.names.is_ours(parts):
        return places.names.why_not_into(parts)
    try:
        return _way(places, parts) or _kind(places, parts) or places.names.why_not(parts) or _beside(places, parts)
    except OSError as error:
        return f"it cannot be looked at: {words(error)}"


def _way(places: Places, parts: Parts) -> str | None:
    """Say why nothing is taken out of the sub-folders that lead to it."""
    for depth in range(1, len(parts)):
        found = places.tree.stat(parts[:depth])
        if found is not None and stat.S_ISLNK(found.st_mode):
            link = f"its folder {parts[depth - 1]!r} is a symbolic link"
            return f"{link}, and links are never followed; put the folder itself there"
        why_not = places.names.why_not_into(parts[:depth])
        if why_not is not None:
            return why_not
    return None


def _kind(places: Places, parts: Parts) -> str | None:
    """Say why what lies there is no file to take."""
    found = places.tree.stat(parts)
    if found is None:
        return "there is no such file"
    kinds = (
        (stat.S_ISREG, None),
        (stat.S_ISDIR, places.names.why_not_into(parts) or "it is a folder; the files in it are looked at one by one"),
        (stat.S_ISLNK, "it is a symbolic link, and links are never followed; put the file itself there"),
        (stat.S_ISFIFO, "it is a named pipe, not a file; write its content into a file"),
        (stat.S_ISSOCK, "it is a socket, not a file"),
    )
    return next((why for is_it, why in kinds if is_it(found.st_mode)), "it is a device, not a file")


def _beside(places: Places, parts: Parts) -> str | None:
    """Say why it is not taken yet, by what lies beside it."""
    found = places.tree.stat(parts)
    choose = places.names.chooser(parts[:-1])
    others = {same(name): name for name in places.tree.names(parts[:-1]) if choose(name) is not Choice.TAKEN}
    unfinished = {other.lower(): name for other, name in others.items() if is_unfinished(other.lower())}
    why = places.names.unfinished(parts[-1], unfinished, empty=found is not None and not found.st_size)
    marker = places.names.marker(parts[-1])
    if why is not None or marker is None or same(marker) in others:
        return why
    return f"it waits for its ready file {marker!r}, which is not there"
