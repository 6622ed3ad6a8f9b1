"""The ledger's tables, views and indexes, as step 6 left them; every later change is a step in `migrations`.

1. CHECKs tie columns to states, partial unique indexes make rules physical: the audit asks for what SQL cannot hold.
2. A row of `sessions` is an attempt at a job. What belongs to the attempt is there alone: a new attempt is a new row,
   `current` marks the one that counts for the job, and the view `all_jobs` shows a job with what is known of it.
3. Of a number whose send surely had no effect there are several rows: it is used again, until a session came of it.
4. The full-text index is kept by hand (`pairs`), as a trigger would need a trusted schema.
5. A pair is a `turn` of a `talk`, both numbered from 1, the talks in the order of their session; null: it is not known,
   as a release before this step wrote it. The `system`'s words are in the row of a talk's first turn.
6. A path is stored as text for people (`path`) and, only where that text is not exact, as its bytes (`path_b64`).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from finetuned.lifecycle import FILE_ENDS, JOB_ENDS, FileState, JobState, Requested, SessionState

APPLICATION_ID: Final = 0x66_74_6E_64  # "ftnd"
SCHEMA_VERSION: Final = 7
#: the step whose tables stand here
BASE: Final = 6
#: how the full-text index folds words, and what it holds of them
FOLDING: Final = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
STEMMING: Final = f"porter {FOLDING}"
#: states of jobs of which one session's pairs count, and no others
TRAINED: Final = (JobState.DONE, JobState.PARTIAL)


def among(states: Iterable[StrEnum]) -> str:
    """Write a list of states in SQL."""
    return "(" + ", ".join(f"'{s}'" for s in sorted(states)) + ")"


TABLES: Final = MappingProxyType(
    {
        "jobs": f"""
create table jobs (
  id text primary key,
  folder text not null,
  state text not null check (state in {among(JobState)}),
  reason text,
  batch_group text not null default '',
  files integer not null check (files >= 0),
  bytes integer not null check (bytes >= 0),
  attempts_before integer not null default 0 check (attempts_before >= 0),
  unanswered integer not null default 0,
  unheard integer not null default 0,
  requested text check (requested in {among(Requested)}),
  split_of text references jobs (id),
  created_at text not null,
  claimed_at text,
  finished_at text,
  due_at text,
  tries integer not null default 0,
  archived integer not null default 1 check (archived in (0, 1)),
  version integer not null default 1,
  check ((state in {among(JOB_ENDS)}) = (finished_at is not null)),
  check (state not in ('submitting', 'doubtful', 'running', 'review') or claimed_at is not null),
  check (state not in ('partial', 'failed', 'cancelled') or reason is not null),
  check (archived = 1 or state in {among(JOB_ENDS)})
) strict
""",
        "files": f"""
create table files (
  id integer primary key,
  folder text not null,
  path text not null,
  path_b64 text,
  location text,
  location_b64 text,
  state text not null check (state in {among(FileState)}),
  reason text,
  batch_group text not null default '',
  size integer,
  mtime_ns integer,
  ctime_ns integer,
  inode integer,
  sha256 text check (length(sha256) = 64),
  text_sha256 text check (length(text_sha256) = 64),
  bytes integer,
  sent_bytes integer,
  job_id text references jobs (id),
  upload_name text,
  document_id text,
  sketch blob,
  pairs integer,
  seen_at text not null,
  ready_at text,
  finished_at text,
  due_at text,
  tries integer not null default 0,
  archived integer not null default 1 check (archived in (0, 1)),
  version integer not null default 1,
  check (state not in ('packed', 'learned', 'barren', 'failed') or job_id is not null),
  check (state not in ('packed', 'learned', 'barren', 'duplicate') or sha256 is not null),
  check (state != 'waiting' or sha256 is not null or reason is not null),
  check ((state in {among(FILE_ENDS)}) = (finished_at is not null)),
  check (state not in ('refused', 'barren', 'failed', 'duplicate') or reason is not null),
  check (state not in ('settling', 'waiting', 'packed') or location is not null),
  check (state != 'learned' or pairs > 0)
) strict
""",
        "sessions": f"""
