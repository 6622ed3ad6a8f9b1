"""The audit: what must always hold in a ledger, as SQL; the tests and `finetuned doctor` ask the same questions.

Each question finds the rows that break its rule. What a CHECK or an index holds by itself is not asked again.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from finetuned.model import Value


class Rule(Value, frozen=True):
    """One invariant: its name in a sentence, the query that finds what breaks it, and what to do then."""

    sentence: str
    query: str
    remedy: str = "this is a mistake of finetuned: please report it, with the output of `finetuned events`"


class Finding(Value, frozen=True):
    """Rows that break a rule (the first ten)."""

    sentence: str
    rows: tuple[str, ...]
    remedy: str


RULES: Final = (
    Rule(
        sentence="a packed file is in a job that is not at its end",
        query="select f.id from files f join jobs j on j.id = f.job_id where f.state = 'packed' "
        "and j.state in ('done', 'partial', 'failed', 'cancelled')",
    ),
    Rule(
        sentence="a job at its end holds only files at their end",
        query="select j.id from jobs j where j.finished_at is not null and exists "
        "(select 1 from files f where f.job_id = j.id and f.finished_at is null)",
    ),
    Rule(
        sentence="an unfinished job holds at least one file",
        query="select j.id from jobs j where j.finished_at is null and not exists "
        "(select 1 from files f where f.job_id = j.id)",
    ),
    Rule(
        sentence="a job that is being sent, looked for or runs has exactly one open session",
        query="select j.id from jobs j where j.state in ('submitting', 'doubtful', 'running', 'review') and 1 != "
        "(select count(*) from sessions s where s.job_id = j.id and s.state in ('intended', 'live'))",
    ),
    Rule(
        sentence="a queued or ended job has no open session",
        query="select j.id from jobs j where j.state not in ('submitting', 'doubtful', 'running', 'review') and exists "
        "(select 1 from sessions s where s.job_id = j.id and s.state in ('intended', 'live'))",
    ),
    Rule(
        sentence="a job that trained has a trained session",
        query="select j.id from jobs j where j.state in ('done', 'partial') and not exists "
        "(select 1 from sessions s where s.job_id = j.id and s.current = 1 and s.state = 'trained')",
    ),
    Rule(
        sentence="a done job's files all learned",
        query="select j.id from jobs j join files f on f.job_id = j.id where j.state = 'done' and f.state != 'learned'",
    ),
    Rule(
        sentence="a job's count of pairs is the number of its trained session's pairs",
        query="select s.job_id from sessions s where s.current = 1 and s.state = 'trained' and s.pairs is not "
        "(select count(*) from qa_pairs p where p.session_id = s.session_id)",
    ),
    Rule(
        sentence="a pair belongs to a session of its own job",
        query="select p.id from qa_pairs p where not exists "
        "(select 1 from sessions s where s.session_id = p.session_id and s.job_id = p.job_id)",
    ),
    Rule(
        sentence="every state that is stored was told as an event",
        query="select j.id from jobs j where j.state is not (select e.became from events e where e.subject = 'job' "
        "and e.subject_id = j.id order by e.id desc limit 1)",
    ),
    Rule(
        sentence="every file's state was told as an event",
        query="select f.id from files f where f.state is not (select e.became from events e where e.subject = 'file' "
        "and e.subject_id = cast(f.id as text) order by e.id desc limit 1)",
    ),
    Rule(
        sentence="a folder that skips duplicates learned no content twice in one job",
        query="select f.job_id from files f where f.state in ('packed', 'learned') group by f.job_id, f.sha256 "
        "having count(*) > 1",
    ),
    Rule(
        sentence="what was cut into passages is an attempt at a job",
        query="select r.run from planned_runs r where not exists "
        "(select 1 from jobs j where j.id = rtrim(rtrim(r.run, '0123456789'), '.'))",
    ),
    Rule(
        sentence="no byte of a text belongs to two of its passages",
        query="select id from (select id, own, lag(ends) over (partition by run, document order by number) as former "
        "from chunks) where own < former",
    ),
    Rule(
        sentence="a passage that was answered has its answer",
        query="select c.id from chunks c where c.state = 'answered' and not exists "
        "(select 1 from answers a where a.chunk_id = c.id)",
    ),
    Rule(
        sentence="only a passage that was judged has drafts",
        query="select distinct d.chunk_id from drafts d join chunks c on c.id = d.chunk_id where c.state != 'judged'",
    ),
    Rule(sentence="foreign keys hold", query="select \"table\" || ' ' || rowid from pragma_foreign_key_check"),
    Rule(
        sentence="SQLite's own check passes",
        query="select quick_check from pragma_quick_check where quick_check != 'ok'",
        remedy="keep the file, move it aside and start again, or restore a backup; the files are safe in their folders",
    ),
)


def audit(db: sqlite3.Connection) -> list[Finding]:
    """Ask every question; an empty list means the ledger is whole."""
    findings = []
    for rule in RULES:
        rows = db.execute(f"{rule.query} order by 1 limit 10").fetchall()
        if rows:
            found = tuple(str(row[0]) for row in rows)
            findings.append(Finding(sentence=rule.sentence, rows=found, remedy=rule.remedy))
    return findings
