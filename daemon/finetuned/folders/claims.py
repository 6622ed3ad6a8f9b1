"""Take the files of a sealed job out of the folder; each step may be repeated after a crash.

1. Files are moved to `.processing/<job>/` by rename without replacing, brought to disk together, and only then looked
   at again: what lies there now is what will be sent.
2. A file that is not what it was, or that a program has opened for writing since, goes back where it came from. Its
   times tell, where a change since it was read must have set others (`SURE`) and nobody has it open for writing; else
   it is read again. What is sent is compared by its hash in any case.
3. `.processing/<job>/job.json` tells a daemon whose ledger was lost what lies there; it goes when nothing else does.
   It is believed only if neither it nor the folder it lies in can have been written to by anybody else.
4. The sub-folders that files were taken from stay, though they may be empty from then on: who has just made one is
   about to write into it, and other programs (a share, a synchronizer) make theirs once and count on them. An empty
   folder costs a sweep one call; it may be removed at any time.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from itertools import groupby
from typing import Final

from finetuned.errors import Changed, FileProblem, Gone, Stuck, Unusable
from finetuned.folders import rights
from finetuned.folders.archive import leave, move_marker
from finetuned.folders.names import JOB_FILE, OUR_NAMES, Parts, numbered
from finetuned.folders.places import Places
from finetuned.folders.probes import OWN, make_probe
from finetuned.folders.text import is_same, looks_same
from finetuned.folders.tree import Tree
from finetuned.model import PROCESSING, Content, File, Signature, Value

#: what lies of a job beside the ledger
SNAPSHOTS: Final = "parts"
CLAIM_FILE: Final = "claim.json"
_LONGEST_NOTE: Final = 1 << 24
#: how much older than its reading a file's ctime must be, in seconds, so that a change since then has set another one:
#: more than the longest tick of a file system that is exact (a second, of ext4 with small inodes)
SURE: Final = 1.5
CHANGED: Final = "it changed after it was read; it is taken again once it stands still"


class Wanted(Value, frozen=True):
    """A file to be taken: where it lies, the name of its snapshot should it stay there, and what it must hold.

    `looks` is how it looked when it was read, if it cannot have changed since and look the same; null: it can.
    """

    source: str
    name: str
    content: Content
    looks: Signature | None = None


#: where a file lies that was taken, and whether it is known to have been what it was until then
Taken = tuple[Parts, bool]


def wanted(places: Places, file: File) -> Wanted | None:
    """Tell how a file of a job is to be taken; None if it lies nowhere, or was not read."""
    if file.location is None or file.content is None:
        return None
    mount, looks, read_at = places.tree.mount, file.signature, file.ready_at
    if mount is None or not mount.exact or looks is None or read_at is None or looks.ctime_ns / 1e9 + SURE > read_at:
        looks = None
    return Wanted(source=file.location, name=str(file.id), content=file.content, looks=looks)


def take_all(places: Places, job_id: str, files: Sequence[Wanted]) -> list[Taken | FileProblem]:
    """Move files into the job's folder; for each return where it lies then, or why it cannot be taken."""
    moved: dict[str, Taken] = {}
    for folder, some in groupby(files, key=lambda one: os.path.dirname(one.source)):
        moved |= _moved_at_once(places, job_id, folder, [*some])
    return [moved.get(one.source) or _take(places, job_id, one) for one in files]


def _moved_at_once(places: Places, job_id: str, folder: str, files: Sequence[Wanted]) -> dict[str, Taken]:
    """Move what lies in one folder and is what it was, as nearly all does; return by source what was moved."""
    tree, moved = places.tree, dict[str, Taken]()
    old = tree.below(f"{folder}/{JOB_FILE}")
    if old is None or places.names.is_ours(old):
        return moved
    new = (PROCESSING, job_id, *old[:-1])
    looks = {os.path.basename(one.source): one.looks for one in files if one.looks is not None}
    if not old[:-1]:
        looks = {name: look for name, look in looks.items() if name not in OUR_NAMES}
    with suppress(OSError, FileProblem):  # each file that could not be moved is told what it is
        for name in tree.move_all(old[:-1], new, looks) if looks else ():
            moved[f"{folder}/{name}"] = (*new, name), True
            tree.touch((*new, name))
    return moved


def _take(places: Places, job_id: str, one: Wanted) -> Taken | FileProblem:
    """Move a file into the job's folder; return where it lies then, or why it cannot be taken."""
    try:
        old = places.below(one.source)
        with places.guard("moved"):
            target, taken = _target(places, old, (PROCESSING, job_id, *places.relative(one.source)), one.content)
            if not taken:
                places.tree.move(old, target)
            leave(places, old)
            places.tree.touch(target)
            return target, False
    except FileProblem as error:
        return error


