"""What the ledger's tables refuse by themselves: every CHECK and every unique index, with a row that breaks it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from hashlib import sha256

import pytest

from finetuned.ledger.schema import STATEMENTS
from finetuned.ledger.store import connect
from finetuned.lifecycle import FILE_ENDS, JOB_ENDS, FileState, JobState, SessionState

#: the SHA-256 of the statements of step 6, blanks aside
STEP_6 = "34c287c771f4e7c6e2d4f1adb4d5c4db431485a7604084615c8dcb3468b4e059"
AT = "2026-11-23T05:23:11.042Z"
JOB = {"id": "j", "folder": "notes", "state": "queued", "files": 1, "bytes": 1, "created_at": AT}
RUNS = {"state": "running", "claimed_at": AT}
ENDED = {"finished_at": AT, "reason": "no"}
FILE = {"folder": "notes", "path": "/a", "location": "/a", "state": "settling", "seen_at": AT}
WAITS = {"state": "waiting", "sha256": "0" * 64}
PACKED = WAITS | {"state": "packed", "job_id": "j"}
LEARNED = PACKED | {"state": "learned", "finished_at": AT, "pairs": 1}
SESSION = {
    "job_id": "j", "attempt": 1, "current": 1, "state": "intended", "url": "u", "dialect": "form", "intent_at": AT,
}  # fmt: skip
LIVE = {"state": "live", "session_id": "s"}
UNSENT = {"state": "unsent", "ended_at": AT}
TWIN = {"state": "twin", "current": 0, "session_id": "s", "ended_at": AT}
PAIR = {
    "job_id": "j", "session_id": "s", "ordinal": 1, "question": "q", "answer": "a", "raw_question": "q",
    "raw_answer": "a",
}  # fmt: skip


@pytest.fixture
def db(tmp_path) -> Iterator[sqlite3.Connection]:
    """A new ledger's own connection, with a job in it."""
    db, _ = connect(str(tmp_path / "ledger.db"))
    insert(db, "jobs", JOB)
    yield db
    db.close()


def insert(db: sqlite3.Connection, table: str, row: dict) -> None:
    """A row, as any program could try to write it."""
    names = ", ".join(f'"{name}"' for name in row)
    db.execute(f"insert into {table} ({names}) values ({', '.join('?' * len(row))})", tuple(row.values()))  # noqa: S608


FITS = [
    pytest.param("jobs", JOB | {"id": "k"} | RUNS, id="a-running-job"),
    pytest.param("jobs", JOB | {"id": "k", "state": "done", "finished_at": AT, "archived": 0}, id="a-done-job"),
    pytest.param("jobs", JOB | {"id": "k"} | RUNS | {"state": "review"}, id="a-job-in-review"),
    pytest.param("files", FILE, id="a-settling-file"),
    pytest.param("files", FILE | WAITS, id="a-waiting-file"),
    pytest.param("files", FILE | {"state": "waiting", "reason": "no"}, id="an-unreadable-file"),
    pytest.param("files", FILE | PACKED, id="a-packed-file"),
    pytest.param("files", FILE | LEARNED, id="a-learned-file"),
    pytest.param("files", FILE | LEARNED | {"location": None}, id="a-learned-file-that-was-deleted"),
    pytest.param("files", FILE | {"state": "vanished", "finished_at": AT, "location": None}, id="a-vanished-file"),
    pytest.param("sessions", SESSION, id="an-intended-session"),
    pytest.param("sessions", SESSION | LIVE, id="a-live-session"),
    pytest.param("sessions", SESSION | {"state": "unsent", "ended_at": AT}, id="an-unsent-session"),
    pytest.param("qa_pairs", PAIR, id="a-pair"),
    pytest.param("qa_pairs", PAIR | {"talk": 1, "turn": 1, "system": "s"}, id="the-first-turn-of-a-talk"),
    pytest.param("qa_pairs", PAIR | {"talk": 1, "turn": 2}, id="a-further-turn-of-a-talk"),
]


@pytest.mark.parametrize(("table", "row"), FITS)
def test_what_is_sound_is_taken(db, table: str, row: dict):
    """Each row that the cases below spoil is taken as long as it is whole."""
    insert(db, table, row)


def job(**words: object) -> tuple[str, dict]:
    """A job, spoilt."""
    return "jobs", JOB | {"id": "k"} | words


