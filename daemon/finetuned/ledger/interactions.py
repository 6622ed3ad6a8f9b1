"""The table of interactions: the turns of a session as they were polled last, updated in place."""

from __future__ import annotations

import sqlite3

from finetuned.backend import Interaction, Observation
from finetuned.ledger.store import Store
from finetuned.times import iso


def write_interactions(db: sqlite3.Connection, seen: Observation, now: float) -> None:
    """Write every interaction as it was seen now, in place of what was seen before."""
    for ordinal, turn in enumerate(seen.interactions, 1):
        columns = {name: getattr(turn, name) for name in Interaction.__struct_fields__}  # a backend's may know more
        columns |= {"session_id": seen.id, "ordinal": ordinal, "looked_at": iso(now)}
        marks = ", ".join("?" * len(columns))
        query = f"insert or replace into interactions ({', '.join(columns)}) values ({marks})"
        db.execute(query, tuple(columns.values()))


class Interactions:
    """Questions about interactions."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_as_written(self, seen: Observation) -> bool:
        """Tell whether the fine-tune of `seen` is, by its own times, what it was at the last poll."""
        turn = seen.turn
        if turn is None:
            return False
        key = (seen.id, turn.id, turn.updated, turn.completed)
        query = "select 1 from interactions where session_id = ? and id = ? and updated = ? and completed = ?"
        with self._store.reading() as db:
            return db.execute(query, key).fetchone() is not None
