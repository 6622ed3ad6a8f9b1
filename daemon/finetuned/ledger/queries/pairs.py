"""Queries of the question-answer pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final, Unpack

from finetuned.ledger.queries.connection import Connection, Row, drop_null
from finetuned.ledger.queries.filters import Filters, Query
from finetuned.ledger.rows import AT_PLACE, place

if TYPE_CHECKING:
    from finetuned.ledger.search import Search

PAIR: Final = (
    "p.job_id, p.session_id, f.path as file, f.path_b64 as file_b64, p.ordinal, p.question, p.answer, "
    "p.raw_question, p.raw_answer, f.sha256, p.talk, p.turn, p.system, p.evidence, p.begins, p.ends, p.made_by"
)
#: what a pair is told without where it is null
SPARE: Final = ("file_b64", "talk", "turn", "system", "evidence", "begins", "ends", "made_by")

_SOURCE: Final = "left join files f on f.id = p.file_id"
#: by what pairs can be sorted, as a column of their jobs that has an index
_SORTS: Final = {"created": "j.created_at", "finished": "j.finished_at"}
#: the tables in the order in which SQLite is to go through them (which is what `cross` is for): job by job, from few
#: files, and from what a search found
_BY_JOB: Final = f"from all_jobs j cross join qa_pairs p on p.job_id = j.id {_SOURCE}"
_BY_FILE: Final = f"from qa_pairs p cross join all_jobs j on j.id = p.job_id {_SOURCE}"
_BY_HIT: Final = f"hit cross join qa_pairs p on p.id = hit.id cross join all_jobs j on j.id = p.job_id {_SOURCE}"


class PairQueries(Connection):
    """What is asked of pairs."""

    def pairs(
        self,
        *,
        path: str | None = None,
        search: Search | None = None,
        with_file_id: bool = False,
        **filters: Unpack[Filters],
    ) -> Iterator[Row]:
        """List the pairs by job, the oldest first, and ordinal; of a job that trained, those of the session that did.

        Its `sha256` tells which version of the file it was made of, should several have lain at one path.
        Those that a search finds are listed the best first, with the passage that was found as `snippet`. With
        `with_file_id` each has `file_id`, too, the number of its file.
        """
        if search is not None and search.expression is None:
            return iter(())
        columns = f"{PAIR}, p.file_id" if with_file_id else PAIR
        query = Query()
        query.where("(j.state not in ('done', 'partial') or p.session_id = j.session_id)")
        query.among("+j.state", filters.get("states", ()))
        query.equal("+j.folder", filters.get("folder"))
        query.equal("j.id", filters.get("job"))
        by = _SORTS[filters.get("sort", "created")]
        query.between("j.created_at" if by == _SORTS["created"] else "+j.created_at", filters)  # never to sort millions
        if search is not None:
            self._of_files(query, path, filters)
            rows: Iterator[Row] = islice(search.among(self._found(columns, search, query)), filters.get("limit"))
        else:
            tables = _BY_FILE if self._of_files(query, path, filters) else _BY_JOB
            end = query.ordered(filters, by, "j.ordinal", "p.ordinal")
            rows = self.rows(f"select {columns} {tables} {end}", *query.values)
        return (drop_null(row, *SPARE) for row in rows)

    def _found(self, columns: str, search: Search, query: Query) -> Iterator[Row]:
        """Yield the pairs that the index finds, in windows, the newest first: the best of each first."""
        from finetuned.ledger.search import END, NEWEST, ranked  # noqa: PLC0415 - a search has loaded it

        before = END
        while True:
            newest_of = (search.expression, before, search.window)
            found = f"from {ranked()} {_BY_HIT} {query.conditions()}"
            yield from self.rows(f"select {columns} {found}", *newest_of, *query.values)
            (newest,) = self.rows(NEWEST, *newest_of)
            if newest["pairs"] < search.window:
                return
            before = newest["first"]

    def questions(self) -> Iterator[tuple[int, str]]:
        """List each question of the sessions that count, with the number of its pair."""
        query = "select p.id, p.question from qa_pairs p join sessions s on s.session_id = p.session_id "
        return ((row["id"], row["question"]) for row in self.rows(f"{query} where s.current = 1"))

    def answers(self, pairs: Iterable[int]) -> Iterator[tuple[int, str]]:
        """List the answers of pairs, by their numbers."""
        query = "select p.id, p.answer from json_each(?) e cross join qa_pairs p on p.id = e.value"
        return ((row["id"], row["answer"]) for row in self.rows(query, json.dumps(list(pairs))))

    def _of_files(self, query: Query, path: str | None, filters: Filters) -> bool:
        """Narrow a query to the pairs of files; tell whether these are few."""
        if path is not None:
            text, b64 = place(path)
            found = self.rows(f"select id from files where {AT_PLACE}", path=text, b64=b64)
            query.in_list("p.file_id", [row["id"] for row in found])
        paths = filters.get("paths", ())
        few = self.few_files(paths) if paths else None
        if few is not None:
            query.in_list("p.file_id", few)
        elif paths:
            query.of_paths(paths, file="f.")
        return path is not None or few is not None
