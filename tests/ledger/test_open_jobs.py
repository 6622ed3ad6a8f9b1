"""The open jobs, as the only writer keeps them: always what a reader finds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping

import pytest

from finetuned.errors import Stale
from finetuned.ledger.open_jobs import Aged
from finetuned.ledger.writer import Ledger
from finetuned.model import Job
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


def test_each_change_of_a_job_is_told_once(life: Life):
    """Who keeps the jobs hears of those that were written, by whatever command, and of all where it is not sure."""
    jobs = life.ledger.jobs
    first = life.claims(life.waits("/srv/notes/a.txt"))
    assert [told_of(*jobs.news(whole=False)), told_of(*jobs.news(whole=False))] == [(True, [first]), (False, [])]
    second = life.claims(life.waits("/srv/notes/b.txt"), job_id="notes-2")
    jobs.open()  # another who asks takes nothing away
    assert told_of(*jobs.news(whole=False)) == (False, [second])
    life.ledger.ends.cancelled(second, "it was asked for", life.now())
    (ended,) = (job for job in jobs.open() if job.id == second.id)
    jobs.archived(ended)
    assert jobs.news(whole=False) == (False, {second.id: None})
    assert told_of(*jobs.news(whole=True)) == (True, [first])
    with sqlite3.connect(life.ledger.path) as other:
        other.execute("update jobs set reason = 'by another program'")
    other.close()
    is_whole, written = jobs.news(whole=False)
    assert is_whole
    assert [*written] == [first.id]


def told_of(is_whole: bool, written: Mapping[str, Aged | None]) -> tuple[bool, list[Job | None]]:
    """What is told, without the ages."""
    return is_whole, [known and known[1] for known in written.values()]
