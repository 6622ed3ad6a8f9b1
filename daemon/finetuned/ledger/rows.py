"""What every table does with its rows: instants and paths of columns, and the guarded update."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from itertools import chain, groupby
from typing import Any, Final, TypeVar, get_args

import msgspec

from finetuned.errors import Stale
from finetuned.model import Value, shared
from finetuned.paths import path_b64, utf8_text
from finetuned.times import instant, iso

V = TypeVar("V", bound=Value)


def text_of(raw: bytes) -> str:
    """Read a text that the ledger holds; U+FFFD stands for what is no UTF-8: half a character, or what others wrote."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    try:
        halves = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace")
    return halves.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # two halves are one character


def at(text: str | None) -> float | None:
    """Read the instant that a column holds."""
    return None if text is None else instant(text)


def text_at(moment: float | None) -> str | None:
    """Write an instant as a column holds it."""
    return None if moment is None else iso(moment)


def place(path: str | None) -> tuple[str | None, str | None]:
    """Make the two columns of a path: its text, and its bytes where the text is not exact."""
    if path is None or path.isascii():
        return path, None
    return utf8_text(path), path_b64(path)


#: that a file was dropped at a place (`:path`, `:b64`), or lies there now
AT_PLACE: Final = "((path = :path and path_b64 is :b64) or (location = :path and location_b64 is :b64))"
#: how many rows a statement writes
AT_ONCE: Final = 50
#: the week of an instant: its Monday (UTC)
WEEK: Final = "date({}, 'weekday 0', '-6 days')"
#: whether a folder `f` has a job that has not ended, or something to archive; what is unary + keeps from going through
#: all that a folder ever had
WORK: Final = """(
  exists (select 1 from jobs j where +j.folder = f.name and (j.finished_at is null or j.archived = 0)) or
  exists (select 1 from files l where +l.folder = f.name and l.archived = 0 and +l.state in ('refused', 'duplicate')))
"""
#: that the chunk `c` has an answer that was known: another one came before it
REUSED: Final = """
  exists (select 1 from answers a join answers b on b.made_by = a.made_by and b.sha256 = a.sha256 and b.raw is not null
    where a.chunk_id = c.id and a.raw is not null and a.tokens = 0 and b.id < a.id)
"""


def insert(db: sqlite3.Connection, table: str, **columns: object) -> None:
    """Insert a row."""
    insert_all(db, table, [columns])


def insert_all(db: sqlite3.Connection, table: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert rows; those next to each other that have the same columns go together."""
    for names, alike in groupby(rows, key=tuple):
        insert_alike(db, table, names, [tuple(row.values()) for row in alike])


def insert_alike(
    db: sqlite3.Connection, table: str, names: tuple[str, ...], rows: Sequence[tuple[object, ...]]
) -> None:
    """Insert rows with values for these columns, some at a time.

    A statement opens a table's indexes whenever it is run, and that may take longer than to write a row of it.
    """
    end = len(rows) - len(rows) % AT_ONCE
    for begin in range(0, end, AT_ONCE):
        db.execute(_insertion(table, AT_ONCE, *names), [*chain.from_iterable(rows[begin : begin + AT_ONCE])])
    db.executemany(_insertion(table, 1, *names), rows[end:])


def dicts(found: sqlite3.Cursor) -> Iterator[dict[str, Any]]:
    """Yield rows by the names of their columns; to ask a row for each of them takes four times as long."""
    names = [column[0] for column in found.description]
    return (dict(zip(names, row, strict=True)) for row in found)


@cache
def _places(kind: type[Value], prefix: str, columns: tuple[str, ...]) -> tuple[tuple[str, int, bool], ...]:
    """List a value's fields: the name, where its column is (behind all if there is none), whether it is an instant.

    To ask each row for a column by its name takes twice as long as all the rest.
    """
    place = {name: number for number, name in reversed([*enumerate(columns)])}
    return tuple(
        (f.name, place.get(prefix + f.name, len(columns)), f.type is float or float in get_args(f.type))
        for f in msgspec.structs.fields(kind)
    )


def value_of(kind: type[V], row: sqlite3.Row, prefix: str = "", **known: object) -> V:
    """Make a value of a row: what is not `known` is in columns that are called as the fields, behind `prefix`.

    What thousands of values tell alike, or one of them twice, is in memory once.
    """
    values = tuple(row)
    for name, number, is_instant in _places(kind, prefix, (*row.keys(),)):
        if name not in known:
            column = values[number]
            if is_instant and column is not None:
                column = instant(column)
            known[name] = shared(column) if type(column) is str else column
    return msgspec.convert(known, kind, strict=False)  # SQLite has neither booleans nor enumerations


def update(db: sqlite3.Connection, table: str, key: object, version: int, **columns: object) -> None:
    """Update a row. Raises Stale if it moved on since `version` was read."""
    if db.execute(_change(table, *columns), (*map(_written, columns.values()), key, version)).rowcount == 0:
        raise Stale(f"{table} {key} moved on")


def update_all(db: sqlite3.Connection, table: str, changes: Iterable[tuple[int, int, Mapping[str, object]]]) -> None:
    """Update rows by number and version, bytes aside. Raises Stale if one moved on since its version was read.

    One statement opens a table's indexes once, however many rows it changes: to open them takes longer than to change
    them.
    """
    for names, alike in groupby(changes, key=lambda change: (*change[2],)):
        rows = [(number, version, *columns.values()) for number, version, columns in alike]
        if db.execute(_changes(table, *names), (_json_of(rows),)).rowcount < len(rows):
            raise Stale(f"one of {len(rows)} {table} moved on")


def update_alike(
    db: sqlite3.Connection, table: str, numbers: Sequence[int], was: StrEnum, columns: Mapping[str, object]
) -> None:
    """Give rows that are in the state `was` the same columns. Raises Stale if one is in another."""
    values = (*map(_written, columns.values()), _json(numbers), was)
    if db.execute(_alike(table, *columns), values).rowcount < len(numbers):
        raise Stale(f"one of {len(numbers)} {table} is not {was!s} any more")


def _written(value: object) -> object:
    return clean(value) if isinstance(value, str) and not isinstance(value, StrEnum) else value


def _json_of(rows: Sequence[tuple[object, ...]]) -> str:
    """Write rows, whose words may hold paths; hardly any does that is not UTF-8."""
    try:
        return _json(rows)
    except UnicodeEncodeError:
        return _json([[clean(value) if type(value) is str else value for value in row] for row in rows])


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


@cache  # their texts are few, and thousands of files go through them
def _insertion(table: str, rows: int, *columns: str) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"insert into {table} ({', '.join(columns)}) values {', '.join([row] * rows)}"


@cache
def _change(table: str, *columns: str) -> str:
    names = ", ".join(f"{name} = ?" for name in columns)
    return f"update {table} set {names}, version = version + 1 where id = ? and version = ?"


@cache
def _changes(table: str, *columns: str) -> str:
    names = ", ".join(f"{name} = value ->> {place}" for place, name in enumerate(columns, 2))
    return (
        f"update {table} set {names}, version = version + 1 from json_each(?) "
        f"where {table}.id = value ->> 0 and {table}.version = value ->> 1"
    )


@cache
def _alike(table: str, *columns: str) -> str:
    names = ", ".join(f"{name} = ?" for name in columns)
    return (
        f"update {table} set {names}, version = version + 1 where id in (select value from json_each(?)) and +state = ?"
    )


def clean(words: str | None) -> str | None:
    """Make words that any database takes of what may hold a path."""
    return None if words is None else utf8_text(words)
