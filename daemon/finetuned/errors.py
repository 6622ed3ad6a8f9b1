"""Everything that can go wrong, as a tree.

::

    FinetunedError                what went wrong, and what to do about it
    +-- ConfigurationError        the configuration cannot be used              exit 78
    +-- UsageError                the command's words are off                   exit 2
    +-- Held                      another finetuned holds the ledger or folder  exit 75
    +-- LedgerError               the ledger cannot be used                     exit 1
    |   +-- LedgerNewer           ... a newer finetuned wrote it
    |   +-- LedgerMissing         ... there is none, yet or any more
    |   +-- LedgerStuck           ... for now: a full disk, an I/O error, a lock; nothing was written
    |   +-- Stale                 a row moved on since it was read; read again
    +-- FolderError               a drop folder cannot be used                  exit 1
    |   +-- Away                  ... it is missing, or another one lies there
    +-- HookFailed                a hook did not take a message, and is tried again
    +-- FileProblem               one file cannot be taken or sent
    |   +-- Changed               ... it is not what it was a moment ago
    |   +-- Gone                  ... it is not there any more
    |   +-- Unusable              ... its content can never be sent
    |   +-- Stuck                 ... it cannot be read or moved, for now
    +-- ServerError               the server did not do what was asked
        +-- Refused               it said no; nothing happened                  exit 1
        |   +-- NotFound          ... there is no such session
        |   +-- NotKept           ... our disk has no room for its answer
        |   +-- KnownRefusal      ... in words that we know
        |   +-- TooLarge          ... something on the way takes no request so large
        |   +-- NoSuchCall        ... it has no such call
        |   +-- NoReviews         ... pairs were to wait for a person, and it would train without one
        +-- Unreachable           it certainly never took effect                exit 69
        |   +-- KeyRefused        ... the key is missing or wrong (401)         exit 77
        |   +-- NotTheServer      ... something answers, but not as the server does
        |   +-- Busy              ... it asked to come back later
        +-- ReplyLost             it may have taken effect                      exit 69
            +-- CutShort          ... the answer of a talk may be in its session

1. Libraries' exceptions are mapped once, at the border of the adapter that uses the library.
2. `str(error)` is the sentence; `error.remedy` says what to do; `exit_code` is what the door ends with.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import ClassVar, Final, NamedTuple

#: what keeps the system from doing something for a moment, and says nothing of the thing itself
PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ESTALE})


class FinetunedError(Exception):
    """The root: `str()` says what went wrong, `remedy` what to do about it (may be empty)."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy

    def with_remedy(self) -> str:
        """Say in one line what went wrong and, if that is known, what to do."""
        return f"{self}; {self.remedy}" if self.remedy else str(self)


class ConfigurationError(FinetunedError):
    """The configuration cannot be used; `problems` holds a line for each mistake."""

    exit_code = 78

    def __init__(self, what: str, *, problems: tuple[str, ...] = (), remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.problems = problems


class UsageError(FinetunedError):
    """The command's words are off."""

    exit_code = 2


class Held(FinetunedError):
    """Another finetuned holds the ledger or a folder."""

    exit_code = 75


class LedgerError(FinetunedError):
    """The ledger cannot be used."""


class LedgerNewer(LedgerError):
    """A newer finetuned wrote this ledger."""


class LedgerMissing(LedgerError):
    """There is no ledger: none yet, or it was taken away from under a daemon."""


class LedgerStuck(LedgerError):
    """The ledger cannot be used for now: what was to be written is not, and may be tried again."""


class Stale(LedgerError):
    """The row moved on since it was read. The remedy is to read it again, so this never leaves the loop."""


class FolderError(FinetunedError):
    """A drop folder cannot be used."""


class Away(FolderError):
    """The folder is missing, or another one lies in its place; nothing in it has vanished."""


class HookFailed(FinetunedError):
    """A hook did not take a message; it is tried again."""


class FileProblem(FinetunedError):
    """One file cannot be taken or sent; the others go on."""


class Changed(FileProblem):
    """The file is not what it was a moment ago: somebody writes to it still."""


class Gone(FileProblem):
    """The file is not there any more."""


class Unusable(FileProblem):
    """The file's content can never be sent as it is."""


class Stuck(FileProblem):
    """The file cannot be read or moved for now; it stays where it is and is tried again."""


class ServerError(FinetunedError):
    """The server did not do what was asked."""


class Refused(ServerError):
    """The server said no, and nothing happened."""


class NotFound(Refused):
    """The server knows no such session."""


class NotKept(Refused):
    """The answer could not be kept here, for our disk is full or fails: it tells nothing of the session."""


class Refusal(StrEnum):
    """What a server means that says no with words we know: whatever the kind, nothing happened."""

    NOT_FOUND = "not_found"
    NO_PAIRS = "no_pairs"
    ACTIVE = "active"  # a runner works on the session
    TOO_MANY = "too_many"  # as many sessions as its plan allows are there
    CUT = "cut"  # the request arrived in part
    FORM = "form"  # it wants another form
    TOO_MUCH = "too_much"  # more than its plan allows in one session
    NO_UPLOAD = "no_upload"  # it wants an upload to learn from


class Quota(NamedTuple):
    """A plan's bound that was overstepped: `asked` chunks, or sessions, where `limit` (None: it is not told) may be."""

    asked: int
    limit: int | None


class KnownRefusal(Refused):
    """The server said no in words that we know; `kind` is what they mean, `quota` the numbers they tell."""

    def __init__(self, what: str, *, kind: Refusal, remedy: str = "", quota: Quota | None = None) -> None:
        super().__init__(what, remedy=remedy)
        self.kind = kind
        self.quota = quota


class TooLarge(Refused):
    """Something on the way to the server takes no request of so many `bytes` (413)."""

    def __init__(self, what: str, *, size: int, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.bytes = size


class NoSuchCall(Refused):
    """The server has no such call: a page, a 404 or a 405 that is not in its own words."""


class NoReviews(Refused):
    """The pairs were to wait for a person, and the server would train without one: nothing was sent."""


class Unreachable(ServerError):
    """The request certainly never took effect: sending it again is safe.

    `answered`: the server is there, and failed at this request; that tells little about the next one. `begun`: there
    was a connection, and the request was on its way: whoever sends it again for ever should count.
    """

    exit_code = 69

    def __init__(self, what: str, *, answered: bool = False, begun: bool = False, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.answered = answered
        self.begun = begun


class KeyRefused(Unreachable):
    """The key is missing or wrong (401)."""

    exit_code = 77


class NotTheServer(Unreachable):
    """Something answers at this address, but not as the server does."""


class Busy(Unreachable):
    """The server asked to come back in `after` seconds."""

    def __init__(self, what: str, *, after: float, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.after = after


class ReplyLost(ServerError):
    """The request may have taken effect, the answer did not arrive, or (`answered`) told nothing for sure."""

    exit_code = 69

    def __init__(self, what: str, *, answered: bool = False, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.answered = answered


class CutShort(ReplyLost):
    """The answer to a talk did not come, or not to its end: the turn after `before` of `session_id` may hold it."""

    def __init__(self, what: str, *, session_id: str, before: str, remedy: str = "") -> None:
        super().__init__(what, remedy=remedy)
        self.session_id = session_id
        self.before = before
