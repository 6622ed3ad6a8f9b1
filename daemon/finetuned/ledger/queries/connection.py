"""A connection that reads the ledger, and the rows of a query over it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

from finetuned.ledger.opening import open_for_reading
from finetuned.ledger.queries.filters import PathPattern, add_functions, files_at
from finetuned.ledger.rows import dicts
from finetuned.ledger.schema import BASE, SCHEMA_VERSION
from finetuned.ledger.trouble import BUSY_MS, problem

Row = dict[str, Any]

_NO_TALK: Final = "null as talk, null as turn, null as system"
_NO_RECALLS: Final = (
    "create temp view recalls as "
    "select 0 as file_id, 0 as held_out, 0 as questions, 0.0 as untuned, 0.0 as tuned where false"
)
_NO_EVIDENCE: Final = "null as evidence, null as begins, null as ends, null as made_by"
#: no pairs were made here before schema 7
_NO_WORK: Final = tuple(
    f"create temp view {table} as select {', '.join(f'null as {column}' for column in columns.split())} where false"
    for table, columns in {
        "planned_runs": "run made_by",
        "chunks": "id run document made_by number begins own ends sha256 heading state reason",
        "answers": "id chunk_id made_by sha256 at tokens raw",
        "drafts": "id chunk_id ordinal question answer evidence begins ends dropped",
    }.items()
)
#: pairs of which no evidence is known, of schema 6; those before it knew no talk, either, and other columns of jobs
_OF_SIX: Final = (f"create temp view qa_pairs as select *, {_NO_EVIDENCE} from main.qa_pairs", _NO_RECALLS, *_NO_WORK)
_BEFORE_SIX: Final = (
    "create temp view all_jobs as select *, put_away as archived, rowid as ordinal from jobs",
    f"create temp view qa_pairs as select *, {_NO_TALK}, {_NO_EVIDENCE} from main.qa_pairs",
    _NO_RECALLS,
    *_NO_WORK,
)
#: so many files are looked up one by one, with all that belongs to each; among more, rows are gone through in order
FEW: Final = 1000


class Connection:
    """A connection to the ledger at `path` that only reads; safe beside a running daemon."""

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db = db
        self.path = path
        add_functions(db)
        version = self.schema_version()
        self._same = "text_sha256" if version > 3 else "sha256"  # what is equal for equal texts
        if version < SCHEMA_VERSION:  # no daemon of this version has opened it yet
            for view in _BEFORE_SIX if version < BASE else _OF_SIX:
                db.execute(view)

    @classmethod
    def open(cls, path: str, *, patience_ms: int = BUSY_MS) -> Self:
        """Open the ledger at `path` for reading. Raises LedgerMissing, LedgerNewer, LedgerStuck, LedgerError."""
        return cls(open_for_reading(path, patience_ms=patience_ms), path)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for the audit."""
        return self._db

    def schema_version(self) -> int:
        """Read the number of the schema."""
        number: int = self._db.execute("pragma user_version").fetchone()[0]
        return number

    def rows(self, query: str, *values: object, **named: object) -> Iterator[Row]:
        """Yield the rows of a query as they are read. Raises LedgerStuck, LedgerError."""
        try:
            yield from dicts(self._db.execute(query, named or values))
        except sqlite3.Error as error:
            raise problem(error, self.path, "cannot be read") from error

    def few_files(self, paths: Sequence[PathPattern]) -> list[int] | None:
        """Return the ids of the files of these paths; null if there are too many to look up what belongs to each."""
        query, values = files_at(paths)
        most = 2 * len(paths) * FEW  # each may be found by both of its places, and by each of the patterns
        rows = self.rows(f"{query} limit ?", *values, most + 1)
        found = {row["id"] for row in rows}
        return None if len(found) > FEW else sorted(found)


def drop_null(row: Row, *keys: str) -> Row:
    """Leave out of a row what is null: the exact bytes of a path that is UTF-8, what is not known of a pair."""
    for key in keys:
        if row.get(key) is None:
            row.pop(key, None)
    return row
