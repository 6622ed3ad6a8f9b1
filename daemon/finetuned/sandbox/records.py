"""What the sandbox remembers of a session: plain frozen records, each a file of JSON on disk.

1. A record holds what was asked and when, never the state: that is worked out from the clock (see `life`).
2. Times are seconds since 1970 of whatever clock the app was given; `None` is Go's zero time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PIECE_BYTES: Final = 16 * 1024  # each started piece of a text is asked about by every prompt
DATASET: Final = "finetune_dataset.jsonl"  # the server's own file: it appears beside the uploads
USER_FOLDER: Final = "dev/users/u1"  # in the filestore
TEXT_SUFFIXES: Final = (".txt", ".md")  # lower case only, as the server does it


class Dialect(StrEnum):
    """Which of the server's languages is spoken."""

    FORM = "form"
    LEARN = "learn"
    BOTH = "both"  # as 0.9 did: the form calls and the learn calls, one memory


class Work(StrEnum):
    """What a fine-tune's run begins with."""

    EXTRACT = "extract"  # needs the text-extraction service, which this stand-in has not: it hangs
    GENERATE = "generate"
    TRAIN = "train"
    NOTHING = "nothing"  # a finished session that was restarted: it waits for ever
    IDLE = "idle"  # was asked for neither training nor an index: it waits for ever
    REFUSE = "refuse"  # more chunks than the quota allows: it ends in an error at once


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One file part: its base name, where its bytes are, and how much each of its pieces can teach."""

    name: str
    blob: str  # the file's name in the session's folder
    size: int  # bytes
    digest: str  # the first ten hex digits of the content's SHA-256
    taught: tuple[int, ...] = ()  # for each piece: pairs a prompt makes of it (0, 1 or 2)
    batch: int = 0  # 0 = came with the session, 1… = added later


@dataclass(frozen=True, kw_only=True)
class Entity:
    """Files that were uploaded by themselves; any number of sessions may learn from them."""

    id: str
    number: int
    created: float
    uploads: tuple[Upload, ...] = ()

    def folder(self) -> str:
        """Where the filestore keeps them, below the user's own folder."""
        return f"data/{self.id}"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One question and its answer, without the document prefixes of the wire."""

    question: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Message:
    """One side of a conversation, in the words of the wire."""

    speaker: str  # "human" | "gpt"
    value: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """One stretch of work on a fine-tune; a restart, a start or a retry puts a new one in its place."""

    work: Work
    since: float
    begin: int = 0  # chunks that earlier runs have converted
    greeting: str | None = None  # the status at the very moment the run begins; None: nothing special
    opening: str = ""  # the status until the first chunk is converted; none: the usual words
    rest: bool = False  # wait for a review when the pairs are there
    faults: tuple[str, ...] = ()
    mode: str = "finetune"  # what the session says until this run has trained it
    trained: bool = False  # an earlier run has set lora_dir
    spoiled: int | None = None  # the chunk whose error was passed over
    frozen: float | None = None  # when the server went down with this work in its memory: it stays as it was then
    scheduled: float | None = None  # left over from an earlier run
    completed: float | None = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One question in a chat, with the answer that will grow."""

    ask_id: str
    answer_id: str
    asked: float
    since: float  # moves when the session is restarted
    message: str
    answer: str
    stuck: bool = False  # was restarted after it was answered: it waits for ever
    later: bool = False  # came with a PUT; the server then says null for data_prep_chunks


@dataclass(frozen=True, kw_only=True)
class Session:
    """Everything that was asked of one session."""

    id: str
    number: int  # order of creation: the clock alone can't tell apart what came at one moment
    name: str
    created: float
    parent: str
    mode: str  # as it was asked for: "finetune" | "inference"
    type: str  # "text" | "image"
    review: bool = False
    message: str = ""
    user_id: str = ""
    system_id: str = ""
    user_updated: float = 0.0
    uploads: tuple[Upload, ...] = ()
    run: Run | None = None
    doubled: tuple[int, ...] = ()  # for each second generator: the chunk it began with
    reviewed: tuple[tuple[Message, ...], ...] | None = None  # pairs that were written back
    turns: tuple[Turn, ...] = ()
    struck: tuple[str, ...] = ()  # faults this session used up
    entity: str = ""  # the entity it learns from; none: its files came with it
    dataset_before: bool = False  # another session of the same entity had left the server's own file there
    finetune: bool = True  # what a learn call asked for
    rag: bool = False  # only told again: there is no index here
    limit: int = 0  # chunks that a quota allowed, if there were more; 0: no quota was touched
    listed_at: float = 0.0  # a list shows it from then on
    prompt: str = ""  # a chat's system prompt, only told again

    @property
    def group(self) -> str:
        """The document group: the first ten hex digits of the session's id."""
        return self.id.replace("-", "")[:10]

    @property
    def whole(self) -> int:
        """Text chunks in all uploads."""
        return PROMPT_COUNT * sum(len(upload.taught) for upload in self.uploads)

    @property
    def total(self) -> int:
        """Text chunks that are worked on: all, or as many as a quota left."""
        return min(self.whole, self.limit) if self.limit else self.whole

    @property
    def owner(self) -> str:
        """Whose the uploads are: the entity's, or its own."""
        return self.entity or self.id

    def folder(self) -> str:
        """Where the filestore keeps the session."""
        return f"{USER_FOLDER}/sessions/{self.id}"

    def input_path(self, name: str) -> str:
        """The filestore path of an upload, or of the server's own file beside it."""
        if self.entity:
            return f"{USER_FOLDER}/data/{self.entity}/{name}"
        return f"{self.folder()}/inputs/{self.user_id}/{name}"


PROMPTS: Final = (
    "title-questions",
    "simple-quiz",
    "summaries-three",
    "important-facts",
    "summaries-one",
    "metadata",
    "summaries-sections",
    "original-prompt",
    "you-are-generating-fine-tuning-data",
)
PROMPT_COUNT: Final = len(PROMPTS)


def is_text(name: str) -> bool:
    """Whether the server takes a file of this name as text."""
    return name.endswith(TEXT_SUFFIXES)


def needs_extraction(name: str) -> bool:
    """Whether the server sends a file of this name to the text-extraction service."""
    return not is_text(name) and not name.endswith(".jsonl")
