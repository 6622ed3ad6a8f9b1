"""Sessions on the server: looked at, collected, started again, discarded.

1. What a look means is decided in `verdict`; here it is done, and written.
2. `NotFound` is believed after several looks over the settle time; every other refusal of one session is a matter of
   that session only.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from finetuned.daemon.house import House
from finetuned.errors import (
    NotFound,
    Refused,
    ReplyLost,
    ServerError,
    Unreachable,
)
from finetuned.helix.service import KnownRefusal
from finetuned.lifecycle import FileState, JobState, SessionState
from finetuned.model import File, Job, Session, SessionView
from finetuned.verdict import Standing, complaint, judge, lora_of, restart_helps, signs_of_life, standing
from finetuned.wire import Refusal, attempt, renamed

#: looks that did not find a session, before it counts as gone
MISSES: Final = 3
#: restarts of a failed training whose answers were lost and that had no effect, before it is left at that
LOST_RESTARTS: Final = 3


class Looking:
    """Follows sessions to their end."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._signs: dict[str, tuple[object, ...]] = {}

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
            await self._house.look_later(job_id, str(error))
        except Unreachable as error:
            await self._house.unreachable(job_id, error)
        else:
            await self._house.server_usable()

    async def discard(self, session: Session) -> None:
        """Remove a session from the server that was given up, after its pairs were collected.

        A twin that has trained meanwhile stays, unless a person wants it gone.
        """
        house = self._house
        if session.session_id is None:
            return
        try:
            if session.state is SessionState.TWIN:
                if await self._keeps(session, session.session_id):
                    return
            else:
                await self._rescue_pairs(session, session.session_id)
            await house.service.delete(session.session_id)
        except ServerError as error:
            now = house.world.now()
            due_at = now + house.back_off(session.tries + 1, house.settings.helix.longest_pause)
            await house.write(house.ledger.sessions.discard_later, session, due_at)
            if isinstance(error, Unreachable):
                await self._house.server_failed(error)
        else:
            await house.write(house.ledger.sessions.discarded, session, house.world.now())

    async def probe(self) -> None:
        """Ask whether the server can be used again."""
        try:
            await self._house.service.probe()
        except ServerError as error:
            await self._house.server_failed(error)
        else:
            await self._house.server_usable()

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
        files = await self._packed(job, view)
        verdict = judge(view, pairs, files)
        self._signs.pop(job.id, None)
        await house.write(house.ledger.sessions.finish, job, view, pairs, files, verdict, house.world.now())

    async def _broken(self, job: Job, view: SessionView) -> None:
        """The server gave up: one more training in place where that can help, else the job failed."""
        house = self._house
        now = house.world.now()
        words = complaint(view)
        if restart_helps(view) and await self._may_restart(job, view) and await self._restarted(job, view, words):
            return
        files = await self._packed(job, view)
        pairs = await house.service.pairs(view)
        await house.write(house.ledger.sessions.keep_pairs, job, view, pairs, files, now)
        self._signs.pop(job.id, None)
        reason = f"the server's training failed: {words}"
        await house.write(house.ledger.sessions.failed, job, reason, cause="broken", now=now)

    async def _may_restart(self, job: Job, view: SessionView) -> bool:
        """Once is enough; a restart that surely was lost (the failed training is what it was) counts only so often."""
        if job.restarts == 0:
            return True
        untouched = await self._house.write(self._house.ledger.sessions.is_as_written, view)
        return untouched and job.restarts < LOST_RESTARTS

    async def _restarted(self, job: Job, view: SessionView, words: str) -> bool:
        """Have the session trained again in place; False if the server will not. Raises Unreachable."""
        house = self._house
        pause = house.settings.poll.fastest
        try:
            await house.service.restart(view.id)
        except Refused as error:
            if not isinstance(error, KnownRefusal) or error.kind is not Refusal.ACTIVE:
                return False
        except ReplyLost as error:  # perhaps it was, or will be: the look after the settle time tells
            words = f"{words}; {error}"
            pause = min(house.settings.submit.lost_answer_settle, house.settings.poll.slowest)
        now = house.world.now()
        await house.write(house.ledger.sessions.restarted, job, view, words, due_at=now + pause, now=now)
        return True

    async def _missing(self, job: Job) -> None:
        """The session was not found: after three looks over the settle time it is gone."""
        house = self._house
        now = house.world.now()
        settle = house.settings.submit.lost_answer_settle
        if job.missing_since is None or job.tries + 1 < MISSES or now - job.missing_since < settle:
            due_at = now + min(house.settings.poll.slowest, max(1.0, settle / MISSES))
            await house.write(house.ledger.sessions.missing, job, due_at=due_at, now=now)
            return
        reason = f"session {job.session_id} is gone from the server"
        if job.attempt - job.attempts_before < house.settings.submit.attempts:
            await house.write(house.ledger.sessions.next_attempt, job, reason, cause="gone", discard=False, now=now)
        else:
            await house.write(house.ledger.sessions.failed, job, reason, cause="gone", now=now)

    async def _keeps(self, twin: Session, session_id: str) -> bool:
        """Whether a twin has trained, and so is kept; else it goes, and without its pairs: ours gave the same."""
        house = self._house
        job = await house.write(house.ledger.jobs.get, twin.job_id)
        if job is not None and job.wish == "delete":
            return False
        try:
            view = await house.service.look(session_id)
        except NotFound:
            return False
        lora = lora_of(view)
        if lora is not None:
            await house.write(house.ledger.twins.kept, twin, lora, house.world.now())
        return lora is not None

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

    async def _packed(self, job: Job, view: SessionView) -> list[File]:
        """The files of the job, under the names they had in this session: it may be an earlier attempt's."""
        number = attempt(view, job.id)
        marker = f"{job.id}.{job.attempt if number is None else number}"
        files = await self._house.write(self._house.ledger.jobs.files, job.id)
        packed = [file for file in files if file.state is FileState.PACKED]
        return [replace(f, upload_name=f.upload_name and renamed(f.upload_name, marker)) for f in packed]
