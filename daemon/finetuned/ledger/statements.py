"""A statement in SQL that a person typed: it reads the ledger, for a limited time, and can do nothing else.

Its connection cannot write. What reaches beyond the ledger (another file, an extension), SQLite asks for beforehand.
SQLite looks at the clock between the steps of its machine, and one step may be a function that takes hours: whoever has
a statement run asks the `Allowance` from beside it, and ends the process.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from difflib import get_close_matches
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
#: no text or value that a query makes may be longer, in bytes; the ledger's own are of a mebibyte
LONGEST: Final = 64 * 1024 * 1024
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
#: pragmas that do something without one
_DOING: Final = frozenset({"incremental_vacuum", "optimize", "shrink_memory", "wal_checkpoint"})
#: what may be read like a table beside those of the ledger
_TABLES: Final = (
    *(f"pragma_{name}" for name in sorted(_TELLING)),
    *(f"pragma_{name}" for name in ("application_id", "collation_list", "compile_options", "database_list")),
    *(f"pragma_{name}" for name in ("freelist_count", "function_list", "module_list", "page_count", "page_size")),
    *(f"pragma_{name}" for name in ("pragma_list", "schema_version", "user_version")),
    *("dbstat", "json_each", "json_tree", "qa_pairs_fts"),
)
#: functions that run, or lead to, code that is not SQLite's
_FOREIGN: Final = frozenset({"load_extension", "fts3_tokenizer"})
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
#: what says nothing, around a statement
_NOTHING: Final = re.compile(r"(?:[;\s]|--[^\n]*|(?>/\*.*?(?:\*/|\Z)))*+", re.DOTALL)
#: SQLite's code for a query that its own fault ends: a mistake of the one who typed it
_MISTAKES: Final = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH})


class Allowance:
    """How many seconds SQLite may work for a statement, by `clock`; safe to be asked from another thread.

    What is done with the rows meanwhile does not count: a pager has all the time in the world.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._spent: tuple[float, float | None] = (0.0, None)  # what is over, and when SQLite began what is under way

    def __enter__(self) -> None:
        self._spent = (self._spent[0], self._clock())

    def __exit__(self, *_: object) -> None:
        self._spent = (self._used(), None)

    def is_over(self, *, by: float = 0.0) -> bool:
        """Tell whether SQLite has worked for longer, by so many seconds."""
        return self._used() > self._seconds + by

    def error(self) -> FinetunedError:
        """Make the error of a statement for which it was not enough."""
        return FinetunedError(
            f"the statement took longer than {self._seconds:g} s",
            remedy="ask for less, or give it more time: --limit-time 1m",
        )

    def _used(self) -> float:
        before, since = self._spent
        return before if since is None else before + self._clock() - since


class Statement:
    """A statement that was begun: the names of its columns, and its rows as they are found.

    Raises UsageError for what may not or cannot be run, FinetunedError if SQLite has to work for it longer than is
    allowed, MemoryError, LedgerStuck, LedgerError.
    """

    def __init__(self, db: sqlite3.Connection, path: str, text: str, allowance: Allowance) -> None:
        self._path = path
        self._text = _alone(utf8_text(text))
        self._allowance = allowance
        self._refused: str | None = None
        self._db = db
        self._run(self._confine)
        self._rows = db.cursor()
        self._rows.row_factory = None
        self._run(lambda: self._rows.execute(self._text))
        #: names of the values in a row; what would be there twice has a number
        self.columns = _told_apart([column[0] for column in self._rows.description or ()])

    def __iter__(self) -> Iterator[Values]:
        while (row := self._run(self._rows.fetchone)) is not None:
            yield row

    def _confine(self) -> None:
        """Let the connection only read."""
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        for table in _TABLES:  # to begin to use one counts as making a table
            with suppress(sqlite3.OperationalError):  # an older SQLite, or ledger, lacks it
                self._db.execute(f"select 1 from {table} limit 0")
        self._db.set_authorizer(self._may)
        self._db.set_progress_handler(self._allowance.is_over, _STEPS)

    def _may(self, action: int, first: str | None, second: str | None, *_: object) -> int:
        """Tell SQLite whether the statement may do something."""
        if (
            action in _READS
            or (action == sqlite3.SQLITE_FUNCTION and second not in _FOREIGN)
            or (action == sqlite3.SQLITE_PRAGMA and _tells(first, second))
        ):
            return sqlite3.SQLITE_OK
        self._refused = _REFUSED.get(action, "writes")
        return sqlite3.SQLITE_DENY

    def _run(self, step: Callable[[], T]) -> T:
        """Have SQLite work, and count the time."""
        try:
            with self._allowance:
                return step()
        except (sqlite3.Error, sqlite3.Warning) as error:
            self._fail(error)

    def _fail(self, error: sqlite3.Error | sqlite3.Warning) -> NoReturn:
        words, code = str(error), getattr(error, "sqlite_errorcode", None)
        if self._refused is not None:
            raise UsageError(f"the statement {self._refused}: only what reads the ledger is run here") from None
        if code == sqlite3.SQLITE_INTERRUPT:
            raise self._allowance.error() from None
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
            with suppress(sqlite3.Warning), self._allowance:
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
        query = (
            "select name from sqlite_master where type in ('table', 'view') "
            "and not (name glob '*sqlite_*' or name glob 'qa_pairs_fts_*') order by type desc, name"
        )
        names = [row[0] for row in self._db.execute(query)]
        word = match[2].lower().removeprefix("main.")
        meant = [name for name in names if name.startswith(word)] or get_close_matches(word, names)
        return f"{f'did you mean {meant[0]}? ' if meant else ''}there are: {', '.join(names)}"


def _tells(pragma: str | None, argument: str | None) -> bool:
    """Tell whether a pragma changes nothing."""
    name = (pragma or "").lower()
    return name in _TELLING or (argument is None and name not in _DOING)


def _alone(text: str) -> str:
    """Return a statement without the semicolons around it, where it stands. Raises UsageError: there is none."""
    begin = _NOTHING.match(text)
    if begin is None or begin.end() == len(text):
        raise UsageError("there is no statement", remedy="try: finetuned sql 'select * from finished_jobs'")
    for end in re.finditer(";", text[begin.end() :]):
        at = begin.end() + end.end()
        if sqlite3.complete_statement(text[begin.end() : at]):
            text = text[:at] if _NOTHING.fullmatch(text, at) else text
            break
    return begin[0].replace(";", " ") + text[begin.end() :]


def _told_apart(names: list[str]) -> list[str]:
    """Give a number to each name that is there already: `id`, `id_2`."""
    told: list[str] = []
    for name in names:
        number, other = 2, name
        while other in told:
            number, other = number + 1, f"{name}_{number}"
        told.append(other)
    return told
