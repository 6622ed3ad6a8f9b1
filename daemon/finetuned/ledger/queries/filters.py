"""What a listing is narrowed to, and how a query is made of that: a part for each filter that is given, and no other.

1. A part that tests a value against null (`:x is null or …`) would keep SQLite from using an index: there is none.
2. Rows stream in the order of an index; what is sorted beside one is what a filter found by another.
3. Paths and words are compared by functions of ours: SQLite knows neither `**` nor the two forms and cases of a letter.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple, Self, TypedDict
from unicodedata import normalize

from finetuned.ledger.rows import text_at, text_of
from finetuned.paths import utf8_text

#: behind every text that begins alike, if it is put after the beginning
AFTER_ALL: Final = "\U0010ffff"
#: what makes a step of a path a pattern
_WILD: Final = frozenset("*?[")
_WAYS: Final = ("asc", "desc")


class PathPattern(NamedTuple):
    """A pattern of paths: all that it fits begin with `prefix`, and fit the regular `expression`."""

    prefix: str
    expression: str

    @classmethod
    def of(cls, pattern: str) -> Self:
        """Read a pattern: of absolute paths, where `**` is any number of folders, or without a `/` of names.

        One that ends in a plain name stands for the file, or for the folder and all in it.
        """
        text = normalize("NFC", utf8_text(pattern))
        steps = text.rstrip("/").split("/") if text.strip("/") else ["", "**"]
        below = "" if _WILD & set(steps[-1]) else "(?:/.*)?"
        if len(steps) == 1:
            return cls("", f"(?:.*/)?(?:{re.escape(text)}|{_of_name(text)}){below}")
        *way, last = (_of_step(step) for step in steps[:-1]), steps[-1]
        end = ".*" if last == "**" else _of_name(last)
        known = text[: min((text.find(wild) for wild in _WILD if wild in text), default=len(text.rstrip("/")))]
        plain = re.match(r"[\x00-\x7f]*", known)
        return cls(plain[0] if plain else "", f"(?:{re.escape(text.rstrip('/'))}|{''.join(*way)}{end}){below}")


def _of_step(step: str) -> str:
    return "(?:[^/]+/)*" if step == "**" else f"{_of_name(step)}/"


def _of_name(pattern: str) -> str:
    """Return the regular expression of a pattern of names."""
    parts = re.split(r"(\*+|\?|\[!?\]?[^]]*\])", pattern)
    return "".join(_of_wild(part) if number % 2 else re.escape(part) for number, part in enumerate(parts))


def _of_wild(wild: str) -> str:
    if wild[0] == "[":
        inner = re.sub(r"([\\\[\]&~|^])", r"\\\1", wild[1:-1].removeprefix("!"))
        return f"(?!/)[{'^' if wild[1] == '!' else ''}{inner}]"
    return "[^/]" if wild == "?" else "[^/]*"


class Filters(TypedDict, total=False):
    """What a listing is narrowed to, and its order; what is not given, or null, narrows nothing.

    `since` and `until` are instants, the second one not included; of a listing of jobs, and of their pairs, that of
    their making counts, of files that when they were seen. `paths`: where files were dropped, or lie now. `text`: in
    what is told of a row, whatever its case.
    """

    states: Sequence[str]
    folder: str | None
    job: str | None
    since: float | None
    until: float | None
    paths: Sequence[PathPattern]
    text: str | None
    sort: str
    newest_first: bool
    limit: int | None


class Query:
    """A query in the making: conditions with their values, and its end."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.values: list[object] = []

    def where(self, condition: str, *values: object) -> None:
        """Narrow it by one more condition."""
        self._parts.append(condition)
        self.values += values

    def among(self, column: str, chosen: Sequence[str]) -> None:
        """Narrow it to rows in whose column stands one of these; without any, it stays as it is."""
        if chosen:
            self.where(f"{column} in ({', '.join('?' * len(chosen))})", *chosen)

    def between(self, column: str, filters: Filters) -> None:
        """Narrow it to the times that are asked for."""
        for bound, than in ((filters.get("since"), ">="), (filters.get("until"), "<")):
            if bound is not None:
                self.where(f"{column} {than} ?", text_at(bound))

    def between_ids(self, table: str, column: str, filters: Filters) -> None:
        """Narrow a query in the order of ids to times: an index knows the first and the last id that can be meant."""
        for bound, than, end in ((filters.get("since"), ">=", "min"), (filters.get("until"), "<", "max")):
            if bound is not None:
                ends = f"select {end}(+id) from {table} where {column} {than} ?"
                self.where(f"id {than.ljust(2, '=')} ({ends})", text_at(bound))
                self.where(f"+{column} {than} ?", text_at(bound))

    def equal(self, column: str, value: str | None) -> None:
        """Narrow it to rows in whose column this stands; null: it stays as it is."""
        if value is not None:
            self.where(f"{column} = ?", value)

    def mention(self, text: str | None, *columns: str) -> None:
        """Narrow it to rows that have the text in one of these columns; null: it stays as it is."""
        if text is None:
            return
        said = " || char(10) || ".join(f"coalesce({column}, '')" for column in columns)
        self.where(f"has_words(?, cast({said} as blob))", utf8_text(text))

    def in_list(self, column: str, numbers: Sequence[int]) -> None:
        """Narrow it to rows in whose column stands one of many numbers."""
        self.where(f"{column} in (select value from json_each(?))", json.dumps(numbers))

    def of_paths(self, paths: Sequence[PathPattern], *, file: str = "", rows: str = "{}") -> None:
        """Narrow it to rows whose file was dropped at one of these paths, or lies there now.

        `file` names its table; `rows` is the condition that has a row whose file fits `{}`.
        """
        fits = [f"has_path(?, cast({file}{place} as blob))" for _ in paths for place in ("path", "location")]
        self.where(rows.format(f"({' or '.join(fits)})"), *(p.expression for p in paths for _ in range(2)))

    def conditions(self) -> str:
        """Return the conditions."""
        return f"where {' and '.join(self._parts)} " if self._parts else ""

    def ordered(self, filters: Filters, *columns: str) -> str:
        """Return the conditions and the order by these columns, the last first if that is asked; and the limit."""
        way = _WAYS[filters.get("newest_first", False)]
        conditions = self.conditions()
        order = ", ".join(f"{column} {way}" for column in columns)
        limit = filters.get("limit")
        if limit is None:
            return f"{conditions}order by {order}"
        self.values.append(limit)
        return f"{conditions}order by {order} limit ?"


