"""The reader's side of the ledger: what commands show, and what `job.json` holds; a module for each thing asked of.

Every dictionary here is a JSON object of the page `docs/interface.md`: all its keys, always.
"""

from __future__ import annotations

from typing import Final

from finetuned.ledger.queries.connection import Row
from finetuned.ledger.queries.events import EventQueries
from finetuned.ledger.queries.files import FileQueries
from finetuned.ledger.queries.jobs import JobQueries
from finetuned.ledger.queries.making import MakingQueries
from finetuned.ledger.queries.pairs import PairQueries
from finetuned.ledger.queries.status import StatusQueries
from finetuned.marker import marker

_SESSION: Final = "state session_id url dialect name lora_dir reason intent_at known_at ended_at removed_at"


class Reader(JobQueries, FileQueries, PairQueries, MakingQueries, EventQueries, StatusQueries):
    """Questions to the ledger at `path` over a connection; safe beside a running daemon."""

    def last_words(self, job_id: str) -> str:
        """Return what a job's newest session said last of how far it is; empty: nothing."""
        turns = self.rows(
            "select i.status from interactions i join sessions s on s.session_id = i.session_id where s.job_id = ? "
            "order by s.id desc, i.ordinal desc limit 1",
            job_id,
        )
        return next((turn["status"] or "" for turn in turns), "")

    def job(self, job_id: str) -> Row | None:
        """One job with everything about it; null if there is none."""
        job = self.brief(job_id)
        if job is None:
            return None
        # all columns, here and below: a ledger of an older version, which no daemon has opened since, may lack one
        sessions = self.rows("select * from sessions where job_id = ? order by id", job_id)
        turns = self.rows(
            "select i.session_id, i.id, i.creator, i.mode, i.state, i.stage, i.message, i.status, i.error, i.progress, "
            "i.finished, i.lora_dir, i.created, i.updated, i.completed, i.looked_at from interactions i "
            "join sessions s on s.session_id = i.session_id where s.job_id = ? order by s.id, i.ordinal",
            job_id,
        )
        return job | {
            "file_list": list(self.files(job=job_id)),
            "sessions": [
                {"attempt": session["attempt"], "marker": marker(job_id, session["attempt"])}
                | {key: session.get(key) for key in _SESSION.split()}
                | {"read_only": bool(session.get("read_only"))}
                for session in sessions
            ],
            "interactions": [turn | {"finished": bool(turn["finished"])} for turn in turns],
            "events": list(self.events(job=job_id)),
            **self.recall(job_id=job_id),
            **self.making(job_id),
        }
