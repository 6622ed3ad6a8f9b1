"""The open jobs, as the only writer keeps them: always what a reader finds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from finetuned.errors import Stale
from finetuned.ledger.writer import Ledger
from support.lives import Life


@pytest.fixture
def life(tmp_path) -> Iterator[Life]:
    """A new ledger."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield Life(ledger)


def test_the_open_jobs_are_those_of_the_ledger_though_a_shared_commit_came_to_nothing(life: Life):
    """What a command read of jobs that were rolled back is not kept."""
    job = life.claims(life.waits("/srv/notes/a.txt"))
    assert life.ledger.jobs.open() == [job]

    def changes() -> None:
        life.begins(job)
        assert life.ledger.jobs.open() != [job]
        raise Stale("it moved on")

    with pytest.raises(Stale), life.ledger.together():
        changes()
    assert life.ledger.jobs.open() == [job]


def test_the_open_jobs_are_read_anew_once_another_program_wrote(life: Life):
    """Whoever else writes to the file: what is kept of it does not outlive that."""
    job = life.claims(life.waits("/srv/notes/a.txt"))
    assert life.ledger.jobs.open() == [job]
    with sqlite3.connect(life.ledger.path) as other:
        other.execute("update jobs set reason = 'by another program'")
    other.close()
    assert [one.reason for one in life.ledger.jobs.open()] == ["by another program"]
