"""Queries of the events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, Unpack

from finetuned.ledger.queries.connection import Connection, Row
from finetuned.ledger.queries.filters import Filters, Query

_EVENT: Final = "id, at, subject, subject_id, was, became, cause, detail"

_AMONG: Final = "(select cast(value as text) from json_each(?))"
#: the path of the file that an event is about, and the folder of what it is about
_PATH: Final = "(select path from files where subject = 'file' and files.id = cast(subject_id as integer))"
_OF_FILE: Final = "exists (select 1 from files f where +subject = 'file' and f.id = cast(subject_id as integer) and {})"
_FOLDER: Final = (
    "case subject when 'folder' then subject_id "
    "when 'file' then (select folder from files where files.id = cast(subject_id as integer)) "
    "else (select folder from jobs where jobs.id = coalesce(events.job_id, subject_id)) end"
)


class EventQueries(Connection):
    """What is asked of events."""

    def events(self, *, after: int = 0, **filters: Unpack[Filters]) -> Iterator[Row]:
        """List what happened, oldest first; `after` an event's id. A state is what it was about, or became."""
        query = Query()
        job, paths = filters.get("job"), filters.get("paths", ())
        few = self.few_files(paths) if paths else None
        if job is not None:
            query.where("(job_id = ? or (subject = 'job' and subject_id = ?))", job, job)
        if few is not None:
            query.where(f"subject = 'file' and {'+' if job else ''}subject_id in {_AMONG}", json.dumps(few))
        elif paths:
            query.of_paths(paths, file="f.", rows=_OF_FILE)
        if job is None and few is None:
            query.where("id > ?", after)
            query.between_ids("events", "at", filters)
        else:
            query.where("+id > ?", after)
            query.between("+at", filters)
        query.among("became", filters.get("states", ()))
        query.equal(_FOLDER, filters.get("folder"))
        query.mention(filters.get("text"), "subject_id", "cause", "detail", _PATH)
        return self.rows(f"select {_EVENT} from events {query.ordered(filters, 'id')}", *query.values)

    def history(self, file_id: int) -> list[Row]:
        """List what happened to one file."""
        query = f"select {_EVENT} from events where subject = 'file' and subject_id = ? order by id"
        return list(self.rows(query, str(file_id)))

    def answer(self, request_id: str) -> Row | None:
        """Fetch the event that answers a request; null if there is none yet."""
        query = f"select {_EVENT} from events where subject = 'daemon' and subject_id = ?"
        return next(self.rows(query, request_id), None)
