"""What other programs and people read of a ledger: views, JSON objects, the search, servers, folders and the daemon."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from finetuned.backend import Pair
from finetuned.errors import LedgerError, LedgerMissing
from finetuned.ledger.queries import Reader
from finetuned.ledger.writer import Ledger
from finetuned.lifecycle import Cause
from finetuned.model import FolderFacts, ServerFacts
from finetuned.times import instant, iso
from support.lives import NOW, URL, Life, asked, searched, view

#: what other programs may rely on: columns are added at the end, and none goes or moves
VIEWS = {
    "all_jobs": "id folder state files bytes pairs session_id stage progress attempt restarts created_at submitted_at "
    "finished_at reason lora_dir due_at archived ordinal",
    "all_files": "path location folder state job_id sha256 bytes pairs reason seen_at ready_at finished_at upload_name "
    "due_at path_b64 location_b64 id",
    "finished_jobs": "job_id folder state session_id lora_dir files pairs created_at submitted_at finished_at reason "
    "bytes attempt restarts",
    "open_jobs": "job_id folder state stage progress session_id attempt files created_at submitted_at due_at reason "
    "bytes restarts",
    "pairs_with_source": "job_id path ordinal question answer id session_id file_id folder sha256 path_b64 finished_at "
    "current talk turn system",
    "events": "id at subject subject_id was became cause detail job_id",
}
JOB = [
    "id",
    "folder",
    "state",
    "files",
    "bytes",
    "pairs",
    "session_id",
    "stage",
    "progress",
    "attempt",
    "restarts",
    "created_at",
    "submitted_at",
    "finished_at",
    "reason",
    "lora_dir",
]
FILE = [
    "path",
    "location",
    "folder",
    "state",
    "job_id",
    "sha256",
    "bytes",
    "pairs",
    "reason",
    "seen_at",
    "ready_at",
    "finished_at",
    "upload_name",
]
PAIR = ["job_id", "session_id", "file", "ordinal", "question", "answer", "raw_question", "raw_answer", "sha256"]
EVENT = ["id", "at", "subject", "subject_id", "was", "became", "cause", "detail"]
WORDS = [
    ("what do otters eat?", 'They eat "fish" and crabs.'),
    ("where do otters sleep?", "In the kelp; NOT on land."),
    ("how long is a river?", "It depends -- on the river: 100% of it."),
]


@pytest.fixture
def life(tmp_path) -> Iterator[Life]:
    """A ledger with a done job of one file and three pairs, a queued one, and a file of an odd name."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        life = Life(ledger)
        job = life.runs(life.claims(life.waits("/srv/notes/otters.txt"), job_id="done"))
        files = life.packed(job)
        pairs = [Pair(raw_question=f"raw {q}", raw_answer=f"raw {a}", question=q, answer=a) for q, a in WORDS]
        seen = view(files, ident="ses-1", marker=job.under_way.marker, trained=True)
        life.finishes(job, seen, pairs, files)
        life.seals(life.waits("/srv/notes/new\nline.txt"), job_id="queued")
        life.settles("/srv/notes/\udcff.txt")
        yield life


@pytest.fixture
def reader(life: Life) -> Iterator[Reader]:
    """Somebody who reads it."""
    with Reader.open(life.ledger.path) as reader:
        yield reader


@pytest.mark.parametrize(("name", "columns"), VIEWS.items())
def test_the_views_have_the_columns_that_were_promised(reader: Reader, name: str, columns: str):
    """Other programs rely on these names, and on nothing else."""
    assert [column[0] for column in reader.connection.execute(f"select * from {name}").description] == columns.split()  # noqa: S608


def test_what_the_views_show(reader: Reader):
    """Every job at its end is in the one, all others are in the other; a pair comes with where its file was dropped."""
    ask = reader.connection.execute
    assert [row["job_id"] for row in ask("select * from finished_jobs")] == ["done"]
    assert [row["job_id"] for row in ask("select * from open_jobs")] == ["queued"]
    rows = ask("select * from pairs_with_source order by ordinal").fetchall()
    assert [(row["path"], row["ordinal"], row["question"]) for row in rows] == [
        ("/srv/notes/otters.txt", n, question) for n, (question, _) in enumerate(WORDS, 1)
    ]