def file(**words: object) -> tuple[str, dict]:
    """A file, spoilt."""
    return "files", FILE | words


def session(**words: object) -> tuple[str, dict]:
    """A session, spoilt."""
    return "sessions", SESSION | words


BROKEN = {
    "a job in no state": job(state="lost"),
    "a job with less than no file": job(files=-1),
    "a job with less than no byte": job(bytes=-1),
    "less than no attempt before": job(attempts_before=-1),
    "a request that there is not": job(requested="sleep"),
    "put away half": job(archived=2),
    "a done job without its end": job(state="done"),
    "a queued job with an end": job(finished_at=AT),
    "a running job that was never claimed": job(**RUNS | {"claimed_at": None}),
    "a submitting job that was never claimed": job(state="submitting"),
    "a doubtful job without a claim": job(state="doubtful"),
    "a partial job without a reason": job(state="partial", finished_at=AT),
    "a failed job without a reason": job(state="failed", finished_at=AT),
    "a cancelled job without a reason": job(state="cancelled", finished_at=AT),
    "an unfinished job that is to be put away": job(archived=0),
    "a figure that is a word": job(files="many"),
    "a file in no state": file(state="lost"),
    "a hash that is none": file(sha256="abc"),
    "a packed file without a job": file(**PACKED | {"job_id": None}),
    "a learned file without a job": file(**LEARNED | {"job_id": None}),
    "a failed file without a job": file(state="failed", **ENDED),
    "a packed file without a hash": file(**PACKED | {"sha256": None}),
    "a duplicate without a hash": file(state="duplicate", **ENDED),
    "a barren file without a hash": file(state="barren", job_id="j", **ENDED),
    "a waiting file without hash and reason": file(state="waiting"),
    "a learned file without its end": file(**LEARNED | {"finished_at": None}),
    "a settling file with an end": file(finished_at=AT),
    "a refused file without a reason": file(state="refused", finished_at=AT),
    "a barren file without a reason": file(**LEARNED | {"state": "barren"}),
    "a failed file without a reason": file(**LEARNED | {"state": "failed"}),
    "a duplicate without a reason": file(**LEARNED | {"state": "duplicate"}),
    "a settling file that lies nowhere": file(location=None),
    "a waiting file that lies nowhere": file(**WAITS, location=None),
    "a packed file that lies nowhere": file(**PACKED, location=None),
    "a learned file that taught nothing": file(**LEARNED | {"pairs": 0}),
    "a file put away half": file(archived=7),
    "a file of a job that is not there": file(**PACKED | {"job_id": "nobody"}),
    "a session in no state": session(state="lost"),
    "a session of no attempt": session(attempt=0),
    "a session of a job that is not there": session(job_id="nobody"),
    "a live session without its id": session(state="live"),
    "a trained session without its id": session(state="trained", ended_at=AT),
    "a twin without its id": session(state="twin", current=0, ended_at=AT),
    "a twin that counts for its job": session(state="twin", session_id="s", ended_at=AT),
    "an open session that does not count": session(current=0),
    "a session that counts by half": session(current=2),
    "an ended session in a stage": session(state="ended", ended_at=AT, stage="finetune"),
    "a session that is missing since never": session(misses=1),
    "a session that was missed at no poll": session(missing_since=AT),
    "more trainings made again than restarts": session(retrained=1),
    "a session of others that is to be removed": session(**LIVE, read_only=1, discard=1),
    "a session of others by half": session(read_only=2),
    "a live session with an end": session(**LIVE, ended_at=AT),
    "an ended session without its end": session(state="ended"),
    "a session to be removed half": session(discard=3),
    "a pair of a job that is not there": ("qa_pairs", PAIR | {"job_id": "nobody"}),
    "a pair of a file that is not there": ("qa_pairs", PAIR | {"file_id": 99}),
    "a pair before the first": ("qa_pairs", PAIR | {"ordinal": 0}),
    "a turn before the first": ("qa_pairs", PAIR | {"talk": 1, "turn": 0}),
    "a turn of no talk": ("qa_pairs", PAIR | {"turn": 1}),
    "a talk without a turn": ("qa_pairs", PAIR | {"talk": 1}),
    "a system that speaks in the middle": ("qa_pairs", PAIR | {"talk": 1, "turn": 2, "system": "s"}),
    "an event about nothing": ("events", {"at": AT, "subject": "moon", "subject_id": "1", "became": "full"}),
    "a folder in no state": ("folders", {"name": "n", "path": "/", "state": "lost", "since": AT}),
    "a second daemon": ("daemon", {"id": 2, "pid": 1, "since": AT, "version": "1"}),
}


