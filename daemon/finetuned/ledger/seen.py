"""What a look brings into the ledger: a session's interactions, updated in place, and its pairs."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from finetuned.model import File, Job, Pair, SessionView, iso
from finetuned.verdict import document_of


def write_look(db: sqlite3.Connection, view: SessionView, now: float) -> None:
    """Every interaction as it was seen now, in place of what was seen before."""
    for ordinal, turn in enumerate(view.interactions, 1):
        chunks = sum(len(c) for c in turn.chunks.values())
        db.execute(
            "insert or replace into interactions values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                view.id,
                turn.id,
                ordinal,
                turn.creator,
                turn.mode,
                turn.state,
                turn.stage,
                turn.message,
                turn.status,
                turn.error,
                turn.progress,
                int(turn.finished),
                turn.lora_dir,
                turn.created,
                turn.updated,
                turn.completed,
                chunks,
                int(turn.limited),
                iso(now),
            ),
        )


def write_pairs(
    db: sqlite3.Connection, job: Job, view: SessionView, pairs: Sequence[Pair], files: Sequence[File]
) -> None:
    """The session's pairs, once: a repeat after a crash replaces nothing and adds nothing."""
    if db.execute("select 1 from qa_pairs where session_id = ? limit 1", (view.id,)).fetchone():
        return
    first = db.execute("select coalesce(max(ordinal), 0) from qa_pairs where job_id = ?", (job.id,)).fetchone()[0]
    db.executemany(
        "insert into qa_pairs (job_id, session_id, file_id, ordinal, question, answer, raw_question, raw_answer) "
        "values (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                job.id,
                view.id,
                document_of(p, view, files),
                n,
                p.question,
                p.answer,
                p.raw_question,
                p.raw_answer,
            )
            for n, p in enumerate(pairs, first + 1)
        ),
    )
    db.execute(
        "insert into qa_pairs_fts (rowid, question, answer) "
        "select id, question, answer from qa_pairs where job_id = ? and ordinal > ?",
        (job.id, first),
    )
