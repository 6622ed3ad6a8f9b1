"""How listings are shown: a table for people, JSON for programs; and times and paths in words.

A row of a table is a line; the columns that can be spared go first where the terminal is narrow. The last column holds
sentences: what does not fit beside its row stands below it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from itertools import islice
from typing import Any, Final, ParamSpec, TypeVar

import click

from finetuned.amounts import size
from finetuned.cli.terminal import (
    coloured,
    folded,
    harmless,
    is_utf8,
    length,
    print_data,
    say,
    seen,
    shortened,
    width_of,
)
from finetuned.errors import UsageError

Row = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")

_COLOURS: Final = {
    **dict.fromkeys(("done", "learned", "ok"), "green"),
    **dict.fromkeys(("partial", "warning", "doubtful", "barren", "duplicate"), "yellow"),
    **dict.fromkeys(("failed", "refused", "problem", "cancelled"), "red"),
    **dict.fromkeys(("running", "submitting"), "cyan"),
}
#: columns that hold paths, which can be typed again as they are shown
_PATHS: Final = frozenset({"path", "location", "file"})
#: columns that hold sentences
_TEXTS: Final = frozenset({"reason", "why", "status", "error"})
#: columns that a narrow terminal can do without, the last first
_SPARE: Final = frozenset({"created", "bytes", "session_id", "intent_at", "folder", "mode"})
#: columns narrower than this are not worth having
_NARROWEST: Final = 12
_GAP: Final = " " * 2
_BELOW: Final = " " * 4


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
            raise UsageError("--json and --jsonl exclude each other")
        words["form"] = "json" if as_json else "jsonl" if as_jsonl else "table"
        return command(*args, **words)

    return with_form


def long_listing(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command what `listing` gives it, and `--limit` (for `show`) and `--reverse` (as `newest_first`)."""
    command = click.option("--reverse", "newest_first", is_flag=True, help="The newest first.")(listing(command))
    return click.option("--limit", type=click.IntRange(1), metavar="N", help="No more than N rows.")(command)


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
    limit: int | None = None,
) -> None:
    """Print a listing; `columns` are the keys that the table shows, `empty` what is said of an empty one.

    `as_seen` adds to a row what only the table shows; no more than `limit` rows are shown.
    """
    rows = islice(rows, limit)
    if form == "jsonl":
        for row in rows:
            print_data(as_json(row))
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
    return click.style(word, fg=_COLOURS[word]) if word in _COLOURS and coloured() else word


def first_of(names: Sequence[str], most: int) -> str:
    """Return names in a row, `most` of them, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def when(at: str | None) -> str:
    """Write an ISO time for people, in UTC as in the log and in job ids: `2026-11-23 05:23:11Z`."""
    if at is None:
        return ""
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def since(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command `--since`, handed to it as an instant (null: not given)."""

    def instant_of(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
        from finetuned.runtime import SystemRuntime

        return None if text is None else since_of(text, SystemRuntime().now())

    words = "Only since then: a time (UTC) like 2026-11-23 or 2026-11-23T05:00:00Z, or an age like 2h or 1w."
    return click.option("--since", metavar="T", callback=instant_of, help=words)(command)


def since_of(text: str, now: float) -> float:
    """Return the instant that `--since` names: an ISO time, or an age like `2h`. Raises UsageError."""
    from finetuned.settings.readers import seconds_of
    from finetuned.times import instant

    age = seconds_of(text)
    if age is not None:
        return now - age
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--since {harmless(text)!r} is not a time",
            remedy="write 2026-11-23, 2026-11-23T05:00:00Z, or an age like 2h",
        ) from None
    return moment.astimezone(UTC).timestamp() if moment.tzinfo else instant(text)


def _stream_array(rows: Iterable[Row]) -> None:
    comma = "[\n"
    for row in rows:
        sys.stdout.write(comma + as_json(row))
        comma = ",\n"
    print_data("[]" if comma == "[\n" else "\n]")


def _print_table(rows: Iterable[Row], columns: Sequence[str], empty: str) -> None:
    cells = [[_cell(column, row.get(column)) for column in columns] for row in rows]
    if not cells:
        say(empty)
        return
    width = width_of()
    if width is not None:
        painted = [[paint(cell) for cell in row] for row in cells]
        for line in table(painted, columns, width, paths=_PATHS, texts=_TEXTS, spare=_SPARE):
            print_data(line if coloured() else click.unstyle(line))
        return
    widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
    for row in [list(columns), *cells]:
        print_data(_GAP.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _cell(column: str, value: object) -> str:
    if value is None:
        return ""
    if column == "at" or column.endswith("_at") or column == "since":
        return when(str(value))
    if column == "bytes" and isinstance(value, int):
        return size(value)
    return seen(str(value)) if column in _PATHS else harmless(value)


def table(
    rows: Sequence[Sequence[str]],
    columns: Sequence[str],
    width: int,
    *,
    paths: Collection[str] = (),
    texts: Collection[str] = (),
    spare: Collection[str] = (),
) -> Iterator[str]:
    """Yield a table in lines of `width` columns.

    `paths` may be shortened, `texts` stand last and may stand below their rows. `spare` are left out, the last
    first, where the others need their room.
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
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _lines(
    rows: Sequence[Sequence[str]], columns: Sequence[str], width: int, widths: Mapping[int, int], texts: Sequence[int]
) -> Iterator[str]:
    used = _together(widths) + len(_GAP)
    said = ["; ".join(row[i] for i in texts if row[i]) for row in rows]
    beside = [bool(words) and used + length(words) <= width for words in said]
    head = _padded([columns[i] for i in widths], list(widths.values()))
    if any(beside):
        head += _GAP + "/".join(columns[i] for i in texts)
    yield click.style(head.rstrip(), bold=True)
    for row, words, fits in zip(rows, said, beside, strict=True):
        line = _padded([shortened(row[i], widths[i]) for i in widths], list(widths.values()))
        yield (line + _GAP + words if fits else line).rstrip()
        if words and not fits:
            yield from folded(_BELOW + words, width, rest=_BELOW)


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell + " " * max(0, width - length(cell)) for cell, width in zip(cells, widths, strict=True))
