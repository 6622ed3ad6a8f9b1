"""The open jobs, kept as values: a round of the daemon costs what changed since the last one, not what there is.

1. Triggers of this connection note which jobs were written, in the transaction that wrote them.
2. Once another program has written to the file, all are read anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Final

from finetuned.ledger.jobs import JOB, OPEN, Jobs, job_of
from finetuned.ledger.store import Store
from finetuned.model import Job

#: a job, with what it is ordered by: when it was made, and in which order within that instant
Aged = tuple[tuple[float, int], Job]

_CHANGED: Final = "(select id from changed_jobs)"
_AGE: Final = itemgetter(0)
#: a job is read with its attempts
_WATCHED: Final = (("jobs", "id"), ("sessions", "job_id"))


class KeptJobs(Jobs):
    """The table of jobs as its only writer sees it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._kept: dict[str, Aged] = {}
        self._version: int | None = None
        self._written: set[str] | None = None  # since the news were told; null: perhaps all
        with store.reading() as db:
            db.execute("create temp table changed_jobs (id text primary key) without rowid")
            for table, column in _WATCHED:
                for verb, row in (("insert", "new"), ("update", "new"), ("delete", "old")):
                    db.execute(
                        f"create temp trigger {table}_{verb} after {verb} on main.{table} begin "
                        f"insert or ignore into changed_jobs values ({row}.{column}); end"
                    )

    def open(self) -> list[Job]:
        """List every job that is not at its end, and every ended one that is not archived, oldest first."""
        with self._store.reading() as db:
            if db.in_transaction:  # what may be rolled back is not kept
                return super().open()
            self._catch_up(db)
            return [job for _, job in sorted(self._kept.values(), key=_AGE)]

    def news(self, *, whole: bool) -> tuple[bool, Mapping[str, Aged | None]]:
        """Tell by id the jobs that were written since this was asked last; null for one that is not open any more.

        With it, whether these are all there are: if the `whole` is asked for, or another program wrote.
        """
        with self._store.reading() as db:
            if not db.in_transaction:
                self._catch_up(db)
            written, self._written = self._written, set()
            if whole or written is None:
                return True, {**self._kept}
            return False, {job_id: self._kept.get(job_id) for job_id in written}

    def _catch_up(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("pragma data_version").fetchone()
        if version != self._version:  # by others: our own writes leave it as it is
            self._kept.clear()
            self._written = None
            self._keep(db.execute(f"{JOB} where {OPEN}"))
        else:
            changed = {job_id for (job_id,) in db.execute("select id from changed_jobs")}
            for job_id in changed:
                self._kept.pop(job_id, None)
            if self._written is not None:
                self._written |= changed
            self._keep(db.execute(f"{JOB} where j.id in {_CHANGED} and {OPEN}"))
        db.execute("delete from changed_jobs")
        self._version = version

    def _keep(self, rows: Iterable[sqlite3.Row]) -> None:
        for row in rows:
            job = job_of(row)
            self._kept[job.id] = (job.created_at, row["ordinal"]), job
