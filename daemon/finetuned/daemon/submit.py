"""Jobs on the way to the server: sent, or looked for where an answer was lost.

1. The intent is in the ledger before the request, the outcome after it; what lies between is `doubtful` after a crash.
2. A job that may have been sent already, by another process or in vain, is looked for right before it is sent.
3. A server may list a session after we gave it up and sent again. What was lost is looked for again, at growing
   pauses that the ledger keeps, and once more when its job ends: a second session is recorded as a duplicate, and
   removed if it never trained.
4. A job that only a note tells of takes nothing for its own that was not made of its files, and alters nothing of it:
   the note may be of others, and the session of another daemon's.
5. `Unreachable` pauses the server; `ReplyLost` makes the job doubtful; `Refused` is final, unless it says no only for
   now. An outage costs nothing: nothing is sent before the server has answered something else.
6. Every send that began and left no session counts, whatever it ended in. So many in a row, or a no in words that we do
   not know, may be for one file's sake, and the job goes on in halves (`split`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from finetuned import logs
from finetuned.backend import Observation, Part, Status, Submission
from finetuned.daemon.context import Context
from finetuned.daemon.limits import Limits
from finetuned.daemon.split import NOT_OURS, Splits
from finetuned.errors import (
    Changed,
    FileProblem,
    FolderError,
    KnownRefusal,
    LedgerStuck,
    NoReviews,
    NotFound,
    Refusal,
    Refused,
    ReplyLost,
    ServerError,
    TooLarge,
    Unreachable,
)
from finetuned.lifecycle import Cause, JobState
from finetuned.marker import attempt_of, marker, upload_name
from finetuned.model import Attempt, File, Job, Value
from finetuned.plan import recheck_pause
from finetuned.verdict import fits

#: how far the server's clock may be behind ours, in seconds: a day and more, should one of them have jumped
SLACK: Final = 26 * 3600.0
#: sends that were answered with a server error and left no session, before a job is given up or halved; and those that
#: broke off, which a network does more often
UNANSWERED: Final = 3
UNHEARD: Final = 5
#: which of several sessions of a job is kept
_RANK: Final = {Status.TRAINED: 0, Status.RUNNING: 1, Status.PAUSED: 2, Status.FAILED: 3}
#: refusals of a whole job that say nothing against it
_PASSING: Final = frozenset({Refusal.TOO_MANY, Refusal.CUT})


class Intent(Value, frozen=True):
    """A job that is being submitted, the files that are sent, and what an earlier try of the attempt has uploaded.

    `max_request` is how many bytes a request to its server may have; null: no limit is known.
    """

    job: Job
    files: Sequence[File]
    upload_id: str | None
    max_request: int | None


class Submissions:
    """Brings jobs to the server, each once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._limits = Limits(context)
        self._splits = Splits(context)
        self._doubts: dict[str, float] = {}

    async def intend(self, job_id: str) -> Intent | None:
        """Write the intent to send the job; null if it is not to be sent any more, or was just given up or paused."""
        return await self._context.in_ledger(self._intend, job_id)

    def _intend(self, job_id: str) -> Intent | None:
        context = self._context
        ledger = context.ledger
        with ledger.together():
            job = ledger.jobs.get(job_id)
            if job is None or job.state is not JobState.QUEUED or job.claimed_at is None:
                return None
            if job.given_up or ledger.folders.is_paused(job.folder):
                return None
            url = context.url_for(job.folder)
            sent_as = marker(job.id, job.attempts + 1)
            packed = ledger.jobs.packed(job.id)
            names = {file.id: upload_name(sent_as, n, file.path) for n, file in enumerate(packed, 1)}
            job = ledger.sends.begin_attempt(
                job,
                url=url,
                variant=context.backends[url].variant,
                names=names,
                now=context.runtime.now(),
            )
            return Intent(
                job=job,
                files=[replace(file, upload_name=names[file.id]) for file in packed],
                upload_id=ledger.attempts.upload(job),
                max_request=ledger.servers.get(url).max_request,
            )

    async def submit(self, intent: Intent) -> None:
        """Send the job whose intent is written; first look for it, if it may have been sent before."""
        context = self._context
        job = intent.job
        turns = context.turns[context.url_of(job)]
        if job.id not in context.own:
            turns.goes_out(job.id)  # to ask for it
            if not await self._surely_unsent(job):
                return
        order = self._order(job, intent.files)
        if not await self._limits.fits(job, order, intent.max_request):
            return
        turns.goes_out(job.id)
        try:
            seen = await self._start(job, order, intent.upload_id)
        except (FileProblem, FolderError) as error:
            again = isinstance(error, Changed)
            await self._unsent(job, f"the upload was cut: {error}", cause=Cause.CUT, claim_again=True, wait=not again)
        except Refused as error:
            await self._refused(job, error)
        except Unreachable as error:
            await self._broke_off(job, str(error), cause=Cause.UNREACHABLE, counts=error.begun)
            await context.server_failed(context.url_of(job), error)
        except ReplyLost as error:
            await self._lost(job, error)
        else:
            await context.in_ledger(self._write_submitted, job, seen, order)
            url = context.url_of(job)
            context.turns[url].was_sent(job.id)
            await context.server_usable(url)

    async def _start(self, job: Job, order: Submission, before: str | None) -> Observation:
        """Bring the files there and start their fine-tune; an upload is known to the ledger before it is learned.

        One that was not learned in the end (the server was full, say) is learned now; a server that lost it gets
        another.
        """
        context = self._context
        backend, on_progress = context.backend_of(job), self._progress(job)
        if before is not None:
            try:
                return await backend.submit(replace(order, upload_id=before), on_progress=on_progress)
            except NotFound:
                pass
        order = await backend.upload(order, on_progress=on_progress)
        if order.upload_id is not None:
            await context.in_ledger(context.ledger.attempts.uploaded, job, order.upload_id)
        return await backend.submit(order, on_progress=on_progress)

    async def _surely_unsent(self, job: Job) -> bool:
        """Tell whether the server has no session of a job that another process may have sent; adopt one that it has."""
        try:
            if await self._adopt_found(job, cause=Cause.FOUND):
                return False
        except ServerError as error:
            await self._unsent(job, f"it could not be searched for: {error}", cause=Cause.UNSEARCHED, wait=True)
            if isinstance(error, Unreachable):
                await self._context.server_failed(self._context.url_of(job), error)
            return False
        return True

    async def doubt(self, job_id: str) -> None:
        """Make a job doubtful that nothing sends any more: whether the server has it is to be found out."""
        context = self._context
        job = await context.in_ledger(context.ledger.jobs.get, job_id)
        if job is not None and job.state is JobState.SUBMITTING:
            await self._lost(job, ReplyLost("the daemon was stopped while it sent the job"))

    async def search(self, job_id: str) -> None:
        """Look for a doubtful job's session; adopt it, or be sure that there is none."""
        context = self._context
        job = await context.in_ledger(context.ledger.jobs.get, job_id)
        if job is None or job.state is not JobState.DOUBTFUL:
            return
        waited = context.runtime.steady() - self._doubts.setdefault(job.id, context.runtime.steady())
        settle = context.settles(job)
        if waited < settle:  # the wall's clock jumped, or we have just started
            # a little more: the ledger keeps milliseconds, and what is due must be due; never more than the whole,
            # which the plan would take for a clock that jumped back
            later = context.runtime.now() + min(settle, settle - waited + 0.01)
            await context.in_ledger(context.ledger.runs.try_later, job, later, None, context.runtime.now())
            return
        try:
            found = await self._adopt_found(job, cause=Cause.FOUND)
        except Unreachable as error:
            await self._context.unreachable(job, error)
            return
        except (Refused, ReplyLost) as error:
            await self._context.poll_later(job_id, str(error))
            return
        del self._doubts[job.id]
        if not found:
            await self._not_there(job)

    async def _not_there(self, job: Job) -> None:
        """Send a doubtful job again that surely has no session, if it was not in vain too often."""
        context = self._context
        now = context.runtime.now()
        if job.unanswered >= UNANSWERED or job.unheard >= UNHEARD:
            await self._splits.halve(job, self._in_vain(job, job.reason or ""), cause=Cause.IN_VAIN, recheck_at=now)
            return
        due_at = now + context.back_off(job.unanswered + job.unheard, context.longest_pause(context.url_of(job)))
        reason = f"{context.backend_of(job).capabilities.where} has no session of it; it is sent again"
        await context.in_ledger(
            context.ledger.sends.unsent,
            job,
            reason,
            cause=Cause.NOT_THERE,
            due_at=due_at,
            now=now,
            recheck_at=now + (recheck_pause(0, context.settings) or 0.0),
        )

    async def recheck(self, session: Attempt) -> None:
        """Search the server once more for a session that was lost; one that is there now is a duplicate."""
        context = self._context
        job = await context.in_ledger(context.ledger.jobs.get, session.job_id)
        if job is None:
            return
        try:
            found = await self._fitting(job, await self._found(job, session.url))
        except ServerError as error:
            due_at = context.runtime.now() + context.longest_pause(session.url)
            await context.in_ledger(context.ledger.attempts.rechecked, job.id, due_at=due_at, counts=False)
            if isinstance(error, Unreachable):
                await context.server_failed(session.url, error)
            return
        await context.in_ledger(self._record_duplicates, job, found, session.url)
        pause = recheck_pause(session.tries + 1, context.settings)
        until = None if pause is None else context.runtime.now() + pause
        await context.in_ledger(context.ledger.attempts.rechecked, job.id, due_at=until, counts=True)

    async def _refused(self, job: Job, error: Refused) -> None:
        """Do what follows from a no: for now (too busy, a form that arrived in part), to so much at once, or for good.

        What it said in words that we do not know may be said of one of the files.
        """
        if isinstance(error, KnownRefusal) and error.kind is Refusal.TOO_MUCH:
            await self._limits.too_much(job, error.quota, str(error))
            return
        if isinstance(error, TooLarge):
            await self._limits.too_large(job, error)
            return
        if isinstance(error, KnownRefusal) and error.kind is Refusal.TOO_MANY:
            await self._limits.too_many(job)
        if isinstance(error, NoReviews):  # it is another variant than was known: the plan is to know that, too
            await self._unsent(job, str(error), cause=Cause.NO_REVIEWS, wait=True)
            await self._context.server_usable(self._context.url_of(job))
            return
        if isinstance(error, KnownRefusal) and error.kind in _PASSING:
            await self._broke_off(job, str(error), cause=Cause.NOT_NOW, counts=error.kind is Refusal.CUT)
            return
        if not isinstance(error, KnownRefusal | NotFound):
            await self._splits.halve(job, str(error), cause=Cause.REFUSED)
            return
        context = self._context
        await context.in_ledger(
            context.ledger.ends.failed, job, str(error), cause=Cause.REFUSED, now=context.runtime.now()
        )

    async def _broke_off(self, job: Job, words: str, *, cause: Cause, counts: bool) -> None:
        """Nothing came of a send, surely: it is sent again, if it was not in vain too often."""
        if counts and job.unheard + 1 >= UNHEARD:
            await self._splits.halve(job, self._in_vain(job, words), cause=Cause.IN_VAIN)
            return
        await self._unsent(job, words, cause=cause, wait=True, broke_off=counts)

    def _in_vain(self, job: Job, last: str) -> str:
        """Say why a job is not sent any more."""
        if job.unanswered >= UNANSWERED:
            return f"{UNANSWERED} sends were answered with an error and left no session; the last one: {last}"
        return f"{UNHEARD} sends were in vain and left no session; the last one: {last}"

    def _order(self, job: Job, files: Sequence[File]) -> Submission:
        folder = self._context.folders[job.folder]
        rules = self._context.rules(job.folder)
        parts = tuple(
            Part(
                upload_name=file.upload_name,
                location=folder.part_location(file.location, job.id, str(file.id)),
                content=file.content,
                folder=job.folder,
            )
            for file in files
            if file.upload_name and file.location and file.content
        )
        return Submission(marker=job.under_way.marker, parts=parts, review=rules.review)

    async def _adopt_found(self, job: Job, *, cause: Cause) -> bool:
        """Search for the job's sessions; adopt the first, record the others as duplicates. False: there is none.

        That is one commit: duplicates of a job that was adopted are not searched for.
        """
        url = self._context.url_of(job)
        found = await self._found(job, url)
        if not found:
            return False
        ours = await self._fitting(job, found)
        if not ours:
            await self._splits.begin_anew(job, f"session {found[0].id} has its name, but {NOT_OURS}")
            return True
        first, *duplicates = sorted(ours, key=lambda seen: (_RANK[seen.status], seen.id))
        context = self._context

        def take() -> None:
            with context.ledger.together():
                self._write_adopted(job, first, cause)
                self._record_duplicates(job, duplicates, url)

        await context.in_thread(take)
        await context.server_usable(url)
        return True

    async def _fitting(self, job: Job, found: Sequence[Observation]) -> Sequence[Observation]:
        """Those of the sessions that are the job's: if only a note tells of it, those that were made of its files."""
        if not job.noted:
            return found
        files = await self._context.in_ledger(self._context.ledger.jobs.files, job.id)
        ours = [seen for seen in found if fits(seen, job.id, files) is not False]
        for seen in found:
            if seen not in ours:
                logs.get().warning("session_not_ours", job=job.id, session=seen.id, why=NOT_OURS)
        return ours

    async def _found(self, job: Job, url: str) -> Sequence[Observation]:
        """List the job's sessions on the server at `url` that the ledger does not know."""
        context = self._context
        since = job.created_at - SLACK
        known = await context.in_ledger(context.ledger.attempts.known_ids, job.id, since)
        uploads = await context.in_ledger(context.ledger.attempts.uploads, job.id)
        return await context.backends[url].find(job.id, since=since, known=known, uploads=uploads)

    def _record_duplicates(self, job: Job, duplicates: Sequence[Observation], url: str) -> None:
        context = self._context
        for duplicate in duplicates:
            context.ledger.attempts.duplicate_found(
                job,
                duplicate,
                attempt=attempt_of(duplicate, job.id) or job.attempts,
                url=url,
                variant=context.backends[url].variant,
                now=context.runtime.now(),
            )

    def _write_submitted(self, job: Job, seen: Observation, order: Submission) -> None:
        self._write_adopted(job, seen, Cause.SUBMITTED)
        self._limits.went_through(job, order)

    def _write_adopted(self, job: Job, seen: Observation, cause: Cause) -> None:
        context = self._context
        now = context.runtime.now()
        due_at = now + context.settings.poll.fastest
        context.ledger.sends.adopt(job, seen, due_at=due_at, cause=cause, now=now)

    async def _lost(self, job: Job, error: ReplyLost) -> None:
        context = self._context
        self._doubts[job.id] = context.runtime.steady()
        context.own.discard(job.id)
        now = context.runtime.now()
        due_at = now + context.settles(job)
        await context.in_ledger(
            context.ledger.sends.reply_lost, job, str(error), answered=error.answered, due_at=due_at, now=now
        )

    async def _unsent(
        self,
        job: Job,
        reason: str,
        *,
        cause: Cause,
        claim_again: bool = False,
        wait: bool = False,
        broke_off: bool = False,
    ) -> None:
        context = self._context
        now = context.runtime.now()
        due_at = now + context.back_off(job.tries + 1, context.longest_pause(context.url_of(job))) if wait else None
        await context.in_ledger(
            context.ledger.sends.unsent,
            job,
            reason,
            cause=cause,
            due_at=due_at,
            now=now,
            claim_again=claim_again,
            broke_off=broke_off,
        )

    def _progress(self, job: Job) -> Callable[[int], None]:
        """Tells the ledger how far an upload is, once a second at most."""
        context = self._context
        total = max(1, job.bytes)
        last = context.runtime.steady()

        def on_progress(handed_over: int) -> None:
            nonlocal last
            if context.runtime.steady() - last >= 1.0:
                last = context.runtime.steady()
                with suppress(LedgerStuck):  # how far it is, is no reason to cut it
                    context.ledger.attempts.uploading(job, min(99, 100 * handed_over // total))

        return on_progress
