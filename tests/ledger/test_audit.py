"""The audit finds what it is for: for every rule a ledger that breaks it, and one that does not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from finetuned.ledger.audit import RULES, audit
from finetuned.ledger.writer import Ledger
from finetuned.making.values import Draft, Span
from support.lives import Life, audited

AT = "2026-11-23T05:23:11.042Z"


def span(number: int, begins: int, own: int, ends: int) -> Span:
    """A passage."""
    return Span(number=number, begins=begins, own=own, ends=ends, sha256="a" * 64)


@pytest.fixture
def db(tmp_path) -> Iterator[sqlite3.Connection]:
    """A ledger with a job in each of some states, whole; its connection takes everything from now on.

    Jobs: `sealed` (queued), `sent` (submitting), `runs` (running), `done`, `barren` (failed).
    """
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        life = Life(ledger)
        life.seals(life.waits("/srv/notes/sealed.txt"), job_id="sealed")
        life.begins(life.claims(life.waits("/srv/notes/sent.txt"), job_id="sent"))
        life.runs(life.claims(life.waits("/srv/notes/runs.txt"), job_id="runs"), "ses-runs")
        both = [life.waits("/srv/notes/done-1.txt"), life.waits("/srv/notes/done-2.txt")]
        life.trains(life.runs(life.claims(*both, job_id="done"), "ses-done"))
        life.trains(life.runs(life.claims(life.waits("/srv/notes/no.txt"), job_id="barren"), "ses-no"), each=0)
        passages = [span(1, 0, 0, 9), span(2, 6, 9, 20)]
        ledger.chunks.plan("done.1", "a" * 16, {"a.txt": passages, "b.txt": passages})
        judged, _, answered, asked = ledger.chunks.open_chunks("done.1")
        ledger.chunks.answered(judged.id, "{}", 1)
        ledger.chunks.judged(judged.id, [Draft(question="Where?", answer="There.", evidence="")])
        ledger.chunks.answered(answered.id, "{}", 1)
        ledger.chunks.asking(asked.id)
        with ledger.reading() as reader:
            raw = reader.connection
            assert audit(raw) == []
            raw.execute("pragma foreign_keys = off")
            raw.execute("pragma ignore_check_constraints = on")
            yield raw


BREAKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a packed file is in a job that is not at its end": (
        "update jobs set state = 'cancelled', finished_at = 'x' where id = 'sealed'",
        ("1",),
    ),
    "a job at its end holds only files at their end": (
        "update files set state = 'waiting', finished_at = null where job_id = 'done'",
        ("done",),
    ),
    "an unfinished job holds at least one file": ("delete from files where job_id = 'sealed'", ("sealed",)),
    "a job that is being sent, looked for or runs has exactly one open session": (
        "update sessions set state = 'ended', ended_at = 'x' where job_id in ('sent', 'runs')",
        ("runs", "sent"),
    ),
    "a queued or ended job has no open session": (
        "update sessions set state = 'live' where job_id = 'done'",
        ("done",),
    ),
    "a job that trained has a trained session": (
        "update sessions set state = 'ended' where job_id = 'done'",
        ("done",),
    ),
    "a done job's files all learned": (
        "update files set state = 'barren' where path like '%done-1.txt'",
        ("done",),
    ),
    "a job's count of pairs is the number of its trained session's pairs": (
        "delete from qa_pairs where job_id = 'done' and ordinal = 1",
        ("done",),
    ),
    "a pair belongs to a session of its own job": (
        "update qa_pairs set session_id = 'ses-runs' where job_id = 'done' and ordinal = 1",
        ("1",),
    ),
    "every state that is stored was told as an event": (
        "update jobs set state = 'review' where id = 'runs'",
        ("runs",),
    ),
    "every file's state was told as an event": (
        "update files set state = 'settling' where path like '%sealed.txt'",
        ("1",),
    ),
    "a folder that skips duplicates learned no content twice in one job": (
        "update files set sha256 = 'x' where path like '%done-_.txt'",
        ("done",),
    ),
    "what was cut into passages is an attempt at a job": (
        "insert into planned_runs (run, made_by, planned_at) values ('gone.1', 'x', 'x'), ('runs.12', 'x', 'x')",
        ("gone.1",),
    ),
    "no byte of a text belongs to two of its passages": ("update chunks set own = 8 where id = 4", ("4",)),
    "a passage that was answered has its answer": ("update chunks set state = 'answered' where id > 2", ("4",)),
    "only a passage that was judged has drafts": ("update chunks set state = 'waiting' where id = 1", ("1",)),
    "foreign keys hold": ("update qa_pairs set file_id = 99 where ordinal = 1", ("qa_pairs 1",)),
    "SQLite's own check passes": (
        "update files set pairs = 0 where path like '%done-1.txt'",
        ("CHECK constraint failed in files",),
    ),
}


def test_every_rule_has_its_case():
    """A rule that nobody saw fail may be one that cannot."""
    assert {rule.sentence for rule in RULES} == set(BREAKS)
    assert len({rule.sentence for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(("sentence", "statement", "rows"), [(s, *case) for s, case in BREAKS.items()], ids=BREAKS)
def test_a_broken_rule_is_found(db, sentence: str, statement: str, rows: tuple[str, ...]):
    """The rule names exactly the rows that break it, and what to do."""
    db.execute(statement)
    db.execute("pragma ignore_check_constraints = off")
    found = {finding.sentence: finding for finding in audit(db)}
    assert sentence in found
    assert found[sentence].rows == rows
    assert found[sentence].remedy


def test_at_most_ten_rows_are_named(db):
    """A ledger that is broken all over still fits a screen."""
    for number in range(20):
        db.execute(
            "insert into jobs (id, folder, state, files, bytes, created_at) values (?, 'notes', 'queued', 0, 0, ?)",
            (f"empty-{number:02d}", AT),
        )
    found = {finding.sentence: finding.rows for finding in audit(db)}
    assert len(found["an unfinished job holds at least one file"]) == 10


@pytest.mark.parametrize("subject", ["job", "file"])
def test_a_state_that_was_never_told_is_found(db, subject: str):
    """A row without any event is as silent as one with the wrong event."""
    db.execute("delete from events where subject = ?", (subject,))
    assert any("told as an event" in finding.sentence for finding in audit(db))


def test_two_learned_of_one_content_in_two_jobs_are_fine(db):
    """With `duplicates = "send"`, or after `drop --again`, a content is learned as often as it is wanted."""
    db.execute(
        "update files set sha256 = (select sha256 from files where path like '%done-2.txt') where path like '%runs.txt'"
    )
    assert audit(db) == []


def test_a_retry_of_a_barren_job_that_trains_is_whole(tmp_path):
    """A job that trained twice, barren at first, is done; its first session is no mistake."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        life = Life(ledger)
        job = life.trains(life.runs(life.claims(life.waits("/srv/notes/a.txt")), "ses-1"), each=0)
        assert job.state == "failed"
        life.archive(job)
        ledger.requests.queued_again(life.job(job.id), life.now())
        (file,) = life.packed(job)
        again = life.job(job.id)
        ledger.batches.claimed(again, [(file, "/srv/notes/.processing/a")], [], life.now())
        assert life.trains(life.runs(life.job(job.id), "ses-2")).state == "done"
        assert audited(ledger) == []
