"""What changes several tables at once: jobs with their attempts, files and pairs.

1. A job that is too much for a server becomes two in one commit: it ends, and its files are packed in its successors,
   which claim them from where they lie. The claim is repeated until it holds, like that of any job.
2. A job that the ledger does not know, as it was lost or restored, comes back as `doubtful`: an attempt at it may be on
   the server. A note told so, and what the server has under that name is only read (`sessions.read_only`), and so is
   whatever else a search for such a job finds: the attempts that are sent from here are ours.
3. A waiting file that turns out to lie in such a job is packed in it; any other file of it is recorded anew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from finetuned.backend import Observation
from finetuned.ledger.attempts import all_here, change_attempt, end_attempt
from finetuned.ledger.events import tell, tell_of
from finetuned.ledger.files import UNREAD, FileColumns, change_file, columns_of, file_of, files_of, lies_at, move_file
from finetuned.ledger.interactions import write_interactions
from finetuned.ledger.jobs import JobColumns, change_job, end_job, move_job, read_job
from finetuned.ledger.pairs import remove_pairs
from finetuned.ledger.rows import place, text_at
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, FileState, JobState, SessionState, check_move
from finetuned.model import Attempt, Content, File, Job, Signature, Value
from finetuned.times import iso
from finetuned.verdict import JobVerdict

_WORDS = "the ledger did not know it; its files lay claimed, so the server is asked for it first"


class Left(Value, frozen=True):
    """A file that leaves its job before it is sent, what it becomes, and why."""

    file: File
    became: FileState
    reason: str
    location: str | None
    due_at: float | None = None


class FoundFile(Value, frozen=True):
    """A file of a job that was found: as `files` has it."""

    path: str
    location: str
    content: Content
    signature: Signature | None
    upload_name: str


class FoundJob(Value, frozen=True):
    """A job that was found, with the attempt that may be on the server."""

    id: str
    folder: str
    created_at: float
    attempt: int
    files: Sequence[FoundFile]


class Commands:
    """Each is one transaction over several tables."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def seal(self, job_id: str, folder: str, group: str, file_ids: Sequence[int], now: float) -> bool:
        """Make the job `job_id` of these waiting files; False if the id is taken."""
        with self._store.transaction() as db:
            if db.execute("select 1 from jobs where id = ?", (job_id,)).fetchone():
                return False
            marks = ", ".join("?" * len(file_ids))
            rows = db.execute(f"select * from files where id in ({marks})", tuple(file_ids))
            files = [file_of(row) for row in rows]
            size = sum(f.content.bytes for f in files if f.content)
            db.execute(
                "insert into jobs (id, folder, state, batch_group, files, bytes, created_at) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                (job_id, folder, str(JobState.QUEUED), group, len(files), size, iso(now)),
            )
            tell(db, now, "job", job_id, JobState.QUEUED, cause=Cause.SEALED, job_id=job_id)
            for file in files:
                move_file(db, now, file, FileState.PACKED, cause=Cause.SEALED, job_id=job_id, reason=None)
            db.execute(
                "delete from relearn where folder = ? and sha256 in (select sha256 from files where job_id = ?)",
                (folder, job_id),
            )
        return True

    def claimed(self, job: Job, laid: Iterable[tuple[File, str]], left: Iterable[Left], now: float) -> None:
        """Note where each claimed file lies now, and which left the job. An empty job is cancelled."""
        with self._store.transaction() as db:
            for file, location in laid:
                change_file(db, file, **lies_at(location))
            for leaver in left:
                _leave(db, leaver, now)
            count, size = db.execute(
                "select count(*), coalesce(sum(bytes), 0) from files where job_id = ? and state = 'packed'", (job.id,)
            ).fetchone()
            if count:
                change_job(db, job, claimed_at=iso(now), files=count, bytes=size)
                tell_of(db, now, job, Cause.CLAIMED)
                return
            reason = "no file was left in it"
            end_job(db, now, job, JobState.CANCELLED, reason, cause=Cause.EMPTIED, empty=True)

    def begin_attempt(
        self, job: Job, *, url: str, dialect: str, names: Mapping[int, str], now: float
    ) -> tuple[Job, list[File]]:
        """Write the intent to send, attempt and upload names (by file id), before the request."""
        with self._store.transaction() as db:
            for file_id, name in names.items():
                db.execute(
                    "update files set upload_name = ?, version = version + 1 where id = ? and job_id = ?",
                    (name, file_id, job.id),
                )
            db.execute(
                "insert into sessions (job_id, attempt, current, state, url, dialect, stage, progress, intent_at) "
                "values (?, ?, 1, 'intended', ?, ?, 'uploading', 0, ?)",
                (job.id, job.attempts + 1, url, dialect, iso(now)),
            )
            db.execute("update folders set sent_at = ? where name = ?", (iso(now), job.folder))
            move_job(db, now, job, JobState.SUBMITTING, cause=Cause.INTENT, reason=None, due_at=None)
            return read_job(db, job.id), files_of(db, job.id, "packed")

    def adopt(self, job: Job, seen: Observation, *, due_at: float, cause: Cause, now: float) -> None:
        """Note the session that the server has, and let its job run. One found for a noted job is only read."""
        with self._store.transaction() as db:
            attempt = job.under_way
            check_move(attempt.state, cause, SessionState.LIVE)
            change_attempt(
                db,
                attempt,
                state=str(SessionState.LIVE),
                session_id=seen.id,
                name=seen.name,
                read_only=int(job.noted and cause == "found"),
                stage=seen.stage,
                progress=0,
                known_at=iso(now),
                moved_at=iso(now),
                due_at=iso(due_at),
                tries=0,
            )
            tell(db, now, "session", seen.id, "live", was=attempt.state, cause=cause, job_id=job.id)
            write_interactions(db, seen, now)
            fresh: JobColumns = {"reason": None, "tries": 0, "unanswered": 0, "unheard": 0}
            move_job(db, now, job, JobState.RUNNING, cause=cause, detail=seen.id, **fresh)

    def reply_lost(self, job: Job, reason: str, *, answered: bool, due_at: float, now: float) -> None:
        """Make a job doubtful whose request may have taken effect. `answered`: a 5xx, or something odd, came back."""
        with self._store.transaction() as db:
            counted: JobColumns = {"unanswered": job.unanswered + 1} if answered else {"unheard": job.unheard + 1}
            counted |= {"reason": reason, "tries": 0}
            move_job(db, now, job, JobState.DOUBTFUL, cause=Cause.REPLY_LOST, detail=reason, **counted)
            change_attempt(db, job.under_way, stage=None, due_at=iso(due_at), tries=0)

    def unsent(
        self,
        job: Job,
        reason: str,
        *,
        cause: Cause,
        due_at: float | None,
        now: float,
        claim_again: bool = False,
        broke_off: bool = False,
        recheck_at: float | None = None,
    ) -> None:
        """Queue a job again of whose attempt surely no session came; the attempt cost nothing.

        `claim_again`: its files are no longer what they were; the claim finds out which leave the job. `broke_off`: the
        request was on its way, which counts. `recheck_at`: when the server is searched again for a session that it may
        list late.
        """
        with self._store.transaction() as db:
            state = SessionState.UNSENT
            end_attempt(db, now, job, state, cause=cause, reason=reason, counts=False, recheck_at=recheck_at)
            columns: JobColumns = {"reason": reason, "due_at": text_at(due_at), "tries": job.tries + 1}
            columns["unheard"] = job.unheard + broke_off
            if claim_again:
                columns["claimed_at"] = None
                void = "update sessions set upload_id = null where job_id = ? and attempt = ?"
                db.execute(void, (job.id, job.under_way.number))
            move_job(db, now, job, JobState.QUEUED, cause=cause, detail=reason, **columns)

    def failed(
        self, job: Job, reason: str, *, cause: Cause, now: float, recheck_at: float | None = None, discard: bool = False
    ) -> None:
        """Fail a job whose attempt ended and that may have no other; its files fail with it.

        `recheck_at`: see `unsent`. `discard`: the session is unfinished, and is to go from the server.
        """
        with self._store.transaction() as db:
            state = SessionState.UNSENT if job.session_id is None else SessionState.ENDED
            end_attempt(
                db,
                now,
                job,
                state,
                cause=cause,
                reason=reason,
                discard=discard or _is_to_go(db, job.id),
                progress_stays=True,
                recheck_at=recheck_at,
            )
            fail_files(db, now, job, f"its job failed: {reason}")
            end_job(db, now, job, JobState.FAILED, reason, cause=cause)

    def next_attempt(self, job: Job, reason: str, *, cause: Cause, discard: bool, now: float) -> None:
        """Give up the session and queue the job for another. `discard`: it is to be removed from the server."""
        with self._store.transaction() as db:
            state = SessionState.ENDED
            end_attempt(db, now, job, state, cause=cause, reason=reason, counts=False, discard=discard)
            move_job(db, now, job, JobState.QUEUED, cause=cause, detail=reason, reason=reason, due_at=None, tries=0)

    def polled(self, job: Job, seen: Observation, *, stage: str, due_at: float, moved: bool, now: float) -> Job:
        """Write a poll: interactions are updated in place; progress is no event, a new stage is told."""
        with self._store.transaction() as db:
            write_interactions(db, seen, now)
            attempt = job.under_way
            after = change_attempt(
                db,
                attempt,
                stage=stage,
                progress=seen.progress,
                due_at=iso(due_at),
                moved_at=iso(now) if moved else text_at(attempt.moved_at),
                tries=0,
                missing_since=None,
                misses=0,
            )
            if stage != attempt.stage:
                tell_of(db, now, job, Cause.STAGE, stage)
            return replace(job, attempt=after)

    def recovering(
        self, job: Job, seen: Observation, counted: Attempt, reason: str, *, cause: Cause, due_at: float, now: float
    ) -> Job:
        """Write what is done about the session, which was like `seen`; `counted`: how often by now."""
        with self._store.transaction() as db:
            write_interactions(db, seen, now)
            change_job(db, job, reason=reason)
            change_attempt(
                db,
                job.under_way,
                restarts=counted.restarts,
                retrained=counted.retrained,
                requeued=counted.requeued,
                kicks=counted.kicks,
                due_at=iso(due_at),
                moved_at=iso(now),
                tries=0,
                missing_since=None,
                misses=0,
            )
            tell_of(db, now, job, cause, reason)
            return read_job(db, job.id)

    def try_later(self, job: Job, due_at: float, words: str | None, now: float) -> Job:
        """Put off what was due and failed for a passing reason, in the same state.

        A session that was missing before is looked for anew: only polls in a row tell that it is gone.
        """
        with self._store.transaction() as db:
            tries = job.in_vain + 1
            if job.open is None:
                change_job(db, job, due_at=iso(due_at), tries=tries)
            else:
                change_attempt(db, job.open, due_at=iso(due_at), tries=tries, missing_since=None, misses=0)
            if words and job.in_vain == 0:
                tell_of(db, now, job, Cause.HELD_UP, words)
            return read_job(db, job.id)

    def awaits_review(self, job: Job, due_at: float, now: float) -> None:
        """Let the job, whose pairs are made, wait for a person."""
        with self._store.transaction() as db:
            move_job(db, now, job, JobState.REVIEW, cause=Cause.PAIRS_MADE)
            change_attempt(db, job.under_way, due_at=iso(due_at), tries=0, missing_since=None, misses=0)

    def accepted(self, job: Job, now: float) -> None:
        """Note that a person wants the training of a reviewed job to begin: now."""
        with self._store.transaction() as db:
            change_job(db, job, requested="accept")
            change_attempt(db, job.under_way, due_at=None, tries=0)
            tell_of(db, now, job, Cause.ACCEPT)

    def review_over(self, job: Job, *, cause: Cause, now: float) -> None:
        """End the review of a job: its session trains, or is gone."""
        with self._store.transaction() as db:
            move_job(db, now, job, JobState.RUNNING, cause=cause)
            change_attempt(db, job.under_way, due_at=None, tries=0, moved_at=iso(now))
            db.execute("update jobs set requested = null where id = ? and requested = 'accept'", (job.id,))

    def finish(
        self, job: Job, seen: Observation, pairs: int, files: Sequence[File], verdict: JobVerdict, now: float
    ) -> None:
        """Write the verdict over `pairs` that are all here: files, session and job, still to be archived."""
        with self._store.transaction() as db:
            write_interactions(db, seen, now)
            all_here(db, seen.id, pairs, seen.model)
            by_id = {file.id: file for file in files}
            for said in verdict.files:
                ended: FileColumns = {"reason": said.reason, "finished_at": iso(now), "archived": 0}
                ended |= {"pairs": said.pairs, "document_id": said.document}
                file = by_id[said.file_id]
                move_file(db, now, file, said.state, cause=Cause.JOB_ENDED, detail=said.reason, **ended)
            gone = _is_to_go(db, job.id)
            end_attempt(db, now, job, SessionState.TRAINED, cause=Cause.TRAINED, discard=gone)
            end_job(db, now, job, verdict.state, verdict.reason, cause=Cause.TRAINED)

    def keep_pairs(self, seen: Observation, pairs: int, now: float) -> None:
        """Keep the pairs of a session that did not train: the server made them, and they are all here."""
        with self._store.transaction() as db:
            write_interactions(db, seen, now)
            all_here(db, seen.id, pairs)

    def cancelled(self, job: Job, reason: str, now: float) -> None:
        """Give the job up: its files failed, its session is to be removed from the server."""
        with self._store.transaction() as db:
            end_attempt(
                db, now, job, SessionState.ENDED, cause=Cause.CANCEL, reason=reason, discard=True, progress_stays=True
            )
            fail_files(db, now, job, f"its job was cancelled: {reason}")
            end_job(db, now, job, JobState.CANCELLED, reason, cause=Cause.CANCEL)

    def discard_ended(self, job: Job, now: float) -> bool:
        """Have an ended job's session and tuned model removed from the server; False if there is none."""
        with self._store.transaction() as db:
            done = db.execute(
                "update sessions set discard = 1, due_at = null, version = version + 1 "
                "where job_id = ? and session_id is not null and not read_only",
                (job.id,),
            )
            if done.rowcount:
                db.execute("update jobs set requested = 'delete' where id = ?", (job.id,))
                tell_of(db, now, job, Cause.DELETE)
            return done.rowcount > 0

    def queued_again(self, job: Job, now: float) -> None:
        """Queue a failed or cancelled job again, as a person asked: its files are claimed anew."""
        with self._store.transaction() as db:
            for file in files_of(db, job.id, "failed", "barren"):
                columns: FileColumns = {"reason": None, "finished_at": None, "pairs": None, "archived": 1}
                if file.location is None:  # the claim finds out whether it lies anywhere again
                    columns |= lies_at(file.path)
                move_file(db, now, file, FileState.PACKED, cause=Cause.RETRY, **columns)
            count = db.execute(
                "select count(*) from files where job_id = ? and state = 'packed'", (job.id,)
            ).fetchone()[0]
            db.execute("update sessions set current = 0 where job_id = ?", (job.id,))
            move_job(
                db,
                now,
                job,
                JobState.QUEUED,
                cause=Cause.RETRY,
                reason=None,
                finished_at=None,
                claimed_at=None,
                due_at=None,
                tries=0,
                unanswered=0,
                unheard=0,
                requested=None,
                archived=1,
                files=count,
                attempts_before=job.attempts,
            )

    def laid(self, job: Job, places: Iterable[tuple[File, str | None, str | None]], now: float) -> None:
        """Note where the files of an ended job lie now, or why nowhere; its papers are still to be written."""
        with self._store.transaction() as db:
            moved = False
            for file, location, lost in places:
                change_file(db, file, **(lies_at(location) | {"archived": 1}))
                if lost:
                    tell_of(db, now, file, Cause.LOST, lost)
                moved = True
            if moved:  # told before the papers are written, which hold every event of the job
                tell_of(db, now, job, Cause.PUT_AWAY)

    def split(
        self,
        job: Job,
        parts: Mapping[str, Sequence[File]],
        words: str,
        now: float,
        *,
        cause: Cause,
        recheck_at: float | None = None,
    ) -> bool:
        """End the job; its files go on in new ones (by id). False if one of the ids is taken.

        `recheck_at`: see `unsent`.
        """
        with self._store.transaction() as db:
            if any(db.execute("select 1 from jobs where id = ?", (new,)).fetchone() for new in parts):
                return False
            _end_attempt(db, now, job, words, cause, recheck_at)
            for new, files in parts.items():
                _seal_part(db, now, job, new, files, words)
            _end_job(db, now, job, f"split into {', '.join(parts)}", words, cause)
        return True

    def too_big(self, job: Job, file: File, words: str, now: float, *, cause: Cause) -> None:
        """Refuse the only file of a job, which is more than the server takes; the job is empty then."""
        with self._store.transaction() as db:
            _end_attempt(db, now, job, words, cause)
            ended: FileColumns = {"reason": words, "finished_at": iso(now), "archived": 0}
            ended |= {"job_id": None, "upload_name": None}
            move_file(db, now, file, FileState.REFUSED, cause=Cause.TOO_BIG, detail=words, **ended)
            _end_job(db, now, job, f"no file was left in it: {words}", words, cause)

    def take_up(self, job: FoundJob, *, url: str, dialect: str, now: float) -> None:
        """Record a job that the ledger does not know, as doubtful."""
        size = sum(file.content.bytes for file in job.files)
        with self._store.transaction() as db:
            db.execute(
                "insert into jobs (id, folder, state, reason, files, bytes, attempts_before, created_at, "
                "claimed_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(job.id, job.folder, str(JobState.DOUBTFUL), _WORDS, len(job.files), size, job.attempt - 1),
                    *(iso(job.created_at), iso(now)),
                ),
            )
            db.execute(
                "insert into sessions (job_id, attempt, current, state, url, dialect, intent_at, due_at, read_only) "
                "values (?, ?, 1, ?, ?, ?, ?, ?, 1)",
                (job.id, job.attempt, str(SessionState.INTENDED), url, dialect, iso(now), iso(now)),
            )
            tell(db, now, "job", job.id, JobState.DOUBTFUL, cause=Cause.ADOPTED, detail=_WORDS, job_id=job.id)
            for file in job.files:
                _pack(db, job, file, now)

    def forget(self, file: File, job: Job, now: float) -> None:
        """Remove a file's pairs for good, as a person asked; its job's sessions are to go from the server.

        The job's papers are to be written anew: it counts as not archived.
        """
        words = "what was learned of it was removed by `finetuned forget`"
        with self._store.transaction() as db:
            remove_pairs(db, file.id)
            db.execute(
                "update sessions set version = version + 1, pairs = case when pairs is null then null else "
                "(select count(*) from qa_pairs p where p.session_id = sessions.session_id) end where job_id = ?",
                (job.id,),
            )
            db.execute(
                "update sessions set discard = 1, due_at = null where job_id = ? and session_id is not null "
                "and removed_at is null and not read_only",
                (job.id,),
            )
            reason = f"{file.reason}; {words}" if file.reason else words
            change_file(db, file, pairs=None, reason=reason)
            tell_of(db, now, file, Cause.FORGOTTEN, words)
            change_job(db, job, requested="delete", archived=0, due_at=None)
            tell_of(db, now, job, Cause.FORGOTTEN)


