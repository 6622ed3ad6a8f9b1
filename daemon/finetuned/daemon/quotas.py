"""What follows when a server's plan allows no more: smaller jobs, fewer at a time, or a word to people.

1. A job that is too much goes on as two halves, each of which may be halved again, until it fits. A single file that
   does not fit can never be sent as it is, and is refused with the arithmetic.
2. Too many at a time is no failure: the job waits, and until it is found out anew no more are sent than were there.
3. What was learned is forgotten by itself: a file that is more than the limit goes alone, and if it trains whole the
   limit is gone; one more session at a time is tried each hour (`plan.room`).
"""

from __future__ import annotations

from collections.abc import Sequence

from finetuned.daemon.house import House
from finetuned.daemon.packing import BY_A_PERSON, new_job_id
from finetuned.lifecycle import FileState
from finetuned.model import File, Job, Quota, SessionView, chunks_of, shown
from finetuned.verdict import over_quota


class Quotas:
    """Keeps what the daemon asks for within what the server's plan allows."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def too_much(self, job: Job, told: Quota | None, words: str) -> None:
        """The job has more chunks than the plan allows in one session: halve it, or refuse its only file."""
        house = self._house
        now = house.world.now()
        limit = told.limit if told else None
        if limit is not None:
            await house.write(house.ledger.quotas.chunks_allowed, house.settings.helix.url, limit, now)
        house.own.update(await house.write(self._less, job, limit, words, now))

    def _less(self, job: Job, limit: int | None, words: str, now: float) -> Sequence[str]:
        """The ids of the jobs that go on in the place of this one; none if a person has just cancelled it."""
        house, quotas = self._house, self._house.ledger.quotas
        with house.ledger.together():
            asked = house.ledger.jobs.get(job.id)
            if asked is not None and asked.given_up:
                house.ledger.jobs.cancelled(job, BY_A_PERSON, now)
                return ()
            packed = [file for file in house.ledger.jobs.files(job.id) if file.state is FileState.PACKED]
            if len(packed) == 1:
                quotas.too_big(job, packed[0], _arithmetic(packed[0], limit, words), now)
                return ()
            first, second = halves(packed)
            while True:
                one, other = (new_job_id(house, job.folder, now) for _ in range(2))
                if one != other and quotas.split(job, {one: first, other: second}, words, now):
                    return one, other

    async def too_many(self, job: Job) -> None:
        """As many sessions as the plan allows are there: ask for no more than that for now."""
        house = self._house
        running = await house.write(house.ledger.quotas.in_flight, job)
        url = house.settings.helix.url
        await house.write(house.ledger.quotas.sessions_allowed, url, max(1, running), house.world.now())

    async def trained(self, view: SessionView) -> None:
        """What a training tells of the plan: it was cut at the limit, or it was more than we took for one."""
        house = self._house
        url, now = house.settings.helix.url, house.world.now()
        cut = over_quota(view)
        if cut is not None:
            await house.write(house.ledger.quotas.chunks_allowed, url, cut.limit, now)
            return
        known = (await house.write(house.ledger.house.server, url)).max_chunks
        tuning = view.tuning
        if known is None or tuning is None or tuning.limited:
            return
        if sum(map(len, tuning.chunks.values())) > known:  # made, not reckoned: ready-made pairs are no text
            await house.write(house.ledger.quotas.chunks_allowed, url, None, now)


def halves(files: Sequence[File]) -> tuple[list[File], list[File]]:
    """Two parts of two or more files, in their order, as equal in chunks as can be; neither is empty."""
    sizes = [file.content.chunks if file.content else 1 for file in files]
    cut = min(range(1, len(files)), key=lambda n: abs(sum(sizes[:n]) - sum(sizes[n:])))
    return list(files[:cut]), list(files[cut:])


def _arithmetic(file: File, limit: int | None, words: str) -> str:
    """Why a file does not fit, in numbers."""
    if file.content is None or limit is None:
        return f"it is more than the server's plan allows in one session: {shown(words)}"
    size, chunks = file.content.sent_bytes, file.content.chunks
    way_out = (
        "split the file, or take another plan" if limit >= chunks_of(1) else "it takes no file at all: take another"
    )
    return (
        f"it makes {chunks} chunks (9 for each started 16 KiB of {size} bytes), "
        f"the server's plan allows {limit}; {way_out}"
    )
