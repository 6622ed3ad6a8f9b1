"""What follows when a server takes no more: smaller jobs, fewer at a time, or a word to people.

1. A job that is more than the plan allows, or than a proxy lets through, goes on as two halves (`split`). A single
   file that does not fit can never be sent as it is, and is refused with the arithmetic.
2. A plan tells its limit; a proxy does not: half of what was too large is tried, and whatever gets through is kept as
   the limit if it is more. A job that is larger than that is halved before it is sent.
3. Too many at a time is no failure: the job waits, and until it is found out anew no more are sent than were there.
4. What was learned is forgotten by itself: a file that is more than the limit goes alone, and if it trains whole the
   limit is gone; one more session at a time is tried each hour (`plan.slots`).
"""

from __future__ import annotations

from finetuned.backend import Capabilities, Observation, Submission
from finetuned.daemon.context import Context
from finetuned.daemon.split import Splits
from finetuned.errors import Quota, TooLarge
from finetuned.lifecycle import Cause
from finetuned.model import File, Job
from finetuned.paths import escape


class Limits:
    """Keeps what the daemon asks for within what the server takes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._splits = Splits(context)
        self._lowered: dict[str, int] = {}  # by url: what a request was found to be limited to, until one went through

    async def too_much(self, job: Job, told: Quota | None, words: str) -> None:
        """Halve a job that has more chunks than the plan allows in one session, or refuse its only file."""
        context = self._context
        now = context.runtime.now()
        limit = told.limit if told else None
        if limit is not None:
            await context.in_ledger(context.ledger.servers.chunks_allowed, context.url_of(job), limit, now)
        can = context.backend_of(job).capabilities
        await self._splits.halve(
            job, words, cause=Cause.QUOTA, refusal=lambda file: _arithmetic(file, can, limit, words)
        )

    async def too_large(self, job: Job, error: TooLarge) -> None:
        """Halve a job whose request is too large for a proxy in front of the server, or refuse its only file."""
        context = self._context
        url = context.url_of(job)
        known = (await context.in_ledger(context.ledger.servers.get, url)).max_request
        allowed = error.bytes // 2 if known is None else min(known, error.bytes // 2)
        self._lowered[url] = min(allowed, self._lowered.get(url, allowed))
        if allowed != known:
            await context.in_ledger(context.ledger.servers.request_allowed, url, allowed, context.runtime.now())
        words = str(error)
        await self._splits.halve(
            job, words, cause=Cause.TOO_LARGE, refusal=lambda file: _too_large(file, error.bytes, words)
        )

    async def fits(self, job: Job, order: Submission, known: int | None) -> bool:
        """Tell whether the job may be sent as it is, `known` to have been the limit a moment ago; else halve it.

        A single file is sent, and finds out.
        """
        size, lowered = order.bytes, self._lowered.get(self._context.url_of(job))
        if lowered is not None:  # by what was sent beside it
            known = lowered if known is None else min(known, lowered)
        if job.files < 2 or known is None or size <= known:
            return True
        words = f"a proxy in front of the server limits requests: {size} bytes are more than the {known} that are tried"
        await self._splits.halve(job, words, cause=Cause.FITTED)
        return False

    def went_through(self, job: Job, order: Submission) -> None:
        """Write down that a request got through: one larger than was thought possible tells a larger limit."""
        servers, url = self._context.ledger.servers, self._context.url_of(job)
        known = servers.get(url).max_request
        self._lowered.pop(url, None)
        if known is not None and order.bytes > known:
            servers.request_allowed(url, order.bytes, self._context.runtime.now())

    async def too_many(self, job: Job) -> None:
        """As many sessions as the plan allows are there: ask for no more than that for now."""
        context = self._context
        running = await context.in_ledger(context.ledger.attempts.in_flight, job)
        url = context.url_of(job)
        await context.in_ledger(context.ledger.servers.sessions_allowed, url, max(1, running), context.runtime.now())

    def trained(self, job: Job, seen: Observation) -> None:
        """Write down what a training tells of the limit: it was cut there, or it was more than we took for one."""
        context = self._context
        servers, url, now = context.ledger.servers, context.url_of(job), context.runtime.now()
        if seen.quota is not None:
            servers.chunks_allowed(url, seen.quota.limit, now)
            return
        known = servers.get(url).max_chunks
        if known is None or seen.cut:
            return
        if seen.chunks > known:  # made, not reckoned: ready-made pairs are no text
            servers.chunks_allowed(url, None, now)


def _arithmetic(file: File, can: Capabilities, limit: int | None, words: str) -> str:
    """Say in numbers why a file does not fit."""
    if file.content is None or limit is None:
        return f"it is more than the server's plan allows in one session: {escape(words)}"
    size, least = file.content.sent_bytes, can.chunks(1)
    way_out = (
        "split the file, or upgrade the plan"
        if limit >= least
        else f"upgrade the plan: even the smallest file needs {least}"
    )
    return (
        f"too big for the server's plan: it makes {can.chunks(size)} chunks ({can.chunks_each} for each started "
        f"{can.chunk_bytes // 1024} KiB of {size} bytes), {limit} allowed; {way_out}"
    )


def _too_large(file: File, size: int, words: str) -> str:
    """Say in numbers why a file does not get through a proxy."""
    of_it = f"{file.content.sent_bytes} bytes" if file.content else "its text"
    return (
        f"its request is too large: {of_it}, {size} with the form around it, and a proxy in front of the server takes "
        f"less ({escape(words)}); raise client_max_body_size in the proxy, or lower max_bytes and split the file"
    )
