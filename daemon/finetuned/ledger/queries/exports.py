"""What an export reads of the ledger: the pairs that count, what their documents are, and what was learned when.

1. All of it is read as it was at one moment (`snapshot`), and no more of it is in memory than is looked at.
2. The pairs of a job that is done or partial count, of the session that trained. Those of a review are the accepted
   ones: the ledger is told no others.
3. A text that is no UTF-8 (half a character: a server told it once, or another program wrote it) is cleaned: U+FFFD
   stands for what is no character.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache, partial
from typing import Any, Final, NamedTuple

from finetuned.ledger.queries.connection import Connection
from finetuned.ledger.queries.filters import PathPattern, files_at
from finetuned.ledger.rows import text_at, text_of
from finetuned.ledger.trouble import problem
from finetuned.model import Value
from finetuned.readymade import is_ready_made
from finetuned.shapes import Origin, Turn

#: so many pairs are read at a time: each may have two mebibytes
AT_ONCE: Final = 250
#: so many origins are remembered
ORIGINS: Final = 4096
_COUNT: Final = "select j.session_id from all_jobs j where j.state in ('done', 'partial')"


class Selection(Value, frozen=True):
    """Which pairs are wanted: of a job, of a folder, of files whose path (then or now) fits, learned in a time.

    `since` and `until` are instants at which jobs ended: from the first on, and before the second.
    """

    job: str | None = None
    folder: str | None = None
    path: PathPattern | None = None
    since: float | None = None
    until: float | None = None


class Document(NamedTuple):
    """A text that was learned; `sketch` is null if it is not known."""

    file_id: int
    sha256: str
    sketch: bytes | None


class Exports:
    """Questions about the pairs that count, over a reader's connection.

    An `is_public` one tells paths from their drop folders on, and so nothing of where these lie.
    """

    def __init__(self, reader: Connection, *, is_public: bool = False) -> None:
        self._reader = reader
        self._db = reader.connection
        self._path = reader.path
        self._version = reader.schema_version()
        self._roots = [f"{row['path']}/" for row in reader.rows("select path from folders")] if is_public else None
        self._origin = lru_cache(maxsize=ORIGINS)(self._origin_of)
        #: texts that were no UTF-8, and were cleaned
        self.cleaned = 0

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read as of one moment, texts as they are written out. Raises LedgerError."""
        try:
            self._db.execute("begin")
            self._db.text_factory = str  # of a million pairs a second less
            yield
        except sqlite3.Error as error:
            raise problem(error, self._path, "cannot be read") from error
        finally:
            self._db.text_factory = text_of
            self._db.rollback()

    def turns(self, wanted: Selection) -> Iterator[list[Turn]]:
        """Yield the pairs that are wanted, some at a time, in the order in which they came. Raises sqlite3.Error."""
        where, values = self._where(wanted)
        query = (
            "select p.id, p.session_id, p.file_id, p.ordinal, p.question, p.answer, p.talk, p.turn, p.system "
            f"from qa_pairs p where {where}"
        )
        last = 0
        try:
            for turns in self._batches(f"{query} order by p.id", values):
                last = turns[-1].id
                yield turns
        except sqlite3.OperationalError:  # a text is no UTF-8, and from here on each is looked at; or this fails, too
            self._db.text_factory = self._text
            yield from self._batches(f"{query} and p.id > ? order by p.id", [*values, last])

    def has_talks(self, wanted: Selection) -> bool:
        """Tell whether a pair that is wanted has a system's words, or a turn before it."""
        where, values = self._where(wanted)
        query = f"select 1 from qa_pairs p where (p.turn > 1 or p.system is not null) and {where} limit 1"
        return self._tuples(query, values).fetchone() is not None

    def documents(self) -> Iterator[Document]:
        """Yield every text that pairs count of, in the order in which the first of them came."""
        text = "coalesce(f.text_sha256, f.sha256)" if self._version > 3 else "f.sha256"
        sketch = "f.sketch" if self._version > 5 else "null"
        first = f"select p.file_id, min(p.id) as first from qa_pairs p where +p.session_id in ({_COUNT}) group by 1"
        query = f"select f.id, {text}, {sketch} from ({first}) join files f on f.id = file_id order by first"
        return map(Document._make, self._tuples(query))

    def origin_of(self, turn: Turn) -> Origin:
        """Tell where a turn comes from."""
        return self._origin(turn.session_id, turn.file_id)

    def _origin_of(self, session_id: str, file_id: int | None) -> Origin:
        query = "select (select path from files where id = ?), job_id from sessions where session_id = ?"
        path, job_id = self._tuples(query, (file_id, session_id)).fetchone()
        return Origin(self.told(path or ""), job_id)

    def told(self, path: str) -> str:
        """Write an absolute path for readers of the export; a public one of no known folder is its name alone."""
        if self._roots is None:
            return path
        root = next((root for root in self._roots if path.startswith(root)), path[: path.rfind("/") + 1])
        return path[len(root) :]

    def is_ready_made(self, turn: Turn) -> bool:
        """Tell whether a turn comes of a file of pairs."""
        return turn.file_id in self._ready_made

    @cached_property
    def _ready_made(self) -> frozenset[int]:
        """The ids of the files of pairs."""
        files = self._tuples("select id, cast(path as blob) from files")
        return frozenset(number for number, path in files if is_ready_made(text_of(path)))

    def talk_of(self, pair_id: int) -> list[tuple[str, str]]:
        """Fetch the questions and answers of the talk that begins with a pair."""
        cleaned = self.cleaned
        query = (
            "select q.question, q.answer, q.talk, q.session_id, q.id from qa_pairs p "
            "join qa_pairs q on q.job_id = p.job_id and q.ordinal >= p.ordinal where p.id = ? order by q.ordinal"
        )
        turns: list[tuple[str, str]] = []
        place: tuple[int | None, str] | None = None
        for question, answer, talk, session, number in self._tuples(query, (pair_id,)):
            place = (talk, session) if number == pair_id else place
            if number != pair_id and (talk is None or (talk, session) != place):
                break
            turns.append((question, answer))
        self.cleaned = cleaned  # it was counted when it was read first
        return turns

    def _where(self, wanted: Selection) -> tuple[str, list[object]]:
        """Make the condition of a selection, and its values.

        A plus keeps SQLite from an index where most pairs are gone through in their order anyway.
        """
        jobs = {
            "j.id = ?": wanted.job,
            "j.folder = ?": wanted.folder,
            "j.finished_at >= ?": text_at(wanted.since),
            "j.finished_at < ?": text_at(wanted.until),
        }
        given = "".join(f" and {condition}" for condition, value in jobs.items() if value is not None)
        where = f"{'' if wanted.job else '+'}p.session_id in ({_COUNT}{given})"
        values: list[object] = [value for value in jobs.values() if value is not None]
        if wanted.path is None:
            return where, values
        few = self._reader.few_files([wanted.path])
        if few is not None:
            return f"{where} and p.file_id in (select value from json_each(?))", [*values, json.dumps(few)]
        files, places = files_at([wanted.path])
        return f"{where} and +p.file_id in ({files})", values + places

    def _batches(self, query: str, values: Any) -> Iterator[list[Turn]]:
        cursor = self._tuples(query, values)
        make = partial(tuple.__new__, Turn)  # a million times, `_make` is half a second
        while rows := cursor.fetchmany(AT_ONCE):
            yield [*map(make, rows)]

    def _tuples(self, query: str, values: Any = ()) -> sqlite3.Cursor:
        cursor = self._db.cursor()
        cursor.row_factory = None
        return cursor.execute(query, values)

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.cleaned += 1
            return text_of(raw)
