"""What people ask of the daemon: small JSON files in `<ledger>.requests/`.

1. A request is put there by rename, so it is whole; it is taken in the order of the names, which begin with the time.
2. The outcome is an event (`subject` daemon, `subject_id` the request's id), in one commit with what it tells of; only
   then is the file removed. A request that was answered before a crash is not carried out twice.
3. What is not understood is answered, too: nobody waits for nothing.
4. Who may write to that folder is trusted to ask: the owner of the ledger's folder, and its group. A folder that
   another user put in its place is not read. A request may name what the ledger knows, and no more: a path in it is
   only looked up there, its words are bounded, and the log tells whose file it was.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Annotated, Final

import msgspec

from finetuned import logs
from finetuned.daemon.context import Context
from finetuned.errors import FileProblem, FinetunedError, FolderError, Gone, LedgerStuck
from finetuned.folders import DropFolder
from finetuned.lifecycle import JOB_ENDS, FileState, JobState
from finetuned.model import SPLIT, File, Job, path_of, shown

SUFFIX: Final = ".json"
GROUP_MAY_ASK: Final = 0o770
#: no request is longer, in bytes
LONGEST: Final = 64 * 1024
_LEFT: Final = "the session of {} is left as it is: only a note in the folder tells that it is ours"
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ID: Final = r"[A-Za-z0-9._-]{1,64}"
_Name = Annotated[str, msgspec.Meta(max_length=256)]
#: 4096 bytes, each shown as `\xff`
_Path = Annotated[str, msgspec.Meta(max_length=4 * 4096)]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One wish: the verb, and what it is about."""

    id: Annotated[str, msgspec.Meta(pattern=f"^{_ID}$")]
    verb: _Name
    job: _Name | None = None
    path: _Path | None = None
    path_b64: _Path | None = None
    folder: _Name | None = None
    sha256: _Name | None = None
    delete: bool = False


class Denied(FinetunedError):
    """The request cannot be carried out."""


def requests_folder(ledger_path: str) -> str:
    """Where requests to the daemon of this ledger go."""
    return f"{ledger_path}.requests"


def leave_request(ledger_path: str, request: Request, order: str) -> None:
    """Put a request where the daemon takes it; `order` sorts it among others. Raises OSError."""
    folder = requests_folder(ledger_path)
    if not os.path.isdir(folder):
        with suppress(FileExistsError):
            os.mkdir(folder)
        if os.geteuid() == 0:  # the daemon, whoever it is, must be able to take what lies there
            owner = os.stat(os.path.dirname(folder))
            os.chown(folder, owner.st_uid, owner.st_gid, follow_symlinks=False)
    name = f"{order}-{request.id}{SUFFIX}"
    part = os.path.join(folder, f".{name}.part")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(part, flags, 0o640), "wb") as file:
            file.write(msgspec.json.encode(request))
            os.fchmod(file.fileno(), 0o640)
            with suppress(PermissionError):  # the daemon may be another user of the folder's group
                os.fchown(file.fileno(), -1, os.stat(folder).st_gid)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, os.path.join(folder, name))
    except OSError:
        with suppress(OSError):  # what led here is the error to tell
            os.unlink(part)
        raise


def _lost(file: File) -> bool:
    """Whether a file's job ended and not all of it was learned."""
    return file.state in {FileState.FAILED, FileState.BARREN} or (file.state is FileState.LEARNED and bool(file.reason))


