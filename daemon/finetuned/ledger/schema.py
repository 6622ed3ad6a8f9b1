"""The ledger's tables, views and indexes.

1. CHECKs tie columns to states, partial unique indexes make rules physical: the audit asks for what SQL cannot hold.
2. The full-text index is kept by hand (`pairs`), as a trigger would need a trusted schema.
3. A path is stored as text for people (`path`) and, only where that text is not exact, as its bytes (`path_b64`).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from finetuned.lifecycle import FILE_ENDS, JOB_ENDS, FileState, JobState, SessionState

APPLICATION_ID: Final = 0x66_74_6E_64  # "ftnd"
SCHEMA_VERSION: Final = 5


def _of(states: Iterable[StrEnum]) -> str:
    return "(" + ", ".join(f"'{s}'" for s in sorted(states)) + ")"


JOBS: Final = f"""
create table jobs (
  id text primary key,
  folder text not null,
  state text not null check (state in {_of(JobState)}),
  reason text,
  "group" text not null default '',
  stage text,
  progress integer,
  files integer not null check (files >= 0),
  bytes integer not null check (bytes >= 0),
  pairs integer,
  attempt integer not null default 0,
  attempts_before integer not null default 0 check (attempts_before <= attempt),
  restarts integer not null default 0,
  retrained integer not null default 0 check (retrained <= restarts),
  requeued integer not null default 0,
  nudges integer not null default 0,
  tries integer not null default 0,
  unanswered integer not null default 0,
  session_id text,
  lora_dir text,
  wish text check (wish in ('cancel', 'delete', 'accept')),
  created_at text not null,
  claimed_at text,
  submitted_at text,
  finished_at text,
  due_at text,
  moved_at text,
  missing_since text,
  put_away integer not null default 1 check (put_away in (0, 1)),
  version integer not null default 1,
  check ((state in {_of(JOB_ENDS)}) = (finished_at is not null)),
  check (state not in ('running', 'review') or session_id is not null),
  check (state not in ('submitting', 'doubtful', 'running', 'review') or (attempt > 0 and claimed_at is not null)),
  check (state not in ('partial', 'failed', 'cancelled') or reason is not null),
  check (put_away = 1 or state in {_of(JOB_ENDS)})
) strict
"""

FILES: Final = f"""
create table files (
  id integer primary key,
  folder text not null,
  path text not null,
  path_b64 text,
  location text,
  location_b64 text,
  state text not null check (state in {_of(FileState)}),
  reason text,
  "group" text not null default '',
  size integer,
  mtime_ns integer,
  ctime_ns integer,
  inode integer,
  sha256 text check (length(sha256) = 64),
  bytes integer,
  sent_bytes integer,
  job_id text references jobs (id),
  upload_name text,
  document_id text,
  pairs integer,
  seen_at text not null,
  ready_at text,
  finished_at text,
  due_at text,
  tries integer not null default 0,
  put_away integer not null default 1 check (put_away in (0, 1)),
  version integer not null default 1,
  check (state not in ('packed', 'learned', 'barren', 'failed') or job_id is not null),
  check (state not in ('packed', 'learned', 'barren', 'duplicate') or sha256 is not null),
  check (state != 'waiting' or sha256 is not null or reason is not null),
  check ((state in {_of(FILE_ENDS)}) = (finished_at is not null)),
  check (state not in ('refused', 'barren', 'failed', 'duplicate') or reason is not null),
  check (state not in ('settling', 'waiting', 'packed') or location is not null),
  check (state != 'learned' or pairs > 0)
) strict
"""

SESSIONS: Final = f"""
create table sessions (
  id integer primary key,
  job_id text not null references jobs (id),
  attempt integer not null check (attempt > 0),
  marker text not null,
  state text not null check (state in {_of(SessionState)}),
  session_id text,
  url text not null,
  dialect text not null,
  name text,
  asked_id text,
  entity_id text,
  lora_dir text,
  reason text,
  intent_at text not null,
  known_at text,
  ended_at text,
  discard integer not null default 0 check (discard in (0, 1)),
  due_at text,
  tries integer not null default 0,
  version integer not null default 1,
  check (state not in ('live', 'trained', 'twin') or session_id is not null),
  check ((state in ('intended', 'live')) = (ended_at is null))
) strict
"""

OTHERS: Final = (
    """
    create table interactions (
      session_id text not null,
      id text not null,
      ordinal integer not null,
      creator text not null,
      mode text not null,
      state text not null,
      stage text not null,
      message text not null,
      status text not null,
      error text not null,
      progress integer not null,
      finished integer not null,
      lora_dir text not null,
      created text not null,
      updated text not null,
      completed text not null,
      chunks integer not null,
      limited integer not null,
      looked_at text not null,
      primary key (session_id, id)
    ) strict
    """,
    """
    create table qa_pairs (
      id integer primary key,
      job_id text not null references jobs (id),
      session_id text not null,
      file_id integer references files (id),
      ordinal integer not null check (ordinal > 0),
      question text not null,
      answer text not null,
      raw_question text not null,
      raw_answer text not null
    ) strict
    """,
    """
    create table events (
      id integer primary key,
      at text not null,
      subject text not null check (subject in ('file', 'job', 'session', 'folder', 'server', 'daemon')),
      subject_id text not null,
      was text,
      became text not null,
      cause text,
      detail text,
      job_id text
    ) strict
    """,
    """
    create table servers (
      url text primary key,
      dialect text,
      reachable integer,
      paused_because text,
      last_error text,
      tries integer not null default 0,
      next_try_at text,
      max_chunks integer,
      max_sessions integer,
      max_sessions_at text,
      check ((max_sessions is null) = (max_sessions_at is null))
    ) strict
    """,
    """
    create table folders (
      name text primary key,
      path text not null,
      path_b64 text,
      state text not null check (state in ('watched', 'paused', 'away')),
      flush_before text,
      since text not null
    ) strict
    """,
    "create table again (folder text not null, sha256 text not null, primary key (folder, sha256)) strict",
    """
    create table daemon (
      id integer primary key check (id = 1),
      pid integer not null,
      since text not null,
      version text not null
    ) strict
    """,
    (
        "create unique index one_open_file_a_place on files (location, coalesce(location_b64, '')) "
        "where state in ('settling', 'waiting')"
    ),
    "create unique index equals_never_share_a_job on files (job_id, sha256) where state = 'packed'",
    "create unique index one_upload_name_a_job on files (job_id, upload_name) where state = 'packed'",
    "create unique index one_live_session_a_job on sessions (job_id) where state in ('intended', 'live')",
    "create unique index one_job_a_session on sessions (session_id) where session_id is not null",
    "create unique index one_ordinal_a_pair on qa_pairs (job_id, ordinal)",
    "create index files_by_job on files (job_id)",
    "create index files_by_path on files (path)",
    "create index files_by_location on files (location)",
    "create index files_by_state on files (folder, state, ready_at)",
    "create index unread_files on files (id) where state = 'waiting' and sha256 is null",
    "create index sessions_to_discard on sessions (id) where discard = 1",
    "create index suspect_sessions on sessions (job_id) where state = 'unsent' and due_at is not null",
    "create index pairs_by_session on qa_pairs (session_id)",
    "create index waiting_by_age on files (folder, ready_at, id) where state = 'waiting' and due_at is null",
    "create index held_up_by_time on files (folder, due_at, id) where state = 'waiting' and due_at is not null",
    "create index files_to_put_away on files (id) where put_away = 0",
    "create index contents on files (folder, sha256, state)",
    "create index open_jobs_first on jobs (created_at) where finished_at is null or put_away = 0",
    "create index jobs_by_age on jobs (created_at)",
    "create index pairs_by_file on qa_pairs (file_id)",
    "create index events_by_subject on events (subject, subject_id)",
    "create index events_by_job on events (job_id)",
    f"""
    create view finished_jobs as
      select id as job_id, folder, state, session_id, lora_dir, files, pairs, created_at, submitted_at, finished_at,
        reason
      from jobs where state in {_of(JOB_ENDS)}
    """,
    f"""
    create view open_jobs as
      select id as job_id, folder, state, stage, progress, session_id, attempt, files, created_at, submitted_at,
        due_at, reason
      from jobs where state not in {_of(JOB_ENDS)}
    """,
    """
    create view pairs_with_source as
      select p.job_id, f.path, p.ordinal, p.question, p.answer
      from qa_pairs p left join files f on f.id = p.file_id
    """,
)