def fail_files(db: sqlite3.Connection, now: float, job: Job, reason: str) -> None:
    """Fail every packed file of the job, for this reason; it is still to be archived."""
    for file in files_of(db, job.id, "packed"):
        ended: FileColumns = {"reason": reason, "finished_at": iso(now), "archived": 0}
        move_file(db, now, file, FileState.FAILED, cause=Cause.JOB_ENDED, detail=reason, **ended)


def _leave(db: sqlite3.Connection, leaver: Left, now: float) -> None:
    columns = lies_at(leaver.location) | {"reason": leaver.reason}
    columns |= {"job_id": None, "upload_name": None, "due_at": text_at(leaver.due_at), "tries": leaver.file.tries + 1}
    if leaver.became is FileState.SETTLING:
        columns |= UNREAD
    if leaver.became is FileState.VANISHED:
        columns["finished_at"] = iso(now)
    move_file(db, now, leaver.file, leaver.became, cause=Cause.LEFT_JOB, detail=leaver.reason, **columns)


def _is_to_go(db: sqlite3.Connection, job_id: str) -> bool:
    """Tell whether a person wants the job's session removed, who asked too late to have the job given up."""
    row = db.execute("select requested from jobs where id = ?", (job_id,)).fetchone()
    return row is not None and row["requested"] == "delete"


