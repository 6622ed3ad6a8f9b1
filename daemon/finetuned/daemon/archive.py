"""Files are brought to their ends, and what became of them is written beside them.

1. Archiving is: verdicts in the ledger, then the moves, then the ledger again. It is repeated until it holds.
2. What cannot be moved for now keeps its reason and a time to try again; it never holds up the others. What is to be
   written to the ledger of several is written of all or of none, and then all of them are tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

from finetuned.daemon.context import Context
from finetuned.daemon.papers import job_json, pairs_jsonl, why_note
from finetuned.errors import Changed, FileProblem, FolderError, Gone
from finetuned.folders.folder import DropFolder
from finetuned.lifecycle import FileState, JobState
from finetuned.model import File, Job
from finetuned.plan import LONGEST_DISK_WAIT

_TAUGHT: Final = frozenset({JobState.DONE, JobState.PARTIAL})
_folder_of: Final = attrgetter("job.folder")


@dataclass(slots=True)
class _Ending:
    """A job that is put away: its files, where each that is moved now lies, or why nowhere; why it has to wait."""

    job: Job
    folder: DropFolder
    files: Sequence[File] = ()
    laid: Sequence[tuple[File, str | None, str | None]] = ()
    why_not: str | None = None

    def cannot(self, error: Exception) -> None:
        """Note what keeps it from going on."""
        self.why_not = f"its files cannot be moved: {error}"


def _going(endings: Iterable[_Ending]) -> list[_Ending]:
    """List those that can go on."""
    return [one for one in endings if one.why_not is None]


def _on_disk(endings: Iterable[_Ending], step: Callable[[_Ending], None]) -> None:
    """Take a step with each that can go on, and bring it to disk; note why one cannot."""
    for _, some in groupby(sorted(_going(endings), key=_folder_of), key=_folder_of):
        of_a_folder = [*some]
        try:
            with of_a_folder[0].folder.together():
                for one in of_a_folder:
                    try:
                        step(one)
                    except (FileProblem, FolderError) as error:
                        one.cannot(error)
        except (FileProblem, FolderError) as error:  # what of it is on the disk is not known
            for one in _going(of_a_folder):
                one.cannot(error)


class Archives:
    """Archives files, as the plan wants it."""

    def __init__(self, context: Context, sweep_soon: Callable[[str], None]) -> None:
        self._context = context
        self._sweep_soon = sweep_soon  # a file lies where it was dropped once more

    async def archive(self, job_ids: Sequence[str]) -> None:
        """Move the files of ended jobs to where they belong, and write down beside them what became of them."""
        context = self._context
        for one in await context.in_thread(self._archive, job_ids):
            if one.why_not is not None:
                await context.disk_later(one.job, one.why_not)
            elif any(lost for _, _, lost in one.laid):
                self._sweep_soon(one.folder.root)  # another version of a file may lie where it was dropped

    def _archive(self, job_ids: Sequence[str]) -> list[_Ending]:
        """Do so at one visit to a thread; they wait for the disk, and for the ledger's, together."""
        context, ledger = self._context, self._context.ledger
        jobs = [job for job_id in job_ids if (job := ledger.jobs.get(job_id)) is not None and not job.archived]
        endings = [_Ending(job, context.folders[job.folder]) for job in jobs]
        for one in endings:
            if one.job.files == 0 and not ledger.jobs.is_left(one.job):
                one.why_not = "its files went on without it, and were not taken from its folder yet"
        _on_disk(endings, self._move)
        going = _going(endings)
        with context.together(going):
            for one in going:
                ledger.batches.laid(one.job, one.laid, context.runtime.now())
        _on_disk(endings, self._write)
        going = _going(endings)
        with context.together(going):
            for one in going:
                ledger.jobs.archived(one.job)
        return endings

    def _move(self, one: _Ending) -> None:
        one.files = self._context.ledger.jobs.files(one.job.id)
        left = [file for file in one.files if not file.archived]
        moved = one.folder.archive_all(left)
        one.laid = [
            (file, moved[file.id], None) if file.id in moved else (file, *self._lay(one.folder, file)) for file in left
        ]

    def _write(self, one: _Ending) -> None:
        lies = {file.id: location for file, location, _ in one.laid}
        self._write_papers(one.folder, one.job, one.files, [lies.get(file.id, file.location) for file in one.files])
        one.folder.clear_processing(one.job.id)

    def _write_papers(
        self, folder: DropFolder, job: Job, files: Sequence[File], locations: Sequence[str | None]
    ) -> None:
        """Write down beside the files, which lie at `locations` by now, what became of them."""
        ledger = self._context.ledger
        papers: dict[str, Iterable[bytes]] = {"job.json": [job_json(ledger, job.id)]}
        if any(file.state in {FileState.BARREN, FileState.FAILED} for file in files):
            folder.write_job_files(job.id, area="failed", files=papers, locations=locations)
        if job.state in _TAUGHT:
            forgot = any(file.state is FileState.LEARNED and file.pairs is None for file in files)
            if folder.rules.write_pairs or forgot:  # an older paper may tell of what was forgotten
                papers["pairs.jsonl"] = pairs_jsonl(ledger, job.id)
            folder.write_job_files(job.id, area="done", files=papers, locations=locations)

    async def archive_file(self, file_id: int) -> None:
        """Move a file in no job to where it belongs: to its end, or, as it is retried, to where it was dropped."""
        context = self._context
        file = await context.in_ledger(context.ledger.files.get, file_id)
        folder = context.folders.get(file.folder)
        if folder is None or file.archived:
            return
        now = context.runtime.now()
        try:
            if file.state is FileState.SETTLING:
                await context.in_thread(give_back, context, folder, file)
                self._sweep_soon(folder.root)
                return
            location, lost = await context.in_thread(self._lay, folder, file)
        except (FileProblem, FolderError) as error:
            due_at = now + context.back_off(file.tries + 1, LONGEST_DISK_WAIT)
            await context.in_ledger(context.ledger.files.archive_later, file, str(error), due_at, now)
            return
        await context.in_ledger(context.ledger.files.laid, file, location, now, lost=lost)
        if lost:
            self._sweep_soon(folder.root)

    def _lay(self, folder: DropFolder, file: File) -> tuple[str | None, str | None]:
        """Bring a file to its end; return its place, or why it has none; null for both: deleted by the rules."""
        try:
            return folder.archive(file, why_note(file)), None
        except (Gone, Changed) as error:
            return None, self._context.came_back(folder, file.path).told(str(error))


def give_back(context: Context, folder: DropFolder, file: File) -> None:
    """Move a retried file back to where it was dropped, and tell the sweeps. Repeatable. Raises Stuck, Away."""
    files, now = context.ledger.files, context.runtime.now()
    location = file.location or file.path
    if location != file.path:
        try:
            location = folder.give_back(location, file.path, file.signature)
        except Gone as error:
            files.vanished([(file, str(error))], now)
            return
        if files.open_at(folder.name, [location]):  # moved by a try that the disk called vain, and swept since
            files.vanished([(file, "it was moved back, and is taken as a new file")], now)
            return
    files.given_back(file, location)
    if file.signature is not None:
        folder.sweeper.known.remember(location, file.signature, settled=False)
