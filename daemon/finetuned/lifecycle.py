"""The state machines of files, jobs and sessions, as tables.

1. A state is an adjective or a participle; its paragraph says what it means, who moves it on, and what
   happens to it after a crash.
2. A transition has a cause, which its event tells. One that is not in these tables cannot be written: the ledger asks
   `check_move` for each.
3. The charts in `docs/states.md` are made from here; a test walks the tables (total, connected, all ends reached).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar

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
    DUPLICATE = "twin"


class Requested(StrEnum):
    """What a person wants done with a job: given up, given up and its session removed, or its training begun."""

    CANCEL = "cancel"
    DELETE = "delete"
    ACCEPT = "accept"


class Cause(StrEnum):
    """Why something changed, in one word, as events tell it."""

    # files
    APPEARED = "appeared"
    SETTLED = "settled"
    CHANGED = "changed"
    GONE = "gone"
    UNREADABLE = "unreadable"
    READABLE = "readable"
    HELD_UP = "held_up"
    REFUSED = "refused"
    FREE = "free"
    DUPLICATE = "duplicate"
    LEFT_JOB = "left_job"
    JOB_ENDED = "job_ended"
    PUT_AWAY = "put_away"
    LOST = "lost"
    FORGOTTEN = "forgotten"
    EXPIRED = "expired"
    # jobs
    SEALED = "sealed"
    CLAIMED = "claimed"
    EMPTIED = "emptied"
    INTENT = "intent"
    SUBMITTED = "submitted"
    REPLY_LOST = "reply_lost"
    FOUND = "found"
    NOT_THERE = "not_there"
    UNSEARCHED = "unsearched"
    UNREACHABLE = "unreachable"
    NOT_NOW = "not_now"
    NO_REVIEWS = "no_reviews"
    CUT = "cut"
    STAGE = "stage"
    PAIRS_MADE = "pairs_made"
    REVIEW_OVER = "review_over"
    TRAINED = "trained"
    BROKEN = "broken"
    STALLED = "stalled"
    SESSION_MISSING = "session_missing"
    # what is done about a session that does not go on
    RESTART = "restart"
    REQUEUE = "requeue"
    RETRY_CHUNKS = "retry_chunks"
    START = "start"
    ACTIVE = "active"
    DISCARD = "discard"
    KEPT = "kept"
    ADOPTED = "adopted"
    # jobs that are too large, or are not let through
    QUOTA = "quota"
    TOO_LARGE = "too_large"
    TOO_BIG = "too_big"
    FITTED = "fitted"
    IN_VAIN = "in_vain"
    SPLIT = "split"
    NOT_OURS = "not_ours"
    # people
    RETRY = "retry"
    CANCEL = "cancel"
    DELETE = "delete"
    ACCEPT = "accept"
    PAUSE = "pause"
    RESUME = "resume"
    # the rest
    FOLDER = "folder"
    RENAMED = "renamed"
    SERVER_PAUSED = "server_paused"
    SERVER_ANSWERED = "server_answered"
    STOP = "stop"
    RELOAD = "reload"
    WATCH = "watch"
    METRICS = "metrics"
    LEDGER = "ledger"
    HOOK = "hook"


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
            "while its pairs are fetched, if they are many, or were fetched in vain. A crash changes nothing."
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
        SessionState.DUPLICATE: (
            "A second session with the marker of an attempt, found on the server. It is removed there, unless it has "
            "trained."
        ),
    }
)

S = TypeVar("S", bound=StrEnum)
Moves = Mapping[S, Mapping[Cause, set[S]]]
#: why a send surely had no effect
_NO_EFFECT: Final = (Cause.CUT, Cause.UNREACHABLE, Cause.UNSEARCHED, Cause.NOT_NOW, Cause.NO_REVIEWS)
#: why a job is not sent again as it is
_TOO_MUCH: Final = (*(Cause.REFUSED, Cause.IN_VAIN, Cause.TOO_LARGE, Cause.QUOTA, Cause.FITTED, Cause.NOT_OURS),)

#: by state and cause, what a file may become
FILE_MOVES: Final[Moves[FileState]] = MappingProxyType(
    {
        FileState.SETTLING: {
            Cause.SETTLED: {FileState.WAITING},
            Cause.UNREADABLE: {FileState.WAITING},
            Cause.REFUSED: {FileState.REFUSED},
            Cause.GONE: {FileState.VANISHED},
        },
        FileState.WAITING: {
            Cause.CHANGED: {FileState.SETTLING},
            Cause.SEALED: {FileState.PACKED},
            Cause.ADOPTED: {FileState.PACKED},
            Cause.REFUSED: {FileState.REFUSED},
            Cause.DUPLICATE: {FileState.DUPLICATE},
            Cause.GONE: {FileState.VANISHED},
        },
        FileState.PACKED: {
            Cause.LEFT_JOB: {FileState.SETTLING, FileState.WAITING, FileState.VANISHED},
            Cause.JOB_ENDED: {FileState.LEARNED, FileState.BARREN, FileState.FAILED},
            Cause.TOO_BIG: {FileState.REFUSED},
        },
        FileState.LEARNED: {Cause.RETRY: {FileState.WAITING}},
        FileState.BARREN: {Cause.RETRY: {FileState.WAITING, FileState.PACKED}},
        FileState.REFUSED: {Cause.RETRY: {FileState.SETTLING}},
        FileState.FAILED: {Cause.RETRY: {FileState.WAITING, FileState.PACKED}},
        FileState.DUPLICATE: {Cause.RETRY: {FileState.SETTLING}},
        FileState.VANISHED: {},
    }
)

#: by state and cause, what a job may become
JOB_MOVES: Final[Moves[JobState]] = MappingProxyType(
    {
        JobState.QUEUED: {
            Cause.INTENT: {JobState.SUBMITTING},
            Cause.EMPTIED: {JobState.CANCELLED},
            Cause.CANCEL: {JobState.CANCELLED},
        },
        JobState.SUBMITTING: {
            Cause.SUBMITTED: {JobState.RUNNING},
            Cause.FOUND: {JobState.RUNNING},
            Cause.REPLY_LOST: {JobState.DOUBTFUL},
            **{key: {JobState.QUEUED} for key in _NO_EFFECT},
            Cause.REFUSED: {JobState.FAILED, JobState.CANCELLED},
            Cause.IN_VAIN: {JobState.FAILED, JobState.CANCELLED},
            Cause.TOO_LARGE: {JobState.FAILED, JobState.CANCELLED},
            Cause.QUOTA: {JobState.CANCELLED},
            Cause.FITTED: {JobState.CANCELLED},
            Cause.NOT_OURS: {JobState.CANCELLED},
            Cause.CANCEL: {JobState.CANCELLED},
        },
        JobState.DOUBTFUL: {
            Cause.FOUND: {JobState.RUNNING},
            Cause.NOT_THERE: {JobState.QUEUED},
            Cause.IN_VAIN: {JobState.FAILED, JobState.CANCELLED},
            Cause.NOT_OURS: {JobState.CANCELLED},
            Cause.CANCEL: {JobState.CANCELLED},
        },
        JobState.RUNNING: {
            Cause.PAIRS_MADE: {JobState.REVIEW},
            Cause.TRAINED: {JobState.DONE, JobState.PARTIAL, JobState.FAILED},
            Cause.BROKEN: {JobState.FAILED},
            Cause.STALLED: {JobState.QUEUED, JobState.FAILED},
            Cause.GONE: {JobState.QUEUED, JobState.FAILED},
            Cause.QUOTA: {JobState.CANCELLED},
            Cause.NOT_OURS: {JobState.CANCELLED},
            Cause.CANCEL: {JobState.CANCELLED},
        },
        JobState.REVIEW: {
            Cause.ACCEPT: {JobState.RUNNING},
            Cause.REVIEW_OVER: {JobState.RUNNING},
            Cause.SESSION_MISSING: {JobState.RUNNING},
            Cause.NOT_OURS: {JobState.CANCELLED},
            Cause.CANCEL: {JobState.CANCELLED},
        },
        JobState.DONE: {},
        JobState.PARTIAL: {},
        JobState.FAILED: {Cause.RETRY: {JobState.QUEUED}},
        JobState.CANCELLED: {Cause.RETRY: {JobState.QUEUED}},
    }
)

#: by state and cause, what an attempt may become
SESSION_MOVES: Final[Moves[SessionState]] = MappingProxyType(
    {
        SessionState.INTENDED: {
            Cause.SUBMITTED: {SessionState.LIVE},
            Cause.FOUND: {SessionState.LIVE},
            **{key: {SessionState.UNSENT} for key in (*_NO_EFFECT, Cause.NOT_THERE, *_TOO_MUCH)},
            Cause.CANCEL: {SessionState.ENDED},
        },
        SessionState.LIVE: {
            Cause.TRAINED: {SessionState.TRAINED},
            **{key: {SessionState.ENDED} for key in (Cause.BROKEN, Cause.STALLED, Cause.GONE)},
            **{key: {SessionState.ENDED} for key in (Cause.QUOTA, Cause.NOT_OURS, Cause.CANCEL)},
        },
        SessionState.TRAINED: {},
        SessionState.ENDED: {},
        SessionState.UNSENT: {},
        SessionState.DUPLICATE: {},
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
#: how good what a state says is: `good`, `fair`, `bad`, or `busy`; doors show it as a colour, others without one
MOODS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys((JobState.DONE, FileState.LEARNED), "good"),
        **dict.fromkeys((JobState.PARTIAL, JobState.DOUBTFUL, FileState.BARREN, FileState.DUPLICATE), "fair"),
        **dict.fromkeys((JobState.FAILED, JobState.CANCELLED, FileState.REFUSED), "bad"),
        **dict.fromkeys((JobState.SUBMITTING, JobState.RUNNING), "busy"),
    }
)
_TABLES: Final[Mapping[type[AnyState], Moves[Any]]] = MappingProxyType(
    {FileState: FILE_MOVES, JobState: JOB_MOVES, SessionState: SESSION_MOVES}
)


def check_move(was: AnyState, cause: Cause, became: AnyState) -> None:
    """Raise FinetunedError if no table lets `was` become `became` by this cause: a mistake of ours, not of the user."""
    if type(was) is not type(became) or became not in _TABLES.get(type(was), {}).get(was, {}).get(cause, ()):
        raise FinetunedError(f"a {type(was).__name__} never goes from {was!s} to {became!s} by {cause!s}")
