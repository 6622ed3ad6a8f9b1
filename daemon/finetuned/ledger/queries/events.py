"""Queries of the events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from finetuned.ledger.queries.connection import WAYS, Connection, Row
from finetuned.ledger.rows import text_at

_EVENT: Final = "id, at, subject, subject_id, was, became, cause, detail"


class EventQueries(Connection):
    """What is asked of events."""

    def events(
        self, *, job: str | None = None, after: int = 0, since: float | None = None, newest_first: bool = False
    ) -> Iterator[Row]:
        """List what happened, oldest first; `after` an event's id, `since` an instant."""
        return self.rows(
            f"select {_EVENT} from events where id > :after and (:since is null or at >= :since) "
            "and (:job is null or job_id = :job or (subject = 'job' and subject_id = :job)) "
            f"order by id {WAYS[newest_first]}",
            after=after,
            since=text_at(since),
            job=job,
        )

    def history(self, file_id: int) -> list[Row]:
        """List what happened to one file."""
        query = f"select {_EVENT} from events where subject = 'file' and subject_id = ? order by id"
        return list(self.rows(query, str(file_id)))

    def answer(self, request_id: str) -> Row | None:
        """Fetch the event that answers a request; null if there is none yet."""
        query = f"select {_EVENT} from events where subject = 'daemon' and subject_id = ?"
        return next(self.rows(query, request_id), None)
