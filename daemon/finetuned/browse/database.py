"""The ledger as Datasette reads it: a connection for each query, opened as every reader of ours opens it."""

from __future__ import annotations

import asyncio
import math
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, TypeVar

from datasette.app import Datasette
from datasette.database import Database
from datasette.views.base import DatasetteError

from finetuned import clock
from finetuned.ledger.opening import connect_to_read
from finetuned.ledger.questions import QUESTIONS, Searches, count_up_to
from finetuned.ledger.statements import LONGEST
from finetuned.ledger.trouble import unreadable

T = TypeVar("T")

#: the rows of a table with more than this are many
MOST_COUNTED: Final = 10_000
#: so many seconds after its time a query is given up that SQLite does not end
_GRACE: Final = 3.0
#: no pattern of `like` may be longer, in bytes: a long one takes minutes of a long text
_LONGEST_PATTERN: Final = 1000
#: questions that ask how many days to go back
_OF_DAYS: Final = frozenset(question.sql for question in QUESTIONS.values() if ":days" in question.sql)


class LedgerDatabase(Database):
    """The ledger at a path; read only, and not counted to the end."""

    def __init__(self, ds: Datasette, path: str) -> None:
        super().__init__(ds, path=path)
        self._began: list[float] = []  # when the queries began that are under way

    def is_stuck(self) -> bool:
        """Tell whether a query goes on long after its time: it is in a function, and there SQLite ends none."""
        worked = clock.steady() - min(self._began, default=math.inf)
        return bool(worked > self.ds.sql_time_limit_ms / 1000 + _GRACE)

    async def execute_fn(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on a connection of its own, in a thread. Raises DatasetteError: there is no ledger now."""
        return await asyncio.get_running_loop().run_in_executor(self.ds.executor, self._run, fn)

    async def execute(self, sql: str, params: Any = None, *args: Any, **how: Any) -> Any:
        """Run a query; a mistake in it is told on the page, not on the terminal.

        Raises DatasetteError: one of our questions is asked for days that are no number.
        """
        days = str(params.get("days") or 1) if sql in _OF_DAYS else "1"
        if not re.fullmatch("0*[1-9][0-9]{0,4}", days):
            raise DatasetteError(f"days is a number from 1 to 99999, not {days!r}", status=400)
        return await super().execute(sql, params, *args, **{**how, "log_sql_errors": False})

    async def execute_write_fn(self, fn: Callable[[sqlite3.Connection], T], block: bool = True) -> T:  # noqa: ARG002
        """Refuse to write. Raises DatasetteError."""
        raise DatasetteError("the ledger is only read here", status=403)

    async def table_counts(self, limit: int = 10) -> dict[str, int | None]:  # noqa: ARG002 - Datasette's signature
        """Count the rows of each table as far as MOST_COUNTED; null if there are more."""
        counts: dict[str, int | None] = {}
        for table in await self.table_names():
            rows = await self.execute(count_up_to(table, MOST_COUNTED + 1))
            counts[table] = None if rows.first()[0] > MOST_COUNTED else rows.first()[0]
        return counts

    def _run(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        try:
            db = connect_to_read(self.path)
        except sqlite3.Error as error:
            raise DatasetteError(
                unreadable(error, self.path).with_remedy(), status=503, title="The ledger cannot be read"
            ) from error
        with closing(db), Searches() as searches:
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
            db.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, _LONGEST_PATTERN)
            for name, words, function in searches.functions:
                db.create_function(name, words, function, deterministic=True)
            began = clock.steady()
            self._began.append(began)
            try:
                return fn(db)
            finally:
                self._began.remove(began)
