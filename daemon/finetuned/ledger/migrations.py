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


@migrations()
def m002_answers(db: Database) -> None:
    """What sends and answers cost: sends that nobody answered, the largest request, pairs that are all here."""
    for statement in (
        "alter table jobs add column unheard integer not null default 0",
        "alter table servers add column max_request integer",
        "alter table sessions add column pairs integer",
        # so far a session's pairs came in one commit: where there are any, there are all
        """
        update sessions set pairs = (select count(*) from qa_pairs p where p.session_id = sessions.session_id)
          where session_id in (select session_id from qa_pairs)
        """,
    ):
        db.execute(statement)


@migrations()
def m003_what_is_told(db: Database) -> None:
    """Which configuration the daemon runs with, when the server failed last, and whose turn it is to send."""
    for statement in (
        "alter table daemon add column configuration text",
        "alter table servers add column last_error_at text",
        "create index jobs_by_turn on jobs (folder, submitted_at)",
    ):
        db.execute(statement)
