"""What a request does, by its verb.

1. What it is about is looked up and found first; then the ledger is changed, in one transaction.
2. Nothing is moved here: that a file is to be given back is written down, and the plan sees to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from finetuned.backend import Capabilities
from finetuned.daemon.context import Context
from finetuned.daemon.requests import Denied, NotYet, Request
from finetuned.errors import FileProblem, FolderError
from finetuned.folders.folder import DropFolder
from finetuned.lifecycle import JOB_ENDS, FileState, JobState, Requested
from finetuned.model import File, Job
from finetuned.paths import escape, path_of

_LEFT: Final = "the session of {} is left as it is: only a note in the folder tells that it is ours"


def _lost(file: File) -> bool:
    """Tell whether a file's job ended and not all of it was learned."""
    return file.state in {FileState.FAILED, FileState.BARREN} or (file.state is FileState.LEARNED and bool(file.reason))


class Verbs:
    """Carries out what people ask for."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def prepared(self, request: Request) -> Callable[[], str]:
        """Look up and find what is asked for; return what is left to do in one transaction, which says it in words.

        Raises NotYet, and others of FinetunedError in words for who asks; those what is returned raises, too.
        """
        if request.verb == "retry":
            return self._retry(request)
        verbs = {
            "cancel": self._cancel,
            "accept": self._accept,
            "flush": self._flush,
            "pause": self._pause,
            "resume": self._resume,
            "again": self._again,
            "forget": self._forget,
            "test_hooks": self._test_hooks,
        }
        if request.verb not in verbs:
            raise Denied(f"this daemon knows no request {request.verb!r}")
        return partial(verbs[request.verb], request)

    def _flush(self, request: Request) -> str:
        names = self._named(request)
        folders = self._context.ledger.folders
        folders.flush(request.folder, self._context.runtime.now())
        paused = [name for name in names if folders.all()[name].paused_at is not None]
        later = f"; those of {', '.join(paused)} once it is resumed" if paused else ""
        return f"the files that wait in {request.folder or 'every folder'} go into jobs now{later}"

    def _pause(self, request: Request) -> str:
        now = self._context.runtime.now()
        names = self._named(request)
        paused = [name for name in names if self._context.ledger.folders.pause(name, now)]
        if not paused:
            return f"{', '.join(names)}: paused already"
        where = self._where(map(self._context.url_for, paused))
        return f"{', '.join(paused)}: paused; what is on {where} goes on, and nothing new is made or sent"

    def _where(self, urls: Iterable[str]) -> str:
        """Tell where the sessions at these urls are, in words."""
        known = map(self._context.backends.get, urls)
        places = dict.fromkeys((one.capabilities if one else Capabilities()).where for one in known)
        return " and ".join(places) or Capabilities().where

    def _resume(self, request: Request) -> str:
        now = self._context.runtime.now()
        names = self._named(request, retired=True)
        resumed = [name for name in names if self._context.ledger.folders.resume(name, now)]
        if not resumed:
            return f"{', '.join(names)}: not paused"
        return f"{', '.join(resumed)}: resumed"

    def _named(self, request: Request, *, retired: bool = False) -> list[str]:
        """List the folders that a request is about: the one it names, else all of the configuration. Raises Denied.

        `retired`: those too that have left the configuration.
        """
        names = list(self._context.folders)
        if request.folder is None:
            return [name for name in names if retired or not self._context.is_retired(name)]
        if request.folder not in names:
            raise Denied(f"there is no folder {request.folder}", remedy=f"there are: {', '.join(names)}")
        return [request.folder]

    def _test_hooks(self, _: Request) -> str:
        if not self._context.settings.hooks:
            raise Denied("the daemon that runs has no hooks")
        self._context.ledger.hooks.test(self._context.runtime.now())
        return "each hook is told a test message"

    def _again(self, request: Request) -> str:
        if request.folder is None or request.sha256 is None:
            raise Denied("the request names no content")
        self._context.ledger.files.wanted_again(request.folder, request.sha256)
        return "this content may be learned again"

    def _cancel(self, request: Request) -> str:
        context = self._context
        job = self._job(request.job)
        now = context.runtime.now()
        if job.state not in JOB_ENDS:
            context.ledger.requests.give_up(job, Requested.DELETE if request.delete else Requested.CANCEL, now)
            return f"{job.id} is being cancelled"
        where = self._where([job.attempt.url] if job.attempt else [])
        if not request.delete:
            raise Denied(f"{job.id} is {job.state} already", remedy=f"--delete removes its session from {where}")
        if not context.ledger.requests.discard_ended(job, now):
            raise Denied(_LEFT.format(job.id) if job.noted else f"{job.id} has no session on {where}")
        later = "" if job.attempt is None or job.attempt.url in context.backends else " after the next start or reload"
        return f"the session of {job.id} is being removed from {where}{later}"

    def _accept(self, request: Request) -> str:
        job = self._job(request.job)
        if job.state is not JobState.REVIEW:
            raise Denied(f"{job.id} is {job.state}: it waits for nobody", remedy="`finetuned jobs --state review`")
        if job.given_up:
            raise Denied(f"{job.id} is being cancelled")
        if job.under_way.read_only:
            raise Denied(
                _LEFT.format(job.id),
                remedy="start its training on the server's page, or cancel and retry the job: its files are sent anew",
            )
        self._context.ledger.requests.accepted(job, self._context.runtime.now())
        return f"the training of {job.id} begins"

    def _retry(self, request: Request) -> Callable[[], str]:
        if request.job is not None:
            return self._retry_job(self._job(request.job))
        return self._retry_file(self._files(request)[0])

    def _files(self, request: Request) -> list[File]:
        """Find the files that a request names by their path, newest first. Raises Denied if there is none."""
        if request.path is None:
            raise Denied("the request names neither a job nor a path")
        try:
            path = path_of(request.path, request.path_b64)
        except ValueError as error:
            raise Denied("the request's path_b64 is no base 64") from error
        files = self._context.ledger.files.at_place(path)
        if not files:
            raise Denied(f"nothing is known of {escape(path)}", remedy="see `finetuned why` on it")
        return files

    def _forget(self, request: Request) -> str:
        """Forget every version of the file that was learned at this path; none if one cannot be forgotten now."""
        context = self._context
        files = self._files(request)
        name = escape(files[0].path)
        forgotten = pairs = 0
        jobs, urls = [], []
        for file in files:
            if file.state is FileState.PACKED:
                raise Denied(f"{name} is in {file.job_id}, which is under way", remedy="cancel that job, or wait")
            mine = context.ledger.pairs.of_file(file.id)
            if file.job_id is None or not (mine or file.pairs):
                continue
            job = self._job(file.job_id)
            self._folder_named(job.folder)  # there its papers are written anew
            context.ledger.requests.forget(file, job, context.runtime.now())
            jobs.append(job.id)
            urls += [job.attempt.url] if job.attempt else []
            forgotten, pairs = forgotten + 1, pairs + mine
        if not forgotten:
            if any(file.state is FileState.LEARNED and file.pairs is None for file in files):
                raise Denied(f"{name} was forgotten already")
            raise Denied(f"nothing was learned of {name}: there is nothing to forget")
        return (
            f"{name}: {pairs} pairs removed; the session and the model of {', '.join(jobs)} go from {self._where(urls)}"
        )

    def _retry_job(self, job: Job) -> Callable[[], str]:
        files = self._context.ledger.jobs.files(job.id)
        lost = [file for file in files if _lost(file)]
        if job.state not in JOB_ENDS:
            raise Denied(f"{job.id} is {job.state}: it is not at its end yet")
        if self._context.ledger.jobs.successors(job):
            raise Denied(f"{job.id} was {job.reason}", remedy="its files went on in those; try them again")
        if not lost:
            raise Denied(f"{job.id} is {job.state} and lost no file: there is nothing to try again")
        self._folder_named(job.folder)
        if not job.archived:
            raise NotYet(f"{job.id} is still being put away")
        found = [(file, location) for file in lost if (location := self._find(file)) is not None]
        if not found:
            raise self._not_there(lost[0])
        return partial(self._queue_again, job, found)

    def _queue_again(self, job: Job, found: Sequence[tuple[File, str]]) -> str:
        context = self._context
        now = context.runtime.now()
        if job.state in {JobState.PARTIAL, JobState.DONE}:  # of a done one, what was learned may have been forgotten
            for file, location in found:
                context.ledger.files.waits_again(file, location, now)
            context.ledger.folders.flush(job.folder, now)
            return f"{len(found)} files of {job.id} go into a new job"
        context.ledger.requests.queued_again(job, now)
        return f"{job.id} is queued again"

    def _folder_named(self, name: str) -> DropFolder:
        """Raise Denied if the folder is not in the configuration any more."""
        folder = self._context.folders.get(name)
        if folder is None or self._context.is_retired(name):
            raise Denied(f"the folder {name} is not in the configuration any more", remedy="put it back there")
        return folder

    def _retry_file(self, file: File) -> Callable[[], str]:
        name = escape(file.path)
        if not _lost(file) and (file.state not in {FileState.REFUSED, FileState.DUPLICATE} or file.location is None):
            raise Denied(f"{name} is {file.state}: there is nothing to try again")
        self._folder_named(file.folder)
        if not file.archived:
            raise NotYet(f"{name} is still being put away")
        location = self._find(file)
        if location is None:
            raise self._not_there(file)
        return partial(self._wait_again if _lost(file) else self._settle_anew, file, location)

    def _wait_again(self, file: File, location: str) -> str:
        context = self._context
        context.ledger.files.waits_again(file, location, context.runtime.now())
        return f"{escape(file.path)} waits for a new job"

    def _find(self, file: File) -> str | None:
        """Tell where an archived file lies, also if it was moved within its job's folders; null: it does not."""
        folder = self._folder_named(file.folder)
        if file.location is None:
            return None
        try:
            if folder.lies(file.location):
                return None if self._is_another(file, file.location) else file.location
            return folder.locate(file.job_id, file.content) if file.job_id and file.content else None
        except (FileProblem, FolderError) as error:
            raise Denied(f"{escape(file.location)} cannot be looked at: {error}") from error

    def _is_another(self, file: File, location: str) -> bool:
        """Tell whether a newer version of the file settles or waits there."""
        return bool(self._context.ledger.files.open_at(file.folder, [location]))

    def _not_there(self, file: File) -> Denied:
        """Say that an archived file was taken from its place."""
        location = file.location or file.path
        where = escape(location)
        if self._is_another(file, location):
            return Denied(
                f"another version lies at {where}, and is taken as a new file", remedy="see `finetuned why` on it"
            )
        remedy = "put it back there, or drop it again: it is a new file then"
        return Denied(f"{where} is not there any more", remedy=remedy)

    def _settle_anew(self, file: File, location: str) -> str:
        """Let a file be given back and settle anew: its content or the rules may be others now."""
        files = self._context.ledger.files
        if file.state is FileState.DUPLICATE and file.content:
            files.wanted_again(file.folder, file.content.sha256)
        files.retried(file, location, self._context.runtime.now())
        return f"{escape(file.path)} is looked at anew"

    def _job(self, job_id: str | None) -> Job:
        job = self._context.ledger.jobs.get(job_id) if job_id else None
        if job is None:
            raise Denied(f"there is no job {escape(job_id or '')}", remedy="`finetuned jobs` lists them")
        return job
