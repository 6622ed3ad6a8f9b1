"""The texts that are written beside people's files: `job.json`, `pairs.jsonl`, `.why.txt`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import msgspec

from finetuned.folders.archive import LIES_HERE
from finetuned.ledger.writer import Ledger
from finetuned.lifecycle import FileState
from finetuned.model import File
from finetuned.paths import escape
from finetuned.times import iso

#: how many pairs are read at a time to be written down
PAIRS_AT_ONCE: Final = 500


def job_json(ledger: Ledger, job_id: str) -> bytes:
    """Tell all about a job, as `job --json` does."""
    with ledger.reading() as reader:
        job = reader.job(job_id)
    raw = msgspec.json.encode(job)
    if not raw.isascii():  # that library escapes nothing, and the other one takes three times as long
        raw = json.dumps(job).encode()
    return msgspec.json.format(raw, indent=2) + b"\n"


def pairs_jsonl(ledger: Ledger, job_id: str) -> Iterator[bytes]:
    """Yield the lines of `pairs.jsonl`, read some at a time: the ledger is free for its writer in between."""
    last = 0
    while True:
        rows = ledger.pairs.some(job_id, after=last, most=PAIRS_AT_ONCE)
        if not rows:
            return
        last = rows[-1].ordinal
        # to the letter as `pairs --jsonl` prints them, in a quarter of the time
        yield from (msgspec.json.format(msgspec.json.encode(row), indent=0) + b"\n" for row in rows)


def why_note(file: File) -> str | None:
    """Write the note beside a file that was not learned: what, why, and the command that tries again.

    That names the file's own place: two files may have been dropped under one name.
    """
    if file.state in {FileState.LEARNED, FileState.DUPLICATE}:
        return None
    name = escape(file.path)
    lines = [
        f"{name} was not learned.",
        "",
        f"Why: {file.reason}",
        f"When: {iso(file.finished_at or 0)}",
    ]
    if file.job_id:
        lines.append(f"Job: {file.job_id} (all about it: finetuned job {file.job_id})")
        lines.append(f"Try again: finetuned retry {file.job_id}")
    else:
        lines.append("Try again then: drop it again, or have this one read:")
        lines.append(f"                finetuned retry {LIES_HERE}")
    return "\n".join(lines) + "\n"