class Requests:
    """Takes requests and carries them out."""

    def __init__(self, context: Context, sweep_soon: Callable[[], None]) -> None:
        self._context = context
        self._look_again = sweep_soon
        self._gave_back = False
        self._told: set[str] = set()
        self._folder = requests_folder(context.ledger.path)

    def open(self) -> None:
        """Make the folder for requests, writable for the group of the ledger's folder."""
        try:
            with suppress(FileExistsError):
                os.mkdir(self._folder)  # nothing more: the ledger's own folder may have been moved away
            with self._opened() as folder:
                if os.fstat(folder).st_uid == os.geteuid():
                    os.fchmod(folder, GROUP_MAY_ASK)
        except OSError as error:
            self._trouble("made", self._folder, error)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder for requests. Raises OSError, also if it is a link, or neither ours nor the ledger's owner's."""
        folder = os.open(self._folder, _FOLDER)
        try:
            uid = os.fstat(folder).st_uid
            if uid not in {os.geteuid(), os.stat(os.path.dirname(self._folder)).st_uid}:
                raise PermissionError(errno.EPERM, f"it belongs to another user (uid {uid}); move it away")
            yield folder
        finally:
            os.close(folder)

    def _trouble(self, done: str, path: str, error: OSError) -> None:
        """What the disk refuses here keeps people from asking, and nothing else from going on; told once."""
        if path not in self._told:
            self._told.add(path)
            logs.get().warning("requests_stuck", path=shown(path), why=f"cannot be {done}: {error.strerror}")

    async def take(self) -> None:
        """Carry out every request that lies there."""
        for name in await self._context.in_thread(self._names):
            await self._context.in_thread(self._take, name)
        if self._gave_back:
            self._gave_back = False
            self._look_again()

    def _names(self) -> list[str]:
        try:
            with self._opened() as folder, os.scandir(folder) as entries:
                names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except FileNotFoundError:
            self.open()
            return []
        except OSError as error:
            self._trouble("listed", self._folder, error)
            return []
        return sorted(name for name in names if name.endswith(SUFFIX) and name[0] != ".")

    def _take(self, name: str) -> None:
        with ExitStack() as opened:
            try:
                folder = opened.enter_context(self._opened())
            except OSError as error:
                self._trouble("read", self._folder, error)
                return
            self._answer(folder, name)
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:  # whoever asked took it back
                return
            except OSError as error:
                self._trouble("removed", os.path.join(self._folder, name), error)

    def _answer(self, folder: int, name: str) -> None:
        context, unreadable = self._context, ""
        uid = None
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(os.open(name, flags, dir_fd=folder), "rb") as file:
                uid = os.fstat(file.fileno()).st_uid
                request = msgspec.json.decode(file.read(LONGEST), type=Request)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
            request = Request(id=_id_in(name), verb="unknown")
            unreadable = f"the request cannot be read: {error}"
        logs.get().info("request_read", request=request.id, verb=request.verb, uid=uid)
        with context.ledger.together():
            if not context.ledger.house.is_answered(request.id):
                done, words = (False, unreadable) if unreadable else self._carry_out(request)
                now = context.runtime.now()
                context.ledger.house.answered(request.id, verb=request.verb, done=done, words=words, now=now)

    def _carry_out(self, request: Request) -> tuple[bool, str]:
        """Whether it was done, and in words; what was refused half-way has changed nothing in the ledger."""
        verbs: dict[str, Callable[[Request], str]] = {
            "retry": self._retry,
            "cancel": self._cancel,
            "accept": self._accept,
            "flush": self._flush,
            "again": self._again,
            "forget": self._forget,
        }
        verb = verbs.get(request.verb)
        try:
            if verb is None:
                raise Denied(f"this daemon knows no request {request.verb!r}")
            with self._context.ledger.together():
                return True, verb(request)
        except LedgerStuck:
            raise
        except FinetunedError as error:
            return False, error.with_remedy()

    def _flush(self, request: Request) -> str:
        if request.folder is not None and request.folder not in self._context.folders:
            raise Denied(
                f"there is no folder {request.folder}", remedy=f"there are: {', '.join(self._context.folders)}"
            )
        self._context.ledger.house.flush(request.folder, self._context.runtime.now())
        return f"the files that wait in {request.folder or 'every folder'} go into jobs now"

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
            context.ledger.jobs.wished(job, "delete" if request.delete else "cancel", now)
            return f"{job.id} is being cancelled"
        if not request.delete:
            raise Denied(f"{job.id} is {job.state} already", remedy="--delete removes its session from the server")
        if not context.ledger.jobs.discard_ended(job, now):
            raise Denied(_LEFT.format(job.id) if job.noted else f"{job.id} has no session on the server")
        return f"the session of {job.id} is being removed from the server"

    def _accept(self, request: Request) -> str:
        job = self._job(request.job)
        if job.state is not JobState.REVIEW:
            raise Denied(f"{job.id} is {job.state}: it waits for nobody", remedy="`finetuned jobs --state review`")
        if job.given_up:
            raise Denied(f"{job.id} is being cancelled")
        if job.read_only:
            raise Denied(
                _LEFT.format(job.id),
                remedy="start its training on the server's page, or cancel and retry the job: its files are sent anew",
            )
        self._context.ledger.jobs.accepted(job, self._context.runtime.now())
        return f"the training of {job.id} begins"

    def _retry(self, request: Request) -> str:
        if request.job is not None:
            return self._retry_job(self._job(request.job))
        return self._retry_file(self._files(request)[0])

    def _files(self, request: Request) -> list[File]:
        """The files that a request names by their path, newest first. Raises Denied if there is none."""
        if request.path is None:
            raise Denied("the request names neither a job nor a path")
        try:
            path = path_of(request.path, request.path_b64)
        except ValueError as error:
            raise Denied("the request's path_b64 is no base 64") from error
        files = self._context.ledger.files.at_place(path)
        if not files:
            raise Denied(f"nothing is known of {shown(path)}", remedy="see `finetuned why` on it")
        return files

    def _forget(self, request: Request) -> str:
        """Every version of the file that was learned at this path; nothing of it if one cannot be forgotten now."""
        context = self._context
        files = self._files(request)
        name = shown(files[0].path)
        forgotten = pairs = 0
        jobs = []
        for file in files:
            if file.state is FileState.PACKED:
                raise Denied(f"{name} is in {file.job_id}, which is under way", remedy="cancel that job, or wait")
            mine = context.ledger.pairs.of_file(file.id)
            if file.job_id is None or not (mine or file.pairs):
                continue
            job = self._job(file.job_id)
            if job.id not in jobs:
                self._check_archived(job)
            context.ledger.pairs.forget(file, job, context.runtime.now())
            jobs.append(job.id)
            forgotten, pairs = forgotten + 1, pairs + mine
        if not forgotten:
            raise Denied(f"nothing was learned of {name}: there is nothing to forget")
        return f"{name}: {pairs} pairs removed; the session and the model of {', '.join(jobs)} go from the server"

    def _retry_job(self, job: Job) -> str:
        context = self._context
        now = context.runtime.now()
        files = context.ledger.jobs.files(job.id)
        lost = [file for file in files if _lost(file)]
        if job.state not in JOB_ENDS:
            raise Denied(f"{job.id} is {job.state}: it is not at its end yet")
        if (job.reason or "").startswith(SPLIT):
            raise Denied(f"{job.id} was {job.reason}", remedy="its files went on in those; try them again")
        self._check_archived(job)
        if not lost:
            raise Denied(f"{job.id} is {job.state} and lost no file: there is nothing to try again")
        found = [(file, location) for file in lost if (location := self._find(file)) is not None]
        if not found:
            raise _not_there(lost[0])
        if job.state in {JobState.PARTIAL, JobState.DONE}:  # of a done one, what was learned may have been forgotten
            for file, location in found:
                context.ledger.files.waits_again(file, location, now)
            context.ledger.house.flush(job.folder, now)
            return f"{len(found)} files of {job.id} go into a new job"
        context.ledger.jobs.queued_again(job, now)
        return f"{job.id} is queued again"

    def _check_archived(self, job: Job) -> None:
        """Raise Denied if the files of an ended job are on their way still, or in a folder that nobody watches."""
        if not job.archived:
            raise Denied(f"{job.id} is still being put away", remedy="try again in a moment")
        self._folder_named(job.folder)

    def _folder_named(self, name: str) -> DropFolder:
        """Raise Denied if the folder is not in the configuration any more."""
        folder = self._context.folders.get(name)
        if folder is None:
            raise Denied(f"the folder {name} is not in the configuration any more", remedy="put it back there")
        return folder

    def _retry_file(self, file: File) -> str:
        context = self._context
        now = context.runtime.now()
        name = shown(file.path)
        if not file.archived:
            raise Denied(f"{name} is still being put away", remedy="try again in a moment")
        if _lost(file):
            location = self._find(file)
            if location is None:
                raise _not_there(file)
            context.ledger.files.waits_again(file, location, now)
            return f"{name} waits for a new job"
        match file.state:
            case FileState.REFUSED | FileState.DUPLICATE if file.location is not None:
                if file.state is FileState.DUPLICATE and file.content:
                    context.ledger.files.wanted_again(file.folder, file.content.sha256)
                return self._give_back(file, now)
        raise Denied(f"{name} is {file.state}: there is nothing to try again")

    def _find(self, file: File) -> str | None:
        """Where an archived file lies, should somebody have moved it within its job's folders."""
        folder = self._folder_named(file.folder)
        if file.location is None:
            return None
        try:
            if folder.lies(file.location):
                return file.location
            return folder.locate(file.job_id, file.content) if file.job_id and file.content else None
        except (FileProblem, FolderError) as error:
            raise Denied(f"{shown(file.location)} cannot be looked at: {error}") from error

    def _give_back(self, file: File, now: float) -> str:
        """A refused file settles anew where it was dropped: its content or the rules may be others now."""
        folder = self._folder_named(file.folder)
        location = file.location or file.path
        try:
            if location != file.path:
                location = folder.give_back(location, file.path, file.signature)
        except Gone:
            raise _not_there(file) from None
        except (FileProblem, FolderError) as error:
            raise Denied(f"{shown(location)} cannot be moved: {error}") from error
        self._context.ledger.files.dropped_again(file, location, now)
        if file.signature is not None:
            folder.sweeper.remember(location, file.signature, settled=False)
        self._gave_back = True
        return f"{shown(location)} is looked at anew"

    def _job(self, job_id: str | None) -> Job:
        job = self._context.ledger.jobs.get(job_id) if job_id else None
        if job is None:
            raise Denied(f"there is no job {shown(job_id or '')}", remedy="`finetuned jobs` lists them")
        return job


def _id_in(name: str) -> str:
    """The id of a request that cannot be read, by the name of its file, as far as that has one."""
    word = name.removesuffix(SUFFIX).rpartition("-")[2]
    return word if re.fullmatch(_ID, word) else "unknown"


def _not_there(file: File) -> Denied:
    """What to say of an archived file that somebody took from there."""
    where = shown(file.location or file.path)
    return Denied(f"{where} is not there any more", remedy="put it back there, or drop it again: it is a new file then")
