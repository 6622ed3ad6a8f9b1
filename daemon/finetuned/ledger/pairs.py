"""The table of pairs: what sessions taught, written in batches, so that a million of them hold up nobody.

1. A session's `pairs` says how many it has here; null, not all of them are here yet. That is written with the last of
   what follows from them, so that a crash in between leaves no doubt.
2. What is there of a session before all of it is, is taken away again and written anew: the server may tell other pairs
   the next time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgspec

from finetuned.backend import Pair
from finetuned.ledger.queries.pairs import PAIR, SPARE
from finetuned.ledger.rows import insert_alike
from finetuned.ledger.schema import TO_INDEX
from finetuned.ledger.store import Store
from finetuned.model import Job

#: pairs that one commit takes away
_AT_ONCE: Final = 1000

#: what a pair always tells, and what only some do
_TOLD: Final = ("question", "answer", "raw_question", "raw_answer")
_TOLD_BY_SOME: Final = ("talk", "turn", "system", "evidence", "begins", "ends", "made_by")
_FROM_INDEX: Final = (
    "insert into qa_pairs_fts (qa_pairs_fts, rowid, question, answer) "
    "select 'delete', id, searchable(question), searchable(answer) from qa_pairs"
)


class Pairs:
    """Commands and questions about pairs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def some(self, job_id: str, *, after: int, most: int) -> list[Any]:
        """List pairs of a job that trained: `most` after the ordinal `after`, to be encoded as commands show them."""
        query = (
            f"select {PAIR} from qa_pairs p join sessions s on s.session_id = p.session_id "
            "left join files f on f.id = p.file_id where p.job_id = ? and p.ordinal > ? "
            "and s.current = 1 order by p.ordinal limit ?"
        )
        with self._store.reading() as db:
            found = db.execute(query, (job_id, after, most))
            line = _line(*(column[0] for column in found.description))
            return [line(*row) for row in found]

    def here(self, session_id: str) -> int | None:
        """Count the pairs of the session in the ledger; null if not all of them are there."""
        row = self._store.ask_one("select pairs from sessions where session_id = ?", session_id)
        return None if row is None else row["pairs"]

    def take_some_away(self, session_id: str) -> bool:
        """Take away some of the session's pairs, which are not all here any more; False if there is none left."""
        chosen = f"where id in (select id from qa_pairs where session_id = ? limit {_AT_ONCE})"
        with self._store.transaction() as db:
            db.execute("update sessions set pairs = null where session_id = ? and pairs is not null", (session_id,))
            db.execute(f"{_FROM_INDEX} {chosen}", (session_id,))
            return db.execute(f"delete from qa_pairs {chosen}", (session_id,)).rowcount > 0

    def add(self, job: Job, session_id: str, pairs: Sequence[Pair], owner: Callable[[Pair], int | None]) -> None:
        """Add some more pairs of a session; `owner` tells the id of a pair's file."""
        with self._store.transaction() as db:
            query = "select coalesce(max(ordinal), 0) from qa_pairs where job_id = ?"
            before: int = db.execute(query, (job.id,)).fetchone()[0]
            told = (*_TOLD, *_told_here(pairs))
            values = attrgetter(*told)
            rows = [(job.id, session_id, owner(p), number, *values(p)) for number, p in enumerate(pairs, before + 1)]
            insert_alike(db, "qa_pairs", ("job_id", "session_id", "file_id", "ordinal", *told), rows)
            db.execute(f"{TO_INDEX} where job_id = ? and ordinal > ?", (job.id, before))

    def of_file(self, file_id: int) -> int:
        """Count the pairs that the ledger has of a file."""
        (number,) = self._store.ask("select count(*) from qa_pairs where file_id = ?", file_id)[0]
        return int(number)


@cache
def _line(*names: str) -> type[msgspec.Struct]:
    """Make the type of a row that is encoded without what is null in it: in half of the time that a mapping takes."""
    fields = [(name, Any, None if name in SPARE else msgspec.UNSET) for name in names]
    return msgspec.defstruct("Line", fields, omit_defaults=True)


def _told_here(pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield what one of these tells, at least: to hand SQLite a null takes four times as long as a number."""
    return (name for name in _TOLD_BY_SOME if any(value is not None for value in map(attrgetter(name), pairs)))


def remove_pairs(db: sqlite3.Connection, file_id: int) -> None:
    """Remove a file's pairs for good."""
    db.execute(f"{_FROM_INDEX} where file_id = ?", (file_id,))
    db.execute("delete from qa_pairs where file_id = ?", (file_id,))
