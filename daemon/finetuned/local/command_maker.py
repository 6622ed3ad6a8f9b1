"""Pairs that a program of a person's makes: it reads passages as JSON Lines, and writes pairs as JSON Lines.

1. It is run once for each text. A passage is `{"document", "chunk", "heading", "text", "begins", "own", "ends"}`:
   `chunk` is its number, `own` where what no passage before it has begins; bytes of the whole text.
2. A pair is `{"chunk", "question", "answer", "evidence"}`; evidence that is not told is looked for. A passage is over
   once the program has ended well, or has written `{"chunk", "pairs": […]}` of it, which is kept at once: what takes
   long should write so.
3. If it does not end well, what is not over has failed, and is tried again with what is left. A line that cannot be
   understood is told.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import anyio
import msgspec

from finetuned.errors import ReplyLost
from finetuned.local import texts
from finetuned.local.machine import Machine
from finetuned.local.program import talk
from finetuned.local.said import UNREADABLE, count
from finetuned.making.notes import ChunkRow
from finetuned.paths import escape
from finetuned.settings.local import MakerSettings

#: passages that are read of a text at a time
_AT_ONCE: Final = 16

#: keeps what was answered about a passage, and what that cost in tokens
Keep = Callable[[ChunkRow, str, int], Awaitable[None]]


class CommandMaker:
    """The program; `max_requests` of them run at a time."""

    def __init__(self, settings: MakerSettings, machine: Machine) -> None:
        self._settings = settings
        self._machine = machine
        self._slots = anyio.Semaphore(settings.max_requests)

    async def make(self, document: str, path: str, rows: Sequence[ChunkRow], keep: Keep) -> str | None:
        """Have pairs made of passages of a text; say why some were not, else null. Raises Unreachable, Refused."""
        heard = _Heard(rows, keep)
        async with self._slots:
            try:
                await talk(
                    self._settings.command,
                    self._lines(document, path, rows),
                    heard.take,
                    machine=self._machine,
                    within=self._settings.timeout * len(rows),
                )
            except ReplyLost as error:
                return error.with_remedy()
            return await heard.end()

    async def _lines(self, document: str, path: str, rows: Sequence[ChunkRow]) -> AsyncGenerator[bytes, None]:
        for at in range(0, len(rows), _AT_ONCE):
            yield await self._machine.in_thread(_lines, document, path, rows[at : at + _AT_ONCE])


def _lines(document: str, path: str, rows: Sequence[ChunkRow]) -> bytes:
    lines = []
    for row in rows:
        chunk = texts.passage(path, row.span)
        told = {"document": document, "chunk": row.span.number, "heading": row.span.heading, "text": chunk.text}
        told |= {"begins": row.span.begins, "own": row.span.own, "ends": row.span.ends}
        lines.append(msgspec.json.encode(told) + b"\n")
    return b"".join(lines)


class _Heard:
    """What a program has said so far of the passages that it was given."""

    def __init__(self, rows: Sequence[ChunkRow], keep: Keep) -> None:
        self._left = {row.span.number: row for row in rows}
        self._keep = keep
        self._pairs: dict[int, list[Mapping[str, Any]]] = {}
        self._broken = 0
        self._first_broken = ""

    async def take(self, line: bytes) -> None:
        """Hear a line."""
        if not line.strip():
            return
        try:
            said = msgspec.json.decode(line)
        except UNREADABLE:
            said = None
        number = said.get("chunk") if isinstance(said, dict) else None
        if isinstance(number, int) and number in self._left and isinstance(said, dict):
            if isinstance(said.get("pairs"), list):
                self._pairs.setdefault(number, []).extend(said["pairs"])
                await self._is_over(number, said.get("tokens"))
                return
            if isinstance(said.get("question"), str) and isinstance(said.get("answer"), str):
                self._pairs.setdefault(number, []).append(said)
                return
        self._broken += 1
        self._first_broken = self._first_broken or escape(line[:120].decode("utf-8", "replace"))

    async def end(self) -> str | None:
        """Hear that it has ended well; say what was not understood. Of what it has broken lines, nothing is sure."""
        for number in list(self._left):
            if self._pairs.get(number) or not self._broken:
                await self._is_over(number, None)
        if not self._broken:
            return None
        return f"the program wrote lines that are no pairs of a passage ({self._broken}), such as: {self._first_broken}"

    async def _is_over(self, number: int, tokens: object) -> None:
        raw = msgspec.json.encode({"pairs": self._pairs.pop(number, [])}).decode()
        await self._keep(self._left.pop(number), raw, count(tokens))
