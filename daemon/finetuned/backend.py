"""What finetuned asks of a service that learns, and what it hears back: values and protocols, no I/O.

1. A backend makes a `Submission` into a session, and shows it as an `Observation` whenever it is asked. All that it
   says in words or numbers of its own is turned into these facts behind the wall; nothing in front of it branches by a
   backend's own words, which are only shown to people (`stage`, `complaint`, interactions).
2. What a backend can do is a `Capabilities` value: nothing asks which backend, or which of its variants, it is.
3. The daemon needs a `Backend`. Commands need the other, smaller protocols: `Reviews` to change pairs before their
   training, `Chats` to talk to a model, and for pictures.
4. A call ends in a value or in one of three outcomes: `Refused` (it said no), `Unreachable` (it certainly never took
   effect), `ReplyLost` (it may have taken effect). A `FileProblem` of a file that is being sent comes through as it is:
   the upload was cut, and the backend created nothing. No call retries, waits or remembers: the ledger does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Hashable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

from finetuned.errors import Busy, KeyRefused, Quota, ReplyLost, ServerError, Unreachable
from finetuned.model import Content, Value

#: the longest question, and the longest answer, in characters: everything that shows pairs has to hold one
LONGEST_TEXT: Final = 1024 * 1024


# -- what is submitted


class Part(Value, frozen=True):
    """One file of an upload: where its bytes lie now, what they must be, and the name the backend sees."""

    upload_name: str
    location: str
    content: Content
    folder: str


class Submission(Value, frozen=True):
    """What is to be learned: the files, and the marker by which the session can be found again.

    `review`: the pairs are to wait for a person. `upload_id` is the backend's name for these files if they are there
    already.
    """

    marker: str
    parts: tuple[Part, ...]
    review: bool = False
    upload_id: str | None = None

    @property
    def bytes(self) -> int:
        """The bytes of its files, without the form around them."""
        return sum(part.content.sent_bytes for part in self.parts)


# -- what is observed


class Status(StrEnum):
    """Where a session stands; a word that the backend's adapter does not know is `running`."""

    RUNNING = "running"
    PAUSED = "paused"  # before its training: a person, or a push, lets it go on
    TRAINED = "trained"
    FAILED = "failed"


class Phase(StrEnum):
    """What a running session does."""

    PREPARING = "preparing"
    QUEUED = "queued"  # for a trainer
    TRAINING = "training"
    UNKNOWN = "unknown"


class Interaction(Value, frozen=True):
    """One turn of a session, as the ledger keeps it in the backend's own words; its `chunks` are counted."""

    id: str
    creator: str
    mode: str
    state: str
    stage: str
    message: str
    status: str
    error: str
    progress: int
    finished: bool
    lora_dir: str
    created: str
    updated: str
    completed: str
    chunks: int = 0
    limited: bool = False


class Recall(Value, frozen=True):
    """How well `questions` about a file were answered with no text at hand, each from 0 to 1.

    `untuned` by the model as it was before the training, `tuned` by that which came of it. `held_out`: they were new to
    both, and their facts were taught in other words; else they were taught as they are.
    """

    held_out: bool
    questions: int
    untuned: float
    tuned: float


class Taught(Value, frozen=True):
    """What the backend made of one uploaded file, as far as it tells.

    `document` is its id of the content, how the SHA-256 of the content begins (empty: not told); `chunks` were made of
    it, with `questions` in all; `failed` of them failed, for the reasons in `errors`.
    """

    document: str = ""
    chunks: int = 0
    questions: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()
    recall: tuple[Recall, ...] = ()


class Observation(Value, frozen=True):
    """A session as the backend showed it at one poll.

    `stage` and `progress` (percent; null: not told) are shown to people. `signs`, which are hashable, differ between
    two observations exactly if something moved in between. `label` is the text it was submitted with, `uploads` are the
    names of the files it was made of, as far as it tells; `files` tells by upload name what each taught, of what the
    backend made itself, too.
    `model` is what was trained (null: nothing yet). `quota` was overstepped; `cut`: data was left out for one.
    `awaits_review`: it says itself that its pairs wait for a person. `can_retrain`: a failed training may be tried
    again in place; `can_rename`: its name may be changed now. `list_mark` is what a list shows of it while it stands
    still (null: lists tell nothing). `upload_id` is the upload it learns. `unknown_words` are states and stages that
    the adapter does not know. `turn` is the fine-tune's own interaction; `handle` is the adapter's own.
    """

    id: str
    status: Status
    phase: Phase
    stage: str
    name: str = ""
    progress: int | None = None
    signs: tuple[Hashable, ...] = ()
    label: str = ""
    uploads: frozenset[str] = frozenset()
    files: Mapping[str, Taught] = {}
    complaint: str = ""
    model: str | None = None
    quota: Quota | None = None
    cut: bool = False
    awaits_review: bool = False
    can_retrain: bool = False
    can_rename: bool = False
    list_mark: str | None = None
    upload_id: str = ""
    unknown_words: tuple[str, ...] = ()
    turn: Interaction | None = None
    interactions: tuple[Interaction, ...] = ()
    handle: object = None

    @property
    def chunks(self) -> int:
        """How many chunks were made of its files, as far as it tells."""
        return sum(taught.chunks for taught in self.files.values())


