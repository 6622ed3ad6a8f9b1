"""Queries of the jobs and their sessions."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Final, Unpack

from finetuned.ledger.queries.connection import Connection, Row
from finetuned.ledger.queries.filters import AFTER_ALL, Filters, Query
from finetuned.paths import utf8_text
from finetuned.times import iso

_JOB: Final = (
    "id, folder, state, files, bytes, pairs, session_id, stage, progress, attempt, restarts, "
    "created_at, submitted_at, finished_at, reason, lora_dir"
)

#: by what jobs can be sorted, as a column of `all_jobs`
_SORTS: Final = {
    "created": "created_at",
    "finished": "finished_at",
    "files": "files",
    "bytes": "bytes",
    "pairs": "pairs",
}

#: jobs with the attempt that counts, if that is under way
_UNDER_WAY: Final = (
    "from jobs j join sessions s on s.job_id = j.id and s.current = 1 and s.state in ('intended', 'live') "
    "where j.finished_at is null"
)
_OF_FILE: Final = "exists (select 1 from files f where f.job_id = all_jobs.id and {})"


class JobQueries(Connection):
    """What is asked of jobs."""

    def jobs(self, **filters: Unpack[Filters]) -> Iterator[Row]:
        """List every job, oldest first."""
        query = Query()
        states = filters.get("states", ())
        query.among("state", states)
        query.equal("+folder" if states else "folder", filters.get("folder"))
        if paths := filters.get("paths"):
            few = self.few_files(paths)
            if few is None:
                query.of_paths(paths, file="f.", rows=_OF_FILE)
            else:
                query.where(
                    "id in (select job_id from files where id in (select value from json_each(?)))", json.dumps(few)
                )
        query.mention(filters.get("text"), "id", "reason")
        query.between("created_at", filters)
        end = query.ordered(filters, _SORTS[filters.get("sort", "created")], "ordinal")
        return self.rows(f"select {_JOB} from all_jobs {end}", *query.values)

    def brief(self, job_id: str) -> Row | None:
        """One job as `jobs` lists it; null if there is none."""
        return next(self.rows(f"select {_JOB} from all_jobs where id = ?", job_id), None)

    def unfinished(self) -> Iterator[Row]:
        """List the jobs that are not at their end, oldest first."""
        return self.rows(f"select {_JOB} from all_jobs where finished_at is null order by created_at, ordinal")

    def knows(self, job_id: str) -> bool:
        """Tell whether there is a job of this id."""
        return next(self.rows("select 1 from jobs where id = ?", utf8_text(job_id)), None) is not None

    def jobs_like(self, part: str) -> list[str]:
        """List the ids of the jobs that have `part` in them, oldest first; all of them if it is empty."""
        rows = self.rows("select id from jobs where instr(id, ?) order by created_at, rowid", utf8_text(part))
        return [row["id"] for row in rows]

    def jobs_begun(self, beginning: str, most: int) -> Iterator[Row]:
        """List the jobs whose ids begin so, the newest of each folder first: `id`, `state`."""
        text = utf8_text(beginning)
        query = "select id, state from jobs where id >= ? and id < ? order by id desc limit ?"
        return self.rows(query, text, text + AFTER_ALL, most)

    def sessions_like(self, part: str) -> list[str]:
        """List the ids of the sessions that have `part` in them, oldest first."""
        rows = self.rows("select session_id from sessions where instr(session_id, ?) order by id", utf8_text(part))
        return [row["session_id"] for row in rows]

    def held_up(self, job_id: str) -> str | None:
        """Tell what keeps an ended job from being archived; null if nothing does."""
        query = (
            "select e.detail from all_jobs j join events e on e.subject = 'job' and e.subject_id = j.id "
            "and e.cause = 'held_up' and e.at >= j.finished_at where j.id = ? and j.archived = 0 "
            "order by e.id desc limit 1"
        )
        row = next(self.rows(query, job_id), None)
        return None if row is None else row["detail"]

    def reviews(self) -> list[str]:
        """List the ids of the jobs that wait for a person, and for nothing else, oldest first."""
        rows = self.rows("select id from jobs where state = 'review' and requested is null order by created_at, rowid")
        return [row["id"] for row in rows]

    def unarchived(self) -> list[Row]:
        """List the ended jobs, then the files without one, that could not be archived: `folder`, `job` or `file`."""
        jobs = "select folder, id as job, null as file from jobs where archived = 0 and finished_at is not null and "
        files = (
            "select folder, null as job, id as file from files indexed by files_to_archive "  # not by state: most ended
            "where archived = 0 and due_at is not null and "
        )
        return [
            *self.rows(f"{jobs} tries > 0 order by created_at, rowid"),
            *self.rows(f"{files} state in ('refused', 'duplicate', 'settling') order by id"),
        ]

    def in_stages(self, url: str, stages: Collection[str]) -> list[str]:
        """List the jobs whose sessions at `url` are under way in one of these stages, oldest first."""
        if not stages:
            return []
        query = f"select j.id {_UNDER_WAY} and s.url = ? and s.stage in (select value from json_each(?))"
        return [row["id"] for row in self.rows(f"{query} order by j.created_at, j.rowid", url, json.dumps([*stages]))]

    def unmoved(self, urls: Collection[str], before: float) -> list[Row]:
        """List the attempts of running jobs at these servers that last moved `before` that, and have no pairs to fetch.

        Oldest first; the columns are fields of `Attempt`, with `moved_at` as the ledger has it.
        """
        query = (
            "select s.id, s.job_id, s.attempt as number, s.state, s.url, s.stage, s.progress, s.moved_at, s.restarts, "
            f"s.retrained, s.requeued {_UNDER_WAY} and j.state = 'running' and s.moved_at < ? and "
            "s.stage is not 'collecting' and s.url in (select value from json_each(?)) order by j.created_at, j.rowid"
        )
        return list(self.rows(query, iso(before), json.dumps([*urls])))

    def counts(self) -> dict[str, int]:
        """Count the jobs in each state that has any."""
        return {row["state"]: row["n"] for row in self.rows("select state, count(*) as n from jobs group by state")}

    def troubled(self) -> list[Row]:
        """List the unfinished jobs that have a reason: `id`, `state`, `reason`."""
        query = (
            "select id, state, reason from jobs where finished_at is null and reason is not null order by created_at"
        )
        return list(self.rows(query))
