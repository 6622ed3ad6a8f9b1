"""What a terminal is given: lines folded between words, paths made shorter, colours, and a line that tells of waiting.

1. Nothing of this touches what goes into a pipe or a file: there a line is a line, and a path is whole.
2. No word is broken. A path that is too long for its column loses its middle.
3. Other programs write to the same terminal, above all `finetuned run &`. So the cursor rests at the beginning of the
   spinner's line: what another program writes takes its place instead of running on behind it (the daemon's log erases
   the rest of the line first), and with its next turn the line stands below that.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Self

import click

if TYPE_CHECKING:
    from finetuned.runtime import Runtime

_WORD: Final = r" *[^ ]+"
#: a command between backquotes, or from its name to the end of the clause; or a word. Another finetuned is no command
_PIECE: Final = r" *(?:[^` ]?`[^`]*`[^ ]*|(?<!another )finetuned [^;,]+|[^ ]+)"
_TURN_EVERY: Final = 0.1
_ERASE: Final = "\x1b[K"
_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PLAIN_FRAMES: Final = "|/-\\"


def width_of(stream: object = None) -> int | None:
    """Tell how many columns wide the terminal is that `stream` (else standard output) goes to; None if it is none."""
    to: Any = stream or sys.stdout
    if to is None or not to.isatty():
        return None
    return max(20, columns(to))


def columns(stream: Any = None) -> int:
    """Tell how wide what is laid out may be that goes to a stream (else standard output), be it a terminal or not.

    `shutil` tells the same, and loads three compressors.
    """
    try:
        wide = int(os.environ.get("COLUMNS") or os.get_terminal_size((stream or sys.stdout).fileno()).columns)
    except (OSError, ValueError):
        wide = 0
    return wide if wide > 0 else 80  # a terminal may not know its size


def is_utf8(stream: object) -> bool:
    """Tell whether a stream takes every letter; one that does not tell its encoding does."""
    return (getattr(stream, "encoding", None) or "utf-8").lower() in {"utf-8", "utf8"}


def coloured(stream: Any = None) -> bool:
    """Tell whether colour is welcome: on a terminal, without NO_COLOR."""
    return bool((stream or sys.stdout).isatty()) and "NO_COLOR" not in os.environ


def length(text: str) -> int:
    """Tell how many columns a text takes on a terminal, its colours left out."""
    plain = click.unstyle(text)
    if plain.isascii():
        return len(plain)
    from rich.cells import cell_len

    return cell_len(plain)


def harmless(text: object) -> str:
    """Make a text from outside safe on a terminal: what is not printable appears escaped; line breaks become spaces."""
    from finetuned.paths import escape

    return escape(" ".join(str(text).split("\n")))


def from_here(path: str, stream: object = None) -> str:
    """Write a path for people: on a terminal (`stream`, else standard output) from here, if it lies below."""
    if width_of(stream) is None:
        return path
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:  # somebody removed it
        return path
    if not path.startswith(here) or path == here:
        return path
    below = path[len(here) :]
    return f"./{below}" if below.startswith("-") else below


def seen(path: str) -> str:
    """Write a path, safe on a terminal, that commands take again as it is shown."""
    from finetuned.paths import escape

    return escape(from_here(path))


def quoted(path: str, stream: object = None) -> str:
    """Write the same, quoted for a shell: what is shown as a part of a command."""
    import shlex

    from finetuned.paths import escape

    return shlex.quote(escape(from_here(path, stream)))


def shortened(text: str, width: int) -> str:
    """Write a path in `width` columns: its middle gives way, its name stays as long as it fits."""
    if length(text) <= width:
        return text
    name = length(text.rpartition("/")[2])
    tail = min(name + 1, width - 4) if name + 4 < width else width * 2 // 3
    end = _begin_of(text[::-1], tail)[::-1]
    return f"{_begin_of(text, width - length(end) - 1)}…{end}"


def _begin_of(text: str, width: int) -> str:
    """Return as much of a text as fits into so many columns."""
    if text.isascii():
        return text[: max(0, width)]
    from rich.cells import get_character_cell_size

    used = itertools.accumulate(map(get_character_cell_size, text))
    return text[: sum(1 for columns in itertools.takewhile(lambda columns: columns <= width, used))]


def folded(text: str, width: int | None, *, rest: str | None = None) -> Iterator[str]:
    """Yield each line of a text in lines of at most `width` columns, cut between words; without a width as it is.

    `rest` is put before each line but the first; else it stands below the first word, or what follows a label.
    """
    for line in text.split("\n"):
        if width is None or length(line) <= width:
            yield line
        else:
            yield from _folded(line, width, _hanging(line) if rest is None else rest)


def wrapped(text: str, width: int) -> list[str]:
    """Return a text in lines of at most `width` columns; what has no blank for so long is cut anywhere."""
    if text.isascii():
        from textwrap import wrap

        return wrap(text, width)
    from rich.cells import chop_cells

    lines = [line.strip() for line in folded(text, width, rest="")]
    return [part for line in lines for part in ([line] if length(line) <= width else chop_cells(line, width))]


def _folded(line: str, width: int, rest: str) -> Iterator[str]:
    """Yield the lines; a longer word has a line to itself; a command that is not longer stays in one piece."""
    done = ""
    for word in _pieces(line, width - len(rest)):
        if done.strip() and length(done + word) > width:
            yield done
            done = rest + word.lstrip(" ")
        else:
            done += word
    yield done


def _pieces(line: str, most: int) -> Iterator[str]:
    """Yield words and commands of at most so many columns, each with the blanks before it."""
    for piece in re.findall(_PIECE, line):
        yield from [piece] if length(piece.strip(" ")) <= most else re.findall(_WORD, piece)


def _hanging(line: str) -> str:
    label = re.match(r" *(?:[^ ]+ {2,})?", click.unstyle(line))
    return " " * (len(label[0]) if label else 0)


def print_data(text: str) -> None:
    """Print a line for programs on standard output."""
    sys.stdout.write(text + "\n")


def print_line(words: str, *, rest: str | None = None) -> None:
    """Print a line for people on standard output; a terminal gets it folded, `rest` before each further line."""
    for line in folded(words, width_of(), rest=rest):
        print_data(line)


def say(words: str) -> None:
    """Print a line of words on standard error, folded for a terminal."""
    for line in folded(words, width_of(sys.stderr)):
        click.echo(line, err=True)


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