def test_the_views_show_what_commands_list(life: Life, reader: Reader):
    """Jobs and files with every value of a listing; the pairs that are listed are `current`, others are not."""
    ask = reader.connection.execute
    for name, listed in (("all_jobs", [*reader.jobs()]), ("all_files", [*reader.files()])):
        shown = [dict(row) for row in ask(f"select * from {name}")]  # noqa: S608
        assert [{key: row[key] for key in keys} for row, keys in zip(shown, listed, strict=True)] == listed
    job = life.ledger.jobs.get("done")
    assert job is not None
    life.ledger.pairs.add(job, "ses-0", [Pair(raw_question="q", raw_answer="a", question="q", answer="a")], lambda _: 1)
    rows = ask("select session_id, ordinal, current, folder from pairs_with_source order by ordinal").fetchall()
    assert [tuple(row) for row in rows] == [*(("ses-1", n, 1, "notes") for n in (1, 2, 3)), ("ses-0", 4, 0, "notes")]
    assert [row["ordinal"] for row in reader.pairs()] == [1, 2, 3]


def test_every_object_has_all_its_keys(reader: Reader):
    """What is unknown is null, not missing; nothing else slips in."""
    assert [list(row) for row in reader.jobs()] == [JOB, JOB]
    assert [[key for key in row if not key.endswith("_b64")] for row in reader.files()] == [FILE] * 3
    assert [list(row) for row in reader.pairs()] == [PAIR] * 3
    assert {tuple(row) for row in reader.events()} == {tuple(EVENT)}
    whole = reader.job("done")
    assert whole is not None
    assert list(whole) == [*JOB, "file_list", "sessions", "interactions", "events"]
    assert [list(row) for row in whole["file_list"]] == [FILE]
    assert [row["session_id"] for row in whole["sessions"]] == ["ses-1"]
    assert [(row["id"], row["finished"]) for row in whole["interactions"]] == [("asked", False), ("tuned", False)]
    assert [row["became"] for row in whole["events"]][-1] == "done"
    assert reader.job("nobody") is None


def test_all_of_it_is_json(reader: Reader):
    """Even the oddest name is text that any program takes, with its exact bytes beside it."""
    told = json.loads(json.dumps([list(reader.files()), list(reader.events()), reader.job("queued")]))
    plain, line, odd = told[0]
    assert "path_b64" not in plain
    assert line["path"] == "/srv/notes/new\nline.txt"
    assert "path_b64" not in line
    assert odd["path"] == "/srv/notes/\\xff.txt"
    assert base64.b64decode(odd["path_b64"]) == b"/srv/notes/\xff.txt"
    assert base64.b64decode(odd["location_b64"]) == b"/srv/notes/\xff.txt"
    assert list(odd)[:4] == ["path", "path_b64", "location", "location_b64"]


def test_filters(reader: Reader):
    """Listings by state, folder, age and job."""
    assert [row["id"] for row in reader.jobs(states=["done"])] == ["done"]
    assert list(reader.jobs(folder="other")) == []
    assert list(reader.jobs(since=NOW + 1e6)) == []
    assert len(list(reader.jobs(since=NOW, folder="notes"))) == 2
    assert [row["state"] for row in reader.files(job="done")] == ["learned"]
    assert [row["path"] for row in reader.files(states=["packed"])] == ["/srv/notes/new\nline.txt"]
    last = list(reader.events())[-1]["id"]
    assert list(reader.events(after=last)) == []
    assert {row["subject"] for row in reader.events(job="done")} == {"job", "file", "session"}
    assert reader.counts() == {"done": 1, "queued": 1}