def prove(places: Places, one: Wanted, taken: Taken) -> str | FileProblem:
    """Look at a taken file again, and give it back if it is not what it was. Return where it lies, or what it is."""
    target, is_known = taken
    try:
        problem = None if is_known and _is_still(places, target, one) else _difference(places, target, one.content)
        old = places.below(one.source)
        if problem is not None:
            with places.guard("moved back"):
                back = places.tree.move_beside(target, old)
                move_marker(places, target, back)
            return problem
        if places.names.own_marker(old[-1]) is not None:
            with places.guard("moved"):
                move_marker(places, old, target, once=True)
    except FileProblem as error:
        return error
    return places.tree.at(target)


def _is_still(places: Places, target: Parts, one: Wanted) -> bool:
    """Tell whether what was moved is surely what was read: it looks the same, and has no writer."""
    try:
        file = places.tree.open(target)
    except OSError:  # who reads it tells why
        return False
    try:
        return one.looks is not None and not places.has_writer(file) and looks_same(os.fstat(file), one.looks)
    finally:
        os.close(file)


def _difference(places: Places, target: Parts, content: Content) -> FileProblem | None:
    """Tell what keeps a taken file from being sent; None if it is what it was."""
    try:
        found = places.read(places.tree.at(target), quiet=True)
        return None if is_same(found, content) else Changed(CHANGED)
    except Unusable:
        return Changed(CHANGED)
    except FileProblem as error:
        return error


def _target(places: Places, source: Parts, wanted: Parts, content: Content) -> tuple[Parts, bool]:
    """Tell where the file goes, or where an earlier try has brought it already."""
    tree = places.tree
    is_there = tree.is_file(source)
    first: Parts | None = None
    for name in itertools.islice(numbered(wanted[-1]), 1000):
        target = (*wanted[:-1], name)
        if len(target) == 3 and name in OUR_NAMES:
            continue
        if tree.stat(target) is None:
            break
        if tree.is_moving(source, target):
            return target, False
        with suppress(Stuck):  # what cannot be read is another's
            if places.holds(target, content):
                return target, True
        first = first or target
    if is_there:
        return target, False
    if first is not None:  # an earlier try took it, and it changed in between
        return first, True
    if tree.stat(source) is not None:
        raise Gone("it is no regular file any more")
    raise Gone("it is not there any more")


def probe(places: Places, source: str) -> None:
    """Raise Stuck if nothing can be moved from where `source` lies, before a job is made of it. Raises Gone, Away.

    Only a rename tells (rights, a read-only disk, another file system below the same folder), and people's files must
    not be tried before the ledger knows of it.
    """
    tree, parts = places.tree, places.below(source)
    with places.guard("moved"), tree.folder(parts[:-1]) as here, tree.folder((PROCESSING,), make=True) as there:
        os.close(make_probe(OWN, here))
        try:
            os.rename(OWN, OWN, src_dir_fd=here, dst_dir_fd=there)
        except OSError:
            os.unlink(OWN, dir_fd=here)
            raise
        os.unlink(OWN, dir_fd=there)


def read_note(tree: Tree, parts: Parts) -> tuple[bytes | None, str]:
    """Read the note at `parts`; none if others may have written it, or have put it there, and then why."""
    with ExitStack() as opened:
        try:
            above = opened.enter_context(tree.folder(parts[:-2]))
            folder = opened.enter_context(tree.folder(parts[:-1]))
            note = tree.open(parts)
            opened.callback(os.close, note)
        except (FileNotFoundError, NotADirectoryError):
            return None, "no note tells what job it was"
        except Stuck as error:
            return None, str(error)
        if not stat.S_ISREG(os.fstat(note).st_mode):
            return None, "its note is no file"
        for what, fd, beside in (
            ("what it lies in", above, above),
            ("its folder", folder, above),
            ("its note", note, folder),
        ):
            why = rights.why_no_claim(fd, beside, tree.owner)
            if why is not None:
                return None, f"{what} {why}"
        with open(note, "rb", closefd=False) as file:
            return file.read(_LONGEST_NOTE), ""


def clear(places: Places, job_id: str) -> None:
    """Remove what a job that is over left under way: its note, empty sub-folders, snapshots. Anything else stays."""
    folder = (PROCESSING, job_id)
    with places.together(), places.guard("removed"):
        _prune(places.tree, folder)
        if all(name == JOB_FILE for name in places.tree.names(folder)):
            places.tree.remove((*folder, JOB_FILE))
        places.tree.remove_folder(folder)
        for name in places.beside.names((job_id, SNAPSHOTS)):
            places.beside.remove((job_id, SNAPSHOTS, name))
        places.beside.remove_folder((job_id, SNAPSHOTS))
        places.beside.remove((job_id, CLAIM_FILE))
        places.beside.remove_folder((job_id,))


def _prune(tree: Tree, parts: Parts) -> None:
    """Remove the empty folders below, deepest first."""
    for name in tree.folders(parts):
        _prune(tree, (*parts, name))
        tree.remove_folder((*parts, name))
