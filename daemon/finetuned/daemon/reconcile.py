"""What lies claimed in a folder that the ledger does not speak of, or speaks of otherwise: a ledger that was lost, or
restored from an older copy, takes up again what is there.

1. An unknown job with a note of its own is doubtful: its session is looked for, then it is sent again. The note is
   believed if only we can have written it, and if it tells of just the files that lie there; a session, if it was
   made of just these files. It is read, and never altered: all we have is the note's word that it is ours.
2. A job that failed, or was cancelled, as far as the ledger knows, and has files and a note of ours in `.processing`,
   was tried again since: it is queued again, and looked for before it is sent.
3. Anything else there is given back to the folder, where it is a new file. What the ledger knows as under way needs
   nothing: its next poll, search or claim finds what is true.
"""

from __future__ import annotations

from collections.abc import Container

from finetuned import logs
from finetuned.daemon.context import Context
from finetuned.errors import FileProblem
from finetuned.folders import leftovers
from finetuned.folders.folder import DropFolder
from finetuned.folders.leftovers import ClaimedJob
from finetuned.ledger.batches import FoundFile, FoundJob
from finetuned.lifecycle import JOB_ENDS, FileState, JobState
from finetuned.marker import marker, upload_name
from finetuned.model import Job

_AGAIN = {JobState.FAILED, JobState.CANCELLED}
_LOST = {FileState.FAILED, FileState.BARREN}


async def reconcile(context: Context, folder: DropFolder, only: Container[str] | None = None) -> set[str]:
    """Bring ledger and folder together, before the folder's first sweep. Raises Away.

    Return the jobs that the disk does not let be known for now; with `only`, just those are looked at again.
    """
    stuck = set()
    await context.in_ledger(
        context.ledger.folders.renamed, folder.name, folder.root, context.folders, context.runtime.now()
    )
    under_way = {job.id for job in await context.in_ledger(context.ledger.jobs.open)}
    for job_id, note in await context.in_thread(folder.processing, under_way):
        if only is not None and job_id not in only:
            continue
        job = await context.in_ledger(context.ledger.jobs.get, job_id)
        try:
            if job is None:
                await context.in_thread(_take_up, context, folder, job_id, note)
            elif job.state in JOB_ENDS and job.archived:
                await context.in_thread(_go_on, context, folder, job, note)
        except FileProblem as error:  # it stays where it is, and is tried again
            stuck.add(job_id)
            if only is None:
                logs.get().warning("leftovers_stuck", job=job_id, folder=folder.name, why=str(error))
    return stuck


def _take_up(context: Context, folder: DropFolder, job_id: str, note: bytes | None) -> None:
    found = None if note is None else folder.read_note(job_id, note)
    if found is None:
        unlike = "its note does not tell of the files that lie there"
        why = leftovers.why_no_claim(folder, job_id) if note is None else unlike
        _let_go(folder, job_id, why)
        return
    job = _as_sent(found, folder.name)
    url = context.url_for(folder.name)
    context.ledger.batches.take_up(job, url=url, variant=context.backends[url].variant, now=context.runtime.now())


def _as_sent(found: ClaimedJob, folder: str) -> FoundJob:
    """Make the job under the upload names that its next attempt had, or would have had."""
    attempt = found.attempt + 1
    files = [
        FoundFile(
            path=file.path,
            location=file.location,
            content=file.content,
            signature=file.signature,
            upload_name=upload_name(marker(found.id, attempt), number, file.path),
        )
        for number, file in enumerate(found.files, 1)
    ]
    return FoundJob(id=found.id, folder=folder, created_at=found.created_at, attempt=attempt, files=files)


def _go_on(context: Context, folder: DropFolder, job: Job, note: bytes | None) -> None:
    """Queue a job again that is over by the ledger, if it was tried again since; else give its files back."""
    lost = {f.content.sha256 for f in context.ledger.jobs.files(job.id) if f.state in _LOST and f.content}
    if note is not None and job.state in _AGAIN and leftovers.holds_any(folder, job.id, frozenset(lost)):
        context.ledger.requests.queued_again(job, context.runtime.now())
    else:
        _let_go(folder, job.id, f"its job is {job.state}")


def _let_go(folder: DropFolder, job_id: str, why: str) -> None:
    count = leftovers.let_go(folder, job_id)
    if count:
        logs.get().warning("leftovers_given_back", job=job_id, folder=folder.name, files=count, why=why)
