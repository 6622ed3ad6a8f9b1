"""Putting files away when their fate is known, and giving them back: each step may be repeated after a crash.

1. Nothing is ever overwritten: a name that is taken is numbered.
2. Nothing is deleted, but learned files with after = "delete", and a note of ours whose file leaves.
3. A file that is gone from where it lay may have been put away by a try before: it is found by its signature (a rename
   keeps the inode), or by its name in its job's own folder.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from finetuned.errors import FileProblem, Gone
from finetuned.folders.names import OUR_NAMES, Parts, numbered, why_name
from finetuned.folders.places import Places
from finetuned.folders.tree import Tree
from finetuned.lifecycle import FileState
from finetuned.model import DONE, FAILED, PROCESSING, Content, Signature

DUPLICATES: Final = "duplicates"
REFUSED: Final = "refused"
#: ends every note of ours, so that none but ours is ever removed
SIGNED: Final = "\n(written by finetuned; goes when the file is tried again)\n"
_AREAS: Final[Mapping[FileState, str]] = MappingProxyType(
    {
        FileState.LEARNED: DONE,
        FileState.BARREN: FAILED,
        FileState.FAILED: FAILED,
        FileState.REFUSED: FAILED,
        FileState.DUPLICATE: DONE,
    }
)
_SHARED: Final[Mapping[FileState, str]] = MappingProxyType(
    {FileState.REFUSED: REFUSED, FileState.DUPLICATE: DUPLICATES}
)


def put_away(
    places: Places,
    location: str,
    *,
    origin: str,
    job_id: str | None,
    state: FileState,
    why: str | None,
    signature: Signature | None = None,
) -> str | None:
    """Bring a file to the end that `state` names; return where it lies, None if nowhere. Raises Stuck, Away."""
    name = _SHARED.get(state) or job_id
    if name is None or state not in _AREAS:
        raise ValueError(f"no file is put away as {state!s} (job {job_id})")
    if places.stays(location):
        _write_why(places.beside, (name, os.path.basename(origin)), why, places)
        kept = places.tree.below(location)
        with places.guard("read"):
            return location if kept is not None and places.tree.is_file(kept) else None
    wanted = (_AREAS[state], name, *places.relative(origin))
    with places.guard("moved"):
        target = _bring(places, location, wanted, state=state, signature=signature)
    if target is None:
        return None
    _write_why(places.tree, target, why, places)
    return places.tree.at(target)


def _bring(
    places: Places, location: str, wanted: Parts, *, state: FileState, signature: Signature | None
) -> Parts | None:
    """Move the file (or delete it, if the rules say so); return where it lies."""
    tree, old = places.tree, places.tree.below(location)
    if old is None or not tree.is_file(old):
        return _moved_before(places, wanted, signature, shared=state in _SHARED)
    if state is FileState.LEARNED and places.rules.after == "delete":
        move_marker(places, old, wanted)
        tree.remove(old)
        return None
    if old[:-1] == wanted[:-1]:
        return old
    target = _move(tree, old, wanted)
    leave(places, old)
    move_marker(places, old, target)
    return target


def _candidates(wanted: Parts) -> Iterator[Parts]:
    """`wanted` and its numbered names, but those that are ours at the top of a job's folder."""
    for name in itertools.islice(numbered(wanted[-1]), 100_000):
        if not (len(wanted) == 3 and name in OUR_NAMES):
            yield (*wanted[:-1], name)


def _move(tree: Tree, old: Parts, wanted: Parts) -> Parts:
    """Move to the first name that is free, and whose note's name is free too."""
    for target in _candidates(wanted):
        if tree.stat(target) is None and tree.stat((*target[:-1], why_name(target[-1]))) is None:
            with suppress(FileExistsError):
                tree.move(old, target)
                return target
    raise FileExistsError(0, "too many files of this name lie there")


def _moved_before(places: Places, wanted: Parts, signature: Signature | None, *, shared: bool) -> Parts | None:
    for number, target in enumerate(_candidates(wanted)):
        if places.tree.stat(target) is None:
            return None
        unsure = signature is None and not shared and number == 0 and places.tree.is_file(target)
        if unsure or places.is_that(target, signature):
            return target
    return None


def _write_why(tree: Tree, target: Parts, why: str | None, places: Places) -> None:
    """Write the note beside `target`, unless it is there already."""
    if why is None:
        return
    data = (why.rstrip("\n") + "\n" + SIGNED).encode("utf-8", "backslashreplace")
    with places.guard("explained"):
        for name in numbered(why_name(target[-1])):
            note = (*target[:-1], name)
            if tree.read(note) == data:
                return
            with suppress(FileExistsError):
                tree.write(note, data)
                return


def leave(places: Places, old: Parts) -> None:
    """A file left `old`: the note of ours beside it, if there is one, is no longer true."""
    if old[0] not in {DONE, FAILED}:
        return
    note = (*old[:-1], why_name(old[-1]))
    if (places.tree.read(note) or b"").endswith(SIGNED.encode()):
        places.tree.remove(note)


def move_marker(places: Places, old: Parts, new: Parts, *, once: bool = False) -> None:
    """The ready file that belongs to a file alone goes where the file goes; `once`: not if one is there already."""
    marker = places.names.own_marker(old[-1])
    if marker is None or "/" in marker:
        return
    source = (*old[:-1], marker)
    wanted = (*new[:-1], places.names.own_marker(new[-1]) or marker)
    if once and places.tree.stat(wanted) is not None:
        return
    if places.tree.is_file(source):
        with suppress(FileNotFoundError):
            places.tree.move_beside(source, wanted)


def give_back(places: Places, location: str, path: str, signature: Signature | None = None) -> str:
    """Move a file back to where it was dropped, numbered if that is taken; return where it lies.

    Raises Gone, Stuck, Away.
    """
    old, wanted = places.below(location), places.tree.below(path) or (os.path.basename(path),)
    with places.guard("moved back"):
        if not places.tree.is_file(old):
            before = _moved_before(places, wanted, signature, shared=True)
            if before is None:
                raise Gone("cannot be moved back: it is not there any more")
            return places.tree.at(before)
        new = places.tree.move_beside(old, wanted)
        leave(places, old)
        move_marker(places, old, new)
    return places.tree.at(new)


def write_job_files(places: Places, job_id: str, area: str, files: Mapping[str, bytes]) -> None:
    """Write a job's own files into its folder, each whole or not at all. Raises Stuck, Away."""
    keep = places.rules.after == "keep"
    tree, folder = (places.beside, (job_id,)) if keep else (places.tree, (area, job_id))
    with places.guard("written"):
        for name, data in files.items():
            tree.write((*folder, name), data, replace=True)


def locate(places: Places, job_id: str, content: Content) -> str | None:
    """Where in its job's folders a file lies that people moved by hand, found by its content; None: nowhere."""
    for parts in _of_job(places.tree, job_id):
        found = places.tree.stat(parts)
        if found is not None and found.st_size == content.bytes:
            with suppress(FileProblem):
                if places.read(places.tree.at(parts)) == content:
                    return places.tree.at(parts)
    return None


def _of_job(tree: Tree, job_id: str) -> Iterable[Parts]:
    for area in (PROCESSING, DONE, FAILED):
        yield from tree.files((area, job_id))
