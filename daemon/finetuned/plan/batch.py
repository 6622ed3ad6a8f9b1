"""Batches: which files share a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from finetuned.backend import Capabilities
from finetuned.model import ServerFacts, WaitingFile
from finetuned.settings import FolderSettings

#: the files that a round looks at beside those of two jobs
FIRST_LOOK: Final = 100


def within(rules: FolderSettings, server: ServerFacts) -> FolderSettings:
    """Narrow the rules to what the server was found to take; a file that is larger goes alone, and finds out."""
    chunks = rules.max_chunks if server.max_chunks is None else server.max_chunks
    size = rules.max_bytes if server.max_request is None else server.max_request
    return replace(rules, max_chunks=min(rules.max_chunks, chunks), max_bytes=min(rules.max_bytes, size))


def first_look(rules: FolderSettings) -> int:
    """Count the waiting files of a folder that a round looks at: enough for a few jobs, however many wait."""
    return FIRST_LOOK + 2 * rules.max_files


def most_files(rules: FolderSettings, can: Capabilities) -> int:
    """Count the files that a job can have at most: even the smallest makes chunks."""
    return max(1, min(rules.max_files, rules.max_chunks // max(1, can.chunks(1))))


def with_first(
    files: Iterable[WaitingFile], settings: Mapping[str, FolderSettings]
) -> Iterator[tuple[WaitingFile, int | None]]:
    """Pair each file with the id of the file of the same content that goes first; null: none does, or both are sent."""
    first: dict[tuple[str, str], int] = {}
    for file in files:
        goes = first.setdefault((file.folder, file.text_sha256 or file.sha256), file.id)
        skips = settings[file.folder].duplicates == "skip"
        yield file, goes if skips and goes != file.id else None


def batches(
    files: Iterable[WaitingFile], rules: FolderSettings, can: Capabilities
) -> Iterator[tuple[list[WaitingFile], bool]]:
    """Cut `files`, in order, into batches that keep the limits; with each, whether it is full.

    A file that is over a limit by itself goes alone. Files of equal content never share a batch: the server could not
    tell their pairs apart. Ready-made pairs name no document at all: each file of them is a batch.
    """
    batch: list[WaitingFile] = []
    contents: set[str] = set()
    held_back: list[WaitingFile] = []
    sent = chunks = 0
    for file in files:
        if file.ready_made:
            yield [file], True
            continue
        if file.sha256 in contents:
            held_back.append(file)
            continue
        more = can.chunks(file.sent_bytes)
        fits = sent + file.sent_bytes <= rules.max_bytes and chunks + more <= rules.max_chunks
        if batch and not (fits and len(batch) < rules.max_files):
            yield batch, True
            batch, contents, sent, chunks = [], set(), 0, 0
        batch.append(file)
        contents.add(file.sha256)
        sent += file.sent_bytes
        chunks += more
    if batch:  # full: not even one more small file would fit
        yield (
            batch,
            len(batch) >= rules.max_files or sent >= rules.max_bytes or chunks + can.chunks(1) > rules.max_chunks,
        )
    if held_back:
        yield from batches(held_back, rules, can)
