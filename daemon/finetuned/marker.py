"""The marker: how a session is known to be an attempt at a job of ours, `<job>.<attempt>`.

It is the text that a session is submitted with, where a backend has a place for one, and it stands in front of the name
of every file that is uploaded: a daemon whose ledger was lost recognises its work by either.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from finetuned.readymade import SUFFIX, is_ready_made

if TYPE_CHECKING:
    from finetuned.backend import Observation

_STEM_LENGTH: Final = 40


def marker(job_id: str, attempt: int) -> str:
    """Make the marker of an attempt at a job."""
    return f"{job_id}.{attempt}"


def upload_name(marker: str, number: int, path: str) -> str:
    """Name a file as the backend sees it: `<marker>-0001-stem.txt`, safe, unique in its job.

    1. Only the base name of `path` counts, folded to [a-z0-9-]; `text` if nothing is left of it.
    2. It ends in `.jsonl` for ready-made pairs, else in `.txt`: other names may hang in a server's text extraction.
    """
    base = path.rpartition("/")[2]
    stem = base.rpartition(".")[0] or base
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode("ascii")
    folded = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:_STEM_LENGTH].rstrip("-")
    return f"{marker}-{number:04d}-{folded or 'text'}{SUFFIX if is_ready_made(path) else '.txt'}"


def renamed(name: str, marker: str) -> str:
    """Make the name that an upload had, or will have, in the attempt of this marker."""
    return f"{marker}-{name.partition('.')[2].partition('-')[2]}"


def attempt_of(seen: Observation, job_id: str) -> int | None:
    """Read which attempt at the job a session is; null if it carries no marker of that job.

    The marker is the text of the fine-tune (exactly), or begins the names of its uploads.
    """
    pattern = rf"{re.escape(job_id)}\.([0-9]{{1,9}})"
    if said := re.fullmatch(pattern, seen.label.strip()):
        return int(said[1])
    named = (re.match(rf"{pattern}-[0-9]{{4,}}-", name) for name in sorted(seen.uploads))
    return next((int(found[1]) for found in named if found), None)
