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
    +-- FileProblem               one file cannot be taken or sent
    |   +-- Changed               ... it is not what it was a moment ago
    |   +-- Gone                  ... it is not there any more
    |   +-- Unusable              ... its content can never be sent
    |   +-- Stuck                 ... it cannot be read or moved, for now
    +-- ServerError               the server did not do what was asked
        +-- Refused               it said no; nothing happened                  exit 1
        |   +-- NotFound          ... there is no such session
        +-- Unreachable           it certainly never took effect                exit 69
        |   +-- KeyRefused        ... the key is missing or wrong (401)         exit 77
        |   +-- NotHelix          ... something answers, but it is no Helix
        |   +-- Busy              ... it asked to come back later
        +-- ReplyLost             it may have taken effect                      exit 69

1. Libraries' exceptions are mapped once, at the border of the adapter that uses the library.
2. `str(error)` is the sentence; `error.remedy` says what to do; `exit_code` is what the door ends with.
3. A room may have leaves of its own, for what its callers tell apart: `helix.service` of Refused and ReplyLost,
   `daemon.asking` of FinetunedError.
"""

from __future__ import annotations

from typing import ClassVar


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


class NotHelix(Unreachable):
    """Something answers at this address, but not as a Helix does."""


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
