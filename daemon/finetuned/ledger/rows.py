"""What every table does with its rows: instants and paths of columns, and the guarded update."""

from __future__ import annotations

import sqlite3
from enum import StrEnum

from finetuned.errors import Stale
from finetuned.model import instant, iso, path_b64, utf8_text


def at(text: str | None) -> float | None:
    """The instant a column holds."""
    return None if text is None else instant(text)


def text_at(moment: float | None) -> str | None:
    """What a column holds of an instant."""
    return None if moment is None else iso(moment)


def place(path: str | None) -> tuple[str | None, str | None]:
    """The two columns of a path: its text, and its bytes where the text is not exact."""
    return (None, None) if path is None else (utf8_text(path), path_b64(path))


def update(db: sqlite3.Connection, table: str, key: object, version: int, **columns: object) -> sqlite3.Row:
    """One guarded update, and the row as it is then: Stale if the row moved on since `version` was read."""
    names = ", ".join(f"{name} = ?" for name in columns)
    values = [clean(v) if isinstance(v, str) and not isinstance(v, StrEnum) else v for v in columns.values()]
    query = f"update {table} set {names}, version = version + 1 where id = ? and version = ? returning *"
    row: sqlite3.Row | None = db.execute(query, (*values, key, version)).fetchone()
    if row is None:
        raise Stale(f"{table} {key} moved on")
    return row


def clean(words: str | None) -> str | None:
    """Make words that any database takes of what may hold a path."""
    return None if words is None else utf8_text(words)
