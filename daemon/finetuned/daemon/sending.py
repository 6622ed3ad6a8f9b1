"""Jobs on the wire: sent, looked for, looked at, collected, discarded.

1. The intent is in the ledger before the request, the outcome after it; what lies between is `doubtful` after a crash.
2. A job that another process may have sent is looked for before it is sent.
3. `Unreachable` pauses the server and costs nothing; `ReplyLost` makes the job doubtful; `Refused` is final for what
   was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from finetuned.daemon.house import House
from finetuned.errors import (
    Busy,
    Changed,
    FileProblem,
    FolderError,
    NotFound,
    Refused,
    ReplyLost,
    ServerError,
    Unreachable,
)
from finetuned.helix.service import KnownRefusal, Order
from finetuned.lifecycle import FileState, JobState
from finetuned.model import File, Job, Part, Session, SessionView
from finetuned.verdict import Standing, complaint, judge, restart_helps, signs_of_life, standing
from finetuned.wire import Refusal, renamed, upload_name

#: how much earlier than our clock says a session may have been made by the server's: a day, should a clock have jumped
SLACK: Final = 26 * 3600.0
#: sends that were answered with a server error and left no session, before a job is given up
UNANSWERED: Final = 3
#: looks that did not find a session, before it counts as gone
MISSES: Final = 3
#: refusals of a whole job that say nothing against it
_PASSING: Final = frozenset({Refusal.TOO_MANY, Refusal.CUT})


class Sending:
    """What the plan wants done on the wire."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._signs: dict[str, tuple[object, ...]] = {}

    async def submit(self, job_id: str) -> None:
        """Send the job: intent first, then, if it may have been sent before, a search, then the request."""
        house = self._house
        job = await house.write(house.ledger.jobs.get, job_id)
        if job is None or job.state is not JobState.QUEUED:
            return
        job, files = await self._intend(job)
        try:
            if job.id not in house.own and await self._adopt_found(job, cause="found"):
                return
            house.own.add(job.id)
            view = await house.service.submit(self._order(job, files), told=self._progress(job))
        except (FileProblem, FolderError) as error:
            again = isinstance(error, Changed)
            await self._unsent(job, f"the upload was cut: {error}", cause="cut", claim_again=True, wait=not again)
        except Refused as error:
            await self._refused(job, error)
        except Unreachable as error:
            await self._unsent(job, str(error), cause="unreachable")
            await self._paused(error)
        except ReplyLost as error:
            await self._lost(job, error)
        else:
            await self._adopt(job, view, cause="submitted")

    async def doubt(self, job_id: str) -> None:
        """Nobody sends this job any more: whether the server has it is to be found out."""
        house = self._house
        job = await house.write(house.ledger.jobs.get, job_id)
        if job is not None and job.state is JobState.SUBMITTING:
            await self._lost(job, ReplyLost("the daemon was stopped while it sent the job"))

    async def search(self, job_id: str) -> None:
        """Look for a doubtful job's session; adopt it, or be sure that there is none."""
        house = self._house
        job = await house.write(house.ledger.jobs.get, job_id)
        if job is None or job.state is not JobState.DOUBTFUL:
            return
        try:
            if await self._adopt_found(job, cause="found"):
                return
        except Unreachable as error:
            await self._paused(error)
            return
        except (Refused, ReplyLost) as error:
            await self._try_later(job_id, str(error))
            return
        now = house.world.now()
        if job.unanswered >= UNANSWERED:
            reason = f"{UNANSWERED} sends were answered with an error and left no session; the last one: {job.reason}"
            await house.write(house.ledger.sessions.failed, job, reason, cause="unanswered", now=now)
            return
        due_at = now + house.back_off(job.unanswered, house.settings.helix.longest_pause) if job.unanswered else None
        reason = "the server has no session of it; it is sent again"
        house.own.add(job.id)
        await house.write(house.ledger.sessions.unsent, job, reason, cause="not_there", due_at=due_at, now=now)

    async def look(self, job_id: str) -> None:
        """Look at the job's session, and do what follows from it."""
        house = self._house
        job = await house.write(house.ledger.jobs.get, job_id)
        if job is None or job.state is not JobState.RUNNING or job.session_id is None:
            return
        try:
            view = await house.service.look(job.session_id)
            match standing(view):
                case Standing.TRAINED:
                    await self._collect(job, view)
                case Standing.BROKEN:
                    await self._broken(job, view)
                case _:
                    await self._goes_on(job, view)
        except NotFound:
            await self._missing(job)
        except (Refused, ReplyLost) as error:
            await self._try_later(job_id, str(error))
        except Unreachable as error:
            await self._paused(error)
        else:
            await self._usable()

    async def discard(self, session: Session) -> None:
        """Remove a session from the server that was given up, after its pairs were collected."""
        house = self._house
        if session.session_id is None:
            return
        try:
            await self._rescue_pairs(session, session.session_id)
            await house.service.delete(session.session_id)
        except ServerError as error:
            now = house.world.now()
            due_at = now + house.back_off(session.tries + 1, house.settings.helix.longest_pause)
            await house.write(house.ledger.sessions.discard_later, session, due_at)
            if isinstance(error, Unreachable):
                await self._paused(error)
        else:
            await house.write(house.ledger.sessions.discarded, session, house.world.now())

    async def probe(self) -> None:
        """Ask whether the server can be used again."""
        try:
            await self._house.service.probe()
        except ServerError as error:
            await self._paused(error)
        else:
            await self._usable()

    async def _refused(self, job: Job, error: Refused) -> None:
        """The server said no: for now, if it is too busy or the form arrived in part; else for good."""
        if isinstance(error, KnownRefusal) and error.kind in _PASSING:
            await self._unsent(job, str(error), cause="not_now", wait=True)
            return
        house = self._house
        await house.write(house.ledger.sessions.failed, job, str(error), cause="refused", now=house.world.now())

    async def _intend(self, job: Job) -> tuple[Job, list[File]]:
        house = self._house
        files = await house.write(house.ledger.jobs.files, job.id)
        marker = f"{job.id}.{job.attempt + 1}"
        packed = [file for file in files if file.state is FileState.PACKED]
        names = {file.id: upload_name(marker, n, file.path) for n, file in enumerate(packed, 1)}
        intent: tuple[Job, list[File]] = await house.write(
            house.ledger.sessions.begin_attempt,
            job,
            url=house.settings.helix.url,
            dialect=house.service.dialect,
            names=names,
            now=house.world.now(),
        )
        return intent

    def _order(self, job: Job, files: Sequence[File]) -> Order:
        folder = self._house.folders[job.folder]
        encoding = self._house.rules(job.folder).encoding
        parts = tuple(
            Part(
                upload_name=file.upload_name,
                location=folder.part_location(file.location, job.id, str(file.id)),
                content=file.content,
                folder=job.folder,
                encoding=encoding,
            )
            for file in files
            if file.upload_name and file.location and file.content
        )
        return Order(marker=job.marker, parts=parts)

    async def _adopt_found(self, job: Job, *, cause: str) -> bool:
        """Search the server for the job's sessions; adopt the first, record the others as twins."""
        house = self._house
        since = job.created_at - SLACK
        known = await house.write(house.ledger.sessions.known_ids)
        found = await house.service.find(job.id, since=since, known=known)
        if not found:
            return False
        first, *twins = sorted(found, key=lambda view: (standing(view) is not Standing.TRAINED, view.id))
        await self._adopt(job, first, cause=cause)
        for twin in twins:
            await house.write(
                house.ledger.sessions.twin,
                job,
                twin,
                url=house.settings.helix.url,
                dialect=house.service.dialect,
                now=house.world.now(),
            )
        return True

    async def _adopt(self, job: Job, view: SessionView, *, cause: str) -> None:
        house = self._house
        now = house.world.now()
        due_at = now + house.settings.poll.fastest
        self._signs[job.id] = signs_of_life(view)
        await house.write(house.ledger.sessions.adopt, job, view, due_at=due_at, cause=cause, now=now)
        await self._usable()

    async def _lost(self, job: Job, error: ReplyLost) -> None:
        house = self._house
        now = house.world.now()
        due_at = now + house.settings.submit.lost_answer_settle
        await house.write(
            house.ledger.sessions.reply_lost, job, str(error), answered=error.answered, due_at=due_at, now=now
        )

    async def _unsent(
        self, job: Job, reason: str, *, cause: str, claim_again: bool = False, wait: bool = False
    ) -> None:
        house = self._house
        now = house.world.now()
        due_at = now + house.back_off(job.tries + 1, house.settings.helix.longest_pause) if wait else None
        await house.write(
            house.ledger.sessions.unsent,
            job,
            reason,
            cause=cause,
            due_at=due_at,
            now=now,
            claim_again=claim_again,
        )

    async def _goes_on(self, job: Job, view: SessionView) -> None:
        house = self._house
        now = house.world.now()
        signs = signs_of_life(view)
        moved = self._signs.get(job.id) != signs
        self._signs[job.id] = signs
        tuning = view.tuning
        stage = (tuning.stage or tuning.state) if tuning else "unknown"
        due_at = now + self._pause(now - (job.moved_at or now), moved=moved)
        await house.write(house.ledger.sessions.looked, job, view, stage=stage, due_at=due_at, moved=moved, now=now)

    def _pause(self, still_for: float, *, moved: bool) -> float:
        """Until the next look: soon while something moves, ever later while nothing does."""
        poll = self._house.settings.poll
        return poll.fastest if moved else min(poll.slowest, max(poll.fastest, still_for / 4))

    async def _collect(self, job: Job, view: SessionView) -> None:
        house = self._house
        now = house.world.now()
        if job.stage != "collecting":
            due_at = now + house.settings.poll.fastest
            await house.write(
                house.ledger.sessions.looked, job, view, stage="collecting", due_at=due_at, moved=True, now=now
            )
            fresh = await house.write(house.ledger.jobs.get, job.id)
            job = fresh or job
        pairs = await house.service.pairs(view)
        files = await self._packed(job.id)
        verdict = judge(view, pairs, files)
        self._signs.pop(job.id, None)
        await house.write(house.ledger.sessions.finish, job, view, pairs, files, verdict, house.world.now())

    async def _broken(self, job: Job, view: SessionView) -> None:
        """The server gave up: one more training in place where that can help, else the job failed."""
        house = self._house
        now = house.world.now()
        words = complaint(view)
        if restart_helps(view) and job.restarts == 0:
            due_at = now + house.settings.poll.fastest
            await house.write(house.ledger.sessions.restarted, job, words, due_at=due_at, now=now)
            try:
                await house.service.restart(view.id)
            except Unreachable:
                await house.write(house.ledger.sessions.not_restarted, job.id)
                raise
            return
        files = await self._packed(job.id)
        pairs = await house.service.pairs(view)
        await house.write(house.ledger.sessions.keep_pairs, job, view, pairs, files, now)
        self._signs.pop(job.id, None)
        reason = f"the server's training failed: {words}"
        await house.write(house.ledger.sessions.failed, job, reason, cause="broken", now=now)

    async def _missing(self, job: Job) -> None:
        """The session was not found: after three looks over the settle time it is gone."""
        house = self._house
        now = house.world.now()
        settle = house.settings.submit.lost_answer_settle
        if job.missing_since is None or job.tries + 1 < MISSES or now - job.missing_since < settle:
            await house.write(house.ledger.sessions.missing, job, due_at=now + max(1.0, settle / MISSES), now=now)
            return
        reason = f"session {job.session_id} is gone from the server"
        if job.attempt - job.attempts_before < house.settings.submit.attempts:
            await house.write(house.ledger.sessions.next_attempt, job, reason, cause="gone", discard=False, now=now)
        else:
            await house.write(house.ledger.sessions.failed, job, reason, cause="gone", now=now)

    async def _rescue_pairs(self, session: Session, session_id: str) -> None:
        house = self._house
        job = await house.write(house.ledger.jobs.get, session.job_id)
        if job is None:
            return
        try:
            view = await house.service.look(session_id)
        except NotFound:
            return
        pairs = await house.service.pairs(view)
        files = [
            replace(file, upload_name=renamed(file.upload_name, session.marker))
            for file in await house.write(house.ledger.jobs.files, session.job_id)
            if file.upload_name
        ]
        await house.write(house.ledger.sessions.keep_pairs, job, view, pairs, files, house.world.now())

    async def _packed(self, job_id: str) -> list[File]:
        files = await self._house.write(self._house.ledger.jobs.files, job_id)
        return [file for file in files if file.state is FileState.PACKED]

    def _progress(self, job: Job) -> Callable[[int], None]:
        """Tells the ledger how far an upload is, once a second at most."""
        house = self._house
        total = max(1, job.bytes)
        last = house.world.steady()

        def told(handed_over: int) -> None:
            nonlocal last
            if house.world.steady() - last >= 1.0:
                last = house.world.steady()
                house.ledger.sessions.uploading(job, min(99, 100 * handed_over // total))

        return told

    async def _try_later(self, job_id: str, words: str) -> None:
        house = self._house
        now = house.world.now()
        job = await house.write(house.ledger.jobs.get, job_id)
        if job is None:
            return
        due_at = now + house.settings.poll.slowest
        await house.write(house.ledger.jobs.try_later, job, due_at, words, now)

    async def _paused(self, error: ServerError) -> None:
        await self._house.server_failed(error, after=error.after if isinstance(error, Busy) else None)

    async def _usable(self) -> None:
        house = self._house
        url = house.settings.helix.url
        await house.write(house.ledger.house.server_usable, url, house.service.dialect, house.world.now())