@pytest.mark.parametrize(("table", "row"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_refused(db, table: str, row: dict):
    """Not even another program can write what a state does not allow."""
    with pytest.raises(sqlite3.IntegrityError):
        insert(db, table, row)


TWICE = {
    "two open files in one place": ("files", FILE, FILE | WAITS),
    "two open files in one place of odd bytes": ("files", FILE | {"location_b64": "Zg"}, FILE | {"location_b64": "Zg"}),
    "one content twice in a job": ("files", FILE | PACKED, FILE | PACKED | {"path": "/b", "location": "/b"}),
    "one upload name twice in a job": (
        "files",
        FILE | PACKED | {"upload_name": "n"},
        FILE | PACKED | {"path": "/b", "location": "/b", "sha256": "1" * 64, "upload_name": "n"},
    ),
    "two attempts that count for a job": ("sessions", SESSION, SESSION | UNSENT),
    "one session twice": ("sessions", SESSION | LIVE, SESSION | TWIN),
    "one ordinal twice": ("qa_pairs", PAIR, PAIR),
    "one job twice": ("jobs", JOB | {"id": "k"}, JOB | {"id": "k"}),
}


@pytest.mark.parametrize(("table", "first", "second"), TWICE.values(), ids=TWICE)
def test_what_must_be_single_is(db, table: str, first: dict, second: dict):
    """The unique indexes hold what no state can tell by itself."""
    insert(db, table, first)
    with pytest.raises(sqlite3.IntegrityError):
        insert(db, table, second)


PAIRED = {
    "an ended file beside an open one": ("files", FILE | LEARNED, FILE),
    "two places that look alike": ("files", FILE, FILE | {"location_b64": "Zg"}),
    "one content in a job, learned and packed": ("files", FILE | LEARNED, FILE | PACKED),
    "an ended session beside an open one": ("sessions", SESSION | {"current": 0} | UNSENT, SESSION),
}


@pytest.mark.parametrize(("table", "first", "second"), PAIRED.values(), ids=PAIRED)
def test_what_may_be_double_is_taken(db, table: str, first: dict, second: dict):
    """The unique indexes hold back no more than they must."""
    insert(db, table, first)
    insert(db, table, second)


@pytest.mark.parametrize("machine", [FileState, JobState, SessionState])
def test_the_tables_know_every_state(db, machine):
    """A state that the code knows and the schema does not would be found by a user."""
    table = {FileState: "files", JobState: "jobs", SessionState: "sessions"}[machine]
    (text,) = db.execute("select sql from sqlite_master where type = 'table' and name = ?", (table,)).fetchone()
    assert all(f"'{state}'" in text for state in machine)


def test_every_end_needs_its_time(db):
    """In both machines the ends are exactly the states with `finished_at`."""
    for state in JobState:
        row = JOB | RUNS | {"id": state, "state": str(state), "reason": "no"}
        insert(db, "jobs", row | {"finished_at": AT if state in JOB_ENDS else None})
    for state in FileState:
        row = FILE | LEARNED | {"path": str(state), "location": str(state), "sha256": f"{len(state):064d}"}
        insert(
            db, "files", row | {"state": str(state), "reason": "no", "finished_at": AT if state in FILE_ENDS else None}
        )
    assert db.execute("select count(*) from jobs join files").fetchone()[0] == (len(JobState) + 1) * len(FileState)


def test_every_table_is_strict(db):
    """No table of ours takes a word for a number."""
    loose = db.execute(
        "select name from pragma_table_list where type = 'table' and strict = 0 and schema = 'main' "
        "and name not like 'sqlite%' and name not like 'qa_pairs_fts%'"
    ).fetchall()
    assert [row["name"] for row in loose if not row["name"].startswith("_")] == []


def test_a_released_step_stays_as_it_is():
    """A change, a new state too, is a step of its own: the ledgers that people have know the tables of then."""
    assert sha256(" ".join(" ".join(STATEMENTS).split()).encode()).hexdigest() == STEP_6
