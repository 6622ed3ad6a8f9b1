"""A ledger as a year of work leaves it: written by SQL, row for row as a daemon writes it, and audited.

1. Its files lie nowhere: what is measured on it reads the ledger alone.
2. Every hundredth file was refused, and every two-hundredth job has failed; all others were learned, and taught ten
   pairs each, whose words come from a vocabulary as frequent as words are (Zipf).
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any, Final

from workshop import Place, say

from finetuned.ledger.audit import audit
from finetuned.ledger.writer import Ledger
from finetuned.times import iso

FILES_A_JOB: Final = 5
PAIRS_A_FILE: Final = 10
NOW: Final = 1_795_411_391.0
YEAR: Final = 365 * 86400.0
WORDS: Final = 20_000
_SYLLABLES: Final = ("ba", "do", "fi", "gu", "ka", "le", "mo", "ni", "pa", "re", "si", "tu", "va", "wo", "xe", "zy")
#: rows of one transaction
_AT_ONCE: Final = 100_000


class Year:
    """The rows of such a ledger, table by table."""

    def __init__(self, place: Place, files: int, *, seed: int = 0) -> None:
        self._folder = str(place.notes)
        self._jobs = files // FILES_A_JOB
        self._chance = random.Random(seed)
        self.words = [self._word(number) for number in range(WORDS)]
        self._weights = [1 / (number + 10) for number in range(WORDS)]
        self._stock: list[str] = []

    @staticmethod
    def _word(number: int) -> str:
        word = ""
        while number or not word:
            number, syllable = divmod(number, len(_SYLLABLES))
            word += _SYLLABLES[syllable]
        return word

    def text(self, count: int) -> str:
        """Write so many words."""
        if len(self._stock) < count:
            self._stock = self._chance.choices(self.words, self._weights, k=200_000)
        taken = self._stock[-count:]
        del self._stock[-count:]  # from its end: what is left stays where it is
        return " ".join(taken).capitalize()

    def job_id(self, number: int) -> str:
        """The id of a job; they are sorted by time."""
        at = self._at(number)
        tail = "".join("abcdefghijklmnopqrstuvwxyz234567"[number // 32**place % 32] for place in (3, 2, 1, 0))
        return f"notes-{iso(at)[:19].replace('-', '').replace(':', '').replace('T', '-')}-{tail}"

    def _at(self, number: int) -> float:
        return NOW - YEAR + YEAR * number / self._jobs

    @staticmethod
    def has_failed(number: int) -> bool:
        """Whether the job of this number has."""
        return number % 200 == 199

    @staticmethod
    def was_refused(file: int) -> bool:
        """Whether the file of this number was; it is in no job then."""
        return file % 100 == 8

    def _of_job(self, job: int) -> list[int]:
        """The numbers of the files that are in a job."""
        return [file for file in self._dropped(job) if not self.was_refused(file)]

    @staticmethod
    def _dropped(job: int) -> range:
        """The numbers of the files that were dropped together."""
        return range(job * FILES_A_JOB + 1, (job + 1) * FILES_A_JOB + 1)

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Jobs at their end."""
        for number in range(self._jobs):
            failed, at = self.has_failed(number), self._at(number)
            yield {
                "id": self.job_id(number),
                "folder": "notes",
                "state": "failed" if failed else "done",
                "reason": f"the server said: 'out of memory' at step {number}" if failed else None,
                "files": len(self._of_job(number)),
                "bytes": 500 * len(self._of_job(number)),
                "created_at": iso(at),
                "claimed_at": iso(at),
                "finished_at": iso(at + 600),
            }

    def sessions(self) -> Iterator[dict[str, Any]]:
        """One attempt at each job."""
        for number in range(self._jobs):
            failed, at = self.has_failed(number), self._at(number)
            yield {
                "id": number + 1,
                "job_id": self.job_id(number),
                "attempt": 1,
                "current": 1,
                "state": "ended" if failed else "trained",
                "session_id": str(uuid.UUID(int=number + 1)),
                "url": "http://helix.test",
                "dialect": "form",
                "pairs": None if failed else len(self._of_job(number)) * PAIRS_A_FILE,
                "lora_dir": None if failed else f"dev/{number}",
                "reason": "out of memory" if failed else None,
                "intent_at": iso(at + 1),
                "known_at": iso(at + 2),
                "ended_at": iso(at + 600),
            }

    def files(self) -> Iterator[dict[str, Any]]:
        """The files of each job, and between them some that were refused."""
        for number in range(1, self._jobs * FILES_A_JOB + 1):
            job = (number - 1) // FILES_A_JOB
            failed, at = self.has_failed(job), self._at(job)
            refused = self.was_refused(number)
            path = f"{self._folder}/{number % 97:02d}/note-{number:07d}.txt"
            digest = hashlib.sha256(path.encode()).hexdigest()
            area = "failed" if failed or refused else "done"
            why = "it is empty: there is nothing to learn from it" if refused else "its job failed" if failed else None
            yield {
                "id": number,
                "folder": "notes",
                "path": path,
                "location": f"{self._folder}/{area}/{self.job_id(job)}/note-{number:07d}.txt",
                "state": "refused" if refused else "failed" if failed else "learned",
                "reason": why,
                "sha256": None if refused else digest,
                "text_sha256": None if refused else digest,
                "bytes": 500,
                "sent_bytes": 500,
                "job_id": None if refused else self.job_id(job),
                "pairs": None if refused or failed else PAIRS_A_FILE,
                "seen_at": iso(at - 30),
                "ready_at": iso(at - 28),
                "finished_at": iso(at + 600),
            }

    def pairs(self) -> Iterator[dict[str, Any]]:
        """Ten pairs of each file that was learned."""
        number = 0
        for job in range(self._jobs):
            if self.has_failed(job):
                continue
            owners = [file for file in self._of_job(job) for _ in range(PAIRS_A_FILE)]
            for ordinal, file in enumerate(owners, 1):
                number += 1
                question, answer = f"{self.text(8)}?", f"{self.text(20)}."
                yield {
                    "id": number,
                    "job_id": self.job_id(job),
                    "session_id": str(uuid.UUID(int=job + 1)),
                    "file_id": file,
                    "ordinal": ordinal,
                    "question": question,
                    "answer": answer,
                    "raw_question": question,
                    "raw_answer": answer,
                    "talk": ordinal,
                    "turn": 1,
                }

    def events(self) -> Iterator[dict[str, Any]]:
        """Five of each job and four of each of its files, in order of time."""
        moves = (("appeared", None, "settling"), ("settled", "settling", "waiting"), ("sealed", "waiting", "packed"))
        way = ((None, "queued"), ("queued", "submitting"), ("submitting", "running"), ("running", "running"))
        for job in range(self._jobs):
            failed, job_id = self.has_failed(job), self.job_id(job)
            end = "failed" if failed else "done"
            steps = [(*move, None) for move in moves] + [
                ("trained", "packed", "failed" if failed else "learned", job_id)
            ]
            for step, (cause, was, became, of) in enumerate(steps):
                for file in self._of_job(job):
                    yield self._event(job, step, "file", str(file), was, became, cause, of)
            for file in filter(self.was_refused, self._dropped(job)):
                yield self._event(job, 4, "file", str(file), "settling", "refused", "refused", None)
            for step, (was, became) in enumerate((*way, ("running", end))):
                yield self._event(job, step + 4, "job", job_id, was, became, "trained", job_id)

    def _event(self, job: int, step: int, subject: str, name: str, *rest: str | None) -> dict[str, Any]:
        was, became, cause, of = rest
        named = {"subject": subject, "subject_id": name, "was": was, "became": became, "cause": cause, "job_id": of}
        return {"at": iso(self._at(job) + step / 100)} | named


