"""How listings are shown: a table for people, JSON and CSV for programs; and times and paths in words.

1. The first rows are shown as soon as they are known, whatever the form.
2. A table on a terminal tells how long ago something was; elsewhere times are whole.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache, wraps
from itertools import islice
from typing import Any, Final, ParamSpec, TypeVar

import click

from finetuned import clock
from finetuned.amounts import size
from finetuned.cli.instants import ago
from finetuned.cli.table import Table
from finetuned.cli.terminal import coloured, harmless, is_utf8, print_data, say, seen, width_of
from finetuned.errors import UsageError
from finetuned.lifecycle import MOODS

Row = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")

_COLOURS: Final = {"good": "green", "fair": "yellow", "bad": "red", "busy": "cyan"}
#: how good what a state, or the level of a finding, says is
_MOODS: Final = {**MOODS, "ok": "good", "warning": "fair", "problem": "bad"}
#: columns that hold paths, which can be typed again as they are shown
_PATHS: Final = frozenset({"path", "location", "file"})
#: columns that hold sentences
_TEXTS: Final = frozenset({"reason", "why", "status", "error"})
#: columns that a narrow terminal can do without, the last first
_SPARE: Final = frozenset({"created", "bytes", "session_id", "intent_at", "folder", "mode"})
#: so many rows are known before the first of them is shown in a table, whose columns are as wide as they need
_PAGE: Final = 200


def listing(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--json` and `--jsonl`, handed to it as one word `form`: `table`, `json` or `jsonl`."""
    return _with_forms(command, "One JSON array.", "One JSON object a line.")


def _with_forms(command: Callable[P, R], json_help: str, jsonl_help: str) -> Callable[P, R]:
    @click.option("--json", "as_json", is_flag=True, help=json_help)
    @click.option("--jsonl", "as_jsonl", is_flag=True, help=jsonl_help)
    @wraps(command)
    def with_form(*args: P.args, **words: P.kwargs) -> R:
        as_json, as_jsonl = words.pop("as_json"), words.pop("as_jsonl")
        if as_json and as_jsonl:
            raise UsageError("--json and --jsonl exclude each other", remedy="ask for one of them")
        words["form"] = "json" if as_json else "jsonl" if as_jsonl else "table"
        return command(*args, **words)

    return with_form


def one_object(command: Callable[P, R]) -> Callable[P, R]:
    """Do the same as `listing` for a command that tells of one thing."""
    return _with_forms(command, "One JSON object.", "The same in one line.")


def show(
    rows: Iterable[Row],
    form: str,
    columns: Sequence[str],
    *,
    empty: str,
    as_seen: Callable[[Row], Row] | None = None,
    keys: Iterable[str] = (),
) -> None:
    """Print a listing; `columns` are the keys that the table shows, `empty` what is said of an empty one.

    `as_seen` adds to a row what only the table shows; `keys` are those of CSV.
    """
    if form == "jsonl":
        for row in _shown_at_once(rows):
            print_data(as_json(row))
    elif form == "csv":
        _print_csv(rows, list(keys))
    elif form == "json":
        _stream_array(rows)
    else:
        _print_table(rows if as_seen is None else (row | as_seen(row) for row in rows), columns, empty)


def show_one(value: Row, form: str = "json") -> None:
    """Print one JSON object for programs; as `jsonl` in one line."""
    print_data(as_json(value, indent=None if form == "jsonl" else 2))


def as_json(value: object, *, indent: int | None = None) -> str:
    """Write JSON, in one line unless indented; valid UTF-8 whatever the locale says standard output is."""
    return json.dumps(value, indent=indent, ensure_ascii=not is_utf8(sys.stdout))


def placed(path: str) -> Row:
    """Return a path for programs; its exact bytes come with it where it is not UTF-8."""
    from finetuned.paths import path_b64, utf8_text

    b64 = path_b64(path)
    return {"path": utf8_text(path)} | ({} if b64 is None else {"path_b64": b64})


def paint(word: str) -> str:
    """Return a state in its colour, where colour is welcome."""
    return click.style(word, fg=_COLOURS[_MOODS[word]]) if word in _MOODS and coloured() else word


def first_of(names: Sequence[str], most: int) -> str:
    """Return names in a row, `most` of them, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def when(at: str | None) -> str:
    """Write an ISO time for people, in UTC as in the log and in job ids: `2026-11-23 05:23:11Z`."""
    if at is None:
        return ""
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def moment(at: str | None) -> str:
    """Write an ISO time in a table: on a terminal how long ago it is, elsewhere whole."""
    return when(at) if width_of() is None else ago(at, _now())


@lru_cache(maxsize=1)
def _now() -> float:
    """Tell when the command began: what it tells is of one moment."""

    return clock.now()


def _shown_at_once(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield rows, and show what the first one is before the second is looked for."""
    for number, row in enumerate(rows):
        if number == 1:
            sys.stdout.flush()
        yield row


def _print_csv(rows: Iterable[Row], keys: Sequence[str]) -> None:
    import csv

    written = csv.writer(sys.stdout, quoting=csv.QUOTE_ALL, lineterminator="\n")
    written.writerow(keys)
    for row in _shown_at_once(rows):
        cells = (row.get(key) for key in keys)
        written.writerow([" ".join(cell) if isinstance(cell, list) else cell for cell in cells])


def _stream_array(rows: Iterable[Row]) -> None:
    comma = "[\n"
    for row in _shown_at_once(rows):
        sys.stdout.write(comma + as_json(row))
        comma = ",\n"
    print_data("[]" if comma == "[\n" else "\n]")


def _print_table(rows: Iterable[Row], columns: Sequence[str], empty: str) -> None:
    rows = iter(rows)
    table = Table(columns, width_of(), paths=_PATHS, texts=_TEXTS, spare=_SPARE)
    is_empty = True
    while page := [[paint(_cell(column, row.get(column))) for column in columns] for row in islice(rows, _PAGE)]:
        is_empty = False
        for line in table.lines(page):
            print_data(line if coloured() else click.unstyle(line))
        sys.stdout.flush()
    if is_empty:
        say(empty)


def _cell(column: str, value: object) -> str:
    if value is None:
        return ""
    if column == "at" or column.endswith("_at") or column == "since":
        return moment(str(value))
    if column == "bytes" and isinstance(value, int):
        return size(value)
    return seen(str(value)) if column in _PATHS else harmless(value)
