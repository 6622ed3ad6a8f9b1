"""Brings a ledger's schema up to date: a step is never edited once it was released; a change is a new one.

A new ledger begins with the tables of step 6 (`schema`), and takes the steps after that. Which steps a ledger has taken
stands in it, in the table of sqlite-utils' migrations, and its schema's number is SQLite's own `user_version`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from finetuned.errors import LedgerError
from finetuned.imports import without
from finetuned.ledger.schema import (
    APPLICATION_ID,
    BASE,
    INDEXES,
    MERGED,
    SCHEMA_VERSION,
    SEARCH,
    STATEMENTS,
    TABLES,
    TO_INDEX,
    TO_MERGE,
    VIEWS,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

#: the attempt that counts for a job: the open one; of an ended job the one whose session it names, or, if it names
#: none, the last send of its own number; none of a queued job
_CURRENT: Final = """
  case when s.state in ('intended', 'live') then 1 when j.finished_at is null or s.state = 'twin' then 0
    when j.session_id is not null then s.session_id is j.session_id
    else s.session_id is null and s.attempt = j.attempt and s.attempt > j.attempts_before and s.id =
      (select max(o.id) from sessions o where o.job_id = j.id and o.state != 'twin') end
"""

#: what each table of step 6 takes from the former one, by column; what is not named has its default
_MOVED: Final = {
    "jobs": """
insert into new_jobs (id, folder, state, reason, batch_group, files, bytes, attempts_before, unanswered, unheard,
  requested, created_at, claimed_at, finished_at, due_at, tries, archived, version)
select id, folder, state, reason, "group", files, bytes, attempts_before, unanswered, unheard, wish, created_at,
  claimed_at, finished_at, iif(state in ('doubtful', 'running', 'review'), null, due_at),
  iif(state in ('doubtful', 'running', 'review'), 0, tries), put_away, version
from jobs order by rowid
""",
    "files": """
insert into new_files (id, folder, path, path_b64, location, location_b64, state, reason, batch_group, size, mtime_ns,
  ctime_ns, inode, sha256, text_sha256, bytes, sent_bytes, job_id, upload_name, document_id, pairs, seen_at, ready_at,
  finished_at, due_at, tries, archived, version)
select id, folder, path, path_b64, location, location_b64, state, reason, "group", size, mtime_ns, ctime_ns, inode,
  sha256, text_sha256, bytes, sent_bytes, job_id, upload_name, document_id, pairs, seen_at, ready_at, finished_at,
  due_at, tries, put_away, version
from files order by id
""",
    "sessions": f"""
insert into new_sessions (id, job_id, attempt, current, state, session_id, url, dialect, name, upload_id, read_only,
  stage, progress, restarts, retrained, requeued, kicks, pairs, lora_dir, reason, intent_at, known_at, moved_at,
  missing_since, misses, ended_at, removed_at, discard, due_at, tries, version)
select s.id, s.job_id, s.attempt, s.current, s.state, s.session_id, s.url, s.dialect, s.name, s.entity_id, s.read_only,
  iif(s.open, j.stage, null), iif(s.current, j.progress, null), iif(s.current, j.restarts, 0),
  iif(s.current, j.retrained, 0), iif(s.current, j.requeued, 0), iif(s.current, j.nudges, 0),
  iif(s.current and s.state = 'trained', coalesce(s.pairs, j.pairs), s.pairs), s.lora_dir, s.reason, s.intent_at,
  s.known_at, iif(s.current, j.moved_at, null), iif(s.open, j.missing_since, null),
  iif(s.open and j.missing_since is not null, max(1, j.tries), 0), s.ended_at, s.removed_at, s.discard,
  iif(s.open, j.due_at, s.due_at), iif(not s.open, s.tries, iif(j.missing_since is null, j.tries, 0)), s.version
from (select s.*, s.state in ('intended', 'live') as open, {_CURRENT} as current
    from sessions s join jobs j on j.id = s.job_id) s
  join jobs j on j.id = s.job_id
order by s.id
""",
    "servers": """
insert into new_servers (url, dialect, reachable, paused_because, last_error, last_error_at, tries, next_try_at,
  max_chunks, max_sessions, max_sessions_at, max_request)
