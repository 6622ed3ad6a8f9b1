"""A statement in SQL that a person typed: it reads the ledger, for a limited time, and can do nothing else.

Its connection cannot write. What reaches beyond the ledger (another file, an extension), SQLite asks for beforehand.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from types import MappingProxyType
from typing import Final, NoReturn, TypeVar

from finetuned.errors import FinetunedError, UsageError
from finetuned.ledger.trouble import problem
from finetuned.paths import utf8_text

T = TypeVar("T")
Values = tuple[object, ...]

#: how many steps of SQLite's machine lie between two looks at the clock
_STEPS: Final = 10_000
#: no text or value that a statement makes may be longer, in bytes
_LONGEST: Final = 256 * 1024 * 1024
#: so many places of a word are tried for the one that is wrong
_TRIES: Final = 100
_READS: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
#: pragmas that may have an argument: they tell of a table, or check the file
_TELLING: Final = frozenset(
    {
        *("table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"),
        *("quick_check", "integrity_check", "foreign_key_check"),
    }
)
#: what is refused, in words; all else would write
_REFUSED: Final = MappingProxyType(
    {
        sqlite3.SQLITE_ATTACH: "attaches another file",
        sqlite3.SQLITE_DETACH: "detaches a file",
        sqlite3.SQLITE_TRANSACTION: "begins or ends a transaction",
        sqlite3.SQLITE_SAVEPOINT: "begins or ends a transaction",
        sqlite3.SQLITE_PRAGMA: "changes a setting",
        sqlite3.SQLITE_FUNCTION: "loads an extension",
    }
)
#: SQLite's words for what is wrong with a statement, with the word that it is about
_NEAR: Final = re.compile(r'near "(.*)": syntax error|unrecognized token: "(.*)"', re.DOTALL)
_UNKNOWN: Final = re.compile(r"no such (table|column): (.*)")
#: SQLite's code for a query that its own fault ends: a mistake of the one who typed it
_MISTAKES: Final = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH})


class Statement:
    """A statement that was begun: the names of its columns, and its rows as they are found.

    `limit` is how many seconds SQLite may work for it, by `clock`. Raises UsageError for what may not or cannot be run,
    FinetunedError if it takes too long, LedgerStuck, LedgerError.
    """

    def __init__(
        self, db: sqlite3.Connection, path: str, text: str, *, limit: float, clock: Callable[[], float]
    ) -> None:
        self._path = path
        self._text = utf8_text(text)
        self._limit = limit
        self._clock = clock
        self._worked = 0.0
        self._since = 0.0
        self._refused: str | None = None
        self._db = db
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        db.execute("pragma query_only = on")
        db.execute("select rowid from qa_pairs_fts limit 0")  # to begin to use the index counts as making a table
        db.set_authorizer(self._may)
        db.set_progress_handler(self._is_over, _STEPS)
        self._rows = db.cursor()
        self._rows.row_factory = None
        self._run(lambda: self._rows.execute(self._text))
        #: names of the values in a row; what would be there twice has a number
        self.columns = _told_apart([column[0] for column in self._rows.description or ()])

    def __iter__(self) -> Iterator[Values]:
        while (row := self._run(self._rows.fetchone)) is not None:
            yield row

    def _may(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        """Tell SQLite whether the statement may do something."""
        if (
            action in _READS
            or (action == sqlite3.SQLITE_FUNCTION and second != "load_extension")
            or (action == sqlite3.SQLITE_PRAGMA and (second is None or first in _TELLING))
        ):
            return sqlite3.SQLITE_OK
        self._refused = _REFUSED.get(action, "writes")
        return sqlite3.SQLITE_DENY

    def _is_over(self) -> bool:
        return self._worked + self._clock() - self._since > self._limit

    def _run(self, step: Callable[[], T]) -> T:
        """Have SQLite work, and count the time."""
        self._since = self._clock()
        try:
            return step()
        except (sqlite3.Error, sqlite3.Warning) as error:
            self._fail(error)
        finally:
            self._worked += self._clock() - self._since

    def _fail(self, error: sqlite3.Error | sqlite3.Warning) -> NoReturn:
        words, code = str(error), getattr(error, "sqlite_errorcode", None)
        if self._refused is not None:
            raise UsageError(f"the statement {self._refused}: only what reads the ledger is run here") from None
        if code == sqlite3.SQLITE_INTERRUPT:
            raise FinetunedError(
                f"the statement took longer than {self._limit:g} s",
                remedy="ask for less, or give it more time: --limit-time 1m",
            ) from None
        if "one statement at a time" in words:
            raise UsageError("that is more than one statement", remedy="run one at a time") from None
        if isinstance(error, sqlite3.Error) and code is not None and code & 0xFF not in _MISTAKES:
            raise problem(error, self._path, "cannot be read") from error
        raise UsageError(
            f"the statement cannot be run: {words}{self._place(words)}", remedy=self._names(words)
        ) from None

    def _place(self, words: str) -> str:
        """Tell where the word stands that SQLite complains of; empty if that is not known."""
        if match := _NEAR.match(words):
            at = self._first(match[1] or match[2] or "", words)
        elif match := _UNKNOWN.fullmatch(words):
            found = re.search(rf"(?<![\w.]){re.escape(match[2])}(?!\w)", self._text, re.IGNORECASE)
            at = found.start() if found else None
        else:
            at = None
        if at is None:
            return ""
        before = self._text[:at]
        return f" (line {before.count(chr(10)) + 1}, column {at - before.rfind(chr(10))})"

    def _first(self, word: str, words: str) -> int | None:
        """Find where the word stands at which SQLite gave up: the text up to there is sound as far as it goes."""
        for match in islice(re.finditer(re.escape(word), self._text), _TRIES):
            with suppress(sqlite3.Warning):
                try:
                    self._db.execute(f"explain {self._text[: match.end()]}")
                except sqlite3.Error as error:
                    if str(error) == words:
                        return match.start()
        return None

    def _names(self, words: str) -> str:
        """Tell what there is in the place of a name that is not known; empty if that is not what is wrong."""
        match = _UNKNOWN.fullmatch(words)
        if match is None:
            return ""
        if match[1] == "column":
            return "`finetuned help interface` lists the columns"
        query = "select name from sqlite_master where type = 'view' or name = 'events' order by type desc, name"
        return f"there are: {', '.join(row[0] for row in self._db.execute(query))}"


def _told_apart(names: list[str]) -> list[str]:
    """Give a number to each name that is there already: `id`, `id_2`."""
    told: list[str] = []
    for name in names:
        number, other = 2, name
        while other in told:
            number, other = number + 1, f"{name}_{number}"
        told.append(other)
    return told