def _seal_part(db: sqlite3.Connection, now: float, job: Job, new: str, files: Sequence[File], words: str) -> None:
    """Make one of the jobs that go on in the place of `job`; they go on counting where it stopped."""
    size = sum(file.content.bytes for file in files if file.content)
    db.execute(
        "insert into jobs (id, folder, state, batch_group, split_of, files, bytes, created_at, unanswered, unheard) "
        "select ?, folder, ?, batch_group, id, ?, ?, ?, max(0, unanswered - 1), max(0, unheard - 1) "
        "from jobs where id = ?",
        (new, str(JobState.QUEUED), len(files), size, iso(now), job.id),
    )
    tell(db, now, "job", new, JobState.QUEUED, cause=Cause.SPLIT, detail=f"of {job.id}: {words}", job_id=new)
    for file in files:
        change_file(db, file, job_id=new, upload_name=None)
        tell_of(db, now, replace(file, job_id=new), Cause.SPLIT)


def _end_attempt(
    db: sqlite3.Connection, now: float, job: Job, words: str, cause: Cause, recheck_at: float | None = None
) -> None:
    """End the attempt of a job that is split: a session with an error stays as evidence."""
    state = SessionState.UNSENT if job.session_id is None else SessionState.ENDED
    end_attempt(db, now, job, state, cause=cause, reason=words, recheck_at=recheck_at)