create table sessions (
  id integer primary key,
  job_id text not null references jobs (id),
  attempt integer not null check (attempt > 0),
  current integer not null check (current in (0, 1)),
  state text not null check (state in {among(SessionState)}),
  session_id text,
  url text not null,
  dialect text not null,
  name text,
  upload_id text,
  read_only integer not null default 0 check (read_only in (0, 1)),
  stage text,
  progress integer,
  restarts integer not null default 0,
  retrained integer not null default 0 check (retrained <= restarts),
  requeued integer not null default 0,
  kicks integer not null default 0,
  pairs integer,
  lora_dir text,
  reason text,
  intent_at text not null,
  known_at text,
  moved_at text,
  missing_since text,
  misses integer not null default 0,
  ended_at text,
  removed_at text,
  discard integer not null default 0 check (discard in (0, 1)),
  due_at text,
  tries integer not null default 0,
  version integer not null default 1,
  check (state not in ('live', 'trained', 'twin') or session_id is not null),
  check ((state in ('intended', 'live')) = (ended_at is null)),
  check (current = 1 or ended_at is not null),
  check (current = 0 or state != 'twin'),
  check (stage is null or ended_at is null),
  check ((misses > 0) = (missing_since is not null)),
  check (read_only = 0 or discard = 0)
) strict
""",
        "interactions": """
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
        "qa_pairs": """
create table qa_pairs (
  id integer primary key,
  job_id text not null references jobs (id),
  session_id text not null,
  file_id integer references files (id),
  ordinal integer not null check (ordinal > 0),
  question text not null,
  answer text not null,
  raw_question text not null,
  raw_answer text not null,
  talk integer,
  turn integer check ((talk is null) = (turn is null) and (turn is null or turn > 0)),
  system text check (system is null or turn = 1)
) strict
""",
        "events": """
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
        "servers": """
create table servers (
  url text primary key,
  dialect text,
  reachable integer,
  paused_because text,
  last_error text,
  last_error_at text,
  tries integer not null default 0,
  next_try_at text,
  max_chunks integer,
  max_sessions integer,
  max_sessions_at text,
  max_request integer,
  check ((max_sessions is null) = (max_sessions_at is null))
) strict
""",
        "folders": """
create table folders (
  name text primary key,
  path text not null,
  path_b64 text,
  state text not null check (state in ('watched', 'away', 'retired')),
  rules text,
  paused_at text,
  flush_before text,
  sent_at text,
  untaken text,
  closed text,
  unremoved text,
  since text not null
) strict
""",
        "daemon": """
create table daemon (
  id integer primary key check (id = 1),
  pid integer not null,
  since text not null,
  version text not null,
  configuration text,
  reload_refused_because text
) strict
""",
        "hooks": """
create table hooks (
  key text primary key,
  event_id integer not null,
  since text not null,
  told_at text,
  failing_since text,
  error text,
  tries integer not null default 0,
  due_at text,
  given_up integer not null default 0,
  check ((failing_since is null) = (tries = 0) and (failing_since is null) = (error is null)),
  check ((failing_since is null) = (due_at is null))
) strict
""",
        "relearn": """
