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


@migrations()
def m004_contents(db: Database) -> None:
    """What makes two texts the same, which sessions are gone from the server, and names that no rule takes."""
    for statement in (
        "alter table files add column text_sha256 text check (length(text_sha256) = 64)",
        # the hash that counted so far; of most texts (LF, one newline at the end) it is the new one, too
        "update files set text_sha256 = sha256",
        "drop index contents",
        "create index contents on files (folder, text_sha256, state)",
        "alter table sessions add column removed_at text",
        """
        update sessions set removed_at = (select max(e.at) from events e
          where e.subject = 'session' and e.subject_id = sessions.session_id and e.became = 'removed')
        """,
        "alter table folders add column untaken text",
    ):
        db.execute(statement)


@migrations()
def m005_read_only(db: Database) -> None:
    """Which sessions are never altered on the server, as only a note in a folder told that they are ours."""
    db.execute(
        "alter table sessions add column read_only integer not null default 0 "
        "check (read_only in (0, 1) and (read_only = 0 or discard = 0))"
    )
