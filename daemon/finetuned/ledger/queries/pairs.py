"""Queries of the question-answer pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from finetuned.ledger.queries.connection import Connection, Row, drop_null
from finetuned.ledger.rows import AT_PLACE, place

PAIR: Final = (
    "p.job_id, p.session_id, f.path as file, f.path_b64 as file_b64, p.ordinal, p.question, p.answer, "
    "p.raw_question, p.raw_answer, f.sha256, p.talk, p.turn, p.system"
)
#: what a pair is told without where it is null
SPARE: Final = ("file_b64", "talk", "turn", "system")


class PairQueries(Connection):
    """What is asked of pairs."""

    def pairs(self, *, job: str | None = None, path: str | None = None, words: str | None = None) -> Iterator[Row]:
        """List the pairs by job and ordinal; of a job that trained, those of the session that did.

        Its `sha256` tells which version of the file it was made of, should several have lain at one path.
        `words` searches questions and answers, best first.
        """
        text, b64 = place(path)
        where = (
            f"(:job is null or p.job_id = :job) and (:path is null or {AT_PLACE}) "
            "and (j.state not in ('done', 'partial') or p.session_id = j.session_id)"
        )
        tables = "from qa_pairs p left join files f on f.id = p.file_id join all_jobs j on j.id = p.job_id"
        if words is None:
            query = f"select {PAIR} {tables} where {where} order by j.created_at, j.ordinal, p.ordinal"
            rows = self.rows(query, job=job, path=text, b64=b64)
        else:
            query = (
                f"select {PAIR} {tables} join qa_pairs_fts on qa_pairs_fts.rowid = p.id "
                f"where {where} and qa_pairs_fts match :words order by qa_pairs_fts.rank, p.id"
            )
            rows = self.rows(query, job=job, path=text, b64=b64, words=_terms(words))
        return (drop_null(row, *SPARE) for row in rows)


def _terms(words: str) -> str:
    """Words that people type, as a full-text query: each one quoted, all of them wanted."""
    return " ".join('"' + word.replace('"', '""') + '"' for word in words.split()) or '""'
