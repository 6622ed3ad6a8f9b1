"""What finetuned asks of a Helix, whichever dialect it speaks.

1. Every method ends in a value or in one of three outcomes: `Refused` (it said no), `Unreachable` (it certainly
   never took effect), `ReplyLost` (it may have taken effect). A `FileProblem` of a file that is being sent
   comes through as it is: the upload was cut, and the server created nothing.
2. Nothing here retries, waits or remembers: the caller's ledger does. The one exception is the key, which is
   read again after a 401.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Protocol

from finetuned.errors import Refused, ReplyLost, ServerError
from finetuned.helix.answers import Harvest
from finetuned.helix.speech import unspoken
from finetuned.model import Pair, Part, Quota, SessionView, Summary, Value
from finetuned.wire import Refusal


class Order(Value, frozen=True):
    """What is to be learned: the files, and the marker by which the session can be found again.

    `review`: the pairs are to wait for a person; `entity_id` is the server's name for these files if they are there
    already.
    """

    marker: str
    parts: tuple[Part, ...]
    review: bool = False
    entity_id: str | None = None


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
    """The pairs were to wait for a person, and this dialect would train without one: nothing was sent."""


class CutShort(ReplyLost):
    """The answer to a talk did not come, or not to its end: the turn after `before` of `session_id` may hold it."""

    def __init__(self, lost: ServerError, *, session_id: str, before: str) -> None:
        super().__init__(str(lost), remedy=lost.remedy)
        self.session_id = session_id
        self.before = before


class Service(Protocol):
    """A Helix, as the daemon sees it."""

    @property
    def dialect(self) -> str:
        """`form` or `learn`."""
        ...

    async def probe(self) -> None:
        """Return if a Helix answers here and takes our key."""
        ...

    async def spoken(self) -> frozenset[str]:
        """The dialects that the server speaks; none if its answer tells nothing. Starts no fine-tune."""
        ...

    async def upload(self, order: Order, *, told: Callable[[int], None]) -> Order:
        """Bring the files there, if that is a step of its own; the order as it can be submitted.

        It has an `entity_id` then, which is to be kept before the order is submitted. Starts nothing, and may be
        repeated. `told` hears how many bytes were handed over so far.
        """
        ...

    async def submit(self, order: Order, *, told: Callable[[int], None]) -> SessionView:
        """Start a fine-tune of an order that went through `upload`; `told` hears of the files that go with it."""
        ...

    async def look(self, session_id: str) -> SessionView:
        """One session as it is now; raises NotFound."""
        ...

    async def list(self, *, offset: int, limit: int) -> tuple[int, tuple[Summary, ...]]:
        """How many sessions there are, and one page of them, newest first."""
        ...

    async def find(
        self, job_id: str, *, since: float, known: Container[str], entities: Container[str] = ()
    ) -> tuple[SessionView, ...]:
        """Every session not in `known`, touched at or after `since`, that is the job's.

        It carries a marker of the job, or learns one of its uploads (`entities`).
        """
        ...

    async def pairs(self, view: SessionView) -> tuple[Pair, ...]:
        """The question-answer pairs of a session, all in memory; none is no error."""
        ...

    async def harvest(self, view: SessionView) -> Harvest:
        """The same, and what stands among them and is none, of which none is in memory. Close it."""
        ...

    async def write_pairs(self, view: SessionView, pairs: Sequence[Pair]) -> None:
        """Put other pairs in the place of those that the session has; look right before, whether it rests."""
        ...

    async def restart(self, session_id: str) -> None:
        """Put a session to work again; never do it without a look right before."""
        ...

    async def retry_chunks(self, session_id: str) -> None:
        """Generate the failed chunks again."""
        ...

    async def start(self, session_id: str) -> None:
        """Start the training of a session that rests in `editing`; unguarded, so look right before."""
        ...

    async def delete(self, session_id: str) -> None:
        """Remove a session; one that is not there is removed."""
        ...

    async def rename(self, session_id: str, name: str) -> None:
        """Give a session a name that people can read."""
        ...

    async def chat(self, text: str, *, session_id: str | None, told: Callable[[str], None] = unspoken) -> SessionView:
        """Say something to the model, in a new session or a further turn of `session_id`.

        A server that tells its answer word by word is back once it is said, and `told` has heard the words by then;
        of another the answer is to be looked at until it is finished. Raises CutShort.
        """
        ...

    async def image(self, prompt: str) -> SessionView:
        """Ask for a picture."""
        ...

    async def fetch(self, filestore_path: str) -> bytes:
        """A file of the server's store (a picture, say)."""
        ...
