"""The values of a plan: the facts that it rests on, its actions, and what each job and file waits for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from finetuned.backend import Capabilities
from finetuned.model import Attempt, FolderFacts, Job, ServerFacts, UnarchivedFile, Value, WaitingFile


class Seal(Value, frozen=True, tag=True):
    """Make a job of these files and claim them."""

    folder: str
    group: str
    file_ids: tuple[int, ...]


class SkipDuplicate(Value, frozen=True, tag=True):
    """Archive the file as a duplicate of `of`, which taught its content."""

    file_id: int
    of: str


class Claim(Value, frozen=True, tag=True):
    """Go on with a claim that was begun."""

    job_id: str


class Archive(Value, frozen=True, tag=True):
    """Move the files of an ended job, so many, to where they belong."""

    job_id: str
    files: int = 1


class ArchiveFile(Value, frozen=True, tag=True):
    """Move a file in no job to where it belongs: to its end, or, as it is retried, back to where it was dropped."""

    file_id: int


class Cancel(Value, frozen=True, tag=True):
    """Give the job up, as a person requested."""

    job_id: str


class Submit(Value, frozen=True, tag=True):
    """Send the job: intent first, then the request."""

    job_id: str


class Doubt(Value, frozen=True, tag=True):
    """Make the job doubtful: it says that it is being sent, and nothing sends it, after a crash or by a bug."""

    job_id: str


class Search(Value, frozen=True, tag=True):
    """Search for a doubtful job's session on the server."""

    job_id: str


class Poll(Value, frozen=True, tag=True):
    """Poll the job's session; if it is trained, collect its pairs."""

    job_id: str


class Discard(Value, frozen=True, tag=True):
    """Remove a session that was given up from the server."""

    session: Attempt


class Recheck(Value, frozen=True, tag=True):
    """Search once more for a session that was lost, not found, and sent again: a slow server may list it late."""

    session: Attempt


class Probe(Value, frozen=True, tag=True):
    """Ask whether the server at `url` can be used again."""

    url: str


OfAJob = Claim | Archive | Cancel | Submit | Doubt | Search | Poll
OfAFile = SkipDuplicate | ArchiveFile
Action = Seal | OfAFile | OfAJob | Discard | Recheck | Probe


class Awaited(StrEnum):
    """What something waits for."""

    FOLDER = "folder"  # its folder is away, not watched, or not in the configuration
    RESUME = "resume"  # a person paused its folder, and will let it go on
    SERVER = "server"  # the server cannot be used now
    OTHER_SERVER = "other_server"  # its session is on another server than the one that is configured
    REVIEWS = "reviews"  # its folder wants a review, and this server would train without one
    PERSON = "person"  # its pairs wait for a person
    ANSWER = "answer"  # a request, or work of its own, is under way
    SEARCH = "search"  # its session is searched for, again at `until`
    SESSION = "session"  # the server works on it; the next poll is at `until`
    TURN = "turn"  # a slot on the server; `ahead` go before it
    RETRY = "retry"  # it failed for a passing reason; the next try is at `until`
    SAME_CONTENT = "same_content"  # the same content goes first: a waiting file (`of` its id), or one in the job `of`
    COMPANY = "company"  # more files to share a job with, until `until`
    INTAKE = "intake"  # files are ready that were not read yet
    ROUND = "round"  # there is more to do than one round may take


class Hold(Value, frozen=True):
    """What something waits for, until when at the latest (seconds since 1970; null: not known), and of whom."""

    kind: Awaited
    until: float | None = None
    of: str | int | None = None
    ahead: int = 0


class Rest(StrEnum):
    """Whether anything is left to do, for a run that ends when nothing is."""

    WORK = "work"
    IDLE = "idle"  # nothing is left, or it waits for people, for a folder that is away or paused, or for another server
    SERVER = "server"  # something is left, and the server cannot be used for it


class BackendFacts(Value, frozen=True):
    """A backend that is there: what is known of its server, and what it can do."""

    server: ServerFacts = ServerFacts()
    can: Capabilities = Capabilities()


class Resting(Value, frozen=True):
    """The jobs that run at a backend, and of which the first is to be polled at `until`: the ids of those not told."""

    there: frozenset[str]
    until: float


class Facts(Value, frozen=True):
    """All that a plan rests on.

    `waiting` is ordered by `ready_at`, and has of the folders in `partly` only the oldest files;
    `jobs` holds every unfinished job and every ended one that is not archived, but for those that are not needed
    (`roll`): by url of a backend `resting` tells of those that run there, and of long queues only the first are told;
    `unarchived` are refused and duplicate files that lie where they were dropped, and retried ones that do not yet;
    `suspects` are sessions that were lost and may turn up late; `backends` are those that are there, by url;
    `busy` names the jobs and sessions with a request under way; `asked` counts by job the requests since the daemon
    started; `settling`: something in the folders is not ready yet; `hurry` does not wait out `linger`.
    """

    waiting: tuple[WaitingFile, ...] = ()
    partly: frozenset[str] = frozenset()
    jobs: tuple[Job, ...] = ()
    resting: Mapping[str, Resting] = {}
    unarchived: tuple[UnarchivedFile, ...] = ()
    discards: tuple[Attempt, ...] = ()
    suspects: tuple[Attempt, ...] = ()
    folders: tuple[FolderFacts, ...] = ()
    backends: Mapping[str, BackendFacts] = {}
    busy: frozenset[str] = frozenset()
    asked: Mapping[str, int] = {}
    settling: bool = False
    hurry: bool = False


class Queue(Value, frozen=True):
    """Who is on a server, and who is next: the ids of the jobs that have one of its `slots`, those of them that are on
    their way there, and, in order, the first of those that only wait for a slot.
    """

    slots: int = 0
    there: frozenset[str] = frozenset()
    sending: frozenset[str] = frozenset()
    next: tuple[str, ...] = ()


class Plan(Value, frozen=True):
    """What to do now, in this order, and when to plan again (seconds since 1970; null: when the loop is woken).

    `slot_waits`: a job that is sealed now can be sent at once. `too_few`: folders in `Facts.partly` of whose files none
    can go before more of them are told. `jobs` and `files` (by id) tell what each job and file waits for, of those
    told, that no action is about. By url of a backend, `slots` jobs may be there at a time, and `in_flight` are;
    `queues` tell what that will be once all actions are done.
    """

    actions: tuple[Action, ...]
    wake_at: float | None
    slot_waits: bool = False
    too_few: frozenset[str] = frozenset()
    jobs: Mapping[str, Hold] = {}
    files: Mapping[int, Hold] = {}
    slots: Mapping[str, int] = {}
    in_flight: Mapping[str, int] = {}
    queues: Mapping[str, Queue] = {}
    rest: Rest = Rest.WORK


def probe_key(url: str) -> str:
    """Make the key of `Facts.busy` for a probe of a server."""
    return f"probe {url}"


def session_key(session: Attempt) -> str:
    """Make the key of `Facts.busy` for work on a session that no job waits for."""
    return f"session {session.session_id}"