def test_one_place(reader: Reader):
    """A file is found by where it was dropped and by where it lies now, whatever its name."""
    for path in ("/srv/notes/otters.txt", "/srv/notes/.processing/done/1", "/srv/notes/\udcff.txt"):
        (row,) = reader.at_place(path)
        assert next(event["became"] for event in reader.history(row["id"])) == "settling"
    assert reader.at_place("/srv/notes/\\xff.txt") == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("otters", {1, 2}),
        ("otter sleeping", {2}),
        ("OTTERS EAT", {1}),
        ('"fish"', {1}),
        ('fi"sh', set()),
        ("NOT land", {2}),
        ("otters OR river", {1, 2, 3}),
        ("otters NEAR fish", set()),
        ("river*", {3}),
        ("question:otters", set()),
        ("100%", {3}),
        ("kelp;", {2}),
        ("kelp -- land", {2}),
        ("(otters", {1, 2}),
        ("^what", {1}),
        ("{", set()),
        ('"', set()),
        ("", set()),
        ("   ", set()),
        ("whales", set()),
        ('otters "', {1, 2}),
        ("otters -", {1, 2}),
        ("ÖTTERS", {1, 2}),
    ],
)
def test_words_are_only_words(reader: Reader, words: str, found: set[int]):
    """Each word that people type is wanted as it is: no sign, no operator of the index means anything."""
    assert {row["ordinal"] for row in searched(reader, words)} == found


def test_pairs_by_job_and_file(reader: Reader):
    """The pairs of a job, of a path where it was dropped, and of where it lies now."""
    for chosen in ({"job": "done"}, {"path": "/srv/notes/otters.txt"}, {"path": "/srv/notes/.processing/done/1"}):
        assert [row["ordinal"] for row in reader.pairs(**chosen)] == [1, 2, 3]
        assert len(searched(reader, "otters", **chosen)) == 2
    assert list(reader.pairs(job="queued")) == []
    assert list(reader.pairs(path="/srv/notes/else.txt")) == []


def test_short_questions(life: Life, reader: Reader):
    """Whether a job is known, and what an event's file is called."""
    twin = life.waits("/srv/notes/twin.txt", "/srv/notes/otters.txt")
    assert (reader.knows("done"), reader.knows("nobody")) == (True, False)
    assert (reader.name_of(str(twin.id)), reader.name_of("99")) == ("/srv/notes/twin.txt", None)


def test_a_borrowed_connection(life: Life):
    """Who has a connection reads over it."""
    with life.ledger.reading() as reader:
        assert len(list(reader.jobs())) == 2
        reader.connection.execute("drop table events")
        with pytest.raises(LedgerError, match="cannot be read"):
            list(reader.events())


def test_who_reads_disturbs_no_other_who_reads(life: Life):
    """The connection is taught its functions once: while a statement is under way SQLite takes none anew."""
    with life.ledger.reading() as reader:
        events = reader.events()
        first = next(events)
        with life.ledger.reading() as other:
            assert list(other.events()) == [first, *events]


def test_the_servers_standing(life: Life, reader: Reader):
    """Unknown, usable, paused, usable again: each change is told once, each figure is kept."""
    ledger = life.ledger
    unknown = dict.fromkeys(
        (
            *("dialect", "reachable", "paused_because", "last_error", "last_error_at"),
            *("max_chunks", "max_sessions", "max_request"),
        )
    )
    assert (ledger.servers.get(URL), reader.server(URL)) == (ServerFacts(), unknown)
    ledger.servers.usable(URL, "form", life.now())
    ledger.servers.usable(URL, "form", life.now())
    for at, tries in ((NOW, 1), (NOW + 50, 1), (NOW + 99, 2)):  # what fails beside the first is no further try
        ledger.servers.paused(URL, "it is down", next_try_at=NOW + 99, reachable=False, now=at)
        assert ledger.servers.get(URL).tries == tries
    assert ledger.servers.get(URL).paused_because == "it is down"
    assert reader.server(URL) == unknown | {
        "dialect": "form", "reachable": False, "paused_because": "it is down", "last_error": "it is down",
        "last_error_at": iso(NOW + 99),
    }  # fmt: skip
    ledger.servers.usable(URL, "learn", life.now())
    assert (ledger.servers.get(URL).paused_because, ledger.servers.get(URL).tries) == (None, 0)
    told = [(e["was"], e["became"]) for e in ledger.events.since(0) if e["subject"] == "server"]
    assert told == [(None, "usable"), ("usable", "paused"), ("paused", "usable")]
    for most in (100, 100, None):
        life.ledger.servers.chunks_allowed(URL, most, life.now())
    for _ in range(2):
        life.ledger.servers.sessions_allowed(URL, 3, NOW)
    assert (reader.server(URL)["max_chunks"], reader.server(URL)["max_sessions"]) == (None, 3)
    assert (ledger.servers.get(URL).max_sessions, ledger.servers.get(URL).max_sessions_at) == (3, NOW)
    assert [e["cause"] for e in ledger.events.since(0) if e["subject"] == "server"].count("quota") == 3


