"""Archive files when their fate is known, and give them back: each step may be repeated after a crash.

1. Nothing is ever overwritten: a name that is taken is numbered.
2. Nothing is deleted, but learned files with after = "delete", and a note of ours whose file leaves.
3. A file that is gone from where it lay may have been archived by a try before: it is found by its signature (a rename
   keeps the inode), or by its name in its job's own folder. Moved by hand within its job's folders, it is found by
   its content.
4. What was edited after it was sent was not learned: it goes back to where it was dropped, and is another file.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from finetuned.errors import Changed, FileProblem, Gone
from finetuned.folders.foreign import same
from finetuned.folders.names import JOB_FILE, OUR_NAMES, Parts, numbered, why_name
from finetuned.folders.places import Places
from finetuned.folders.tree import Tree
from finetuned.lifecycle import FileState
from finetuned.model import DONE, FAILED, PROCESSING, Content, File, Signature
from finetuned.paths import escape

#: stands in a note for the path at which its file comes to lie, quoted for a shell; no name has this byte
LIES_HERE: Final = "\0"
#: ends every note of ours, so that none but ours is ever removed
SIGNED: Final = "\n(written by finetuned; goes when the file is tried again)\n"
#: what the end of a file rests on: its content, so that another content must not take its place
_KNOWN: Final = frozenset({FileState.LEARNED, FileState.DUPLICATE})
#: from how many files on it takes less to move their folder than to move them
SEVERAL: Final = 2
BY_HAND: Final = "it was changed, moved or removed by hand before it was put away"
_OURS: Final = frozenset((name,) for name in OUR_NAMES)
_OF_JOBS: Final = MappingProxyType({FileState.LEARNED: DONE, FileState.BARREN: FAILED, FileState.FAILED: FAILED})
_SHARED: Final = MappingProxyType({FileState.REFUSED: (FAILED, "refused"), FileState.DUPLICATE: (DONE, "duplicates")})


def area_of(file: File) -> Parts:
    """Tell the folder that a file at its end belongs into. Raises ValueError if it is at none."""
    if file.state in _SHARED:
        return _SHARED[file.state]
    if file.job_id is None or file.state not in _OF_JOBS:
        raise ValueError(f"no file is archived as {file.state!s} (job {file.job_id})")
    return _OF_JOBS[file.state], file.job_id


def archive(places: Places, file: File, location: str, why: str | None) -> str | None:
    """Move a file, which lay at `location`, to its end; return where it lies, None if the rules have it deleted.

    Raises Gone (it is nowhere to be found), Changed (another version lay there, and is given back), Stuck, Away.
    """
    wanted = (*area_of(file), *places.relative(file.path))
    with places.guard("moved"):
        old = places.tree.below(location)
        if old is None or not places.is_that(old, file.signature):
            old = _find(places, file, location)
            if old is not None and file.state in _KNOWN and _is_other(places, old, file):
                back = _give_back(places, old, file.path)
                raise Changed(
                    f"another version lay in its place, and is taken as a new file: {escape(places.tree.at(back))}"
                )
        target = _bring(places, old, wanted, file, noted=why is not None)
        if old is None and target is not None and (gone := places.tree.below(location)) is not None:
            _follow(places, gone, target, again=True)
    if target is None:
        return None
    write_why(places, places.tree, target, why, lies=places.tree.at(target))
    return places.tree.at(target)


def archive_all(places: Places, files: Sequence[File]) -> dict[int, str]:
    """Move learned files to their ends, as far as nothing is special; return by id where those lie that were moved.

    A whole folder, if it holds nothing else: its files are at their ends at once then.
    """
    if places.rules.after == "delete" or places.names.own_marker("") is not None:
        return {}
    by_way: dict[tuple[Parts, Parts], dict[str, tuple[int, Signature]]] = {}
    for file in files:
        old = None if file.location is None else places.tree.below(file.location)
        if old is not None and file.signature is not None and file.state is FileState.LEARNED:
            new = (*area_of(file), *places.relative(file.path))
            if old[0] == PROCESSING and old[-1] == new[-1] and new[2:] not in _OURS:
                by_way.setdefault((old[:-1], new[:-1]), {})[new[-1]] = file.id, file.signature
    found: dict[int, str] = {}
    for (here, there), some in by_way.items():
        looks = {name: one[1] for name, one in some.items()}
        with suppress(OSError, FileProblem):  # `archive` tells what it is
            for name in _moved(places.tree, here, there, looks):
                found[some[name][0]] = places.tree.at((*there, name))
    return found


def _moved(tree: Tree, here: Parts, there: Parts, looks: Mapping[str, Signature]) -> Iterable[str]:
    """Move files that look so, with their folder if they are many and that is theirs alone; return what was moved."""
    with suppress(OSError, FileProblem):
        beside = {JOB_FILE} if len(here) == len(there) == 2 else set()  # the claim's note; there ours will lie
        if len(looks) >= SEVERAL and tree.move_folder(here, there, looks, beside):
            return looks
    return tree.move_all(here, there, looks, renamed=True)


def _find(places: Places, file: File, location: str) -> Parts | None:
    """Find where the file is to be taken from: where it lay, or where a person moved it within `.processing/<job>/`.

    Where it was dropped another may lie by now, which is for the sweeps to find.
    """
    old = places.tree.below(location)
    if old is not None and places.tree.is_file(old):
        may_be_newer = file.state not in _KNOWN and file.signature is not None and not places.names.is_ours(old)
        return None if may_be_newer else old
    if file.state in _SHARED or not (file.job_id and file.content):
        return None
    return _locate(places, file.job_id, file.content, (PROCESSING,))


def _is_other(places: Places, old: Parts, file: File) -> bool:
    """Tell whether what lies there is not what was learned."""
    content = file.content
    return content is not None and not places.is_that(old, file.signature) and not places.holds(old, content)


def _give_back(places: Places, old: Parts, origin: str) -> Parts:
    """Move a file to where it was dropped, or beside what lies there now; return where it lies."""
    wanted = places.tree.below(origin) or (os.path.basename(origin),)
    new = places.tree.move_beside(old, wanted)
    _follow(places, old, new)
    return new


def _bring(places: Places, old: Parts | None, wanted: Parts, file: File, *, noted: bool) -> Parts | None:
    """Move the file (or delete it, if the rules say so); return where it lies. `noted`: a note comes beside it."""
    tree = places.tree
    deleted = file.state is FileState.LEARNED and places.rules.after == "delete"
    if old is None:
        before = _moved_before(places, wanted, file.signature, shared=file.state in _SHARED)
        if before is None and not deleted:
            raise Gone(BY_HAND)
        return before
    if deleted:
        move_marker(places, old, wanted)
        tree.remove(old)
        return None
    if old[:-1] == wanted[:-1]:
        return old
    target = _move(tree, old, wanted, noted=noted)
    _follow(places, old, target)
    return target


def _candidates(wanted: Parts) -> Iterator[Parts]:
    """Yield `wanted` and its numbered names, but those that are ours at the top of a job's folder."""
    for name in itertools.islice(numbered(wanted[-1]), 100_000):
        if not (len(wanted) == 3 and name in OUR_NAMES):
            yield (*wanted[:-1], name)


