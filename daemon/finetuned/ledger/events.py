"""The table of events: what changed, written in the transaction of the change it tells."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import json

from finetuned.ledger.rows import clean, dicts
from finetuned.lifecycle import Cause
from finetuned.model import File, Job, Value
from finetuned.times import iso

if TYPE_CHECKING:
    from finetuned.ledger.store import Store

#: the subject of events that tell whether the daemon watches, or sweeps alone
WATCH: Final = "watch"
#: the subject of events that tell whether metrics are served
METRICS: Final = "metrics"
#: whether an event `e` tells of a file on its usual way
ON_ITS_WAY: Final = (
    "(e.subject = 'file' and e.became in ('settling', 'waiting', 'packed', 'learned') and e.cause is not 'held_up')"
)


_TELL: Final = (
    "insert into events (at, subject, was, became, cause, job_id, detail, subject_id) "
    "select ?, ?, ?, ?, ?, ?, ?, value from json_each(?)"
)


class Event(Value, frozen=True):
    """What one row tells; all but the time, and of which subject."""

    subject: str
    became: str
    was: str | None = None
    cause: str | None = None
    detail: str | None = None
    job_id: str | None = None


def tell_all(db: sqlite3.Connection, now: float, events: Iterable[tuple[Event, Sequence[str]]]) -> None:
    """Write events in their order, each of these subjects by their ids, in the transaction of the changes they tell.

    None is told as earlier than the one before it: `now` was read before the transaction had its turn, and a clock may
    be set back.
    """
    newest = "select max(?, coalesce((select at from events order by id desc limit 1), ''))"
    (at,) = db.execute(newest, (iso(now),)).fetchone()
    for event, ids in events:
        told = event.subject, event.was, event.became, event.cause, event.job_id, clean(event.detail)
        db.execute(_TELL, (at, *told, json.encode(ids).decode()))


def tell(
    db: sqlite3.Connection,
    now: float,
    subject: str,
    subject_id: str,
    became: str,
    *,
    was: str | None = None,
    cause: str | None = None,
    detail: str | None = None,
    job_id: str | None = None,
) -> None:
    """Write one event, in the transaction of the change it tells."""
    event = Event(subject=subject, became=became, was=was, cause=cause, detail=detail, job_id=job_id)
    tell_all(db, now, [(event, [subject_id])])


def tell_of(db: sqlite3.Connection, now: float, one: File | Job, cause: Cause, detail: str | None = None) -> None:
    """Write an event of a file or a job that keeps its state."""
    subject, job_id = ("job", one.id) if isinstance(one, Job) else ("file", one.job_id)
    tell(db, now, subject, str(one.id), one.state, was=one.state, cause=cause, detail=detail, job_id=job_id)


class Events:
    """Commands and questions about events, and about requests, whose answers they are."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def answered(self, request_id: str, *, verb: str, done: bool, words: str, now: float) -> None:
        """Answer a person's request, carried out or refused: the event is the answer."""
        with self._store.transaction() as db:
            tell(db, now, "daemon", request_id, "done" if done else "refused", cause=verb, detail=words)

    def is_answered(self, request_id: str) -> bool:
        """Tell whether a request was answered already (a crash may have left its file)."""
        query = "select 1 from events where subject = 'daemon' and subject_id = ?"
        return self._store.ask_one(query, request_id) is not None

    def halved_in_vain(self, url: str) -> int:
        """Count the jobs that were halved, for no matter of size, since the server at `url` took one the last time."""
        there = "exists (select 1 from sessions s where s.{} = e.subject_id and s.url = ?)"
        taken = (
            "select e.id from events e where +e.subject = 'session' and e.became = 'live' "
            f"and {there.format('session_id')} order by e.id desc limit 1"
        )
        query = (
            f"select count(*) from events e where e.id > coalesce(({taken}), 0) and +e.subject = 'job' "
            f"and e.became = 'cancelled' and e.cause in ('{Cause.REFUSED}', '{Cause.IN_VAIN}') "
            f"and {there.format('job_id')}"
        )
        (number,) = self._store.ask(query, url, url)[0]
        return int(number)

    def last(self) -> int:
        """Tell the number of the newest event."""
        (number,) = self._store.ask("select coalesce(max(id), 0) from events")[0]
        return int(number)

    def since(self, number: int, *, most: int = -1, quiet: bool = True) -> list[dict[str, Any]]:
        """List the events after `number`, oldest first, with path and folder of what they tell of; all if negative.

        Those are `quiet` that tell of a file on its usual way: most of a burst are such. They are left out if not asked
        for.
        """
        with self._store.reading() as db:
            rows = db.execute(
                f"select e.*, f.path, coalesce(f.folder, j.folder) as folder, {ON_ITS_WAY} as quiet from events e "
                "left join files f on e.subject = 'file' and f.id = cast(e.subject_id as integer) "
                "left join jobs j on j.id = e.job_id "
                f"where e.id > ? and (? or not {ON_ITS_WAY}) order by e.id limit ?",
                (number, quiet, most),
            )
            return list(dicts(rows))