create table relearn (folder text not null, sha256 text not null, primary key (folder, sha256)) strict
""",
    }
)

SEARCH: Final = f"""
create virtual table qa_pairs_fts using fts5 (question, answer, tokenize = "{STEMMING}", content = 'qa_pairs')
"""
#: how many like parts of the index are made one: with SQLite's own four a pair is written anew more often
MERGED: Final = ("automerge", 8)
TO_MERGE: Final = "insert into qa_pairs_fts (qa_pairs_fts, rank) values (?, ?)"
#: what the index is given of a pair; `searchable` is a function of a writer's connection
TO_INDEX: Final = """
insert into qa_pairs_fts (rowid, question, answer) select id, searchable(question), searchable(answer) from qa_pairs
"""

INDEXES: Final = (
    (
        "create unique index one_open_file_a_place on files (location, coalesce(location_b64, '')) "
        "where state in ('settling', 'waiting')"
    ),
    "create unique index equals_never_share_a_job on files (job_id, sha256) where state = 'packed'",
    "create unique index one_upload_name_a_job on files (job_id, upload_name) where state = 'packed'",
    "create unique index one_current_attempt_a_job on sessions (job_id) where current = 1",
    "create unique index one_job_a_session on sessions (session_id) where session_id is not null",
    "create unique index one_ordinal_a_pair on qa_pairs (job_id, ordinal)",
    "create index files_by_job on files (job_id)",
    "create index files_by_path on files (path)",
    "create index files_by_location on files (location)",
    "create index files_by_state on files (folder, state, ready_at)",
    "create index files_in_state on files (state)",
    "create index files_in_folder on files (folder)",
    "create index files_by_time on files (seen_at)",
    "create index files_by_end on files (finished_at)",
    "create index files_by_bytes on files (coalesce(bytes, size))",
    "create index files_by_pairs on files (pairs)",
    "create index unfinished_files on files (folder, state) where state = 'settling' and reason is not null",
    "create index unread_files on files (id) where state = 'waiting' and sha256 is null",
    "create index waiting_by_age on files (folder, ready_at, id) where state = 'waiting' and due_at is null",
    "create index held_up_by_time on files (folder, due_at, id) where state = 'waiting' and due_at is not null",
    "create index files_to_archive on files (id) where archived = 0",
    (
        "create index files_left_in_place on files (folder, id) where location = path and location_b64 is path_b64 "
        "and state not in ('settling', 'waiting') and ctime_ns is not null"
    ),
    # by state first: a hash is written to anywhere in an index, and among what is under way that is near
    "create index contents on files (state, text_sha256, folder)",
    "create index open_jobs_first on jobs (created_at) where finished_at is null or archived = 0",
    "create index jobs_by_age on jobs (created_at)",
    "create index jobs_in_state on jobs (state, created_at)",
    "create index jobs_in_folder on jobs (folder, created_at)",
    "create index jobs_by_end on jobs (finished_at)",
    "create index jobs_by_files on jobs (files)",
    "create index jobs_by_bytes on jobs (bytes)",
    "create index successors on jobs (split_of) where split_of is not null",
    "create index sessions_by_job on sessions (job_id)",
    "create index sessions_to_discard on sessions (id) where discard = 1",
    "create index suspect_sessions on sessions (job_id) where state = 'unsent' and due_at is not null",
    "create index pairs_by_session on qa_pairs (session_id)",
    "create index pairs_by_file on qa_pairs (file_id)",
    "create index events_by_subject on events (subject, subject_id)",
    "create index events_by_job on events (job_id)",
    "create index events_by_time on events (at)",
)

#: how many attempts at the job `j` there were: numbers whose send surely had no effect are used again
ATTEMPTS: Final = """max(j.attempts_before, coalesce(
  (select max(s.attempt) from sessions s where s.job_id = j.id and (s.current = 1 or s.state = 'ended')), 0))"""

VIEWS: Final = MappingProxyType(
    {
        "all_jobs": f"""
create view all_jobs as
  select j.id, j.folder, j.state, j.files, j.bytes, case when a.state = 'trained' then a.pairs end as pairs,
    a.session_id, a.stage, a.progress, {ATTEMPTS} as attempt, coalesce(a.restarts, 0) as restarts, j.created_at,
    (select max(s.intent_at) from sessions s where s.job_id = j.id and s.state != 'twin') as submitted_at,
    j.finished_at, j.reason, a.lora_dir, iif(a.state in ('intended', 'live'), a.due_at, j.due_at) as due_at,
    j.archived, j.rowid as ordinal
  from jobs j left join sessions a on a.job_id = j.id and a.current = 1
""",
        "all_files": """
create view all_files as
  select path, location, folder, state, job_id, sha256, coalesce(bytes, size) as bytes, pairs, reason, seen_at,
    ready_at, finished_at, upload_name, due_at, path_b64, location_b64, id
  from files
""",
        "finished_jobs": f"""
create view finished_jobs as
  select id as job_id, folder, state, session_id, lora_dir, files, pairs, created_at, submitted_at, finished_at, reason,
    bytes, attempt, restarts
  from all_jobs where state in {among(JOB_ENDS)}
""",
        "open_jobs": f"""
create view open_jobs as
  select id as job_id, folder, state, stage, progress, session_id, attempt, files, created_at, submitted_at, due_at,
    reason, bytes, restarts
  from all_jobs where state not in {among(JOB_ENDS)}
""",
        "pairs_with_source": f"""
create view pairs_with_source as
  select p.job_id, f.path, p.ordinal, p.question, p.answer, p.id, p.session_id, p.file_id, j.folder, f.sha256,
    f.path_b64, j.finished_at, iif(j.state in {among(TRAINED)}, p.session_id is
      (select a.session_id from sessions a where a.job_id = p.job_id and a.current = 1), 1) as current,
    p.talk, p.turn, p.system
  from qa_pairs p left join files f on f.id = p.file_id left join jobs j on j.id = p.job_id
""",
    }
)

#: a ledger from nothing
STATEMENTS: Final = (*TABLES.values(), SEARCH, *INDEXES, *VIEWS.values())
