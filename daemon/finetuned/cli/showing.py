"""How listings are shown: a table for people, JSON for programs; and numbers, times and paths in words."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click

from finetuned.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

Row = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")

_COLOURS: Final = {
    "done": "green",
    "learned": "green",
    "ok": "green",
    "partial": "yellow",
    "warning": "yellow",
    "doubtful": "yellow",
    "barren": "yellow",
    "duplicate": "yellow",
    "failed": "red",
    "refused": "red",
    "problem": "red",
    "cancelled": "red",
    "running": "cyan",
    "submitting": "cyan",
}

#: columns that hold paths, which can be typed again as they are shown
_PATHS: Final = frozenset({"path", "location", "file"})
#: columns that are copied into the next command: the others give way to them
_WHOLE: Final = frozenset({"id", "job_id", "session_id"})


def listing(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--json` and `--jsonl`, handed to it as one word `form`: `table`, `json` or `jsonl`."""

    @click.option("--json", "as_json", is_flag=True, help="One JSON array.")
    @click.option("--jsonl", "as_jsonl", is_flag=True, help="One JSON object a line.")
    @wraps(command)
    def with_form(*args: P.args, **words: P.kwargs) -> R:
        as_json, as_jsonl = words.pop("as_json"), words.pop("as_jsonl")
        if as_json and as_jsonl:
            raise UsageError("--json and --jsonl exclude each other")
        words["form"] = "json" if as_json else "jsonl" if as_jsonl else "table"
        return command(*args, **words)

    return with_form


def show(
    rows: Iterable[Row],
    form: str,
    columns: Sequence[str],
    *,
    empty: str,
    as_seen: Callable[[Row], Row] | None = None,
) -> None:
    """Print a listing; `columns` are the keys that the table shows, `empty` what is said of an empty one.

    `as_seen` adds to a row what only the table shows.
    """
    if form == "jsonl":
        for row in rows:
            print_line(as_json(row))
    elif form == "json":
        _stream_array(rows)
    else:
        _print_table(rows if as_seen is None else (row | as_seen(row) for row in rows), columns, empty)


def show_one(value: Row, form: str = "json") -> None:
    """Print one JSON object for programs; as `jsonl` in one line."""
    print_line(as_json(value, indent=None if form == "jsonl" else 2))


def as_json(value: object, *, indent: int | None = None) -> str:
    """JSON, in one line unless indented; valid UTF-8 whatever the locale says standard output is."""
    utf8 = (getattr(sys.stdout, "encoding", None) or "utf-8").lower() in {"utf-8", "utf8"}
    return json.dumps(value, indent=indent, ensure_ascii=not utf8)


def print_line(text: str) -> None:
    """A line of data on standard output."""
    sys.stdout.write(text + "\n")


def say(words: str) -> None:
    """A line of words on standard error."""
    click.echo(words, err=True)


def coloured(stream: Any = None) -> bool:
    """Whether colour is welcome: on a terminal, without NO_COLOR."""
    return bool((stream or sys.stdout).isatty()) and "NO_COLOR" not in os.environ


def harmless(text: object) -> str:
    """Text from outside, safe on a terminal: what is not printable appears escaped; line breaks become spaces."""
    from finetuned.model import shown

    return shown(" ".join(str(text).split("\n")))


def pasteable(path: str) -> str:
    """A path, safe on a terminal, that commands take again as it is shown."""
    from finetuned.model import shown

    return shown(path)


def paint(word: str) -> str:
    """A state in its colour, where colour is welcome."""
    return click.style(word, fg=_COLOURS[word]) if word in _COLOURS and coloured() else word


def size(count: int | None) -> str:
    """Bytes in words: `1.4 MiB`."""
    if count is None:
        return ""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def span(seconds: float | None) -> str:
    """A length of time in words: `3m 20s`."""
    if seconds is None:
        return ""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def local(at: str | None) -> str:
    """An ISO time as people read it here: `2026-11-23 05:23:11`."""
    if at is None:
        return ""
    moment = datetime.fromisoformat(at).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def since_of(text: str | None, now: float) -> float | None:
    """The instant that `--since` names: an ISO time, or an age like `2h`. Raises UsageError."""
    from finetuned.model import instant
    from finetuned.settings.readers import seconds_of

    if text is None:
        return None
    age = seconds_of(text)
    if age is not None:
        return now - age
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--since {harmless(text)!r} is no time", remedy="write 2026-11-23, 2026-11-23T05:00:00Z, or an age like 2h"
        ) from None
    return moment.astimezone(UTC).timestamp() if moment.tzinfo else instant(text)


def _stream_array(rows: Iterable[Row]) -> None:
    comma = "[\n"
    for row in rows:
        sys.stdout.write(comma + as_json(row))
        comma = ",\n"
    print_line("[]" if comma == "[\n" else "\n]")


def _print_table(rows: Iterable[Row], columns: Sequence[str], empty: str) -> None:
    shown_rows = [[_cell(column, row.get(column)) for column in columns] for row in rows]
    if not shown_rows:
        say(empty)
        return
    if not sys.stdout.isatty():
        widths = [max(len(c), *(len(r[i]) for r in shown_rows)) for i, c in enumerate(columns)]
        for line in [list(columns), *shown_rows]:
            print_line("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
        return
    from rich.console import Console

    Console(no_color=not coloured(), highlight=False).print(_table(shown_rows, columns))


def _table(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in _WHOLE)
    for row in rows:
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    return table


def _cell(column: str, value: object) -> str:
    if value is None:
        return ""
    if column == "at" or column.endswith("_at") or column == "since":
        return local(str(value))
    if column == "bytes" and isinstance(value, int):
        return size(value)
    return pasteable(str(value)) if column in _PATHS else harmless(value)
