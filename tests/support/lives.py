"""The shortest ways through a ledger's life: files appear, settle, are sealed, sent, trained."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from finetuned.backend import Observation, Pair
from finetuned.helix.observe import capabilities, observe
from finetuned.helix.session import Chunk, SessionView, Turn
from finetuned.ledger.audit import Finding, audit
from finetuned.ledger.queries import Reader
from finetuned.ledger.search import Search
from finetuned.ledger.writer import Ledger
from finetuned.lifecycle import Cause, FileState
from finetuned.model import Content, File, Job, Signature
from finetuned.verdict import judge, owner, tally

NOW = 1_795_411_391.0
URL = "http://helix.test"


def signature(number: int = 1, size: int = 10) -> Signature:
    """What a file looks like from outside."""
    return Signature(size=size, mtime_ns=number, ctime_ns=number, inode=number)


def content(word: str) -> Content:
    """The content `word` and its hash."""
    raw = word.encode("utf-8", "surrogateescape")
    return Content(sha256=hashlib.sha256(raw).hexdigest(), bytes=len(raw), sent_bytes=len(raw))


def view(
    files: Sequence[File] = (),
    *,
    ident: str = "ses-1",
    marker: str = "",
    trained: bool = False,
    error: str = "",
    chunks: Mapping[str, tuple[Chunk, ...]] | None = None,
    progress: int = 0,
) -> Observation:
    """A session as the server would show it; a file's document is the beginning of its content's hash."""
    state = "complete" if trained or error else "waiting"
    asked = _turn("asked", "user", state="complete", message=marker)
    tuning = _turn("tuned", "system", state=state, stage="finetune", error=error, progress=progress, chunks=chunks)
    shown = SessionView(
        id=ident,
        name="helpful-seminar-394",
        mode="inference" if trained else "finetune",
        type="text",
        lora_dir="dev/lora" if trained else "",
        documents={f.upload_name: f.content.sha256[:10] for f in files if f.upload_name and f.content},
        turns=(asked, tuning),
    )
    return observe(shown)


def _turn(ident: str, creator: str, *, state: str, **more: object) -> Turn:
    made = more.pop("chunks", None) or {}
    known = {
        "stage": "", "message": "", "status": "", "error": "", "progress": 0, "finished": False, "lora_dir": "",
        "created": "", "updated": "", "completed": "",
    }  # fmt: skip
    return Turn(
        id=ident,
        creator=creator,
        mode="finetune",
        state=state,
        made=made,
        chunks=sum(map(len, made.values())),
        **(known | more),
    )


def pairs_of(files: Sequence[File], each: int = 2) -> list[Pair]:
    """So many pairs of each file."""
    return [
        Pair(
            raw_question=f"In document x, what about {n}?",
            raw_answer=f"It is {n}.",
            question=f"what about {n}?",
            answer=f"It is {n}.",
            document=file.content.sha256[:10] if file.content else None,
        )
        for file in files
        for n in range(each)
    ]


def asked(ledger: Ledger, statement: str) -> list[sqlite3.Row]:
    """The rows of a statement over the ledger's own connection."""
    with ledger.reading() as reader:
        return reader.connection.execute(statement).fetchall()


def audited(ledger: Ledger) -> list[Finding]:
    """What the audit finds."""
    with ledger.reading() as reader:
        return audit(reader.connection)


def searched(reader: Reader, words: str, **chosen: str) -> list[dict[str, Any]]:
    """The pairs that a search finds, in its order."""
    with closing(Search(words)) as search:
        return list(reader.pairs(**chosen, search=search))


def dies(ledger: Ledger) -> None:
    """End the ledger as a crash does: its log stays as it is, and its lock is free."""
    left = [ledger.path + side for side in ("", "-wal", ".lock")]
    for path in left:
        shutil.copy2(path, f"{path}.kept")
    ledger.close()
    for path in left:
        os.replace(f"{path}.kept", path)


