"""The table of hooks: how far each has heard the events, and what keeps it from the next one.

1. A row is a cursor over `events`, in which nothing has to be written for each hook and event. It moves once a message
   was taken, so that a message is sent again after a crash, and none is lost; and one at a time, in order. It moves
   past many events that the hook does not hear, too, so that they are not read each time.
2. A hook that is new begins at the present; one that is in no configuration any more is forgotten.
3. What it has still to hear is found by the words of its `on`, as they are now.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from finetuned.ledger.events import tell
from finetuned.ledger.rows import text_at, value_of
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause
from finetuned.model import HookFacts
from finetuned.notices import TEST, Notice, listened_for
from finetuned.times import iso

_LAST: Final = "(select coalesce(max(id), 0) from events)"


class Hooks:
    """Commands and questions about hooks; each is known by its `key` in the settings, and to people by its `name`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, words: Mapping[str, Sequence[str]], now: float) -> None:
        """Take up the hooks of a configuration: by key, the words of `on`. What none waits for is heard."""
        with self._store.transaction() as db:
            for row in db.execute("select key from hooks").fetchall():
                if row["key"] not in words:
                    db.execute("delete from hooks where key = ?", (row["key"],))
            for key, on in words.items():
                known = db.execute("select event_id from hooks where key = ?", (key,)).fetchone()
                if known is None:
                    db.execute(f"insert into hooks (key, event_id, since) values (?, {_LAST}, ?)", (key, iso(now)))
                elif _first(db, known["event_id"], on) is None:
                    db.execute(f"update hooks set event_id = {_LAST} where key = ?", (key,))

    def all(self) -> dict[str, HookFacts]:
        """List what is known of each hook, by its key."""
        return {row["key"]: value_of(HookFacts, row) for row in self._store.ask("select * from hooks")}

    def next(self, after: int, words: Sequence[str]) -> dict[str, Any] | None:
        """Fetch the first event after `after` that a hook with these words hears."""
        with self._store.reading() as db:
            row = _first(db, after, words)
        return None if row is None else dict(row)

    def waiting(self, after: int, words: Sequence[str]) -> int:
        """Count the events after `after` that a hook with these words has still to hear."""
        query, values = _heard(words)
        return int(self._store.ask(f"select count(*) from events where id > ? and ({query})", after, *values)[0][0])

    def first_unheard(self, words: Mapping[str, Sequence[str]]) -> int | None:
        """Find the first event that one of these hooks (by key, the words of `on`) has still to hear; null: none."""
        found = (self.next(facts.event_id, words[key]) for key, facts in self.all().items() if key in words)
        return min((event["id"] for event in found if event is not None), default=None)

    def took(self, key: str, name: str, event_id: int, now: float) -> None:
        """Note that the hook has heard this event, and all before it."""
        with self._store.transaction() as db:
            was = db.execute("select failing_since from hooks where key = ?", (key,)).fetchone()
            db.execute(
                "update hooks set event_id = ?, told_at = ?, failing_since = null, error = null, tries = 0, "
                "due_at = null where key = ?",
                (event_id, iso(now), key),
            )
            if was is not None and was["failing_since"] is not None:
                _tell(db, now, name, "working", "failing")

    def passed(self, key: str, event_id: int) -> None:
        """Note that up to this event there is nothing that the hook has still to hear."""
        with self._store.transaction() as db:
            db.execute(
                "update hooks set event_id = :id where key = :key and event_id < :id", {"id": event_id, "key": key}
            )

    def failed(self, key: str, name: str, why: str, *, due_at: float, now: float) -> None:
        """Note that the hook did not take its next event, and is told again at `due_at`; news is the first time."""
        with self._store.transaction() as db:
            was = db.execute("select failing_since from hooks where key = ?", (key,)).fetchone()
            db.execute(
                "update hooks set failing_since = coalesce(failing_since, ?), error = ?, tries = tries + 1, due_at = ? "
                "where key = ?",
                (iso(now), why, text_at(due_at), key),
            )
            if was is not None and was["failing_since"] is None:
                _tell(db, now, name, "failing", "working", why)

    def give_up(self, key: str, name: str, words: Sequence[str], *, before: float, now: float) -> int:
        """Pass over what the hook has still to hear of the time `before` an instant; how many events."""
        query, values = _heard(words)
        with self._store.transaction() as db:
            (count, last) = db.execute(
                "select count(*), max(e.id) from events e join hooks h on h.key = ? "
                f"where e.id > h.event_id and e.at < ? and ({query})",
                (key, iso(before), *values),
            ).fetchone()
            if count:
                db.execute("update hooks set event_id = ?, given_up = given_up + ? where key = ?", (last, count, key))
                why = f"{count} {'event' if count == 1 else 'events'} up to number {last} will not be told any more"
                _tell(db, now, name, "gave_up", "failing", why)
        return int(count)

    def test(self, now: float) -> None:
        """Write an event that every hook hears, at once: one that fails does not wait for its next try."""
        with self._store.transaction() as db:
            db.execute("update hooks set due_at = ? where due_at is not null", (iso(now),))
            tell(db, now, "daemon", "hooks", TEST, cause=Cause.HOOK)


def _tell(db: sqlite3.Connection, now: float, name: str, became: str, was: str, detail: str | None = None) -> None:
    tell(db, now, "daemon", name, became, was=was, cause=Cause.HOOK, detail=detail)


def _first(db: sqlite3.Connection, after: int, words: Sequence[str]) -> sqlite3.Row | None:
    query, values = _heard(words)
    row: sqlite3.Row | None = db.execute(
        f"select * from events where id > ? and ({query}) order by id limit 1", (after, *values)
    ).fetchone()
    return row


def _heard(words: Collection[str]) -> tuple[str, list[str]]:
    """Make the condition for events that a hook with these words hears, and its values."""
    parts, values = [], list[str]()
    for notice in listened_for(tuple(words)).values():
        part, its = _is(notice)
        parts.append(part)
        values += its
    return " or ".join(parts), values


def _is(notice: Notice) -> tuple[str, list[str]]:
    causes = f" and cause in ({', '.join('?' * len(notice.causes))})" if notice.causes else ""
    # by their numbers, and not by the index: it would go through all that ever became of a file, or a job
    return f"+subject = ? and became = ? and was is not became{causes}", [notice.subject, notice.became, *notice.causes]
