"""Queries of the files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Unpack

from finetuned.ledger.queries.connection import Connection, Row, drop_null
from finetuned.ledger.queries.filters import Filters, Query
from finetuned.ledger.rows import AT_PLACE, place
from finetuned.ledger.schema import among
from finetuned.lifecycle import FileState
from finetuned.paths import utf8_text

_FILE: Final = (
    "id, path, path_b64, location, location_b64, folder, state, job_id, sha256, coalesce(bytes, size) as bytes, pairs, "
    "reason, seen_at, ready_at, finished_at, upload_name"
)

#: by what files can be sorted, as an expression that has an index
_SORTS: Final = {
    "seen": "id",
    "path": "path",
    "bytes": "coalesce(bytes, size)",
    "pairs": "pairs",
    "finished": "finished_at",
}

#: in any state: the index of contents has it first
_IN_ANY: Final = f"state in {among(FileState)}"


class FileQueries(Connection):
    """What is asked of files."""

    def files(self, **filters: Unpack[Filters]) -> Iterator[Row]:
        """List every file, in the order they were seen."""
        query = Query()
        states = filters.get("states", ())
        query.among("state", states)
        query.equal("job_id", filters.get("job"))
        query.equal("+folder" if states else "folder", filters.get("folder"))
        if paths := filters.get("paths"):
            few = self.few_files(paths)
            query.of_paths(paths) if few is None else query.in_list("id", few)
        query.mention(filters.get("text"), "path", "location", "reason")
        query.between_ids("files", "seen_at", filters)
        by = _SORTS[filters.get("sort", "seen")]
        end = query.ordered(filters, *dict.fromkeys((by, "id")))
        return (_file(row) for row in self.rows(f"select {_FILE} from files {end}", *query.values))

    def file(self, file_id: str) -> Row | None:
        """One file as `files` lists it; null if there is none."""
        return next((_file(row) for row in self.rows(f"select {_FILE} from files where id = ?", file_id)), None)

    def stored(self, file_id: int) -> Row:
        """Fetch all that is known of a file, as the columns are called."""
        # all columns: a ledger of an older version, which no daemon has opened since, may lack one
        return next(self.rows("select * from files where id = ?", file_id))

    def ids(self, job_id: str) -> dict[str, int]:
        """Return the number of each file of a job by where it was dropped, as people are told that."""
        return {row["path"]: row["id"] for row in self.rows("select path, id from files where job_id = ?", job_id)}

    def unsealed(self, folder: str | None) -> list[Row]:
        """List the files that settle or wait in the folder (null: in any): `id`, `path`, `state`, in the order seen."""
        query = (
            "select id, path, state from files where state in ('settling', 'waiting') "
            "and (:folder is null or folder = :folder) order by id"
        )
        return list(self.rows(query, folder=folder))

    def become(self, file_ids: Sequence[int]) -> Iterator[Row]:
        """Tell what became of files, in the order seen: `id`, `path`, `state`, `job_id`."""
        query = "select id, path, state, job_id from files where id in (select value from json_each(?)) order by id"
        return self.rows(query, json.dumps(list(file_ids)))

    def at_place(self, path: str) -> list[Row]:
        """List the files that were dropped at `path`, or lie there now, newest first, with `id` and `due_at`."""
        text, b64 = place(path)
        return self._whole(f"where {AT_PLACE} order by id desc", path=text, b64=b64)

    def of_content(self, contents: Collection[str]) -> list[Row]:
        """List the files with one of these contents, or with the text of one, newest first, with `id` and `due_at`."""
        wanted = f"{_IN_ANY} and {self._same} in (select value from json_each(?))"
        return self._whole(f"where {wanted} order by id desc", json.dumps(list(contents)))

    def _whole(self, which: str, *values: object, **named: object) -> list[Row]:
        rows = self.rows(f"select {_FILE}, due_at from files {which}", *values, **named)
        return [{"id": row["id"], "due_at": row["due_at"]} | _file(row) for row in rows]

    def of_name(self, name: str) -> list[Row]:
        """List the files that were dropped under this name in any folder, newest first."""
        named = "select id from files where substr(path, -length(:end)) = :end"  # all of that is in the index of paths
        query = f"select {_FILE} from files where id in ({named}) order by id desc"
        return [_file(row) for row in self.rows(query, end=f"/{utf8_text(name)}")]

    def name_of(self, file_id: str) -> str | None:
        """Tell where the file of an event was dropped, for people."""
        row = next(self.rows("select path from files where id = ?", file_id), None)
        return None if row is None else str(row["path"])

    def recall(self, *, job_id: str | None = None, file_id: int | None = None) -> Row:
        """Tell as `recall` how well questions about a file, or a job's, were answered, new ones first; else nothing."""
        query = (
            "select f.path as file, r.held_out, r.questions, r.untuned, r.tuned from files f join recalls r "
            "on r.file_id = f.id where {} order by f.id, r.held_out desc"
        )
        which, value = ("f.id = ?", file_id) if job_id is None else ("f.job_id = ?", job_id)
        told = [row | {"held_out": bool(row["held_out"])} for row in self.rows(query.format(which), value)]
        return {"recall": told} if told else {}

    def kept_back(self) -> list[Row]:
        """List the waiting files that cannot be read or moved for now: `folder`, `path`, `reason`."""
        return list(
            self.rows(
                "select f.folder, f.path, f.reason from folders cross join files f on f.folder = folders.name and "
                "f.state = 'waiting' and f.due_at is not null and f.due_at > '' and f.reason is not null "
                "order by f.folder, f.due_at, f.id"
            )
        )


def _file(row: Row) -> Row:
    row.pop("id", None)
    row.pop("due_at", None)
    return drop_null(row, "path_b64", "location_b64")
