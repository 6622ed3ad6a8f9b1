"""Helix's nouns: a session and its turns as the server showed them, null and missing fields filled in."""

from __future__ import annotations

from collections.abc import Mapping

from finetuned.backend import Interaction
from finetuned.model import Value


class Chunk(Value, frozen=True):
    """What became of one chunk of one uploaded file."""

    questions: int
    error: str


class Turn(Interaction, frozen=True):
    """One interaction of a session; the fine-tune is the pair of turns whose `mode` is finetune.

    `made` are the chunks by upload name; a plan's `limit` may be less than the `total_chunks`.
    """

    files: tuple[str, ...] = ()
    made: Mapping[str, tuple[Chunk, ...]] = {}
    limit: int = 0
    total_chunks: int = 0


class SessionView(Value, frozen=True):
    """A session as the server showed it.

    `documents` maps the base name of each uploaded file to the server's short id of its content, `group` is its id of
    them all; `entity_id` is the upload that it learns (learn dialect). `review`: its pairs are to wait for a person;
    `tells_pairs`: the session's answer itself holds pairs. `owner` is who owns it, and of what kind that is.
    """

    id: str
    name: str
    mode: str
    type: str
    lora_dir: str
    documents: dict[str, str]
    turns: tuple[Turn, ...]
    tells_pairs: bool = False
    entity_id: str = ""
    group: str = ""
    review: bool = False
    owner: tuple[str, str] = ("", "")

    @property
    def asked(self) -> Turn | None:
        """The user's turn of the fine-tune: its id is the key to the pairs, its message is the marker."""
        return next((t for t in self.turns if t.mode == "finetune" and t.creator == "user"), None)

    @property
    def tuning(self) -> Turn | None:
        """The server's turn of the fine-tune: where its state, stage and progress are."""
        return next((t for t in self.turns if t.mode == "finetune" and t.creator != "user"), None)

    @property
    def answer(self) -> Turn | None:
        """The server's newest turn."""
        return next((t for t in reversed(self.turns) if t.creator != "user"), None)

    @property
    def uploads(self) -> tuple[str, ...]:
        """The names of the files that it was made of, as far as it tells them, and of what the server made of them."""
        return (*self.documents, *(base_name(path) for path in (self.asked.files if self.asked else ())))


class Summary(Value, frozen=True):
    """A row of the server's list of sessions: a hint, never a proof."""

    id: str
    mode: str
    type: str
    created: str
    updated: str


def base_name(path: str) -> str:
    """Return what stands behind the last slash."""
    return path.rpartition("/")[2]
