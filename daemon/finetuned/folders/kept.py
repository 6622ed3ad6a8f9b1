"""A drop folder with after = "keep": files stay where they were dropped, and nothing is written beside them.

1. A job's content is a snapshot beside the ledger, the same for each of its attempts; what is sent is read of that.
2. Notes of claims, `.why.txt` and the jobs' own files go beside the ledger, too.
3. What was claimed while the rules were others lies in `.processing`, and goes the way that it went then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Sequence
from contextlib import suppress

from finetuned.errors import Changed, FileProblem, Gone, Stuck, Unusable
from finetuned.folders import archive, claims, leftovers
from finetuned.folders.claims import CHANGED, CLAIM_FILE, SNAPSHOTS, Taken, Wanted
from finetuned.folders.folder import DropFolder
from finetuned.folders.leftovers import ClaimedJob
from finetuned.folders.names import JOB_ID, OF_FOLDER, Parts, fitted
from finetuned.folders.pace import EDITED
from finetuned.folders.recoders import BAD_LINES
from finetuned.folders.text import is_same
from finetuned.folders.tree import Tree
from finetuned.model import DONE, FAILED, File
from finetuned.readymade import SUFFIX, is_ready_made
from finetuned.settings import FolderSettings


class KeptFolder(DropFolder):
    """One folder whose files are never moved."""

    moves = False

    @property
    def quiet_time(self) -> float:
        return max(self.rules.settle, EDITED)

    def _is_ours(self, parts: Parts) -> bool:
        if parts[0] in {DONE, FAILED}:  # folders like others, but for jobs' from a time when the rules were others
            return len(parts) > 1 and re.fullmatch(JOB_ID, parts[1]) is not None
        return super()._is_ours(parts)

    def _stays(self, location: str) -> bool:
        """Tell whether a file lies where it was dropped, and in none of our own folders."""
        parts = self.tree.below(location)
        return parts is None or not self.names.is_ours(parts)

    def _snapshot(self, job_id: str, name: str, source: str) -> Parts:
        """Tell where the snapshot of `source` lies; `name` is the file's alone in its job, and it keeps its kind."""
        return (job_id, SNAPSHOTS, name + SUFFIX if is_ready_made(source) else name)

    def probe(self, source: str) -> None:
        if not self._stays(source):
            super().probe(source)

    def _take(self, job_id: str, wanted: Sequence[Wanted]) -> list[Taken | str | FileProblem]:
        return [self._take_one(job_id, one) for one in wanted]

    def _take_one(self, job_id: str, one: Wanted) -> Taken | str | FileProblem:
        if not self._stays(one.source):
            return super()._take(job_id, [one])[0]
        try:
            self._copy(one, self._snapshot(job_id, one.name, one.source))
        except FileProblem as error:
            return error
        return one.source

    def _copy(self, one: Wanted, target: Parts) -> None:
        """Make the snapshot, unless it is there already."""
        with suppress(FileProblem):
            if is_same(self.read(self.beside.at(target)), one.content):
                return
        fd = self.open(one.source)
        try:
            self.prove_quiet(fd)
            with self.guard("copied"), self.beside.folder(target[:-1], make=True) as folder:
                self._copy_into(fd, folder, target[-1], one)
                self.beside.touch(target)
                self.beside.touch(target[:-1])
        finally:
            os.close(fd)

    def _copy_into(self, fd: int, folder: int, name: str, one: Wanted) -> None:
        part = fitted("." + name, ".part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(part, flags, 0o600, dir_fd=folder), "wb") as out:
                found = self.content(fd, one.source, out=out.write)
        except Unusable as error:
            raise Changed(CHANGED) from error
        if not is_same(found, one.content):
            raise Changed(CHANGED)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _note_of(self, job_id: str) -> tuple[Tree, Parts]:
        return self.beside, (job_id, CLAIM_FILE)

    def _taken(self, _job_id: str) -> list[str]:
        return []

    def part_location(self, location: str, job_id: str, name: str) -> str:
        return self.beside.at(self._snapshot(job_id, name, location)) if self._stays(location) else location

    def _claims(self, but: Container[str]) -> list[tuple[str, bytes | None]]:
        found = []
        with suppress(Stuck):  # nothing is claimed there: it may be a vault's own
            found = super()._claims(but)
        own_id = re.compile(re.escape(self.name) + OF_FOLDER)  # another folder's name may begin with this one's
        mine = [name for name in self.beside.folders(()) if own_id.fullmatch(name) and name not in but]
        notes = [(name, claims.read_note(self.beside, (name, CLAIM_FILE))[0]) for name in mine]
        return found + [(name, note) for name, note in notes if note is not None]

    def read_note(self, job_id: str, note: bytes) -> ClaimedJob | None:
        return leftovers.of_kept(self, job_id, note)

    def _archive(self, file: File, location: str, why: str | None) -> str | None:
        if not self._stays(location):
            return super()._archive(file, location, why)
        _, name = archive.area_of(file)
        archive.write_why(self, self.beside, (name, os.path.basename(file.path)), why, lies=location)
        if not self.lies(location):
            raise Gone(archive.BY_HAND)
        return location

    def _papers_of(self, job_id: str, _area: str) -> tuple[Tree, Parts]:
        return self.beside, (job_id,)


def drop_folder(
    rules: FolderSettings,
    *,
    beside: str,
    leases: bool | None = None,
    bad_lines: int = BAD_LINES,
    owner: int | None = None,
) -> DropFolder:
    """Make the folder that these rules ask for; the words are those of `DropFolder`."""
    kind = KeptFolder if rules.after == "keep" else DropFolder
    return kind(rules, beside=beside, leases=leases, bad_lines=bad_lines, owner=owner)
