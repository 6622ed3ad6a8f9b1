"""What people ask of jobs; each command is one transaction."""

from __future__ import annotations

from finetuned.ledger.attempts import change_attempt, discard_all
from finetuned.ledger.chunks import forget_words
from finetuned.ledger.events import tell, tell_of
from finetuned.ledger.files import FileColumns, Move, change_file, files_of, lies_at, move_files
from finetuned.ledger.jobs import change_job, move_job
from finetuned.ledger.pairs import remove_pairs
from finetuned.ledger.store import Store
from finetuned.lifecycle import Cause, FileState, JobState, Requested
from finetuned.model import File, Job


class Requests:
    """Commands that a person asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def give_up(self, job: Job, action: Requested, now: float) -> None:
        """Remember that a person wants the job given up, its session gone too, or not.

        That is no change of state: it neither needs nor moves the version, so that no request under way gets lost.
        """
        with self._store.transaction() as db:
            row = db.execute("update jobs set requested = ? where id = ? returning state", (action, job.id)).fetchone()
            tell(db, now, "job", job.id, row["state"], was=row["state"], cause=Cause(action), job_id=job.id)

    def accepted(self, job: Job, now: float) -> None:
        """Note that a person wants the training of a reviewed job to begin: now."""
        with self._store.transaction() as db:
            change_job(db, job, requested=Requested.ACCEPT)
            change_attempt(db, job.under_way, due_at=None, tries=0)
            tell_of(db, now, job, Cause.ACCEPT)

    def queued_again(self, job: Job, now: float) -> None:
        """Queue a failed or cancelled job again, as a person asked: its files are claimed anew."""
        with self._store.transaction() as db:
            fresh: FileColumns = {"reason": None, "finished_at": None, "pairs": None, "archived": 1}
            moves = [  # where one lies nowhere, the claim finds out whether it does again
                Move(file=f, became=FileState.PACKED, columns=fresh | (lies_at(f.path) if f.location is None else {}))
                for f in files_of(db, job.id, "failed", "barren")
            ]
            move_files(db, now, moves, cause=Cause.RETRY)
            count = db.execute(
                "select count(*) from files where job_id = ? and +state = 'packed'", (job.id,)
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

    def discard_ended(self, job: Job, now: float) -> bool:
        """Have an ended job's session and tuned model removed from the server; False if there is none."""
        with self._store.transaction() as db:
            count = discard_all(db, job.id)
            if count:
                db.execute("update jobs set requested = ? where id = ?", (Requested.DELETE, job.id))
                tell_of(db, now, job, Cause.DELETE)
            return count > 0

    def forget(self, file: File, job: Job, now: float) -> None:
        """Remove a file's pairs for good, as a person asked; its job's sessions are to go from the server.

        The job's papers are to be written anew: it counts as not archived.
        """
        words = "what was learned of it was removed by `finetuned forget`"
        with self._store.transaction() as db:
            remove_pairs(db, file.id)
            forget_words(db, job.id, file.upload_name or "")
            db.execute("delete from recalls where file_id = ?", (file.id,))
            db.execute(
                "update sessions set version = version + 1, pairs = case when pairs is null then null else "
                "(select count(*) from qa_pairs p where p.session_id = sessions.session_id) end where job_id = ?",
                (job.id,),
            )
            discard_all(db, job.id)
            reason = f"{file.reason}; {words}" if file.reason else words
            change_file(db, file, pairs=None, reason=reason)
            tell_of(db, now, file, Cause.FORGOTTEN, words)
            change_job(db, job, requested=Requested.DELETE, archived=0, due_at=None)
            tell_of(db, now, job, Cause.FORGOTTEN)
