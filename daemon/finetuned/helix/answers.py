"""Answers as they were kept: a short one in memory, a long one in a file beside the ledger that has no name.

1. A long answer is written down while it comes, and read value by value afterwards, as often as is wanted: it costs no
   memory, however many there are. The file has no name, so that whatever happens it is gone with the process.
2. It is believed when it was read to its end once. Half an answer never gets as far as here: its connection broke.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Final, Self

from finetuned.backend import Entry
from finetuned.helix.call import Call
from finetuned.helix.disk import Disk
from finetuned.helix.qa import ReadPairs
from finetuned.model import Value
from finetuned.pieces import Pieces

#: an answer that is longer is written down
IN_MEMORY_BYTES: Final = 1024 * 1024
#: how much of a long answer is handed to the disk at a time
_PIECE_BYTES: Final = 256 * 1024


class Answer(Value, frozen=True):
    """What came back; `whole` tells whether the server can have had the whole request, of `sent_bytes`.

    `body` is all of a short answer; a long one is `written` down, and `body` is how it begins.
    """

    call: Call
    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool
    sent_bytes: int = 0
    written: IO[bytes] | None = None

    @property
    def named(self) -> str:
        """The request, for people."""
        return f"{self.call.method} {self.url}"

    @property
    def is_page(self) -> bool:
        """Whether this is a web page for people."""
        return "html" in self.headers.get("content-type", "") or self.body.lstrip()[:1] == b"<"

    def pieces(self) -> Pieces:
        """Read its values, from the beginning."""
        if self.written is None:
            return Pieces.of(self.body)
        self.written.seek(0)
        return Pieces(self.written.read)

    def all_of_it(self) -> bytes:
        """Read its bytes into memory."""
        if self.written is None:
            return self.body
        self.written.seek(0)
        return self.written.read()

    def close(self) -> None:
        """Let go of the file, if there is one."""
        if self.written is not None:
            self.written.close()


class NoRoom(Exception):
    """An answer cannot be written down; the words say why."""


class Keeper:
    """Takes an answer's bytes as they come. Raises NoRoom."""

    def __init__(self, disk: Disk) -> None:
        self.length = 0
        self.written: IO[bytes] | None = None
        self.body = b""
        self._disk = disk
        self._pending = bytearray()

    async def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.length += len(piece)
        self._pending += piece
        if self.length > IN_MEMORY_BYTES and len(self._pending) >= _PIECE_BYTES:
            await self._disk.in_thread(self._write_down)

    async def end(self) -> None:
        """Make an end: that was all of it."""
        if self.written is not None:
            await self._disk.in_thread(self._write_down)
        else:
            self.body = bytes(self._pending)

    def close(self) -> None:
        """Let go of what was written; what the disk did not take is of no use."""
        if self.written is not None:
            with suppress(OSError):
                self.written.close()

    def _write_down(self) -> None:
        try:
            if self.written is None:
                self.body = bytes(self._pending[:_PIECE_BYTES])
                self.written = tempfile.TemporaryFile(dir=self._disk.spool)  # noqa: SIM115 - closed with the answer
            self.written.write(self._pending)
            self.written.flush()
        except OSError as error:
            raise NoRoom(error.strerror or str(error)) from error
        self._pending.clear()


class Harvest:
    """The pairs of a session, whole and sound: read one by one, as often as is wanted, until it is closed.

    `entries` are those of a short answer, which was read already; `length` counts all.
    """

    def __init__(
        self, answer: Answer | None, read: ReadPairs, *, entries: Sequence[Entry] = (), length: int = 0
    ) -> None:
        self.length = length or len(entries)
        self._answer = answer
        self._read = read
        self._entries = entries

    @property
    def is_long(self) -> bool:
        """Whether it is written down: to go through it takes memory that not many may have at a time."""
        return self._answer is not None and self._answer.written is not None

    async def few(self, most: int) -> Sequence[Entry] | None:
        """Return all, if they are in memory and `most` of them at most."""
        return None if self.is_long or self.length > most else self._entries

    def __iter__(self) -> Iterator[Entry]:
        return self._read(self._answer.pieces()) if self._answer is not None and self.is_long else iter(self._entries)

    def close(self) -> None:
        """Let go of what was kept."""
        if self._answer is not None:
            self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
