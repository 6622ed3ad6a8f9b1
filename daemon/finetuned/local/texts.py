"""The texts of a run, on the disk: cut into passages, and one passage read again. All of it blocks."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from hashlib import sha256
from typing import BinaryIO, Final

from finetuned.errors import Refused, ServerError, Unreachable
from finetuned.making.chunks import cut
from finetuned.making.values import Chunk, Span
from finetuned.paths import escape

_BLOCK: Final = 256 * 1024


def spans(path: str, size: int) -> list[Span]:
    """Cut a text into passages of about `size` bytes. Raises Refused, Unreachable."""
    try:
        with open(path, "rb") as file:
            return [chunk.span for chunk in cut(_blocks(file), size)]
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _blocks(file: BinaryIO) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    while block := file.read(_BLOCK):
        if text := decoder.decode(block):
            yield text
    decoder.decode(b"", final=True)


def passage(path: str, span: Span) -> Chunk:
    """Read a passage again. Raises Refused if its text is not what it was, and Unreachable."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.pread(file, span.bytes, span.begins)
        finally:
            os.close(file)
    except OSError as error:
        raise _unreadable(path, error) from error
    if sha256(raw).hexdigest() != span.sha256:
        raise Refused(
            f"{escape(path)} is not the text any more that was cut into passages",
            remedy="leave the folders of runs alone, which lie beside the ledger; `finetuned retry` begins anew",
        )
    return Chunk(span=span, text=raw.decode())


def _unreadable(path: str, error: OSError | UnicodeDecodeError) -> ServerError:
    why = error.strerror if isinstance(error, OSError) else f"it is no UTF-8: {error}"
    what = f"the text {escape(path)} cannot be read: {why}"
    if not isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | UnicodeDecodeError):
        return Unreachable(what, remedy="see to that disk, and to who may use it; it is tried again")
    return Refused(
        what,
        remedy="see whether somebody removed it from the folders of runs; `finetuned retry` begins anew",
    )