def _end_job(db: sqlite3.Connection, now: float, job: Job, reason: str, words: str, cause: Cause) -> None:
    end_job(db, now, job, JobState.CANCELLED, reason, cause=cause, detail=words, empty=True)


def _pack(db: sqlite3.Connection, job: FoundJob, file: FoundFile, now: float) -> None:
    path, location = place(file.path), place(file.location)
    known = db.execute(
        "select * from files where folder = ? and location = ? and location_b64 is ? and state = 'waiting' "
        "and sha256 = ?",
        (job.folder, *path, file.content.sha256),
    ).fetchone()
    if known is not None:
        lies = lies_at(file.location) | {"reason": None, "job_id": job.id, "upload_name": file.upload_name}
        move_file(db, now, file_of(known), FileState.PACKED, cause=Cause.ADOPTED, **lies)
        return
    sign, content = file.signature, file.content
    signs = columns_of(sign).values() if sign else (None,) * 4
    row = db.execute(
        "insert into files (folder, path, path_b64, location, location_b64, state, size, mtime_ns, ctime_ns, inode, "
        "sha256, text_sha256, bytes, sent_bytes, job_id, upload_name, seen_at, ready_at) "
        "values (?, ?, ?, ?, ?, 'packed', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning id",
        (
            *(job.folder, *path, *location, *signs, content.sha256, content.text_sha256 or content.sha256),
            *(content.bytes, content.sent_bytes, job.id, file.upload_name, iso(job.created_at), iso(job.created_at)),
        ),
    ).fetchone()
    tell(db, now, "file", str(row["id"]), FileState.PACKED, cause=Cause.ADOPTED, job_id=job.id)