def files_at(paths: Sequence[PathPattern]) -> tuple[str, list[object]]:
    """Return the query of the ids of the files that were dropped at one of these paths, or lie there now."""
    one = "select id from files where {0} >= ? and {0} < ? and has_path(?, cast({0} as blob))"
    each = [one.format(place) for _ in paths for place in ("path", "location")]
    return " union all ".join(each), [v for p in paths for v in (p.prefix, p.prefix + AFTER_ALL, p.expression) * 2]


def add_functions(db: sqlite3.Connection) -> None:
    """Teach a connection the functions of the conditions: they take bytes, as SQLite hands on no text but UTF-8."""
    db.create_function("has_path", 2, _has_path, deterministic=True)
    db.create_function("has_words", 2, _has_words, deterministic=True)


_compiled: Final = lru_cache(maxsize=64)(lambda expression: re.compile(expression, re.DOTALL).fullmatch)
_folded: Final = lru_cache(maxsize=8)(lambda text: normalize("NFC", text).casefold())


def _has_path(expression: str, raw: bytes | None) -> bool:
    if raw is None:
        return False
    fits, path = _compiled(expression), text_of(raw)
    return fits(path if path.isascii() else normalize("NFC", path)) is not None


def _has_words(words: str, raw: bytes) -> bool:
    text = text_of(raw)
    return _folded(words) in (text if text.isascii() else normalize("NFC", text)).casefold()
