"""What waits for a person, is in trouble or stands still, by what the ledger knows.

It is asked for by what it is: of all else that is under way, which may be thousands of jobs, nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import convert

from finetuned import clock
from finetuned.cli import wiring
from finetuned.cli.findings import in_use
from finetuned.cli.output import Row
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.model import Attempt
from finetuned.recovery import outlook
from finetuned.times import instant, iso

if TYPE_CHECKING:
    from finetuned.backend import Capabilities
    from finetuned.ledger.queries import Reader
    from finetuned.settings import Settings

#: how often a job is looked at in vain, at the slowest, before its standing still is told
STILL_LOOKS: Final = 2


class Standing:
    """What a person is to be told of jobs, and of files that are in none."""

    def __init__(self, settings: Settings, reader: Reader, backends: Mapping[str, Capabilities], now: float) -> None:
        self._settings = settings
        self._reader = reader
        #: by url what each backend can do that is in use, or has something left to do
        self.backends = backends
        self._now = now

    @classmethod
    def of(cls, settings: Settings, reader: Reader) -> Standing | None:
        """Look now; None for a ledger of an older version, which no daemon has upgraded yet. Raises LedgerError."""
        if reader.schema_version() != SCHEMA_VERSION:
            return None
        can = {
            service.url: wiring.capabilities(settings, kind, reader.server(service.url)["dialect"])
            for kind, service in in_use(settings, reader).items()
        }
        return cls(settings, reader, can, clock.now())

    @property
    def reviews(self) -> list[str]:
        """The jobs that wait for a person."""
        return self._reader.reviews()

    @property
    def unarchived(self) -> tuple[list[Row], str]:
        """The ended jobs, and the files without one, that cannot be archived so far (`folder`, and `job` or `file`).

        With them the reason of the first.
        """
        rows = self._reader.unarchived()
        if not rows:
            return rows, ""
        first = rows[0]
        if first["job"] is not None:
            return rows, self._reader.held_up(first["job"]) or ""
        events = reversed(self._reader.history(first["file"]))
        return rows, next((event["detail"] for event in events if event["cause"] == "held_up"), "")

    @property
    def held(self) -> dict[str, list[str]]:
        """The jobs that cannot go on here for now, by what has to pass, in words."""
        held: dict[str, list[str]] = {}
        for url, can in self.backends.items():
            for job_id in self._reader.in_stages(url, can.held_stages):
                held.setdefault(self._reader.last_words(job_id), []).append(job_id)
        return held

    @property
    def still(self) -> list[Row]:
        """The running jobs that have shown no sign of life for a while: `id`, `since`, `until`, and what is done then.

        The daemon counts from its own start at the earliest, and anew after a gap: an `until` that is over is unknown.
        A job that cannot be looked at now, or only has its pairs fetched, is none of them.
        """
        poll = self._settings.poll
        started = instant((self._reader.daemon() or {}).get("since", iso(0.0)))
        rows = []
        looked_at = {url: can for url, can in self.backends.items() if not can.tends and self._answers(url)}
        for row in self._reader.unmoved(looked_at, before=self._now - STILL_LOOKS * poll.slowest):
            since = instant(row["moved_at"])
            attempt = convert(row | {"moved_at": since}, Attempt, strict=False)
            patience, step = outlook(attempt, poll, looked_at[attempt.url])
            until = max(since, started) + patience
            told = iso(until) if until > self._now else None
            rows.append({"id": attempt.job_id, "since": iso(since), "until": told, "deed": str(step)})
        return rows

    def _answers(self, url: str) -> bool:
        server = self._reader.server(url)
        return server["reachable"] is True and server["paused_because"] is None