def test_the_folders_standing(life: Life, reader: Reader):
    """Each change is told once; what waits is counted; a flush is of one folder or of all."""
    ledger = life.ledger
    for state in ("watched", "watched", "away", "watched"):
        ledger.folders.found("notes", "/srv/notes", state, life.now(), detail="x")
    ledger.folders.found("odd", "/srv/\udcff", "watched", life.now())
    assert ledger.folders.pause("odd", NOW)
    assert not ledger.folders.pause("odd", NOW + 1)
    life.waits("/srv/notes/w.txt")
    folders = reader.folders()
    assert {name: row["state"] for name, row in folders.items()} == {"notes": "watched", "odd": "paused"}
    assert (folders["notes"]["settling"], folders["notes"]["waiting"]) == (1, 1)
    assert folders["notes"]["oldest"] is not None
    told = [(e["was"], e["became"]) for e in ledger.events.since(0) if e["subject_id"] == "notes"]
    assert told == [(None, "watched"), ("watched", "away"), ("away", "watched")]
    assert {name: facts.flush_before for name, facts in ledger.folders.all().items()} == {"notes": None, "odd": None}
    ledger.folders.flush("notes", NOW)
    assert ledger.folders.all()["notes"].flush_before == NOW
    ledger.folders.flush(None, NOW + 1)
    assert ledger.folders.all()["odd"] == FolderFacts(name="odd", paused_at=NOW, flush_before=NOW + 1)
    ledger.folders.found("odd", "/srv/\udcff", "away", life.now())
    assert (reader.folders()["odd"]["state"], reader.folders()["odd"]["paused_since"]) == ("away", iso(NOW))
    ledger.folders.found("odd", "/srv/\udcff", "watched", life.now())
    assert reader.folders()["odd"]["state"] == "paused"
    ledger.folders.renamed("even", "/srv/\udcff", ["notes", "even"], life.now())
    assert reader.folders()["even"]["state"] == "paused"
    assert [ledger.folders.resume("even", NOW) for _ in range(2)] == [True, False]
    assert reader.folders()["even"]["state"] == "watched"
    told = [(e["was"], e["became"]) for e in ledger.events.since(0) if e["cause"] in {"pause", "resume"}]
    assert told == [("watched", "paused"), ("paused", "watched")]


def test_when_each_folder_sent_last(life: Life):
    """The newest send of a folder is known, whatever became of the job; of a folder that never sent there is none."""
    for name in ("notes", "other"):
        life.ledger.folders.found(name, f"/srv/{name}", "watched", life.now())
    life.begins(life.claims(life.waits("/srv/notes/a.txt")))
    life.begins(life.claims(life.waits("/srv/notes/b.txt"), job_id="notes-2"))
    ((sent,),) = asked(life.ledger, "select submitted_at from all_jobs where id = 'notes-2'")
    folders = life.ledger.folders.all()
    assert (folders["notes"].sent_at, folders["other"].sent_at) == (instant(sent), None)