def make(place: Place, files: int) -> None:
    """Write a ledger of so many files, a fifth as many jobs, ten pairs and five events a file."""
    place.ledger.parent.mkdir(parents=True, exist_ok=True)
    with Ledger.open(str(place.ledger)):
        pass
    year = Year(place, files)
    with closing(sqlite3.connect(place.ledger, isolation_level=None)) as db:
        db.execute("pragma synchronous = off")
        db.execute("pragma cache_size = -200000")
        for table, rows in (
            ("jobs", year.jobs()),
            ("sessions", year.sessions()),
            ("files", year.files()),
            ("qa_pairs", year.pairs()),
            ("events", year.events()),
        ):
            say(f"{table}: {_write(db, table, rows):,} rows")
        db.execute("begin")
        db.execute("insert into qa_pairs_fts (rowid, question, answer) select id, question, answer from qa_pairs")
        db.execute("commit")
        db.row_factory = sqlite3.Row
        if found := audit(db):
            raise RuntimeError(f"the ledger that was made is none that a daemon leaves: {found[:3]}")


def _write(db: sqlite3.Connection, table: str, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    while some := list(islice(rows, _AT_ONCE)):
        names = ", ".join(some[0])
        marks = ", ".join(f":{name}" for name in some[0])
        db.execute("begin")
        db.executemany(f"insert into {table} ({names}) values ({marks})", some)  # noqa: S608 - our own names
        db.execute("commit")
        count += len(some)
    return count
