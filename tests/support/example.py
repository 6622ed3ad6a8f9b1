"""A ledger of a small office, the same at every time: what the page `queries` asks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from finetuned.backend import Pair
from finetuned.ledger.writer import Ledger

_MEMORY: Final = "the server ran out of memory"
_CHUNKS: Final = "2 chunks failed"
_JOBS: Final = (
    # id, state, stage, progress, sealed, sent, ended, why
    ("notes-20261116-080000-aaaa", "done", None, None, "16T08:00:00", "16T08:00:02", "16T08:09:00", None),
    ("notes-20261117-093000-bbbb", "done", None, None, "17T09:30:00", "17T09:30:05", "17T09:42:35", None),
    ("mails-20261117-101500-cccc", "partial", None, None, "17T10:15:00", "17T10:15:01", "17T10:31:01", _CHUNKS),
    ("mails-20261118-070000-dddd", "failed", None, None, "18T07:00:00", "18T07:00:01", "18T07:02:00", _MEMORY),
    ("notes-20261118-120000-eeee", "running", "finetune", 40, "18T12:00:00", "18T12:00:03", None, None),
    ("mails-20261118-120500-ffff", "queued", None, None, "18T12:05:00", None, None, None),
)  # fmt: skip
_FILES: Final = (
    # path, state, job, seen, ready, ended, pairs, why
    ("notes/otters.txt", "learned", 0, "16T07:59:00", "16T07:59:30", "16T08:09:00", 2, None),
    ("notes/rivers.txt", "learned", 0, "16T07:59:10", "16T07:59:40", "16T08:09:00", 1, None),
    ("notes/badgers.txt", "learned", 1, "17T09:29:00", "17T09:29:30", "17T09:42:35", 2, None),
    ("mails/landlord.txt", "learned", 2, "17T10:14:00", "17T10:14:30", "17T10:31:01", 1, None),
    ("mails/signature.txt", "barren", 2, "17T10:14:00", "17T10:14:30", "17T10:31:01", 0, "it taught nothing"),
    ("mails/2019.txt", "failed", 3, "18T06:59:00", "18T06:59:30", "18T07:02:00", None, _MEMORY),
    ("mails/2020.txt", "failed", 3, "18T06:59:00", "18T06:59:30", "18T07:02:00", None, _MEMORY),
    ("notes/scan.txt", "refused", None, "18T09:00:00", None, "18T09:00:01", None, "no text: it has NUL bytes"),
    ("notes/foxes.txt", "packed", 4, "18T11:59:00", "18T11:59:30", None, None, None),
    ("mails/2021.txt", "packed", 5, "18T12:04:00", "18T12:04:30", None, None, None),
    ("notes/owls.txt", "waiting", None, "18T12:06:00", "18T12:06:30", None, None, None),
    ("notes/cats.txt", "waiting", None, "18T12:05:30", "18T12:06:00", None, None, None),
)
_PAIRS: Final = {
    0: (
        (0, "Where do otters live?", "In rivers and along the sea."),
        (0, "What do otters eat?", "Fish and crabs."),
        (1, "How long is the river?", "It is 12 km long."),
    ),
    1: (
        (2, "Where do badgers live?", "In setts, which they dig."),
        (2, "What do otters eat?", "Fish, and badgers eat worms."),
    ),
    2: ((3, "What does the landlord want?", "The rent, by the river house's tenants."),),
}


def example(path: Path) -> None:
    """Make the ledger."""
    with Ledger.open(str(path)) as ledger:
        with closing(sqlite3.connect(path)) as db, db:
            for number, job in enumerate(_JOBS):
                _add_job(db, number, *job)
            for number, file in enumerate(_FILES, 1):
                _add_file(db, number, *file)
        for number, pairs in _PAIRS.items():
            job = ledger.jobs.get(_JOBS[number][0])
            assert job is not None
            told = [
                Pair(raw_question=q, raw_answer=a, question=q, answer=a, document=str(file)) for file, q, a in pairs
            ]
            ledger.pairs.add(job, f"ses-{number}", told, lambda pair: int(pair.document or 0) + 1)


def _at(time: str | None) -> str | None:
    return None if time is None else f"2026-11-{time}.000Z"


def _insert(db: sqlite3.Connection, table: str, **row: Any) -> None:
    names = ", ".join(row)
    db.execute(f"insert into {table} ({names}) values ({', '.join('?' * len(row))})", [*row.values()])  # noqa: S608


def _add_job(
    db: sqlite3.Connection,
    number: int,
    name: str,
    state: str,
    stage: str | None,
    progress: int | None,
    sealed: str,
    sent: str | None,
    ended: str | None,
    reason: str | None,
) -> None:
    files = [file for file in _FILES if file[2] == number]
    made = {"created_at": _at(sealed), "claimed_at": _at(sealed), "finished_at": _at(ended), "reason": reason}
    _insert(db, "jobs", id=name, folder=name[:5], state=state, files=len(files), bytes=1200 * len(files), **made)
    if sent is not None:
        states = {"done": "trained", "partial": "trained", "failed": "ended", "running": "live"}
        pairs = len(_PAIRS.get(number, ())) or None
        known = {"session_id": f"ses-{number}", "stage": stage, "progress": progress, "pairs": pairs}
        times = {"intent_at": _at(sent), "known_at": _at(sent), "ended_at": _at(ended)}
        server = {"url": "http://127.0.0.1:8585", "dialect": "form"}
        _insert(db, "sessions", job_id=name, attempt=1, current=1, state=states[state], **server, **known, **times)


def _add_file(
    db: sqlite3.Connection,
    number: int,
    path: str,
    state: str,
    job: int | None,
    seen: str,
    ready: str | None,
    ended: str | None,
    pairs: int | None,
    reason: str | None,
) -> None:
    folder, _, name = path.partition("/")
    job_id = None if job is None else _JOBS[job][0]
    place = {"learned": f"done/{job_id}/", "barren": f"failed/{job_id}/", "failed": f"failed/{job_id}/"}.get(state, "")
    place = "failed/refused/" if state == "refused" else f".processing/{job_id}/" if state == "packed" else place
    lies = {"path": f"/srv/finetuned/{path}", "location": f"/srv/finetuned/{folder}/{place}{name}"}
    times = {"seen_at": _at(seen), "ready_at": _at(ready), "finished_at": _at(ended)}
    told = {"job_id": job_id, "pairs": pairs, "reason": reason, "sha256": f"{number:064x}", "bytes": 1200}
    _insert(db, "files", id=number, folder=folder, state=state, **lies, **told, **times)
