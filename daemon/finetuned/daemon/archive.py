"""Files are brought to their ends, and what became of them is written beside them.

1. Archiving is: verdicts in the ledger, then the moves, then the ledger again. It is repeated until it holds.
2. What cannot be moved for now keeps its reason and a time to try again; it never holds up the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from finetuned.daemon.context import Context
from finetuned.daemon.papers import job_json, pairs_jsonl, why_note
from finetuned.errors import Changed, FileProblem, FolderError, Gone
from finetuned.folders.folder import DropFolder
from finetuned.lifecycle import FileState, JobState
from finetuned.model import File, Job
from finetuned.plan import LONGEST_DISK_WAIT

_TAUGHT = {JobState.DONE, JobState.PARTIAL}


class Archives:
    """Archives files, as the plan wants it."""

    def __init__(self, context: Context, sweep_soon: Callable[[str], None]) -> None:
        self._context = context
        self._sweep_soon = sweep_soon  # a file lies where it was dropped once more

    async def archive(self, job_id: str) -> None:
        """Move the files of an ended job to where they belong, and write down beside them what became of it."""
        context = self._context
        job, why_not, lost = await context.in_thread(self._archive, job_id)
        if job is not None and why_not is not None:
            await context.disk_later(job, why_not)
        elif job is not None and lost:
            self._sweep_soon(context.folders[job.folder].root)

    def _archive(self, job_id: str) -> tuple[Job | None, str | None, bool]:
        """Do so at one visit to a thread; tell why it cannot be done now, and else what `_put_away` does."""
        jobs = self._context.ledger.jobs
        job = jobs.get(job_id)
        if job is None or job.archived:
            return None, None, False
        if job.files == 0 and not jobs.is_left(job):
            return job, "its files went on without it, and were not taken from its folder yet", False
        try:
            lost = self._put_away(job)
        except (FileProblem, FolderError) as error:
            return job, f"its files cannot be moved: {error}", False
        jobs.archived(job)
        return job, None, lost

    def _put_away(self, job: Job) -> bool:
        """Tell whether a file did not lie where it should: another version of it may lie where it was dropped."""
        context = self._context
        folder = context.folders[job.folder]
        files = context.ledger.jobs.files(job.id)
        with folder.together():
            left = [file for file in files if not file.archived]
            moved = folder.archive_all(left)
            ends = [
                (file, moved[file.id], None) if file.id in moved else (file, *self._lay(folder, file)) for file in left
            ]
        context.ledger.batches.laid(job, ends, context.runtime.now())
        with folder.together():
            lies = {file.id: location for file, location, _ in ends}
            self._write_papers(folder, job, files, [lies.get(file.id, file.location) for file in files])
            folder.clear_processing(job.id)
        return any(lost for _, _, lost in ends)

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
