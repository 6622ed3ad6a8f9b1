"""The state machines of files, jobs and sessions, as tables.

1. A state is an adjective or a participle; its paragraph says what it means, who moves it on, and what
   happens to it after a crash.
2. A transition that is not in these tables cannot be written: the ledger asks `check_move` for each.
3. The charts in `docs/states.md` are made from here; a test walks the tables (total, connected, all ends reached).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from finetuned.errors import FinetunedError


class FileState(StrEnum):
    """What became of one file that was dropped."""

    SETTLING = "settling"
    WAITING = "waiting"
    PACKED = "packed"
    LEARNED = "learned"
    BARREN = "barren"
    REFUSED = "refused"
    FAILED = "failed"
    DUPLICATE = "duplicate"
    VANISHED = "vanished"


class JobState(StrEnum):
    """Where one batch of files stands."""

    QUEUED = "queued"
    SUBMITTING = "submitting"
    DOUBTFUL = "doubtful"
    RUNNING = "running"
    REVIEW = "review"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SessionState(StrEnum):
    """What one attempt at a job is on the server."""

    INTENDED = "intended"
    LIVE = "live"
    TRAINED = "trained"
    ENDED = "ended"
    UNSENT = "unsent"
    TWIN = "twin"


FILE_WORDS: Final[Mapping[FileState, str]] = MappingProxyType(
    {
        FileState.SETTLING: (
            "Seen, and perhaps still being written. Once it has been unchanged for `settle` and no program has it open "
            "for writing, the daemon reads it and makes it `waiting`. After a crash the quiet time is counted anew."
        ),
        FileState.WAITING: (
            "Ready, read and hashed; it waits for a job. The plan puts it into one, or finds that it is a duplicate. "
            "It stays here, with its reason, while it cannot be read or moved, and while a file of the same content is "
            "in a job. A crash changes nothing."
        ),
        FileState.PACKED: (
            "In a job, which decides what becomes of it. After a crash the claim is repeated until the file lies in "
            "the job's folder, or has left the job with its reason."
        ),
        FileState.LEARNED: (
            "Its job trained, and it taught at least one pair. It goes to `done/`. If it has a reason, some of it was "
            "lost, and `retry` of its job gives it another job."
        ),
        FileState.BARREN: "Its job trained, and it taught nothing. It goes to `failed/`; `retry` gives it another job.",
        FileState.REFUSED: (
            "It can never be sent as it is (not text, empty, too big, more than the server's plan allows). It goes to "
            "`failed/refused/`; `retry` reads it anew."
        ),
        FileState.FAILED: "Its job failed or was cancelled. It goes to `failed/`; `retry` tries again.",
        FileState.DUPLICATE: (
            "This folder has learned the same content already. It goes to `done/duplicates/`; `retry` learns it anew."
        ),
        FileState.VANISHED: "Somebody moved or removed it before it was taken.",
    }
)

JOB_WORDS: Final[Mapping[JobState, str]] = MappingProxyType(
    {
        JobState.QUEUED: (
            "Sealed; it waits for its turn. Its files are being claimed, or lie in `.processing/` already. After a "
            "crash the claim is repeated, and the server is searched for the job before it is sent."
        ),
        JobState.SUBMITTING: (
            "The intent to send it is in the ledger, and the request is under way. After a crash it is `doubtful`."
        ),
        JobState.DOUBTFUL: (
            "The request may have taken effect, but the answer is lost. Once `lost_answer_settle` is over, the "
            "server's sessions are searched for the job's marker. If one has it, the job goes on with that session; "
            "if none has, the job is queued again. After a crash the search is repeated."
        ),
        JobState.RUNNING: (
            "The server works on it, and the daemon polls it when due. Once it has trained, its stage is `collecting` "
            "until its pairs are here. A crash changes nothing."
        ),
        JobState.REVIEW: (
            "Its pairs wait for a person, who sees, changes and accepts them with `review`, or rejects them with "
            "`cancel`. It takes no slot meanwhile. The daemon polls it now and then: once it was accepted, or somebody "
            "else started or removed its session, it is `running` again. A crash changes nothing: the session is "
            "polled before it is started."
        ),
        JobState.DONE: "Trained; every file taught something and nothing was cut.",
        JobState.PARTIAL: (
            "Trained, but a chunk failed, a file taught nothing, data was cut, or the server gave entries that are no "
            "pairs."
        ),
        JobState.FAILED: "Not trained, or none of its files taught anything. `retry` queues it again.",
        JobState.CANCELLED: (
            "Given up by a person, or no file was left in it: `retry` queues it again. Or it was split: the server, or "
            "a proxy before it, did not take it as it was, and its files went on in two others, which its reason names."
        ),
    }
)

SESSION_WORDS: Final[Mapping[SessionState, str]] = MappingProxyType(
    {
        SessionState.INTENDED: (
            "The intent to send is in the ledger; the server's session is not known yet. After a crash it is searched "
            "for by its marker."
        ),
        SessionState.LIVE: "The server's session is known, and polled when due. A crash changes nothing.",
        SessionState.TRAINED: "It trained, and its pairs are in the ledger.",
        SessionState.ENDED: "It failed, was given up or cancelled. An unfinished session is removed from the server.",
        SessionState.UNSENT: (
            "The request had no effect, or none that was found. It is searched for some more times: a slow server may "
            "list its session late."
        ),
        SessionState.TWIN: (
            "A second session with the marker of an attempt, found on the server. It is removed there, unless it has "
            "trained."
        ),
    }
)

FILE_MOVES: Final[Mapping[FileState, frozenset[FileState]]] = MappingProxyType(
    {
        FileState.SETTLING: frozenset({FileState.WAITING, FileState.REFUSED, FileState.VANISHED}),
        FileState.WAITING: frozenset(
            {FileState.SETTLING, FileState.PACKED, FileState.REFUSED, FileState.DUPLICATE, FileState.VANISHED}
        ),
        FileState.PACKED: frozenset(
            {
                FileState.SETTLING,
                FileState.WAITING,
                FileState.LEARNED,
                FileState.BARREN,
                FileState.FAILED,
                FileState.REFUSED,
                FileState.VANISHED,
            }
        ),
        FileState.LEARNED: frozenset({FileState.WAITING}),
        FileState.BARREN: frozenset({FileState.WAITING, FileState.PACKED}),
        FileState.REFUSED: frozenset({FileState.SETTLING}),
        FileState.FAILED: frozenset({FileState.WAITING, FileState.PACKED}),
        FileState.DUPLICATE: frozenset({FileState.SETTLING}),
        FileState.VANISHED: frozenset(),
    }
)

JOB_MOVES: Final[Mapping[JobState, frozenset[JobState]]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.SUBMITTING, JobState.CANCELLED}),
        JobState.SUBMITTING: frozenset(
            {JobState.RUNNING, JobState.DOUBTFUL, JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}
        ),
        JobState.DOUBTFUL: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
        JobState.RUNNING: frozenset(
            {
                JobState.REVIEW,
                JobState.QUEUED,
                JobState.DONE,
                JobState.PARTIAL,
                JobState.FAILED,
                JobState.CANCELLED,
            }
        ),
        JobState.REVIEW: frozenset({JobState.RUNNING, JobState.CANCELLED}),
        JobState.DONE: frozenset(),
        JobState.PARTIAL: frozenset(),
        JobState.FAILED: frozenset({JobState.QUEUED}),
        JobState.CANCELLED: frozenset({JobState.QUEUED}),
    }
)

SESSION_MOVES: Final[Mapping[SessionState, frozenset[SessionState]]] = MappingProxyType(
    {
        SessionState.INTENDED: frozenset({SessionState.LIVE, SessionState.UNSENT, SessionState.ENDED}),
        SessionState.LIVE: frozenset({SessionState.TRAINED, SessionState.ENDED}),
        SessionState.TRAINED: frozenset(),
        SessionState.ENDED: frozenset(),
        SessionState.UNSENT: frozenset(),
        SessionState.TWIN: frozenset(),
    }
)

FILE_ENDS: Final = frozenset(
    {
        FileState.LEARNED,
        FileState.BARREN,
        FileState.REFUSED,
        FileState.FAILED,
        FileState.DUPLICATE,
        FileState.VANISHED,
    }
)
JOB_ENDS: Final = frozenset({JobState.DONE, JobState.PARTIAL, JobState.FAILED, JobState.CANCELLED})
SESSION_OPEN: Final = frozenset({SessionState.INTENDED, SessionState.LIVE})
#: jobs that hold, or may hold, a session on the server
JOB_IN_FLIGHT: Final = frozenset({JobState.SUBMITTING, JobState.DOUBTFUL, JobState.RUNNING})


AnyState = FileState | JobState | SessionState


def moves_from(state: AnyState) -> frozenset[FileState] | frozenset[JobState] | frozenset[SessionState]:
    """Look up the states that `state` may become."""
    match state:
        case FileState():
            return FILE_MOVES[state]
        case JobState():
            return JOB_MOVES[state]
        case SessionState():
            return SESSION_MOVES[state]


def check_move(was: AnyState, became: AnyState) -> None:
    """Raise FinetunedError if no table allows `was` to become `became`: a mistake of ours, never of the user."""
    if type(was) is not type(became) or became not in moves_from(was):
        raise FinetunedError(f"a {type(was).__name__} never goes from {was!s} to {became!s}")
