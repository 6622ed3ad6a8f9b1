"""Taking the files of a sealed job, so that nobody else touches them: each step may be repeated after a crash.

1. Files are moved to `.processing/<job>/` by rename without replacing, brought to disk together, and only then read
   again: what lies there now is what will be sent.
2. A file that is not what it was, or that somebody has opened for writing since, goes back where it came from.
3. With after = "keep" the job's content is a snapshot beside the ledger, and the file is not touched.
4. `.processing/<job>/job.json` tells a daemon whose ledger was lost what lies there; it goes when nothing else is left.
   It is believed only if neither it nor the folder it lies in can have been written to by anybody else.
5. The sub-folders that files were taken from stay, though they may be empty from then on: who has just made one is
   about to write into it, and other programs (a share, a synchronizer) make theirs once and count on them. An empty
   folder costs a sweep one look; whoever wants it gone may remove it at any time.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from typing import Final

from finetuned.errors import Changed, FileProblem, Gone, Stuck, Unusable
from finetuned.folders import rights
from finetuned.folders.archive import leave, move_marker
from finetuned.folders.names import JOB_FILE, OUR_NAMES, Parts, fitted, numbered
from finetuned.folders.places import CLAIM_FILE, SNAPSHOTS, Places
from finetuned.folders.probes import is_probe
from finetuned.folders.text import is_same
from finetuned.folders.tree import Tree
from finetuned.model import PROCESSING, Content, Value

_LONGEST_NOTE: Final = 1 << 24
_CHANGED: Final = "it changed after it was read; it is taken again once it stands still"


class Wanted(Value, frozen=True):
    """A file to be taken: where it lies, the name of its snapshot should it stay there, and what it must hold."""

    source: str
    name: str
    content: Content


def claim(places: Places, job_id: str, note: bytes, wanted: Sequence[Wanted]) -> list[str | FileProblem]:
    """Take files for the job; for each, in order, where it lies now, or why it is not taken (Gone, Changed, Stuck).

    `note` is laid beside them. Raises Stuck if nothing can be brought to disk, and Away.
    """
    with places.guard("brought to disk"), places.together():
        with suppress(FileProblem):  # the same trouble meets the files, and each of them gets the reason
            _write_note(places, job_id, note, wanted)
        taken = [_take(places, job_id, one) for one in wanted]
    with places.guard("brought to disk"), places.together():
        return [_prove(places, one, target) for one, target in zip(wanted, taken, strict=True)]


def _take(places: Places, job_id: str, one: Wanted) -> Parts | FileProblem | None:
    """Move a file; where it lies then, None if it stays and was copied."""
    try:
        if places.stays(one.source):
            _copy(places, one, places.snapshot(job_id, one.name, one.source))
            return None
        old = places.below(one.source)
        with places.guard("moved"):
            wanted = (*places.claimed(job_id), *places.relative(one.source))
            target, taken = _target(places, old, wanted, one.content)
            if not taken:
                places.tree.move(old, target)
            leave(places, old)
            places.tree.touch(target)
            return target
    except FileProblem as error:
        return error


def _prove(places: Places, one: Wanted, target: Parts | FileProblem | None) -> str | FileProblem:
    """Read a file that was taken again; give it back if it is not what it was."""
    if target is None or isinstance(target, FileProblem):
        return target or one.source
    old = places.below(one.source)
    try:
        problem = _difference(places, target, one.content)
        if problem is not None:
            with places.guard("moved back"):
                back = places.tree.move_beside(target, old)
                move_marker(places, target, back)
            return problem
        with places.guard("moved"):
            move_marker(places, old, target, once=True)
    except FileProblem as error:
        return error
    return places.tree.at(target)


def _difference(places: Places, target: Parts, content: Content) -> FileProblem | None:
    """What keeps a taken file from being sent; None if it is what it was."""
    try:
        found = places.read(places.tree.at(target), quiet=True)
        return None if is_same(found, content) else Changed(_CHANGED)
    except Unusable:
        return Changed(_CHANGED)
    except FileProblem as error:
        return error


def _target(places: Places, source: Parts, wanted: Parts, content: Content) -> tuple[Parts, bool]:
    """Where the file goes, or where an earlier try has brought it already."""
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


def _copy(places: Places, one: Wanted, target: Parts) -> None:
    """Make the snapshot of a kept file, unless it is there already."""
    with suppress(FileProblem):
        if is_same(places.read(places.beside.at(target)), one.content):
            return
    fd = places.open(one.source)
    try:
        places.prove_quiet(fd)
        with places.guard("copied"), places.beside.folder(target[:-1], make=True) as folder:
            _copy_into(places, fd, folder, target[-1], one)
            places.beside.touch(target)
            places.beside.touch(target[:-1])
    finally:
        os.close(fd)


def _copy_into(places: Places, fd: int, folder: int, name: str, one: Wanted) -> None:
    part = fitted("." + name, ".part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(part, flags, 0o600, dir_fd=folder), "wb") as out:
            found = places.content(fd, one.source, out=out.write)
    except Unusable as error:
        raise Changed(_CHANGED) from error
    if not is_same(found, one.content):
        raise Changed(_CHANGED)
    os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)


def _write_note(places: Places, job_id: str, data: bytes, wanted: Sequence[Wanted]) -> None:
    """Say beside the claimed files what job they are in. Raises Stuck, Away.

    Who may read it may read every file, where it lies still and where an earlier try has brought it.
    """
    tree, parts = places.note(job_id)
    with places.guard("written"):
        moved = places.rules.after != "keep"
        taken = [places.tree.at(file) for file in places.tree.files(places.claimed(job_id))] if moved else []
        there = [one.source for one in wanted if os.path.lexists(one.source)]
        tree.write(parts, [data], places.readers([*there, *taken], record=[(tree, parts)]), replace=True)


def processing(places: Places) -> tuple[tuple[str, bytes | None], ...]:
    """The jobs whose files lie claimed, each with its note; None if it has none that is ours alone."""
    keep = places.rules.after == "keep"
    with places.guard("read"):
        names = []
        with suppress(Stuck) if keep else nullcontext():  # nothing is claimed there: it may be a vault's own
            names = [name for name in places.tree.folders((PROCESSING,)) if not is_probe(name)]
        found = [(name, _note(places.tree, (PROCESSING, name, JOB_FILE))[0]) for name in names]
        if keep:
            mine = [n for n in places.beside.folders(()) if n.startswith(f"{places.rules.name}-")]
            notes = [(name, _note(places.beside, (name, CLAIM_FILE))[0]) for name in mine]
            found += [(name, note) for name, note in notes if note is not None]
    return tuple(found)


def why_no_claim(places: Places, job_id: str) -> str:
    """Why the note of what lies claimed is not believed, in words. Raises Stuck, Away."""
    with places.guard("read"):
        return _note(places.tree, (PROCESSING, job_id, JOB_FILE))[1]


def _note(tree: Tree, parts: Parts) -> tuple[bytes | None, str]:
    """What the note at `parts` says, and none if others may have written it, or have put it there; then why."""
    with ExitStack() as opened:
        try:
            above = opened.enter_context(tree.folder(parts[:-2]))
            folder = opened.enter_context(tree.folder(parts[:-1]))
            note = tree.open(parts)
        except (FileNotFoundError, NotADirectoryError):
            return None, "no note tells what job it was"
        except Stuck as error:
            return None, str(error)
        file = opened.enter_context(os.fdopen(note, "rb"))
        for what, fd, beside in (
            ("what it lies in", above, above),
            ("its folder", folder, above),
            ("its note", note, folder),
        ):
            why = rights.why_no_claim(fd, beside, tree.owner)
            if why is not None:
                return None, f"{what} {why}"
        return file.read(_LONGEST_NOTE), ""


def clear(places: Places, job_id: str) -> None:
    """Remove what a job that is over left under way: its note, empty sub-folders, snapshots. Anything else stays."""
    folder = places.claimed(job_id)
    with places.guard("removed"), places.together():
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
