"""What a terminal's width asks for: lines folded between words, tables of one line a row, paths made shorter.

1. Nothing of this touches what goes into a pipe or a file: there a line is a line, and a path is whole.
2. No word is broken. A path that is too long for its column loses its middle; the columns that can be spared go first.
3. The last column of a table holds sentences: what does not fit beside its row stands below it.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

import click

#: columns narrower than this are not worth having
_NARROWEST: Final = 12
_GAP: Final = 2
_BELOW: Final = " " * 4
_WORD: Final = re.compile(r" *[^ ]+")
#: a command between backquotes, or from its name to the end of the clause; or a word. Another finetuned is no command
_PIECE: Final = re.compile(r" *(?:[^` ]?`[^`]*`[^ ]*|(?<!another )finetuned [^;,]+|[^ ]+)")


def width_of(stream: object = None) -> int | None:
    """Tell how many columns wide the terminal is that `stream` (else standard output) goes to; None if it is none."""
    to: Any = stream or sys.stdout
    if to is None or not to.isatty():
        return None
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size(to.fileno()).columns)
    except (OSError, ValueError):
        columns = 0
    return max(20, columns) if columns > 0 else 80  # a terminal may not know its size


def length(text: str) -> int:
    """Tell how many columns a text takes on a terminal, its colours left out."""
    plain = click.unstyle(text)
    if plain.isascii():
        return len(plain)
    from rich.cells import cell_len

    return cell_len(plain)


def folded(text: str, width: int | None, *, rest: str | None = None) -> Iterator[str]:
    """Each line of a text in lines of at most `width` columns, cut between words; without a width as it is.

    `rest` is put before each line but the first; else it stands below the first word, or what follows a label.
    """
    for line in text.split("\n"):
        if width is None or length(line) <= width:
            yield line
        else:
            yield from _folded(line, width, _hanging(line) if rest is None else rest)


def _folded(line: str, width: int, rest: str) -> Iterator[str]:
    """A word that is longer than a line keeps a line to itself; a command that is not longer stays in one piece."""
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
    for piece in _PIECE.findall(line):
        yield from [piece] if length(piece.strip(" ")) <= most else _WORD.findall(piece)


def _hanging(line: str) -> str:
    label = re.match(r" *(?:[^ ]+ {2,})?", click.unstyle(line))
    return " " * (len(label[0]) if label else 0)


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
    from finetuned.paths import escape

    return shlex.quote(escape(from_here(path, stream)))


def shortened(text: str, width: int) -> str:
    """Write a path in `width` columns: its middle gives way, its name stays as long as it fits."""
    if length(text) <= width:
        return text
    name = text.rpartition("/")[2]
    tail = min(len(name) + 1, width - 4) if len(name) + 4 < width else width * 2 // 3
    return f"{text[: width - tail - 1]}…{text[len(text) - tail :]}"


def table(
    rows: Sequence[Sequence[str]],
    columns: Sequence[str],
    width: int,
    *,
    paths: Collection[str] = (),
    texts: Collection[str] = (),
    spare: Collection[str] = (),
) -> Iterator[str]:
    """A table in lines of `width` columns. `paths` may be shortened, `texts` stand last and may stand below their rows.

    `spare` are left out, the last first, where the others need their room.
    """
    natural = {
        i: max(length(name), *(length(row[i]) for row in rows)) for i, name in enumerate(columns) if name not in texts
    }
    least = {i: min(n, max(2 * _NARROWEST, n // 2)) if columns[i] in paths else n for i, n in natural.items()}
    for i in reversed([i for i in natural if columns[i] in spare]):
        if _together(least) > width:
            del natural[i], least[i]
    for i, wide in natural.items():
        if columns[i] in paths:
            natural[i] = max(min(_NARROWEST, wide), wide - max(0, _together(natural) - width))
    yield from _lines(rows, columns, width, natural, [i for i, name in enumerate(columns) if name in texts])


def _together(widths: Mapping[int, int]) -> int:
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _lines(
    rows: Sequence[Sequence[str]], columns: Sequence[str], width: int, widths: Mapping[int, int], texts: Sequence[int]
) -> Iterator[str]:
    used = _together(widths) + _GAP
    said = ["; ".join(row[i] for i in texts if row[i]) for row in rows]
    beside = [bool(words) and used + length(words) <= width for words in said]
    head = _padded([columns[i] for i in widths], list(widths.values()))
    if any(beside):
        head += " " * _GAP + "/".join(columns[i] for i in texts)
    yield click.style(head.rstrip(), bold=True)
    for row, words, fits in zip(rows, said, beside, strict=True):
        line = _padded([shortened(row[i], widths[i]) for i in widths], list(widths.values()))
        yield (line + " " * _GAP + words if fits else line).rstrip()
        if words and not fits:
            yield from folded(_BELOW + words, width, rest=_BELOW)


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    gap = " " * _GAP
    return gap.join(cell + " " * max(0, width - length(cell)) for cell, width in zip(cells, widths, strict=True))
