"""The schema, step by step: a migration is never edited once it was released; a change is a new one."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from finetuned.ledger.schema import FILES, JOBS, OTHERS, SESSIONS

migrations = Migrations("finetuned")


@migrations()
def m001_first(db: Database) -> None:
    """All tables, views and indexes of the first release."""
    for statement in (JOBS, FILES, SESSIONS, *OTHERS):
        db.execute(statement)
    db.table("qa_pairs").enable_fts(["question", "answer"], create_triggers=False, tokenize="porter unicode61")
