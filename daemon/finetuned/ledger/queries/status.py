"""Queries of the folders, the server, the daemon, and the ledger's own file."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Final

from finetuned.errors import LedgerMissing
from finetuned.ledger.events import METRICS, WATCH
from finetuned.ledger.lock import trouble_of
from finetuned.ledger.queries.connection import Connection, Row
from finetuned.ledger.rows import WORK
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.ledger.trouble import PUT_BACK
from finetuned.paths import path_of

#: what readers are told of the server
SERVER_FIELDS: Final = (
    *("dialect", "reachable", "paused_because", "last_error", "last_error_at"),
    *("max_chunks", "max_sessions", "max_request"),
)


class StatusQueries(Connection):
    """What is asked of the state of everything around the jobs."""

    def folders(self) -> dict[str, Row]:
        """By folder: its state (`watched`, `paused`, `away`), since when it is paused, why it is away if it is.

        With it come how many files settle and wait, and since when the oldest does.

        `unfinished`: how many of those that settle are kept by a name beside them, `unfinished_because` the oldest's.
        `untaken`: by suffix, how many files no rule takes, and none leaves out. `closed`: by path, why a sub-folder
        cannot be looked into. `unremoved`: what is old and could not be removed: a path, the reason, and how many.
        """
        unfinished = "from files f where f.folder = name and f.state = 'settling' and f.reason is not null"
        rows = self.rows(
            "select folders.*, case when state = 'away' then (select e.detail from events e where "
            "e.subject = 'folder' and e.subject_id = name and e.cause = 'folder' order by e.id desc limit 1) end "
            "as away_because, "
            "(select count(*) from files f where f.folder = name and f.state = 'settling') as settling, "
            f"(select count(*) {unfinished}) as unfinished, "
            f"(select f.path || ': ' || f.reason {unfinished} order by f.id limit 1) as unfinished_because, "
            "(select count(*) from files f where f.folder = name and f.state = 'waiting') as waiting, "
            "(select min(ready_at) from files f where f.folder = name and f.state = 'waiting') as oldest from folders"
        )
        return {row["name"]: row | _of_folder(row) for row in rows}

    def busy_folders(self) -> list[str]:
        """List the paths of the folders of which a job has not ended, or something is to be archived."""
        rows = self.rows(f"select path, path_b64 from folders f where {WORK}")
        return [path_of(row["path"], row["path_b64"]) for row in rows]

    def has_work(self, folder: str) -> bool:
        """Tell whether a job of a folder has not ended, or something of it is to be archived.

        A ledger of an older version, which no daemon has opened since, does not tell.
        """
        if self.schema_version() != SCHEMA_VERSION:
            return False
        return next(self.rows(f"select 1 from folders f where name = ? and {WORK}", folder), None) is not None

    def is_at_rest(self) -> bool:
        """Tell for sure that every job has ended, and that nothing is to be archived."""
        if self.schema_version() != SCHEMA_VERSION:
            return False
        jobs = self.rows("select 1 from jobs where finished_at is null or archived = 0 limit 1")
        files = self.rows("select 1 from files where archived = 0 limit 1")
        return next(jobs, next(files, None)) is None

    def server(self, url: str) -> Row:
        """Look up what is known of the server at `url`."""
        # all columns: a ledger of an older version, which no daemon has opened since, may lack one
        row = next(self.rows("select * from servers where url = ?", url), {})
        told = {field: row.get(field) for field in SERVER_FIELDS}
        return told | {"reachable": None if told["reachable"] is None else bool(told["reachable"])}

    def at_work(self) -> frozenset[str]:
        """List the urls of all backends at which something is left to do, whether a folder uses them or not."""
        if self.schema_version() != SCHEMA_VERSION:
            return frozenset()
        rows = self.rows(
            "select s.url from jobs j join sessions s on s.job_id = j.id and s.ended_at is null "
            "where j.finished_at is null union select url from sessions where discard = 1"
        )
        return frozenset(row["url"] for row in rows)

    def waited_for(self) -> frozenset[str]:
        """List the backends of folders that left the configuration and have work left, which may not be sent yet."""
        if self.schema_version() != SCHEMA_VERSION:
            return frozenset()
        kind = "iif(json_valid(rules), json_extract(rules, '$.backend'), '')"
        rows = self.rows(f"select {kind} as backend from folders f where state = 'retired' and {WORK}")
        return frozenset(row["backend"] for row in rows)

    def daemon(self) -> Row | None:
        """Fetch what is known of the daemon that started last."""
        row = next(self.rows("select * from daemon"), None)
        trouble = trouble_of(self.path)
        if row is not None and trouble is not None and trouble.reload_refused is not None:
            row["reload_refused_because"] = trouble.reload_refused
        return row

    def unwatched(self) -> str | None:
        """Tell why the daemon cannot watch all folders, so that sweeps alone find changes; null if it can."""
        trouble = trouble_of(self.path)
        return trouble.unwatched if trouble else self._trouble_with(WATCH)

    def unserved(self) -> str | None:
        """Tell why the daemon serves no metrics that it is to serve; null if it does."""
        trouble = trouble_of(self.path)
        return trouble.unserved if trouble else self._trouble_with(METRICS)

    def _trouble_with(self, what: str) -> str | None:
        query = (
            "select detail from events where subject = 'daemon' and subject_id = ? "
            "and at >= (select since from daemon) order by id desc limit 1"
        )
        return next(self.rows(query, what), {}).get("detail")

    def size(self) -> int:
        """Count the bytes on the disk, with the log, which holds what was written last. Raises LedgerMissing."""
        try:
            size = os.stat(self.path).st_size
            with suppress(FileNotFoundError):  # it comes and goes
                size += os.stat(f"{self.path}-wal").st_size
        except OSError as error:
            raise LedgerMissing(f"the ledger {self.path} went away while it was read", remedy=PUT_BACK) from error
        return size


def _of_folder(row: Row) -> Row:
    """Make what is not in a folder's columns as it is told; a ledger of an older version lacks some of them."""
    paused = row.get("paused_at")
    state = "paused" if paused is not None and row["state"] == "watched" else row["state"]
    return {"state": state, "paused_since": paused} | {
        key: json.loads(row.get(key) or "{}") for key in ("untaken", "closed", "unremoved")
    }
