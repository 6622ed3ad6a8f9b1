"""Queries of the question-answer pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from finetuned.ledger.queries.connection import Connection, Row, drop_null
from finetuned.ledger.rows import AT_PLACE, place
from finetuned.ledger.search import RANKED, Search

PAIR: Final = (
    "p.job_id, p.session_id, f.path as file, f.path_b64 as file_b64, p.ordinal, p.question, p.answer, "
    "p.raw_question, p.raw_answer, f.sha256, p.talk, p.turn, p.system"
)
#: what a pair is told without where it is null
SPARE: Final = ("file_b64", "talk", "turn", "system")


class PairQueries(Connection):
    """What is asked of pairs."""

    def pairs(self, *, job: str | None = None, path: str | None = None, search: Search | None = None) -> Iterator[Row]:
        """List the pairs by job and ordinal; of a job that trained, those of the session that did.

        Its `sha256` tells which version of the file it was made of, should several have lain at one path.
        Those that a search finds are listed the best first, with the passage that was found as `snippet`.
        """
        text, b64 = place(path)
        where = (
            f"(:job is null or p.job_id = :job) and (:path is null or {AT_PLACE}) "
            "and (j.state not in ('done', 'partial') or p.session_id = j.session_id)"
        )
        tables = "left join files f on f.id = p.file_id join all_jobs j on j.id = p.job_id"
        if search is None:
            query = f"select {PAIR} from qa_pairs p {tables} where {where} order by j.created_at, j.ordinal, p.ordinal"
            rows = self.rows(query, job=job, path=text, b64=b64)
        elif search.expression is None:
            rows = iter(())
        else:
            query = f"select {PAIR} from {RANKED} hit cross join qa_pairs p on p.id = hit.id {tables} where {where}"
            rows = search.among(self.rows(query, job=job, path=text, b64=b64, words=search.expression))
        return (drop_null(row, *SPARE) for row in rows)

    def questions(self) -> Iterator[tuple[str, str]]:
        """List each question with its answer, of the sessions that count."""
        query = "select p.question, p.answer from qa_pairs p join sessions s on s.session_id = p.session_id "
        return ((row["question"], row["answer"]) for row in self.rows(f"{query} where s.current = 1"))