class Life:
    """A ledger, and the way to each state of what is in it; every step takes a second."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._now = NOW
        self._numbers = 0

    def now(self) -> float:
        """A second later than the last time somebody asked."""
        self._now += 1.0
        return self._now

    def settles(self, path: str, *, folder: str = "notes", group: str = "") -> File:
        """A file was seen."""
        self._numbers += 1
        self.ledger.files.appeared(folder, [(path, signature(self._numbers), group)], self.now())
        return self.ledger.files.open_at(folder, [path])[path]

    def waits(self, path: str, word: str | None = None, *, folder: str = "notes") -> File:
        """A file was seen, and read."""
        file = self.settles(path, folder=folder)
        known = file.signature or signature()
        self.ledger.files.settled([(file, known, content(path if word is None else word))], self.now())
        return self.file(file)

    def seals(self, *files: File, job_id: str = "notes-1") -> Job:
        """A job of these files."""
        first = files[0]
        assert self.ledger.batches.seal(job_id, first.folder, "", [f.id for f in files], self.now())
        return self.job(job_id)

    def claims(self, *files: File, job_id: str = "notes-1") -> Job:
        """A sealed job whose files lie in its own folder."""
        job = self.seals(*files, job_id=job_id)
        laid = [(f, f"/srv/notes/.processing/{job_id}/{f.id}") for f in self.ledger.jobs.files(job_id)]
        self.ledger.batches.claimed(job, laid, [], self.now())
        return self.job(job_id)

    def begins(self, job: Job, url: str = URL) -> Job:
        """The intent to send it is written."""
        marker = f"{job.id}.{job.attempts + 1}"
        names = {f.id: f"{marker}-{n:04d}-a.txt" for n, f in enumerate(self.packed(job), 1)}
        return self.ledger.sends.begin_attempt(job, url=url, variant="form", names=names, now=self.now())

    def runs(self, job: Job, ident: str = "ses-1", url: str = URL) -> Job:
        """The server has it."""
        job = self.begins(job, url)
        seen = view(self.packed(job), ident=ident, marker=job.under_way.marker)
        self.ledger.sends.adopt(job, seen, due_at=self.now(), cause=Cause.SUBMITTED, now=self.now())
        return self.job(job.id)

    def trains(self, job: Job, *, each: int = 2, taught: Sequence[File] | None = None) -> Job:
        """The server trained it, and these of its files (all, if none are named) taught so many pairs each."""
        files = self.packed(job)
        assert job.session_id is not None
        seen = view(files, ident=job.session_id, marker=job.under_way.marker, trained=True)
        ids = {f.id for f in (files if taught is None else taught)}
        self.finishes(job, seen, pairs_of([f for f in files if f.id in ids], each), files)
        return self.job(job.id)

    def collects(self, job: Job, seen: Observation, pairs: Sequence[Pair], files: Sequence[File]) -> None:
        """The session's pairs are in the ledger, whatever was there of them."""
        while self.ledger.pairs.take_some_away(seen.id):
            pass
        self.ledger.pairs.add(job, seen.id, pairs, owner(seen, files))

    def finishes(self, job: Job, seen: Observation, pairs: Sequence[Pair], files: Sequence[File]) -> None:
        """The session's pairs are in the ledger, and then the verdict over them."""
        self.collects(job, seen, pairs, files)
        verdict = judge(seen, tally(seen, pairs), files, capabilities(None))
        self.ledger.ends.finish(job, seen, len(pairs), files, verdict, self.now())

    def archive(self, job: Job) -> Job:
        """All of an ended job is where it belongs."""
        left = [f for f in self.ledger.jobs.files(job.id) if not f.archived]
        self.ledger.batches.laid(job, [(f, f"/srv/notes/done/{job.id}/{f.id}", None) for f in left], self.now())
        self.ledger.jobs.archived(job)
        return self.job(job.id)

    def packed(self, job: Job) -> list[File]:
        """The files that are in the job still."""
        return [f for f in self.ledger.jobs.files(job.id) if f.state is FileState.PACKED]

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        job = self.ledger.jobs.get(job_id)
        assert job is not None
        return job

    def file(self, file: File) -> File:
        """The file as it is now."""
        return self.ledger.files.get(file.id)
