"""One drop folder, as the daemon knows it: the surface of this room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from finetuned.errors import Changed, FileProblem, Gone
from finetuned.folders import archive, claims, leftovers
from finetuned.folders.claims import Wanted
from finetuned.folders.explanation import explain
from finetuned.folders.leftovers import ClaimedJob
from finetuned.folders.places import Places
from finetuned.folders.recoders import TOLD
from finetuned.folders.sweep import Sweep, Sweeper
from finetuned.folders.text import TextReader
from finetuned.folders.trials import Examination, examine, probe
from finetuned.folders.watches import Identities
from finetuned.lifecycle import FileState
from finetuned.model import Content, Signature
from finetuned.settings import FolderSettings

#: how many suffixes are told of the files that no rule takes
MOST_UNTAKEN: Final = 100


class DropFolder:
    """One folder by its rules. Blocking; one call at a time, from any thread.

    `beside` is a directory beside the ledger for what after = "keep" may not write into the folder. `leases` says
    whether leases tell about writers; None: as the file system suggests. `told` is how many bad lines of a file of
    pairs an error names. `owner` is the user (uid) whose daemon it is; None: ours. Only `sweep` needs `hold` first.
    """

    def __init__(
        self,
        rules: FolderSettings,
        *,
        beside: str,
        leases: bool | None = None,
        told: int = TOLD,
        owner: int | None = None,
    ) -> None:
        self.rules = rules
        self.name = rules.name
        self._places = Places(rules, beside, leases=leases, told=told, owner=owner)
        self._sweeper = Sweeper(rules, self._places.names, self._places.tree, self._places.has_writer)

    @property
    def root(self) -> str:
        """The folder's absolute path, as configured."""
        return self._places.tree.path

    @property
    def subfolders(self) -> Identities:
        """By absolute path: the folders below it that the last sweep walked to, which are to be watched."""
        return self._sweeper.subfolders

    @property
    def untaken(self) -> dict[str, int]:
        """By suffix, commonest first: how many files the last sweep met that no rule takes, and none leaves out."""
        return dict(self._sweeper.untaken.most_common(MOST_UNTAKEN))

    def is_untaken(self, path: str) -> bool:
        """Whether no rule takes a file of this name, and none leaves it out."""
        parts = self._places.tree.below(path)
        return parts is not None and self._places.names.is_untaken(parts)

    @property
    def held(self) -> bool:
        """Whether this process holds the folder."""
        return self._places.tree.held

    def hold(self) -> None:
        """Open and lock the folder. Raises Held (another finetuned has it) and Away (missing, another mount)."""
        self._places.tree.hold()

    def check(self) -> None:
        """Raise Away if the folder is missing, or another one lies at its path; `hold` may be tried again then."""
        self._places.tree.check()

    def close(self) -> None:
        """Let go of the folder and its lock."""
        self._places.tree.close()

    def remember(self, path: str, signature: Signature, *, settled: bool) -> None:
        """The ledger knows this file, as settling or as something later; sweeps report no more what it knows."""
        self._sweeper.remember(path, signature, settled=settled)

    def forget(self, path: str) -> None:
        """The file was taken away, or the ledger is done with it: what lies there from now on is another file."""
        self._sweeper.forget(path)

    def leave_alone(self, path: str, until: float) -> None:
        """Neither report the file as new nor as ready before `until`, on the clock of `sweep`."""
        self._sweeper.leave_alone(path, until)

    def unsettle(self, path: str, steady: float) -> None:
        """Somebody writes to the file still: its quiet time begins now, on the clock of `sweep`."""
        self._sweeper.unsettle(path, steady)

    def sweep(self, steady: float) -> Sweep:
        """Look at the whole folder; `steady` is a clock in seconds that only goes forward. Raises Away."""
        return self._sweeper.sweep(steady)

    def read(self, path: str, expected: Signature | None = None) -> Content:
        """What a file holds as it would be sent; Changed if it is not the one `expected` tells of, or is written to.

        Raises Unusable, Changed, Gone, Stuck, Away.
        """
        return self._places.read(path, expected)

    def content(self, fd: int, name: str) -> Content:
        """What an open file from elsewhere holds as it would be sent, if it were dropped here under `name`.

        Raises Unusable, Changed, Gone and OSError.
        """
        return self._places.content(fd, name)

    def open_text(self, location: str, content: Content) -> TextReader:
        """The bytes to send, for an upload; opened at the first read, which may raise Gone, Changed, Stuck, Away.

        Raises Unusable at once if the rules have changed, and it may not be sent any more.
        """
        return TextReader(lambda: self._places.open(location), content, lambda: self._places.recoder(location))

    def left_out(self, path: str) -> str | None:
        """Why a file at `path` is never taken, by the names that lead to it, in a sentence; None if it is."""
        parts = self._places.tree.below(path)
        return None if parts is None else self._places.names.left_out(parts)

    def has_changed(self, path: str, since: Signature) -> bool:
        """Whether another version than was seen lies at `path`; if nothing does, the claim finds out."""
        return self._places.has_changed(path, since)

    def claim(self, job_id: str, note: bytes, wanted: Sequence[Wanted]) -> list[str | FileProblem]:
        """Take files for a job, and say in `note` beside them which; repeatable.

        For each, in their order: where it lies now, or why it is not taken (Gone, Changed, Stuck). Raises Stuck, Away.
        """
        taken = claims.claim(self._places, job_id, note, wanted)
        for number, (one, location) in enumerate(zip(wanted, taken, strict=True)):
            if isinstance(location, Gone):
                taken[number] = self._claim_moved(job_id, note, one) or location
        for one, location in zip(wanted, taken, strict=True):
            if isinstance(location, str) and location != one.source:
                self._sweeper.forget(one.source)
        return taken

    def _claim_moved(self, job_id: str, note: bytes, one: Wanted) -> str | FileProblem | None:
        """Take a file that a person moved within its job's folders, or that an older ledger believes elsewhere."""
        found = self.locate(job_id, one.content)
        if found is None or found == one.source:
            return None
        return claims.claim(self._places, job_id, note, [Wanted(source=found, name=one.name, content=one.content)])[0]

    def probe(self, source: str) -> None:
        """Raise Stuck if files cannot be moved from where `source` lies, before one is tried. Raises Gone, Away."""
        probe(self._places, source)

    def part_location(self, location: str, job_id: str, name: str) -> str:
        """Where the upload of a claimed file reads from: its snapshot (`Wanted.name`) if it stays, else the file."""
        if not self._places.stays(location):
            return location
        return self._places.beside.at(self._places.snapshot(job_id, name, location))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is archived within is on disk at the end, all at the price of one. Raises Stuck, Away."""
        with self._places.guard("brought to disk"), self._places.together():
            yield

    def archive(
        self,
        file_location: str,
        *,
        origin: str,
        job_id: str | None,
        state: FileState,
        why: str | None,
        signature: Signature | None = None,
        content: Content | None = None,
    ) -> str | None:
        """Bring a file to its end; return where it lies, None if it was deleted by the rules. Repeatable.

        `why` is written beside it, with the path where it lies then for `LIES_HERE`. With its `signature` a file is
        found again that an earlier try moved, with its `content` one that a person moved within its job's folders.
        Raises Gone (it is nowhere to be found), Changed (another version lay there and is given back), Stuck, Away.
        """
        try:
            location = archive.archive(
                self._places,
                file_location,
                origin=origin,
                job_id=job_id,
                state=state,
                why=why,
                signature=signature,
                content=content,
            )
        except (Gone, Changed):
            self._sweeper.forget(file_location)
            raise
        if location != file_location:
            self._sweeper.forget(file_location)
        return location

    def give_back(self, location: str, path: str, signature: Signature | None = None) -> str:
        """Move a file back to where it was dropped (numbered on a clash); return where. Raises Gone, Stuck, Away."""
        return archive.give_back(self._places, location, path, signature)

    def write_job_files(
        self,
        job_id: str,
        *,
        area: Literal["done", "failed"],
        files: Mapping[str, Iterable[bytes]],
        locations: Sequence[str | None] = (),
    ) -> None:
        """Write `job.json`, `pairs.jsonl` into the job's folder, replacing what we wrote before. Raises Stuck, Away.

        `locations`: where each of the job's files lies, None for nowhere; who may not read one may not read these.
        """
        archive.write_job_files(self._places, job_id, area, files, locations)

    def clear_processing(self, job_id: str) -> None:
        """Remove what a job left under way: note, empty sub-folders, snapshots; all else stays. Raises Stuck, Away."""
        claims.clear(self._places, job_id)

    def processing(self) -> tuple[tuple[str, bytes | None], ...]:
        """The jobs whose files lie claimed, each with its note, if that is surely ours. Raises Stuck, Away."""
        return claims.processing(self._places)

    def why_no_claim(self, job_id: str) -> str:
        """Why the note of what lies claimed is not believed, in words. Raises Stuck, Away."""
        return claims.why_no_claim(self._places, job_id)

    def knows_job(self, job_id: str) -> bool:
        """Whether a folder of this job lies here: claimed, done or failed. Raises Stuck, Away."""
        return leftovers.knows_job(self._places, job_id)

    def read_note(self, job_id: str, note: bytes) -> ClaimedJob | None:
        """What a claim's note says of just what lies there; None if it is no such note. Raises Stuck, Away."""
        return leftovers.read_note(self._places, job_id, note)

    def holds_any(self, job_id: str, contents: frozenset[str]) -> bool:
        """Whether a file with one of these contents lies claimed for the job. Raises Stuck, Away."""
        return leftovers.holds_any(self._places, job_id, contents)

    def let_go(self, job_id: str) -> int:
        """Move what lies claimed back into the folder, where it is new; how many files. Raises Stuck, Away."""
        return leftovers.let_go(self._places, job_id)

    def locate(self, job_id: str, content: Content) -> str | None:
        """Where in the job's own folders a file with this content lies; None: nowhere. Raises Stuck, Away."""
        return archive.locate(self._places, job_id, content)

    def lies(self, location: str) -> bool:
        """Whether a regular file lies there. Raises Stuck, Away."""
        return archive.lies(self._places, location)

    def is_ours(self, path: str) -> bool:
        """Whether `path` lies in the part of the folder that is finetuned's own, which no sweep looks into."""
        parts = self._places.tree.below(path)
        return parts is not None and self._places.names.is_ours(parts)

    def why_not_into(self, path: str) -> str | None:
        """Why the sub-folder at `path` is never looked into, by its own name, in a sentence; None if it is."""
        parts = self._places.tree.below(path)
        return None if parts is None else self._places.names.why_not_into(parts)

    def explain(self, path: str) -> str | None:
        """Why `path` is never taken, in a sentence; None if it would be. Raises Away."""
        return explain(self._places, path)

    def examine(self, within: float) -> Examination:
        """Try what `doctor` tells about the folder; an event may take so many seconds. Raises Away, OSError."""
        return examine(self._places, within)
