"""One drop folder, as the daemon knows it: the surface of this room."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from finetuned.errors import Changed, FileProblem, Gone
from finetuned.folders import archive, claims, leftovers, retention
from finetuned.folders.claims import Taken, Wanted
from finetuned.folders.leftovers import ClaimedJob
from finetuned.folders.names import JOB_FILE, Choice, Parts
from finetuned.folders.places import Places
from finetuned.folders.probes import is_probe
from finetuned.folders.sweep import Sweeper
from finetuned.folders.text import TextReader
from finetuned.folders.tree import Tree
from finetuned.model import PROCESSING, RESERVED, Content, File, Signature

if TYPE_CHECKING:
    from finetuned.folders.watches import Identities

#: a job's id, what is noted beside its files, and the files to take
Order = tuple[str, bytes, Sequence[Wanted]]


class DropFolder(Places):
    """One folder by its rules, whose files are moved: by a claim to `.processing/<job>/`, then to `done` or `failed`.

    Blocking; one call at a time, from any thread. `beside` is a directory beside the ledger for what may not be written
    into the folder. `leases` says whether leases tell about writers; None: as the file system suggests. An error names
    so many `bad_lines` of a file of pairs. `owner` is the user (uid) whose daemon it is; None: ours. Only its `sweeper`
    needs `hold` first.
    """

    @cached_property
    def sweeper(self) -> Sweeper:
        """What is known of the folder's files."""
        return Sweeper(self)

    @cached_property
    def _reserved(self) -> tuple[str, ...]:
        return tuple(self.tree.at((name,)) for name in RESERVED)

    @property
    def root(self) -> str:
        """The folder's absolute path, as configured."""
        return self.tree.path

    @property
    def subfolders(self) -> Identities:
        """By absolute path: the folders below it that the last sweep walked to, which are to be watched."""
        return self.sweeper.subfolders

    @property
    def unwatched(self) -> int:
        """How many more folders there are below it than can be watched."""
        return self.sweeper.unwatched

    def took(self, path: str) -> bool:
        """Tell, once, of a file that went whether a claim took it."""
        return self.sweeper.took(path)

    def hold(self) -> None:
        """Open and lock the folder. Raises Held (another finetuned has it) and Away (missing, another mount)."""
        self.tree.hold()

    def check(self) -> None:
        """Raise Away if the folder is missing, or another one lies at its path; `hold` may be tried again then."""
        self.tree.check()

    def identity(self) -> tuple[int, int] | None:
        """Tell which folder is held, or lies at its path, by device and inode; None if there is none."""
        return self.tree.identity()

    def take_over(self, other: DropFolder) -> None:
        """Hold the folder that `other` holds, the very same one by its identity, without a gap."""
        self.tree.take_over(other.tree)

    def close(self) -> None:
        """Let go of the folder and its lock."""
        self.tree.close()

    def open_text(self, location: str, content: Content) -> TextReader:
        """Read the bytes to send, for an upload; opened at the first read, which may raise Gone, Changed, Stuck, Away.

        Raises Unusable at once if the rules have changed, and it may not be sent any more.
        """
        return TextReader(lambda: self.open(location), content, self.recoder(location, judges=False))

    def left_out(self, path: str) -> str | None:
        """Say in a sentence why a file at `path` is never taken, by the names that lead to it; None if it is."""
        parts = self.tree.below(path)
        return None if parts is None else self.names.left_out(parts)

    def is_untaken(self, path: str) -> bool:
        """Tell whether no rule takes a file of this name, and none leaves it out."""
        parts = self.tree.below(path)
        return parts is not None and self.names.chooser(parts[:-1])(parts[-1]) is Choice.UNTAKEN

    def is_ours(self, path: str) -> bool:
        """Tell whether `path` lies in the part of the folder that is finetuned's own, which no sweep looks into."""
        if not path.startswith(self._reserved):  # it is asked of each of a hundred thousand
            return False
        parts = self.tree.below(path)
        return parts is not None and self.names.is_ours(parts)

    # -- a claim

    def wanted(self, file: File) -> Wanted | None:
        """Tell how a file of a job is to be taken; None if it lies nowhere, or was not read."""
        return claims.wanted(self, file)

    def probe(self, source: str) -> None:
        """Raise Stuck if files cannot be moved from where `source` lies, before one is tried. Raises Gone, Away."""
        claims.probe(self, source)

    def claim(self, job_id: str, note: bytes, wanted: Sequence[Wanted]) -> list[str | FileProblem]:
        """Take files for a job, and say in `note` beside them which; repeatable.

        For each, in their order: where it lies now, or why it is not taken (Gone, Changed, Stuck). Raises Stuck, Away.
        """
        return self.claim_all([(job_id, note, wanted)])[0]

    def claim_all(self, jobs: Sequence[Order]) -> list[list[str | FileProblem]]:
        """Take the files of several jobs (id, note, files) together: they wait for the disk once. See `claim`."""
        found = self._claim(jobs)
        for (job_id, note, wanted), taken in zip(jobs, found, strict=True):
            for number, (one, location) in enumerate(zip(wanted, taken, strict=True)):
                if isinstance(location, Gone):
                    taken[number] = self._claim_moved(job_id, note, one) or location
            left = zip(wanted, taken, strict=True)
            self.sweeper.known.forget_all([one.source for one, at in left if isinstance(at, str) and at != one.source])
        return found

    def _claim(self, jobs: Sequence[Order]) -> list[list[str | FileProblem]]:
        """Move all, bring them to disk, and only then look again at what lies there: that is what will be sent."""
        if self.moves:
            self.sweeper.takes(
                path for _, _, wanted in jobs for one in wanted for path in self._with_marker(one.source)
            )
        with self.together():
            for job_id, note, wanted in jobs:
                with suppress(FileProblem):  # the same trouble meets the files, and each of them gets the reason
                    self._write_note(job_id, note, wanted)
            taken = [zip(wanted, self._take(job_id, wanted), strict=True) for job_id, _, wanted in jobs]
        with self.together():
            return [
                [claims.prove(self, one, at) if isinstance(at, tuple) else at for one, at in of_a_job]
                for of_a_job in taken
            ]

    def _claim_moved(self, job_id: str, note: bytes, one: Wanted) -> str | FileProblem | None:
        """Take a file that a person moved within its job's folders, or that an older ledger believes elsewhere."""
        try:
            found = self.locate(job_id, one.content)
        except FileProblem as error:
            return error
        if found is None or found == one.source:
            return None
        return self._claim([(job_id, note, [Wanted(source=found, name=one.name, content=one.content)])])[0][0]

    def _with_marker(self, path: str) -> Iterator[str]:
        """Yield the path of a file, and that of the marker that goes along."""
        yield path
        folder, name = os.path.split(path)
        if (marker := self.names.own_marker(name)) is not None:
            yield f"{folder}/{marker}"

    def _take(self, job_id: str, wanted: Sequence[Wanted]) -> list[Taken | str | FileProblem]:
        """Take files: where each was moved to and is to be proved, where it stays, or why it is not taken."""
        return [*claims.take_all(self, job_id, wanted)]

    def _write_note(self, job_id: str, data: bytes, wanted: Sequence[Wanted]) -> None:
        """Say beside the claimed files what job they are in, to who may read every one. Raises Stuck, Away."""
        tree, parts = self._note_of(job_id)
        with self.guard("written"):
            lies = [*(one.source for one in wanted), *self._taken(job_id)]  # or lay, before an earlier try took it
            found = [place for path in lies if (place := self._found(path)) is not None]
            tree.write(parts, [data], self.readers((), record=[*found, (tree, parts)]), replace=True)

    def _note_of(self, job_id: str) -> tuple[Tree, Parts]:
        """Tell where the note of a claim lies."""
        return self.tree, (PROCESSING, job_id, JOB_FILE)

    def _taken(self, job_id: str) -> list[str]:
        """List what an earlier try has taken."""
        return [self.tree.at(parts) for parts in self.tree.files((PROCESSING, job_id))]

    def part_location(self, location: str, _job_id: str, _name: str) -> str:
        """Tell where the upload of a claimed file reads from; `_name` is its `Wanted.name`."""
        return location

    def processing(self, but: Container[str] = ()) -> tuple[tuple[str, bytes | None], ...]:
        """List the jobs whose files lie claimed, `but` for those, each with its note, if that is surely ours.

        Raises Stuck, Away.
        """
        with self.guard("read"):
            return tuple(self._claims(but))

    def _claims(self, but: Container[str]) -> list[tuple[str, bytes | None]]:
        names = [name for name in self.tree.folders((PROCESSING,)) if name not in but and not is_probe(name)]
        return [(name, claims.read_note(self.tree, (PROCESSING, name, JOB_FILE))[0]) for name in names]

    def read_note(self, job_id: str, note: bytes) -> ClaimedJob | None:
        """Read what a claim's note says of just what lies there; None if it is no such note. Raises Stuck, Away."""
        return leftovers.of_moved(self, job_id, note)

    def clear_processing(self, job_id: str) -> None:
        """Remove what a job left under way: note, empty sub-folders, snapshots; all else stays. Raises Stuck, Away."""
        claims.clear(self, job_id)

    # -- the end

    def archive(self, file: File, why: str | None) -> str | None:
        """Bring a file to its end; return where it lies, None if nowhere, as it was deleted by the rules. Repeatable.

        `why` is written beside it, with the path where it lies then for `LIES_HERE`. One that an earlier try moved is
        found again by its signature, one that a person moved within its job's folders by its content.
        Raises Gone (it is nowhere to be found), Changed (another version lay there and is given back), Stuck, Away.
        """
        location = file.location
        if location is None:
            return None
        if self.moves and not self.is_ours(location):
            self.sweeper.takes(self._with_marker(location))
        try:
            end = self._archive(file, location, why)
        except (Gone, Changed):
            self.sweeper.known.forget(location)
            raise
        if end != location:
            self.sweeper.known.forget(location)
        return end

    def archive_all(self, files: Sequence[File]) -> dict[int, str]:
        """Bring learned files to their ends at once, as far as nothing is special; by id, where those lie.

        The others are left to `archive`. Repeatable.
        """
        return archive.archive_all(self, files) if self.moves else {}

    def _archive(self, file: File, location: str, why: str | None) -> str | None:
        return archive.archive(self, file, location, why)

    def give_back(self, location: str, path: str, signature: Signature | None = None) -> str:
        """Move a file back to where it was dropped (numbered on a clash); return where. Raises Gone, Stuck, Away."""
        return archive.give_back(self, location, path, signature)

    def write_job_files(
        self,
        job_id: str,
        *,
        area: Literal["done", "failed"],
        files: Mapping[str, Iterable[bytes]],
        locations: Sequence[str | None] = (),
    ) -> None:
        """Write `job.json`, `pairs.jsonl` into the job's folder, each whole or not at all, replacing what was ours.

        `locations`: where each of the job's files lies, None for nowhere; who may not read one may not read these.
        Raises Stuck, Away.
        """
        tree, folder = self._papers_of(job_id, area)
        papers = {(*folder, name): data for name, data in files.items()}
        with self.guard("written"):
            readers = self.readers(locations, record=[self._note_of(job_id), *((tree, paper) for paper in papers)])
            for paper, data in papers.items():
                tree.write(paper, data, readers, replace=True)

    def _papers_of(self, job_id: str, area: str) -> tuple[Tree, Parts]:
        """Tell where a job's own files are written."""
        return self.tree, (area, job_id)

    def locate(self, job_id: str, content: Content) -> str | None:
        """Find where in the job's own folders a file with this content lies; None: nowhere. Raises Stuck, Away."""
        return archive.locate(self, job_id, content)

    def lies(self, location: str) -> bool:
        """Tell whether a regular file lies there. Raises Stuck, Away."""
        parts = self.tree.below(location)
        with self.guard("looked for"):
            return parts is not None and self.tree.is_file(parts)

    # -- what is removed after a time

    def jobs_in(self, area: str) -> list[str]:
        """List the names of folders in `done` or `failed` that may be of jobs, sorted. Raises Stuck, Away."""
        return retention.jobs_in(self, area)

    def lies_in(self, file: File, area: str) -> bool:
        """Tell whether a file lies in the folder of its job, or of files of no job, in this area."""
        return retention.lies_in(self, file, area)

    def has_papers(self, job_id: str, area: str) -> bool:
        """Tell whether something that we wrote lies in a job's folder. Raises Stuck, Away."""
        return bool(retention.papers(self, job_id, area))

    def remove(self, file: File) -> bool:
        """Remove an archived file, with its note and marker; false if another lies in its place. Raises Stuck, Away."""
        return retention.remove(self, file)

    def remove_job(self, job_id: str, area: str) -> None:
        """Remove what we wrote into a job's folder, and the folder if it is empty then. Raises Stuck, Away."""
        retention.remove_job(self, job_id, area)

    def prune(self, sources: Iterable[str], *, before: float) -> bool:
        """Remove the empty folders that files were taken from, if they were not changed since `before`.

        Tell whether one may go later. Raises Stuck, Away.
        """
        return retention.prune(self, sources, before=before)