def test_the_daemon_and_what_people_asked(life: Life, reader: Reader):
    """Who runs, and the answer to each request; a start lets a paused server be tried at once, and forgets nothing."""
    ledger = life.ledger
    assert reader.daemon() is None
    ledger.servers.paused(URL, "down", next_try_at=NOW + 99, reachable=True, now=life.now())
    ledger.daemon.started(pid=7, version="1.0", now=NOW)
    assert (reader.daemon() or {}).items() >= {"pid": 7, "since": "2026-11-23T05:23:11.000Z", "version": "1.0"}.items()
    paused = ledger.servers.get(URL)
    assert (paused.next_try_at, paused.tries, paused.paused_because, paused.reachable) == (None, 1, "down", True)
    assert not ledger.events.is_answered("r1")
    ledger.events.answered("r1", verb="flush", done=True, words="done so", now=life.now())
    ledger.events.answered("r2", verb="retry", done=False, words="no", now=life.now())
    assert ledger.events.is_answered("r1")
    answers = [reader.answer(request) for request in ("r1", "r2", "r3")]
    assert [answer and (answer["became"], answer["detail"]) for answer in answers] == [
        ("done", "done so"),
        ("refused", "no"),
        None,
    ]
    ledger.daemon.stopped(pid=7, now=life.now())
    assert ledger.events.since(ledger.events.last() - 1)[0]["became"] == "stopped"
    assert ledger.events.since(ledger.events.last()) == []


def test_the_event_of_a_file_comes_with_its_path(life: Life):
    """Hooks and logs name the file without another question."""
    told = {e["path"] for e in life.ledger.events.since(0) if e["subject"] == "file"}
    assert told == {"/srv/notes/otters.txt", "/srv/notes/new\nline.txt", "/srv/notes/\\xff.txt"}


def test_what_failed_since(life: Life):
    """A run that saw a job fail ends with 1, one that did not with 0."""
    assert not life.ledger.jobs.failed_since(NOW)
    job = life.begins(life.claims(life.waits("/srv/notes/f.txt"), job_id="f"))
    life.ledger.ends.failed(job, "no", cause=Cause.REFUSED, now=NOW + 500)
    assert life.ledger.jobs.failed_since(NOW)
    assert not life.ledger.jobs.failed_since(NOW + 501)


def test_a_search_leaves_out_what_may_have_moved_since(life: Life):
    """The sessions of jobs that had not ended then, and its own job's: a ledger may know a million others."""
    known_ids, later = life.ledger.attempts.known_ids, life.now()
    assert known_ids("queued", later) == {"ses-1"}  # its job is not archived yet
    life.ledger.jobs.archived(life.job("done"))
    assert known_ids("queued", NOW) == {"ses-1"}
    assert known_ids("queued", later) == set()
    assert known_ids("done", later) == {"ses-1"}  # it was made and ended before a clock jumped


def test_the_size_of_a_ledger_that_goes_away(life: Life, reader: Reader):
    """It is missing then, as for any other question."""
    assert reader.size() > 0
    os.rename(reader.path, f"{reader.path}.x")
    with pytest.raises(LedgerMissing):
        reader.size()


def test_what_kept_a_job_before_its_end_keeps_it_no_more(life: Life):
    """Its files were held up while it was claimed, too; what counts was said at its end, or after."""
    job = life.trains(life.runs(life.claims(life.waits("/srv/notes/late.md"), job_id="late"), "ses-late"))
    with closing(sqlite3.connect(life.ledger.path)) as db, Reader.open(life.ledger.path) as reader:
        db.isolation_level = None
        (end,) = db.execute("select finished_at from jobs where id = ?", (job.id,)).fetchone()
        for at, words, told in ((instant(end) - 0.001, "before", None), (instant(end), "at its end", "at its end")):
            db.execute(
                "insert into events (at, subject, subject_id, became, cause, detail) "
                "values (?, 'job', ?, 'done', 'held_up', ?)",
                (iso(at), job.id, words),
            )
            assert reader.held_up(job.id) == told
