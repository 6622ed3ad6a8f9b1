"""A call to the server as a value: what is asked, what it carries, and what it leaves behind should it arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

from finetuned.backend import Part
from finetuned.model import Value


class Effect(StrEnum):
    """What a call does on the server."""

    NONE = "none"  # it reads
    REPEATABLE = "repeatable"  # what it leaves behind starts nothing: it may be repeated
    ONCE = "once"  # it changes something


def ignore(_: object) -> None:
    """Take no notice of progress, of words or of bytes."""


class Form(Value, frozen=True):
    """A multipart form: files, then fields; `on_progress` hears how many bytes were handed over, in a thread."""

    fields: Mapping[str, str] = {}
    parts: tuple[Part, ...] = ()
    on_progress: Callable[[int], None] = ignore


class Call(Value, frozen=True):
    """One request; `path` is behind the API's own and begins with /, `body` is a form, or JSON as it is sent.

    `optional`: not every server has this call. `patience`: how many seconds the server may be silent (null: what the
    connections allow). `on_piece` hears the bytes of a good answer as they come.
    """

    method: str
    path: str
    body: Form | bytes = b""
    effect: Effect = Effect.ONCE
    optional: bool = False
    patience: float | None = None
    on_piece: Callable[[bytes], None] | None = None


def get(path: str, *, optional: bool = False) -> Call:
    """Make a call that reads."""
    return Call(method="GET", path=path, effect=Effect.NONE, optional=optional)
