"""Remove what was archived long ago: nothing but what the ledger knows to lie there, and our own papers beside it.

1. A file goes if it is still the one that was archived; another one in its place is somebody's, and stays.
2. A folder goes once it is empty. A job's own folder is the last to go: while it is there, its job is looked at again.
3. What is gone already is removed: each step may be repeated after a crash.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable

from finetuned.folders.archive import area_of, leave
from finetuned.folders.names import JOB_FILE, JOB_ID, PAIRS_FILE, Parts
from finetuned.folders.places import Places
from finetuned.model import File


def jobs_in(places: Places, area: str) -> list[str]:
    """List the names in `done` or `failed` that may be of jobs, sorted. Raises Stuck, Away."""
    with places.guard("listed"):
        return [name for name in places.tree.folders((area,)) if re.fullmatch(JOB_ID, name)]


def lies_in(places: Places, file: File, area: str) -> bool:
    """Tell whether a file at its end lies in the folder that it was archived into, and that in this area."""
    parts = None if file.location is None else places.tree.below(file.location)
    return parts is not None and len(parts) > 2 and parts[0] == area and parts[:2] == area_of(file)


def remove(places: Places, file: File) -> bool:
    """Remove an archived file, with its note and its marker; false if another file lies in its place. Raises Stuck."""
    parts = places.below(file.location or "")
    with places.guard("removed"):
        content = file.content
        if places.tree.stat(parts) is not None:
            if not places.is_that(parts, file.signature) and not (content and places.holds(parts, content)):
                return False
            places.tree.remove(parts)
        leave(places, parts)
        _remove_marker(places, parts)
        _prune(places, parts[:-1], least=3 if parts[1] == file.job_id else 2)
    return True


def papers(places: Places, job_id: str, area: str) -> list[Parts]:
    """List what we wrote into a job's folder. Raises Stuck, Away."""
    with places.guard("looked for"):
        return [way for name in (JOB_FILE, PAIRS_FILE) if places.tree.is_file(way := (area, job_id, name))]


def remove_job(places: Places, job_id: str, area: str) -> None:
    """Remove what we wrote into a job's folder, and the folder if nothing else is in it. Raises Stuck, Away."""
    with places.guard("removed"):
        for paper in papers(places, job_id, area):
            places.tree.remove(paper)
        places.tree.remove_folder((area, job_id))


def _remove_marker(places: Places, parts: Parts) -> None:
    """Remove the ready file that came along with a file, if there is nothing in it."""
    name = places.names.own_marker(parts[-1])
    found = None if name is None or "/" in name else places.tree.stat((*parts[:-1], name))
    if name is not None and found is not None and found.st_size == 0 and places.tree.is_file((*parts[:-1], name)):
        places.tree.remove((*parts[:-1], name))


def _prune(places: Places, parts: Parts, *, least: int) -> None:
    """Remove a folder if it is empty, and those above it, down to such of `least` names."""
    while len(parts) >= least:
        places.tree.remove_folder(parts)
        parts = parts[:-1]


def prune(places: Places, sources: Iterable[str], *, before: float) -> bool:
    """Remove the empty folders that these files were taken from, those above them too, but not the drop folder itself.

    One that was changed after the instant `before` stays: somebody may be about to use it. Tell whether there is such a
    one, which may go later. Raises Stuck, Away.
    """
    ways = {parts[:depth] for path in sources if (parts := places.tree.below(path)) for depth in range(1, len(parts))}
    fresh = False
    with places.guard("removed"):
        for parts in sorted(ways, key=len, reverse=True):
            found = None if places.names.is_ours(parts) else places.tree.stat(parts)
            if found is None or not stat.S_ISDIR(found.st_mode) or places.tree.names(parts):
                continue
            if max(found.st_mtime, found.st_ctime) >= before:
                fresh = True
            else:
                places.tree.remove_folder(parts)
    return fresh
