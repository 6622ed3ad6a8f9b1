"""Queries of the pairs that are made here: what became of each passage, and of each pair that was tried.

1. What is told of a job is told of its newest session; what it cost, of all its sessions together.
2. A session names a document anew: the file is known by what stands behind the session's name, `-0001-stem.txt`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Unpack

from finetuned.ledger.queries.connection import Connection, Row, drop_null
from finetuned.ledger.queries.filters import Filters, Query
from finetuned.ledger.rows import AT_PLACE, REUSED, WEEK, place
from finetuned.marker import renamed
from finetuned.readymade import is_ready_made
from finetuned.times import iso

if TYPE_CHECKING:
    from finetuned.making.coverage import Coverage

#: so many passages that taught nothing are named
MOST_BARREN: Final = 5
#: by what they can be sorted, as a column of their jobs that has an index
_SORTS: Final = {"created": "j.created_at", "finished": "j.finished_at"}
#: that `c` is a passage of the file `f`
_OF_FILE: Final = (
    "ltrim(substr(f.upload_name, length(j.id) + 2), '0123456789') = substr(c.document, length(j.session_id) + 1)"
)
_DRAFT: Final = "cross join drafts d on d.chunk_id = c.id and d.dropped is not null"
#: the tables in the order in which SQLite is to go through them: job by job, and from few files
_BY_JOB: Final = (
    f"from all_jobs j cross join chunks c on c.run = j.session_id {_DRAFT} "
    f"left join files f on f.job_id = j.id and {_OF_FILE}"
)
_BY_FILE: Final = (
    f"from files f cross join all_jobs j on j.id = f.job_id cross join chunks c on c.run = j.session_id and {_OF_FILE} "
    f"{_DRAFT}"
)
_DROPPED: Final = (
    "j.id as job_id, j.session_id, f.path as file, f.path_b64 as file_b64, c.number as chunk, d.question, d.answer, "
    "d.evidence, iif(d.begins < d.ends, d.begins, null) as begins, iif(d.begins < d.ends, d.ends, null) as ends, "
    "d.dropped"
)


class MakingQueries(Connection):
    """What is asked of the making of pairs."""

    def dropped(self, *, path: str | None = None, **filters: Unpack[Filters]) -> Iterator[Row]:
        """List the pairs that were made and not kept, as `pairs` lists those that were: job by job, in their order."""
        from finetuned.making.values import DROPS, Drop  # noqa: PLC0415 - most commands have no need of it

        query = Query()
        query.among("+j.state", filters.get("states", ()))
        query.equal("+j.folder", filters.get("folder"))
        query.equal("j.id", filters.get("job"))
        by = _SORTS[filters.get("sort", "created")]
        query.between("j.created_at" if by == _SORTS["created"] else "+j.created_at", filters)
        few = None
        if path is not None:
            text, b64 = place(path)
            few = [row["id"] for row in self.rows(f"select id from files where {AT_PLACE}", path=text, b64=b64)]
            query.in_list("f.id", few)
        if paths := filters.get("paths", ()):
            found = self.few_files(paths)
            query.of_paths(paths, file="f.") if found is None else query.in_list("f.id", found)
            few = found if few is None else few
        tables = _BY_JOB if few is None else _BY_FILE
        end = query.ordered(filters, by, "j.ordinal", "c.document", "c.number", "d.ordinal")
        for row in self.rows(f"select {_DROPPED} {tables} {end}", *query.values):
            yield drop_null(row | {"reason": DROPS[Drop(row["dropped"])]}, "file_b64")

    def making(self, job_id: str, *, file_id: int | None = None) -> Row:
        """Tell as `making` what became of a job's texts, or of one of its files; of those that are made here alone."""
        query = "select p.run, p.made_by from all_jobs j join planned_runs p on p.run = j.session_id where j.id = ?"
        run = next(self.rows(query, job_id), None)
        if run is None:
            return {}
        which, values = ("", [job_id]) if file_id is None else ("and id = ?", [job_id, file_id])
        files = self.rows(
            "select path, path_b64, coalesce(sent_bytes, 0) as size, upload_name from files where job_id = ? "
            f"and upload_name is not null and not (state = 'learned' and pairs is null) {which} order by upload_name",
            *values,
        )
        made_of = {renamed(file["upload_name"], run["run"]): file for file in files}
        made_of = {name: file for name, file in made_of.items() if not is_ready_made(name)}
        if not made_of:
            return {}
        names = None if file_id is None else [name.removeprefix(run["run"]) for name in made_of]
        return {"making": self._told(run, made_of) | {"tokens": self._tokens(job_id, names)}}

    def is_answered(self, made_by: str, sha256: str) -> bool:
        """Tell whether this maker has answered about this passage: it is not paid again."""
        query = "select 1 from answers where made_by = ? and sha256 = ? and raw is not null limit 1"
        return next(self.rows(query, made_by, sha256), None) is not None

    def spent(self, since: float) -> int:
        """Count the tokens of all answers that came at `since` or later."""
        rows = self.rows("select coalesce(sum(tokens), 0) as n from answers where at >= ?", iso(since))
        return int(next(rows)["n"])

    def spent_by_week(self, *, folder: str | None, since: float | None, until: float | None) -> dict[str, int]:
        """Count the tokens of all answers by week (its Monday, UTC), of one folder's if it is named."""
        query = Query()
        tables = "answers a"
        if folder is not None:
            tables += " cross join chunks c on c.id = a.chunk_id cross join jobs j"
            query.where("j.id = substr(c.run, 1, instr(c.run, '.') - 1) and j.folder = ?", folder)
        query.between("a.at", {"since": since, "until": until})
        counted = f"select {WEEK.format('a.at')} as week, sum(a.tokens) as tokens from {tables} {query.conditions()}"
        return {row["week"]: row["tokens"] for row in self.rows(f"{counted} group by 1 order by 1", *query.values)}

    def _told(self, run: Row, files: Mapping[str, Row]) -> Row:
        states, dropped = Counter[str](), Counter[str]()
        told: Row = dict.fromkeys(("chunks", "reused", "pairs", "bytes", "cited", "barren"), 0)
        passages: list[Row] = []
        for name, file in files.items():
            rows = list(
                self.rows("select * from chunks where run = ? and document = ? order by number", run["run"], name)
            )
            states.update(row["state"] for row in rows)
            known = self._covered(run["run"], name, file["size"], rows)
            dropped.update({str(drop): count for drop, count in known.dropped.items()})
            counted = {"chunks": len(rows), "reused": self._reused(run["run"], name), "pairs": known.pairs}
            counted |= {"bytes": file["size"], "cited": known.cited, "barren": len(known.barren)}
            told |= {key: told[key] + count for key, count in counted.items()}
            for one in known.barren[: MOST_BARREN - len(passages)]:
                where = {"number": one.number, "begins": one.begins, "ends": one.ends, "reason": one.reason}
                passages.append(drop_null({"file": file["path"], "file_b64": file["path_b64"]} | where, "file_b64"))
        ended = {state: states[state] for state in ("judged", "failed")}
        left = told["chunks"] - sum(ended.values())
        return (
            {"made_by": run["made_by"], "left": left} | ended | told | {"dropped": dict(dropped), "passages": passages}
        )

    def _covered(self, run: str, document: str, size: int, rows: list[Row]) -> Coverage:
        """Tell how much of a document was taught, by those of its passages that are at their end."""
        from finetuned.making.coverage import cover  # noqa: PLC0415
        from finetuned.making.notes import CHUNK_OPEN, ChunkRow, ChunkState  # noqa: PLC0415
        from finetuned.making.values import Draft, Drop, Span  # noqa: PLC0415

        drafts: dict[int, Counter[str | None]] = {}
        kept = []
        query = (
            "select d.chunk_id, d.begins, d.ends, d.dropped from chunks c cross join drafts d on d.chunk_id = c.id "
            "where c.run = ? and c.document = ?"
        )
        for row in self.rows(query, run, document):
            drafts.setdefault(row["chunk_id"], Counter())[row["dropped"]] += 1
            if row["dropped"] is None:
                kept.append(Draft(question="", answer="", begins=row["begins"], ends=row["ends"]))

        def chunk(row: Row) -> ChunkRow:
            of: Counter[Any] = drafts.get(row["id"], Counter())
            span = Span(**{key: row[key] for key in Span.__struct_fields__})
            known = {key: row[key] for key in ("id", "run", "document", "made_by", "reason")}
            dropped = {Drop(drop): count for drop, count in of.items() if drop is not None}
            return ChunkRow(**known, span=span, state=ChunkState(row["state"]), kept=of[None], dropped=dropped)

        ended = [chunk(row) for row in rows if ChunkState(row["state"]) not in CHUNK_OPEN]
        return cover(size, kept, ended)

    def _reused(self, run: str, document: str) -> int:
        """Count the passages whose answer was known, and cost nothing."""
        query = f"select count(*) as n from chunks c where c.run = ? and c.document = ? and {REUSED}"
        return int(next(self.rows(query, run, document))["n"])

    def _tokens(self, job_id: str, names: list[str] | None) -> int:
        """Count the tokens of a job's answers, or of the documents that end in these names."""
        query = (
            "select substr(c.document, length(c.run) + 1) as name, coalesce(sum(a.tokens), 0) as n from chunks c "
            "cross join answers a on a.chunk_id = c.id where c.run >= ? and c.run < ? group by 1"
        )
        spent = {row["name"]: row["n"] for row in self.rows(query, f"{job_id}.", f"{job_id}/")}
        return sum(spent.values() if names is None else (spent.get(name, 0) for name in names))
