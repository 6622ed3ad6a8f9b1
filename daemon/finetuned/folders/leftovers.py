"""What lies claimed in a folder without the ledger knowing: its note read, its files found, or given back.

1. Everybody who drops files may write to the folder. A note is read if only we can have written it (`claims`); what is
   not of the right shape, speaks of another job, or of other files than lie there, is no note all the same.
2. A file is what its content says; names and places may have been changed by hand. Some may have been taken away, but
   there is none that the note does not name, and one at least that it does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated

import msgspec
from msgspec.structs import replace

from finetuned.errors import Changed, Gone, Stuck, Unusable
from finetuned.folders.claims import clear, read_note
from finetuned.folders.names import JOB_FILE, JOB_ID, Parts
from finetuned.folders.places import Places
from finetuned.model import DONE, FAILED, PROCESSING, Content, Signature, Value
from finetuned.paths import path_of
from finetuned.times import instant

_Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Size = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _File(msgspec.Struct):
    path: str
    state: str
    sha256: _Hash | None = None
    bytes: _Size | None = None
    path_b64: str | None = None


class _Note(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern=f"^{JOB_ID}$")]
    created_at: str
    attempt: Annotated[int, msgspec.Meta(ge=0, le=10**6)]
    file_list: Annotated[list[_File], msgspec.Meta(min_length=1, max_length=100_000)]


class Claimed(Value, frozen=True):
    """A file of a claimed job: where it was dropped, where it lies (or should), and what it holds."""

    path: str
    location: str
    content: Content
    signature: Signature | None = None


class ClaimedJob(Value, frozen=True):
    """A job that lies claimed, as its note tells: its files in the order of the upload."""

    id: str
    created_at: float
    attempt: int
    files: tuple[Claimed, ...]


def of_moved(places: Places, job_id: str, note: bytes) -> ClaimedJob | None:
    """Read what a note says of just what lies in the job's folder; None if it is no such note. Raises Stuck, Away."""
    job = _told(places, job_id, note, lambda path: places.tree.at((PROCESSING, job_id, *places.relative(path))))
    if job is None:
        return None
    lying = _lying(places, job_id)
    return _found(job, lying.get) if _is_all(places, job, lying) else None


def of_kept(places: Places, job_id: str, note: bytes) -> ClaimedJob | None:
    """Read what a note says of files that stay where they were dropped; None if it is no note. Raises Stuck, Away."""
    job = _told(places, job_id, note, str)
    if job is None:
        return None
    paths = {file.content.sha256: file.path for file in job.files}

    def in_place(sha256: str) -> Claimed | None:
        with suppress(Stuck):  # what the note tells of it is as good
            return _in_place(places, paths[sha256], sha256)
        return None

    return _found(job, in_place)


def _told(places: Places, job_id: str, note: bytes, at: Callable[[str], str]) -> ClaimedJob | None:
    """Make the job of what a note tells, each file to lie `at` a place for its path; None if it tells of none such."""
    try:
        job = msgspec.json.decode(note, type=_Note)
        created_at = instant(job.created_at)
        packed = {f.sha256: f for f in job.file_list if f.state == "packed" and f.sha256 and f.bytes}
        paths = [_origin(places, path_of(f.path, f.path_b64)) for f in packed.values()]
    except (msgspec.MsgspecError, ValueError, RecursionError):  # no JSON, time, encoding or path; or a bottomless one
        return None
    if job.id != job_id or not packed:
        return None
    sizes = [(sha256, file.bytes or 0) for sha256, file in packed.items()]
    files = tuple(
        Claimed(path=path, location=at(path), content=Content(sha256=sha256, bytes=size, sent_bytes=size))
        for path, (sha256, size) in zip(paths, sizes, strict=True)
    )
    return ClaimedJob(id=job_id, created_at=created_at, attempt=job.attempt, files=files)


def _found(job: ClaimedJob, find: Callable[[str], Claimed | None]) -> ClaimedJob:
    """Say of each file of the job what was found by its content; where it was dropped the note alone knows."""
    pairs = [(file, find(file.content.sha256)) for file in job.files]
    return replace(job, files=tuple(replace(found or told, path=told.path) for told, found in pairs))


def _is_all(places: Places, job: ClaimedJob, lying: Mapping[str, Claimed]) -> bool:
    """Tell whether what lies in the job's folder is what the note tells of, in size and content, and nothing else."""
    sizes = {file.content.sha256: file.content.bytes for file in job.files}
    if not lying or any(sizes.get(sha256) != file.content.bytes for sha256, file in lying.items()):
        return False
    own = {places.tree.below(file.location) for file in lying.values()}
    markers = {(*parts[:-1], places.names.own_marker(parts[-1])) for parts in own if parts is not None}
    return all(parts in own or parts in markers for parts in _files(places, job.id))


def _origin(places: Places, path: str) -> str:
    """Tell where a file was dropped, in the folder as it is now: it may have been moved since. Raises ValueError."""
    if "\0" in path or not os.path.basename(path):
        raise ValueError("no path")
    return path if places.tree.below(path) else places.tree.at((os.path.basename(path),))


def _lying(places: Places, job_id: str) -> dict[str, Claimed]:
    """Read what lies in the job's folder, by content; not what is no text. Raises Stuck, Away."""
    read = (_in_place(places, places.tree.at(parts), None) for parts in _files(places, job_id))
    return {one.content.sha256: one for one in read if one is not None}


def _in_place(places: Places, location: str, sha256: str | None) -> Claimed | None:
    """Read the file at `location`; None if it is no text, or not the one that is meant. Raises Stuck, Away."""
    try:
        content = places.read(location)
        with places.guard("read"):
            status = places.tree.stat(places.below(location))
    except (Gone, Changed, Unusable):
        return None
    if status is None or sha256 not in {None, content.sha256}:
        return None
    return Claimed(path=location, location=location, content=content, signature=places.tree.signature(status))


def _files(places: Places, job_id: str) -> list[Parts]:
    """List what lies in the job's folder, but for its note."""
    with places.guard("read"):
        return [parts for parts in places.tree.files((PROCESSING, job_id)) if parts[2:] != (JOB_FILE,)]


def knows_any(places: Places, job_ids: Sequence[str]) -> bool:
    """Tell whether a folder of one of these jobs lies in `.processing`, `done` or `failed`. Raises Stuck, Away."""
    with places.guard("looked for"):
        ways = ((area, job_id) for job_id in job_ids for area in (PROCESSING, DONE, FAILED))
        return any(places.tree.stat(way) is not None for way in ways)


def holds_any(places: Places, job_id: str, contents: frozenset[str]) -> bool:
    """Tell whether a file with one of these contents lies in the job's folder. Raises Stuck, Away."""
    return not contents.isdisjoint(_lying(places, job_id))


def let_go(places: Places, job_id: str) -> int:
    """Move what lies in a job's folder back into the drop folder; how many files. Raises Stuck, Away.

    A file gets the place that it has in the job's folder, numbered if that is taken: it is a new file there.
    """
    files = _files(places, job_id)
    with places.guard("moved back"):
        for parts in files:
            places.tree.move_beside(parts, parts[2:])
    clear(places, job_id)
    return len(files)


def why_no_claim(places: Places, job_id: str) -> str:
    """Say why the note of what lies claimed is not believed. Raises Stuck, Away."""
    with places.guard("read"):
        return read_note(places.tree, (PROCESSING, job_id, JOB_FILE))[1]