select url, dialect, reachable, paused_because, last_error, last_error_at, tries, next_try_at, max_chunks, max_sessions,
  max_sessions_at, max_request
from servers
""",
    "folders": """
insert into new_folders (name, path, path_b64, state, flush_before, sent_at, untaken, since)
select name, path, path_b64, state, flush_before, (select max(submitted_at) from jobs where folder = folders.name),
  untaken, since
from folders
""",
    "daemon": """
insert into new_daemon (id, pid, since, version, configuration)
select id, pid, since, version, configuration from daemon
""",
    "relearn": "insert into new_relearn (folder, sha256) select folder, sha256 from again",
}

#: which jobs went on with whose files, as their first event tells
_SPLIT: Final = """
update jobs set split_of =
    (select p.id from events e join jobs p on p.id = substr(e.detail, 4, instr(e.detail, ': ') - 4)
    where e.subject = 'job' and e.subject_id = jobs.id and e.cause = 'split')
  where id in (select subject_id from events where subject = 'job' and cause = 'split')
"""


def _made_anew(table: str) -> tuple[str, str]:
    """Make the statements for a table of step 6 beside the former one, and for what it takes from that."""
    return TABLES[table].replace(f"create table {table}", f"create table new_{table}", 1), _MOVED[table]


#: by number what a step does to a ledger of the one before it
STEPS: Final = MappingProxyType(
    {
        # what sends and answers cost: sends that nobody answered, the largest request, pairs that are all here
        2: (
            "alter table jobs add column unheard integer not null default 0",
            "alter table servers add column max_request integer",
            "alter table sessions add column pairs integer",
            # so far a session's pairs came in one commit: where there are any, there are all
            """
            update sessions set pairs = (select count(*) from qa_pairs p where p.session_id = sessions.session_id)
              where session_id in (select session_id from qa_pairs)
            """,
        ),
        # which configuration the daemon runs with, when the server failed last, and whose turn it is to send
        3: (
            "alter table daemon add column configuration text",
            "alter table servers add column last_error_at text",
            "create index jobs_by_turn on jobs (folder, submitted_at)",
        ),
        # what makes two texts the same, which sessions are gone from the server, and names that no rule takes
        4: (
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
        ),
        # which sessions are never altered on the server, as only a note in a folder told that they are ours
        5: (
            """
            alter table sessions add column read_only integer not null default 0
              check (read_only in (0, 1) and (read_only = 0 or discard = 0))
            """,
        ),
        # what belongs to an attempt is in its row of `sessions`, columns are called what they are called elsewhere,
        # hooks have a table, a pair tells which turn of which talk it is, and the full-text index knows words of
        # languages that write no spaces
        6: (
            *(f"drop view {view}" for view in ("finished_jobs", "open_jobs", "pairs_with_source")),
            *(f"drop index {index}" for index in ("one_ordinal_a_pair", "pairs_by_session", "pairs_by_file")),
            *(f"drop index {index}" for index in ("events_by_subject", "events_by_job")),
            "create index sessions_of_a_job on sessions (job_id)",  # for this step alone: it goes with the old table
            *(statement for table in _MOVED for statement in _made_anew(table)),
            *(f"drop table {'again' if table == 'relearn' else table}" for table in _MOVED),
            *(f"alter table new_{table} rename to {table}" for table in _MOVED),
            *INDEXES,
            "alter table qa_pairs add column talk integer",
            """
            alter table qa_pairs add column turn integer
              check ((talk is null) = (turn is null) and (turn is null or turn > 0))
            """,
            "alter table qa_pairs add column system text check (system is null or turn = 1)",
            *VIEWS.values(),
            _SPLIT,
            TABLES["hooks"],
            "drop table qa_pairs_fts",
            SEARCH,
            TO_INDEX,
        ),
        # the paid work of the local backend: what was asked about which passage, what came back, and what became of it;
        # and where the evidence of a pair lies
        7: (
            "create table planned_runs (run text primary key, made_by text not null, planned_at text not null) strict",
            """
            create table chunks (
              id integer primary key,
              run text not null references planned_runs (run),
              document text not null,
              made_by text not null,
              number integer not null check (number > 0),
              begins integer not null check (begins >= 0),
              own integer not null,
              ends integer not null,
              sha256 text not null check (length(sha256) = 64),
              heading text not null default '',
              state text not null check (state in ('waiting', 'asking', 'answered', 'judged', 'failed')),
              tries integer not null default 0 check (tries >= 0),
              reason text,
              asked_at text,
              unique (run, document, number),
              check (begins <= own and own <= ends),
              check (state != 'failed' or reason is not null)
            ) strict
            """,
            """
            create table answers (
              id integer primary key,
              chunk_id integer not null references chunks (id),
              made_by text not null,
              sha256 text not null,
              at text not null,
              tokens integer not null check (tokens >= 0),
              raw text
            ) strict
            """,
            """
            create table drafts (
              id integer primary key,
              chunk_id integer not null references chunks (id),
              ordinal integer not null check (ordinal > 0),
              question text not null,
              answer text not null,
              evidence text not null,
              begins integer not null,
              ends integer not null,
              dropped text,
              unique (chunk_id, ordinal),
              check (0 <= begins and begins <= ends)
            ) strict
            """,
            "create index open_chunks on chunks (run, id) where state in ('waiting', 'asking', 'answered')",
            "create index answers_of_a_chunk on answers (chunk_id)",
            "create index known_answers on answers (made_by, sha256) where raw is not null",
            "create index answers_by_time on answers (at, tokens)",
            "alter table qa_pairs add column evidence text",
            "alter table qa_pairs add column begins integer",
            "alter table qa_pairs add column ends integer check ((begins is null) = (ends is null))",
            "alter table qa_pairs add column made_by text",
            # how well questions about a file were answered, by the model before its training and after it
            """
            create table recalls (
              file_id integer not null references files (id),
              held_out integer not null check (held_out in (0, 1)),
              questions integer not null check (questions > 0),
              untuned real not null check (untuned between 0 and 1),
              tuned real not null check (tuned between 0 and 1),
              primary key (file_id, held_out)
            ) strict, without rowid
            """,
        ),
    }
)


def bring_up_to_date(db: sqlite3.Connection, version: int) -> None:
    """Take the steps that a ledger of schema `version` (0: a new one) lacks, all in one transaction.

    Foreign keys must be off: while a table is made anew, nothing may refer to it.
    """
    with without("numpy", "pandas"):  # 13 MB that a daemon would keep
        from sqlite_utils import Database, Migrations  # noqa: PLC0415 - 70 ms, and needed once in a ledger's life

    steps = {BASE: STATEMENTS} if version == 0 else {}
    steps |= {number: taken for number, taken in STEPS.items() if number > (version or BASE)}
    migrations, database = Migrations("finetuned"), Database(db)
    for number, statements in steps.items():
        migrations(name=f"m{number:03d}")(_taking(statements))
    db.execute("begin immediate")  # a crash between two steps would have the next start keep a copy of half of them
    try:
        migrations.apply(database)
        _check_references(db)
        db.execute(TO_MERGE, MERGED)  # with the schema: a ledger is new, or as it was, and nothing in between
        db.execute(f"pragma application_id = {APPLICATION_ID}")
        db.execute(f"pragma user_version = {SCHEMA_VERSION}")
        db.execute("commit")
    except BaseException:
        if db.in_transaction:  # an error of the disk has rolled it back already
            db.execute("rollback")
        raise


def _check_references(db: sqlite3.Connection) -> None:
    """Raise LedgerError if a row refers to nothing, as it might after tables were made anew."""
    broken = db.execute("pragma foreign_key_check").fetchone()
    if broken is not None:
        raise LedgerError(
            f"the ledger cannot be brought up to date: a row of {broken[0]} refers to nothing in {broken[2]}; "
            "it was left as it was",
            remedy="put back an earlier copy of it, or go on with the version that wrote it, and report this",
        )


def _taking(statements: Iterable[str]) -> Callable[[Database], None]:
    def take(database: Database) -> None:
        for statement in statements:
            database.execute(statement)

    return take