class Pair(Value, frozen=True):
    """One question and its answer, as the backend gave them (`raw_`) and without what names their document.

    `document` is the backend's id of the document they were made of; null if they name none. `talk` numbers the talks
    that the session was told, from 1, and the pair is its `turn`, from 1; null if it is not told what belongs together.
    `system`: what the system says before the first turn of its talk.
    `evidence` is the piece of its file, from byte `begins` to before `ends`, that proves it, and `made_by` tells who
    made it, and how, from others; null: it is not told.
    """

    raw_question: str
    raw_answer: str
    question: str
    answer: str
    document: str | None = None
    talk: int | None = None
    turn: int | None = None
    system: str | None = None
    evidence: str | None = None
    begins: int | None = None
    ends: int | None = None
    made_by: str | None = None


class Odd(StrEnum):
    """What stands in the place of a pair."""

    NO_PAIR = "no_pair"
    TOO_LONG = "too_long"


#: what a backend tells where pairs are expected
Entry = Pair | Odd


class Harvest(Protocol):
    """The pairs of a session, whole and sound: read one by one, as often as is wanted, until it is closed."""

    @property
    def is_long(self) -> bool:
        """Whether to go through it takes memory that not many may have at a time."""
        ...

    async def few(self, most: int) -> Sequence[Entry] | None:
        """Return all of it, if that is `most` entries at most; null if it is more, or long. Raises ServerError."""
        ...

    def __iter__(self) -> Iterator[Entry]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


# -- what a backend can do


