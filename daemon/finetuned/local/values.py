"""What the parts of learning here tell each other: the stages of a run, how far it is, who makes and who trains."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from finetuned.backend import Capabilities, Phase
from finetuned.model import Value

if TYPE_CHECKING:
    from finetuned.local.runs import Ended, Made, Run

MAKING: Final = "generate_questions"
REVIEW: Final = "edit_questions"
TRAINING: Final = "finetune"
#: what cannot go on for now: a budget is used up, an endpoint is away
WAITS: Final = "waits"
CAPABILITIES: Final = Capabilities(
    submits_once=True,
    tends=True,
    stages=MappingProxyType(
        {MAKING: Phase.PREPARING, REVIEW: Phase.PREPARING, WAITS: Phase.QUEUED, TRAINING: Phase.TRAINING}
    ),
    queue_stages=frozenset({TRAINING}),
    held_stages=frozenset({WAITS}),
    is_here=True,
)


class Progress(Value, frozen=True):
    """How far a step is: percent, and words for people; `waits` if it cannot go on for now.

    `tried`: just now it is tried whether it can.
    """

    percent: int = 0
    words: str = ""
    waits: bool = False
    tried: bool = False


class PartReader(Protocol):
    """A file that is open for reading; it may raise `Changed` before its last bytes."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes; none at the end."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


#: hears how far a step is
OnProgress = Callable[[Progress], None]


class Makes(Protocol):
    """Who makes the pairs of a run."""

    async def probe(self) -> None:
        """Return if pairs can be made now. Raises ServerError."""
        ...

    async def make(self, run: Run, on_progress: OnProgress) -> Made:
        """Make what is still to be made of the run's texts, and lay its pairs. Raises Refused: none can be made."""
        ...


class Trains(Protocol):
    """Who trains a run."""

    async def train(self, run: Run, on_progress: OnProgress) -> Ended:
        """Begin the run's training, or find it again; return how it ended."""
        ...

    async def stop(self, run: Run) -> None:
        """End the run's training, if one is under way."""
        ...

    def withdraw(self, run: Run) -> None:
        """Remove what was laid elsewhere of the run's model. Blocks; raises OSError."""
        ...
