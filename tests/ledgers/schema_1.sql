-- The schema of the first release, as it made its ledgers.
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE TABLE jobs (
  id text primary key,
  folder text not null,
  state text not null check (state in ('cancelled', 'done', 'doubtful', 'failed', 'partial', 'queued', 'review', 'running', 'submitting')),
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
  check ((state in ('cancelled', 'done', 'failed', 'partial')) = (finished_at is not null)),
  check (state not in ('running', 'review') or session_id is not null),
  check (state not in ('submitting', 'doubtful', 'running', 'review') or (attempt > 0 and claimed_at is not null)),
  check (state not in ('partial', 'failed', 'cancelled') or reason is not null),
  check (put_away = 1 or state in ('cancelled', 'done', 'failed', 'partial'))
) strict;
CREATE TABLE files (
  id integer primary key,
  folder text not null,
  path text not null,
  path_b64 text,
  location text,
  location_b64 text,
  state text not null check (state in ('barren', 'duplicate', 'failed', 'learned', 'packed', 'refused', 'settling', 'vanished', 'waiting')),
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
  check ((state in ('barren', 'duplicate', 'failed', 'learned', 'refused', 'vanished')) = (finished_at is not null)),
  check (state not in ('refused', 'barren', 'failed', 'duplicate') or reason is not null),
  check (state not in ('settling', 'waiting', 'packed') or location is not null),
  check (state != 'learned' or pairs > 0)
) strict;
CREATE TABLE sessions (
  id integer primary key,
  job_id text not null references jobs (id),
  attempt integer not null check (attempt > 0),
  marker text not null,
  state text not null check (state in ('ended', 'intended', 'live', 'trained', 'twin', 'unsent')),
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
) strict;
CREATE TABLE interactions (
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
    ) strict;
CREATE TABLE qa_pairs (
      id integer primary key,
      job_id text not null references jobs (id),
      session_id text not null,
      file_id integer references files (id),
      ordinal integer not null check (ordinal > 0),
      question text not null,
      answer text not null,
      raw_question text not null,
      raw_answer text not null
    ) strict;
CREATE TABLE events (
      id integer primary key,
      at text not null,
      subject text not null check (subject in ('file', 'job', 'session', 'folder', 'server', 'daemon')),
      subject_id text not null,
      was text,
      became text not null,
      cause text,
      detail text,
      job_id text
    ) strict;
CREATE TABLE servers (
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
    ) strict;
CREATE TABLE folders (
      name text primary key,
      path text not null,
      path_b64 text,
      state text not null check (state in ('watched', 'paused', 'away')),
      flush_before text,
      since text not null
    ) strict;
CREATE TABLE again (folder text not null, sha256 text not null, primary key (folder, sha256)) strict;
CREATE TABLE daemon (
      id integer primary key check (id = 1),
      pid integer not null,
      since text not null,
      version text not null
    ) strict;
CREATE UNIQUE INDEX one_open_file_a_place on files (location, coalesce(location_b64, '')) where state in ('settling', 'waiting');
CREATE UNIQUE INDEX equals_never_share_a_job on files (job_id, sha256) where state = 'packed';
CREATE UNIQUE INDEX one_upload_name_a_job on files (job_id, upload_name) where state = 'packed';
CREATE UNIQUE INDEX one_live_session_a_job on sessions (job_id) where state in ('intended', 'live');
CREATE UNIQUE INDEX one_job_a_session on sessions (session_id) where session_id is not null;
CREATE UNIQUE INDEX one_ordinal_a_pair on qa_pairs (job_id, ordinal);
CREATE INDEX files_by_job on files (job_id);
CREATE INDEX files_by_path on files (path);
CREATE INDEX files_by_location on files (location);
CREATE INDEX files_by_state on files (folder, state, ready_at);
CREATE INDEX unread_files on files (id) where state = 'waiting' and sha256 is null;
CREATE INDEX sessions_to_discard on sessions (id) where discard = 1;
CREATE INDEX suspect_sessions on sessions (job_id) where state = 'unsent' and due_at is not null;
CREATE INDEX pairs_by_session on qa_pairs (session_id);
CREATE INDEX waiting_by_age on files (folder, ready_at, id) where state = 'waiting' and due_at is null;
CREATE INDEX held_up_by_time on files (folder, due_at, id) where state = 'waiting' and due_at is not null;
CREATE INDEX files_to_put_away on files (id) where put_away = 0;
CREATE INDEX contents on files (folder, sha256, state);
CREATE INDEX open_jobs_first on jobs (created_at) where finished_at is null or put_away = 0;
CREATE INDEX jobs_by_age on jobs (created_at);
CREATE INDEX pairs_by_file on qa_pairs (file_id);
CREATE INDEX events_by_subject on events (subject, subject_id);
CREATE INDEX events_by_job on events (job_id);
CREATE VIEW finished_jobs as
      select id as job_id, folder, state, session_id, lora_dir, files, pairs, created_at, submitted_at, finished_at,
        reason
      from jobs where state in ('cancelled', 'done', 'failed', 'partial');
CREATE VIEW open_jobs as
      select id as job_id, folder, state, stage, progress, session_id, attempt, files, created_at, submitted_at,
        due_at, reason
      from jobs where state not in ('cancelled', 'done', 'failed', 'partial');
CREATE VIEW pairs_with_source as
      select p.job_id, f.path, p.ordinal, p.question, p.answer
      from qa_pairs p left join files f on f.id = p.file_id;
CREATE VIRTUAL TABLE "qa_pairs_fts" USING FTS5 (
    "question", "answer",
    tokenize='porter unicode61',
    content="qa_pairs"
);
pragma application_id = 1718906468;
pragma user_version = 1;