class Capabilities(Value, frozen=True):
    """What a backend can do, and how it counts.

    `reviews`: pairs can wait for a person before their training. `submits_once`: an order whose marker is there is
    not begun again, but shown. `tends`: a session that is not at its end is worked on, or waits for what it tells of,
    within time limits of its own, however long it shows the same: to put it to work again would only break that off.
    Each started `chunk_bytes` of a text count as
    `chunks_each` chunks (0 bytes: nothing is cut into chunks). `stages` tells in which phase a stage is; a session in
    one of the `queue_stages` that shows no progress yet waits for a trainer; in one of the `held_stages` it waits for
    what its turn's `status` says to pass. `is_here`: it is no server, but this machine.
    """

    reviews: bool = True
    submits_once: bool = False
    tends: bool = False
    chunk_bytes: int = 0
    chunks_each: int = 1
    stages: Mapping[str, Phase] = {}
    queue_stages: frozenset[str] = frozenset()
    held_stages: frozenset[str] = frozenset()
    is_here: bool = False

    @property
    def where(self) -> str:
        """Where its sessions are, in words."""
        return "this machine" if self.is_here else "the server"

    def chunks(self, size: int) -> int:
        """Count the chunks of `size` bytes of text; even an empty one has some."""
        return self.chunks_each * max(1, -(-size // self.chunk_bytes)) if self.chunk_bytes else 0

    def phase(self, stage: str, progress: int) -> Phase:
        """Tell what a running session in this stage does."""
        if stage in self.queue_stages and progress <= 1:
            return Phase.QUEUED
        return self.stages.get(stage, Phase.UNKNOWN)


class Push(StrEnum):
    """What a backend can be asked to do about a session that does not go on; poll right before."""

    RESTART = "restart"  # put it to work again
    RETRY_CHUNKS = "retry_chunks"  # make the chunks again that failed
    START = "start"  # begin the training of a paused session


class CallEnd(StrEnum):
    """How a request ended, for those who count them."""

    ANSWERED = "answered"  # as it should
    REFUSED = "refused"  # it said no
    KEY_REFUSED = "key_refused"
    BUSY = "busy"  # it asked to come back later
    UNREACHABLE = "unreachable"  # it certainly never took effect
    REPLY_LOST = "reply_lost"  # it may have taken effect
    STOPPED = "stopped"  # by ourselves


def call_end(error: ServerError) -> CallEnd:
    """Tell in one word how a request ended that failed."""
    match error:
        case Busy():
            return CallEnd.BUSY
        case KeyRefused():
            return CallEnd.KEY_REFUSED
        case Unreachable():
            return CallEnd.UNREACHABLE
        case ReplyLost():
            return CallEnd.REPLY_LOST
    return CallEnd.REFUSED


#: hears of each request: its method, how it ended, and after how many seconds
OnEnd = Callable[[str, CallEnd, float], None]
#: hears, in the loop's thread, the id of a session in which something moved: a backend that knows it by itself calls
#: this, and the session is polled at once
Changed = Callable[[str], None]


def not_counted(*_: object) -> None:
    """Take no notice of a request's end."""


# -- who is asked


class Backend(Protocol):
    """A service that learns, as the daemon asks it."""

    @property
    def variant(self) -> str:
        """Which of its ways to be asked is in use, for people and for the ledger."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do, as far as is known now."""
        ...

    async def probe(self) -> None:
        """Return if it answers, and takes our key. Raises ServerError."""
        ...

    async def upload(self, order: Submission, *, on_progress: Callable[[int], None]) -> Submission:
        """Bring the files there, if that is a step of its own; return the order as it can be submitted.

        It has an `upload_id` then, which is to be kept before it is submitted. Starts nothing, and may be repeated.
        `on_progress` hears how many bytes were handed over so far.
        """
        ...

    async def submit(self, order: Submission, *, on_progress: Callable[[int], None]) -> Observation:
        """Start a fine-tune of an order that went through `upload`."""
        ...

    async def observe(self, session_id: str) -> Observation:
        """Show one session as it is now. Raises NotFound."""
        ...

    async def list_marks(self, most: int, *, wanted: Collection[str] = ()) -> Mapping[str, str]:
        """List the marks of the `most` newest sessions by id: a session with the same mark stands still.

        If some are `wanted`, it may leave out all others, and what is older.
        """
        ...

    async def find(
        self, job_id: str, *, since: float, known: Container[str], uploads: Container[str] = ()
    ) -> tuple[Observation, ...]:
        """Find every session that is the job's, not in `known`, and touched at or after `since`.

        It carries a marker of the job, or learns one of its `uploads`.
        """
        ...

    async def harvest(self, seen: Observation) -> Harvest:
        """Fetch the session's pairs, none of them in memory. Close the harvest."""
        ...

    async def push(self, session_id: str, how: Push) -> None:
        """Ask for what makes a session go on. Raises KnownRefusal (active) if a runner works on it."""
        ...

    async def rename(self, seen: Observation, name: str) -> None:
        """Give a session a name that people can read; observe it right before. Raises NotFound."""
        ...

    async def delete(self, session_id: str) -> None:
        """Remove a session; one that is not there is removed."""
        ...


@runtime_checkable
class KeepsModels(Protocol):
    """A backend whose tuned models lie on this machine. Its methods block, and raise OSError."""

    def kept_models(self) -> Sequence[str]:
        """List the sessions of which a model, or what a training left, is kept."""
        ...

    def remove_model(self, session_id: str) -> None:
        """Remove a session's model, and all that its trainings left; what was published stays, and so do its pairs."""
        ...


@runtime_checkable
class Works(Protocol):
    """A backend that does its work itself, beside the daemon's loop."""

    async def serve(self) -> None:
        """Carry on what was submitted, until this is cancelled; the next time it goes on from there."""
        ...


class Reviews(Protocol):
    """A backend that lets a person change the pairs of a paused session."""

    async def observe(self, session_id: str) -> Observation:
        """Show one session as it is now. Raises NotFound."""
        ...

    async def pairs(self, seen: Observation) -> tuple[Pair, ...]:
        """Fetch the session's pairs, all in memory; none is no error."""
        ...

    def pair(self, seen: Observation, question: str, answer: str, document: str) -> Pair:
        """Make a pair of a document of this session, in the backend's own words."""
        ...

    async def write_pairs(self, seen: Observation, pairs: Sequence[Pair]) -> None:
        """Put other pairs in the place of those that the session has; observe it right before."""
        ...


class Reply(Value, frozen=True):
    """An answer in a talk: the session, the turn's id, and what it says so far; `files` are what it drew.

    `finished` it is whole; `error`, if it has failed, says why.
    """

    session_id: str
    turn: str = ""
    text: str = ""
    finished: bool = False
    error: str = ""
    progress: int = 0
    files: tuple[str, ...] = ()


class Chats(Protocol):
    """A backend whose models can be talked to, and asked for pictures."""

    async def chat(
        self, text: str, *, session_id: str | None, on_text: Callable[[str], None] = lambda _: None
    ) -> Reply:
        """Say something to the model, in a new session or a further turn of `session_id`.

        A backend that tells its answer word by word is back once it is said, and `on_text` has heard the words by then;
        of another the reply is to be asked for until it is finished. Raises CutShort.
        """
        ...

    async def image(self, prompt: str) -> Reply:
        """Ask for a picture."""
        ...

    async def reply(self, session_id: str, turn: str = "") -> Reply:
        """Fetch the turn (empty: the newest answer) of a session as it is now. Raises NotFound."""
        ...

    async def fetch(self, path: str) -> bytes:
        """Fetch one of a reply's files. Raises NotFound."""
        ...
