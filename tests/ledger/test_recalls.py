"""How well questions about files were answered is kept with them, once for each training that ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from finetuned.backend import Observation, Recall, Taught
from finetuned.ledger.queries import Reader
from finetuned.ledger.writer import Ledger
from finetuned.model import File, Job
from support.lives import Life, audited, pairs_of, view

NEW = Recall(held_out=True, questions=3, untuned=0.0, tuned=0.75)
TAUGHT = Recall(held_out=False, questions=2, untuned=0.25, tuned=1.0)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """A ledger with nothing in it."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield Life(ledger)


def trained(life: Life, job: Job, *known: tuple[Recall, ...]) -> Observation:
    """The job's session, trained, as a backend shows it that knows this of its files."""
    seen = view(life.packed(job), ident=job.session_id or "", marker=job.under_way.marker, trained=True)
    files = life.packed(job)
    told = {
        file.upload_name or "": replace(seen.files.get(file.upload_name or "", Taught()), recall=recall)
        for file, recall in zip(files, known, strict=True)
    }
    return replace(seen, files=told)


def finished(life: Life, *known: tuple[Recall, ...]) -> tuple[Job, list[File]]:
    """A job of so many files came to its end."""
    job = life.runs(life.claims(*(life.waits(f"/srv/notes/{n}.txt") for n in range(len(known)))))
    files = life.packed(job)
    life.finishes(job, trained(life, job, *known), pairs_of(files), files)
    return life.job(job.id), files


def test_scores_are_kept_by_file_and_kind(life: Life) -> None:
    """A file that was not asked about has none."""
    job, files = finished(life, (TAUGHT, NEW), ())
    with Reader.open(life.ledger.path) as reader:
        told = reader.recall(file_id=files[0].id)["recall"]
        assert reader.recall(file_id=files[1].id) == {}
        assert reader.recall(job_id=job.id)["recall"] == told == (reader.job(job.id) or {})["recall"]
    new, taught = told
    assert new == {"file": "/srv/notes/0.txt", "held_out": True, "questions": 3, "untuned": 0.0, "tuned": 0.75}
    assert (taught["held_out"], taught["questions"], taught["untuned"], taught["tuned"]) == (False, 2, 0.25, 1.0)
    assert audited(life.ledger) == []


def test_what_is_forgotten_has_no_score(life: Life) -> None:
    """Its model goes, too."""
    job, files = finished(life, (NEW,))
    life.ledger.requests.forget(life.file(files[0]), job, life.now())
    with Reader.open(life.ledger.path) as reader:
        assert reader.recall(job_id=job.id) == {}
