"""One line at the bottom of a terminal that says what is waited for, and lines that stay above it.

Other programs write to the same terminal, above all `finetuned run &`. So the cursor rests at the beginning of this
line: what another program writes takes its place instead of running on behind it (the daemon's log erases the rest of
the line first), and with its next turn the line stands below that.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from finetuned.cli.layout import length, width_of
from finetuned.cli.output import is_utf8, say

if TYPE_CHECKING:
    from finetuned.runtime import Runtime

_TURN_EVERY: Final = 0.1
_ERASE: Final = "\x1b[K"
_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_FRAMES: Final = "|/-\\"


class Spinner:
    """The line, on standard error; where that is no terminal, or one that cannot erase, there is none."""

    def __init__(self, words: str = "") -> None:
        self._words = words
        self._is_on = width_of(sys.stderr) is not None and os.environ.get("TERM") != "dumb"
        self._frames = itertools.cycle(_FRAMES if is_utf8(sys.stderr) else _PLAIN_FRAMES)

    def __enter__(self) -> Self:
        self._draw()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def is_on(self) -> bool:
        """Whether there is a line that people see."""
        return self._is_on

    def show(self, words: str) -> None:
        """Say what is waited for now."""
        self._words = words
        self._draw()

    def line(self, words: str) -> None:
        """Say something that stays."""
        self._erase()
        say(words)
        self._draw()

    def stop(self) -> None:
        """Take the line away, for good."""
        self._erase()
        self._is_on = False

    @asynccontextmanager
    async def turning(self, runtime: Runtime) -> AsyncIterator[None]:
        """Turn while something is done; on asyncio, as commands run."""
        import asyncio

        task = asyncio.ensure_future(self._turn(runtime))
        try:
            yield
        finally:
            task.cancel()

    async def _turn(self, runtime: Runtime) -> None:
        from finetuned.runtime import Wake

        while self._is_on:
            self._draw()
            await runtime.wait(Wake(), _TURN_EVERY)

    def _draw(self) -> None:
        if not self._is_on or not self._words:
            return
        room = (width_of(sys.stderr) or 0) - 3
        words = self._words if length(self._words) <= room else f"{self._words[: room - 1]}…"
        self._write(f"\r{_ERASE}{next(self._frames)} {words}\r")

    def _erase(self) -> None:
        if self._is_on:
            self._write(f"\r{_ERASE}")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