def _move(tree: Tree, old: Parts, wanted: Parts, *, noted: bool) -> Parts:
    """Move to the first name that is free, and whose note's name is free too if it is to have one."""
    for target in _candidates(wanted):
        has_room = not noted or tree.stat((*target[:-1], why_name(target[-1]))) is None
        if has_room or tree.is_moving(old, target):
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


def write_why(places: Places, tree: Tree, target: Parts, why: str | None, *, lies: str) -> None:
    """Write the note beside `target`, unless it is there already; the file itself is at `lies`."""
    if why is None:
        return
    why = why.replace(LIES_HERE, shlex.quote(escape(lies)))
    data = (why.rstrip("\n") + "\n" + SIGNED).encode("utf-8", "backslashreplace")
    readers = places.readers([lies])
    with places.guard("explained"):
        for name in numbered(why_name(target[-1])):
            note = (*target[:-1], name)
            if tree.read(note) == data:
                return
            with suppress(FileExistsError):
                tree.write(note, [data], readers)
                return


def _follow(places: Places, old: Parts, new: Parts, *, again: bool = False) -> None:
    """Remove the note beside a file that went from `old` to `new`, and move its marker along; `again`: finish a try."""
    leave(places, old)
    move_marker(places, old, new, once=again)


def leave(places: Places, old: Parts) -> None:
    """Remove our note beside a file that has left `old`: it is no longer true."""
    if old[0] not in {DONE, FAILED} or places.tree.is_file(old):
        return
    note = (*old[:-1], why_name(old[-1]))
    if (places.tree.read(note) or b"").endswith(SIGNED.encode()):
        places.tree.remove(note)


def move_marker(places: Places, old: Parts, new: Parts, *, once: bool = False) -> None:
    """Move the ready file that is a file's alone to where that goes; `once`: not if one is there already."""
    marker = places.names.own_marker(old[-1])
    if marker is None or "/" in marker:
        return
    source = (*old[:-1], _as_it_lies(places, old[:-1], marker))
    wanted = (*new[:-1], places.names.own_marker(new[-1]) or marker)
    if once and places.tree.stat(wanted) is not None:
        return
    if places.tree.is_file(source):
        with suppress(FileNotFoundError):
            places.tree.move_beside(source, wanted)


def _as_it_lies(places: Places, folder: Parts, name: str) -> str:
    """Return the name as it stands in the folder: a rule and a file may spell it in another normal form of Unicode."""
    if name.isascii() or places.tree.stat((*folder, name)) is not None:
        return name
    return next((other for other in places.tree.names(folder) if same(other) == same(name)), name)


def give_back(places: Places, location: str, path: str, signature: Signature | None = None) -> str:
    """Move a file back to where it was dropped, numbered if that is taken; return where it lies.

    Raises Gone, Stuck, Away.
    """
    old = places.below(location)
    with places.guard("moved back"):
        if not places.tree.is_file(old):
            wanted = places.tree.below(path) or (os.path.basename(path),)
            before = _moved_before(places, wanted, signature, shared=True)
            if before is None:
                raise Gone("cannot be moved back: it is not there any more")
            _follow(places, old, before, again=True)
            return places.tree.at(before)
        return places.tree.at(_give_back(places, old, path))


def locate(places: Places, job_id: str, content: Content) -> str | None:
    """Tell where in its job's folders a file lies that people moved by hand, found by its content; None: nowhere."""
    with places.guard("looked for"):
        found = _locate(places, job_id, content, (PROCESSING, DONE, FAILED))
    return None if found is None else places.tree.at(found)


def _locate(places: Places, job_id: str, content: Content, areas: tuple[str, ...]) -> Parts | None:
    for parts in itertools.chain.from_iterable(places.tree.files((area, job_id)) for area in areas):
        found = places.tree.stat(parts)
        if found is not None and found.st_size == content.bytes and places.holds(parts, content):
            return parts
    return None
