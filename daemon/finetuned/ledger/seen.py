"""What a look brings into the ledger: a session's interactions, updated in place."""

from __future__ import annotations

import sqlite3

from finetuned.backend import Observation
from finetuned.model import iso


def write_look(db: sqlite3.Connection, seen: Observation, now: float) -> None:
    """Every interaction as it was seen now, in place of what was seen before."""
    for ordinal, turn in enumerate(seen.interactions, 1):
        db.execute(
            "insert or replace into interactions values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                seen.id,
                turn.id,
                ordinal,
                turn.creator,
                turn.mode,
                turn.state,
                turn.stage,
                turn.message,
                turn.status,
                turn.error,
                turn.progress,
                int(turn.finished),
                turn.lora_dir,
                turn.created,
                turn.updated,
                turn.completed,
                turn.chunks,
                int(turn.limited),
                iso(now),
            ),
        )
