"""The values that rooms hand to each other: frozen, with no behaviour beyond reading themselves.

An instant is a float, seconds since 1970-01-01 UTC (`times`); a path is a `str` with surrogate escapes (`paths`);
sizes are bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import msgspec

from finetuned.errors import Stale
from finetuned.lifecycle import SESSION_OPEN, FileState, JobState, Requested, SessionState

#: folders at the top of a drop folder that are ours
DONE: Final = "done"
FAILED: Final = "failed"
PROCESSING: Final = ".processing"
RESERVED: Final = frozenset({DONE, FAILED, PROCESSING})
#: returns the one text in memory that is equal to this one, for what many values tell alike; Python 3.12.0 to 3.12.7
#: would keep that for ever (python/cpython#113993), so each text stays what it is there
shared: Final[Callable[[str], str]] = str if (3, 12) <= sys.version_info < (3, 12, 8) else sys.intern


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen, keyword-only value."""


class Signature(Value, frozen=True):
    """What tells that a file is still the same: users can set mtime, but neither ctime nor the inode."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class Content(Value, frozen=True):
    """What a file holds, as it would be sent: `sha256` in hex, `bytes` on disk and `sent_bytes` as UTF-8.

    Equal `text_sha256` (empty: `sha256`) is the same text; `note` is what a person should know of it (null: nothing).
    """

    sha256: str
    bytes: int
    sent_bytes: int
    text_sha256: str = ""
    note: str | None = None


class File(Value, frozen=True):
    """One file, as the ledger knows it.

    `path` is where it was dropped, `location` where it lies now (null: nowhere any more).
    """

    id: int
    folder: str
    path: str
    location: str | None
    state: FileState
    signature: Signature | None
    version: int
    reason: str | None = None
    content: Content | None = None
    job_id: str | None = None
    upload_name: str | None = None
    ready_at: float | None = None
    finished_at: float | None = None
    due_at: float | None = None
    pairs: int | None = None
    archived: bool = True
    tries: int = 0


class Attempt(Value, frozen=True):
    """One attempt at a job: the intent to send it, and the session on the server that came of it.

    `session_id` is null until the server's answer was read; `name` is the session's as it was made, or the one that it
    was to be given. `due_at` and `tries` (in a row, in vain) are those of its
    polls or searches; once it has ended, of its removal, or of further searches for it. `misses` are polls in a row
    that did not find it. `restarts` counts how often it was put to work again, `retrained` those of them after a
    failed training; `requeued`, `kicks` what was done about a session that only queued, or paused. `read_only`: only a
    note told of it, so it is never altered.
    """

    id: int
    job_id: str
    number: int
    state: SessionState
    url: str
    version: int = 1
    session_id: str | None = None
    name: str | None = None
    stage: str | None = None
    progress: int | None = None
    due_at: float | None = None
    tries: int = 0
    moved_at: float | None = None
    missing_since: float | None = None
    misses: int = 0
    restarts: int = 0
    retrained: int = 0
    requeued: int = 0
    kicks: int = 0
    read_only: bool = False

    @property
    def marker(self) -> str:
        """What the server sees of it."""
        return f"{self.job_id}.{self.number}"


_GIVES_UP: Final = frozenset({Requested.CANCEL, Requested.DELETE})


class Job(Value, frozen=True):
    """One batch of files, one fine-tune.

    `attempt` is the one that counts now: null before the first, and while the job is queued for another. `attempts`
    are all that it had, `attempts_before` those before it was last retried. `due_at` and `tries` (in a row, in vain)
    are those of its own work: a claim, a send, archiving. `unanswered`, `unheard` are sends in a row that left no
    session: answered with an error, broken off. `requested` is what a person wants done; `noted`: only a note told of
    the job.
    """

    id: str
    folder: str
    state: JobState
    files: int
    bytes: int
    created_at: float
    version: int
    attempt: Attempt | None = None
    attempts: int = 0
    attempts_before: int = 0
    reason: str | None = None
    claimed_at: float | None = None
    due_at: float | None = None
    tries: int = 0
    unanswered: int = 0
    unheard: int = 0
    requested: Requested | None = None
    archived: bool = True
    noted: bool = False

    @property
    def open(self) -> Attempt | None:
        """The attempt that is under way: it is being sent, searched for, or has a session that is not at its end."""
        attempt = self.attempt
        return attempt if attempt is not None and attempt.state in SESSION_OPEN else None

    @property
    def under_way(self) -> Attempt:
        """The same of a job that surely has one. Raises Stale if it has none."""
        if self.open is None:
            raise Stale(f"{self.id} has no attempt that is open")
        return self.open

    @property
    def session_id(self) -> str | None:
        """The session of the attempt that counts."""
        return None if self.attempt is None else self.attempt.session_id

    @property
    def next_at(self) -> float | None:
        """When its next step is due: a poll or search of its open attempt, else its own work."""
        attempt = self.open
        return self.due_at if attempt is None else attempt.due_at

    @property
    def in_vain(self) -> int:
        """How often in a row its next step was tried in vain."""
        return self.tries if self.open is None else self.open.tries

    @property
    def awaits_review(self) -> bool:
        """Whether it waits for a person, and for nothing else."""
        return self.state is JobState.REVIEW and self.requested is None

    @property
    def given_up(self) -> bool:
        """Whether a person wants it given up."""
        return self.requested in _GIVES_UP


class FolderFacts(Value, frozen=True):
    """A drop folder, as the plan sees it.

    `paused_at`: when a person paused it (null: it is not paused); `more_to_come`: files are ready that the ledger does
    not know yet; `flush_before`: what was ready by then goes now; `sent_at`: when a job of it was sent the last time
    (null: never); `retired`: it is in no configuration any more, and held until its jobs have ended; `backend` is what
    its rules named (empty: none).
    """

    name: str
    usable: bool = True
    paused_at: float | None = None
    more_to_come: bool = False
    flush_before: float | None = None
    sent_at: float | None = None
    retired: bool = False
    backend: str = ""


class WaitingFile(Value, frozen=True):
    """A waiting file, as the plan sees it; `ready_made`: it holds pairs.

    `learned_by` names the file that taught this folder the same content; `same_content_in` the job under way that
    holds it.
    """

    id: int
    folder: str
    group: str
    sha256: str
    sent_bytes: int
    ready_at: float
    text_sha256: str = ""
    ready_made: bool = False
    learned_by: str | None = None
    same_content_in: str | None = None
    due_at: float | None = None


class UnarchivedFile(Value, frozen=True):
    """A file in no job that is to be archived, or given back as it is retried, as the plan sees it."""

    id: int
    folder: str
    due_at: float | None = None


class ServerFacts(Value, frozen=True):
    """The server, as the plan sees it.

    Nothing is sent, asked or removed while `paused_because` is set, or `reachable` (the last try) is not true.
    `max_chunks` in a session and `max_sessions` at a time are what its plan was found to allow, the latter at
    `max_sessions_at`; `max_request` bytes are what a proxy in front of it is thought to take. Null: no bound was met.
    """

    paused_because: str | None = None
    next_try_at: float | None = None
    tries: int = 0
    reachable: bool | None = None
    max_chunks: int | None = None
    max_sessions: int | None = None
    max_sessions_at: float | None = None
    max_request: int | None = None
    variant: str | None = None


class HookFacts(Value, frozen=True):
    """How far a hook has heard the events (`event_id`), since when, and what keeps it from the next one.

    `tries` in vain are those since `failing_since`, all of one event or of those after it; `given_up` counts the events
    that it was never told.
    """

    event_id: int
    since: float
    told_at: float | None = None
    failing_since: float | None = None
    error: str | None = None
    tries: int = 0
    due_at: float | None = None
    given_up: int = 0
