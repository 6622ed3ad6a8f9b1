"""The ledger's commands: one transaction each, guarded, told; and names that nobody would choose."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import msgspec
import pytest
from msgspec.structs import replace

from finetuned.errors import FinetunedError, LedgerError, LedgerStuck, Stale
from finetuned.ledger.batches import NEWER, Left
from finetuned.ledger.files import WINDOW
from finetuned.ledger.queries import Reader
from finetuned.ledger.rows import insert_all, place, text_at
from finetuned.ledger.writer import Ledger
from finetuned.lifecycle import Cause, FileState, JobState, Requested
from finetuned.model import File, Job, UnarchivedFile
from finetuned.paths import path_of
from finetuned.settings import FolderSettings
from support.lives import NOW, URL, Life, asked, audited, content, pairs_of, signature, view

NAMES = [
    "plain.txt",
    "\udcff\udcfe.txt",
    "new\nline.txt",
    "\x1b[2J.txt",
    "\u202egnp.txt",
    "ünï cödé.txt",
    "\\xff.txt",
    "it's; drop table files.txt",
    "é" + "\udce9" + "x" * 200,
]


@pytest.fixture
def life(tmp_path) -> Iterator[Life]:
    """A new ledger."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield Life(ledger)


def test_each_row_is_inserted_once_whatever_its_columns_are():
    """Rows that tell of different columns, or of the same in another order, keep their values."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("create table t (a, b)")
        insert_all(db, "t", [{"a": 1, "b": 2}, {"b": 3}, {"a": 4, "b": 5}, {"b": 6, "a": 7}])
        insert_all(db, "t", [])
        assert db.execute("select a, b from t order by b").fetchall() == [(1, 2), (None, 3), (4, 5), (7, 6)]


def events(life: Life) -> list[tuple]:
    """What was told so far."""
    return [(e["subject"], e["subject_id"], e["was"], e["became"], e["cause"]) for e in life.ledger.events.since(0)]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_comes_back_as_it_was(life: Life, name: str):
    """Names are bytes: path and location are found again exactly, and told as text that any database takes."""
    path = f"/srv/notes/{name}"
    file = life.waits(path)
    assert (file.path, file.location) == (path, path)
    assert [lies for lies, _, _ in life.ledger.files.lying("notes")] == [path]
    assert [f.id for f in life.ledger.files.at_place(path)] == [file.id]
    assert life.ledger.files.open_at("notes", [path, "/elsewhere"]) == {path: file}
    life.claims(file)
    assert path_of(*place(path)) == path


def test_names_that_look_alike_are_different_files(life: Life):
    """A byte that is not UTF-8 and the text that stands for it are two names."""
    odd, plain = life.waits("/srv/notes/\udcff.txt"), life.waits("/srv/notes/\\xff.txt")
    assert [f.id for f in life.ledger.files.at_place(odd.path)] == [odd.id]
    assert [f.id for f in life.ledger.files.at_place(plain.path)] == [plain.id]


def test_a_group_that_is_not_utf8(life: Life):
    """With `group_by = "subfolder"` the group is a folder's name, which is bytes, too."""
    life.ledger.files.appeared("notes", [("/srv/notes/\udcff/a.txt", signature(), "\udcff")], life.now())
    ((group,),) = asked(life.ledger, "select batch_group from files")
    assert group == "\\xff"


def dumped(ledger: Ledger) -> list[str]:
    """Every row there is, as SQL, and that no transaction is open."""
    with ledger.reading() as reader:
        assert not reader.connection.in_transaction
        return list(reader.connection.iterdump())


def test_a_path_where_a_file_settles_or_waits_is_told_and_not_recorded_again(life: Life):
    """The others of the same sweep are."""
    settles, waits = life.settles("/srv/notes/a.txt"), life.waits("/srv/notes/b.txt")
    seen = [(path, signature(), "") for path in ("/srv/notes/a.txt", "/srv/notes/b.txt", "/srv/notes/new.txt")]
    there = life.ledger.files.appeared("notes", seen, life.now())
    assert {path: file.id for path, file in there.items()} == {
        "/srv/notes/a.txt": settles.id,
        "/srv/notes/b.txt": waits.id,
    }
    assert life.ledger.files.appeared("notes", seen, life.now()).keys() == {path for path, _, _ in seen}


@pytest.mark.parametrize("became", [FileState.SETTLING, FileState.WAITING])
def test_of_a_place_one_version_settles_or_waits_whoever_leaves_a_job_there(life: Life, became: FileState):
    """The others have vanished, and say why; so has the second of two that leave their jobs together."""
    path = "/srv/notes/a.txt"
    job = life.claims(life.waits(path), life.waits("/srv/notes/b.txt"))
    files = life.packed(job)
    left = [Left(file=file, became=became, reason="so", location=path, due_at=None) for file in files]
    gone = life.ledger.batches.claimed(job, [], left, life.now())
    assert [(one.became, one.location, one.reason) for one in gone] == [
        (became, path, "so"),
        (FileState.VANISHED, None, NEWER),
    ]
    states = [life.ledger.files.get(file.id).state for file in files]
    assert states == [became, FileState.VANISHED]


BREAKS: list[Callable[[Life], object]] = [
    lambda life: life.ledger.files.appeared(
        "notes", [("/srv/notes/new.txt", signature(), ""), ("/srv/notes/new.txt", signature(), "")], life.now()
    ),
    lambda life: life.ledger.batches.seal("new", "notes", "", [1, 2, 1000, 3], life.now()),
    lambda life: life.ledger.attempts.duplicate_found(
        life.job("runs"), view(ident="ses-t"), attempt=1, url=None, variant="form", now=1e20  # type: ignore[arg-type]
    ),
]  # fmt: skip


@pytest.mark.parametrize("command", BREAKS)
def test_a_command_that_fails_leaves_nothing(life: Life, command: Callable[[Life], object]):
    """Neither a row nor an event stays of what did not go through to its end."""
    life.settles("/srv/notes/a.txt")
    life.waits("/srv/notes/b.txt")
    life.runs(life.claims(life.waits("/srv/notes/c.txt"), job_id="runs"))
    before = dumped(life.ledger)
    with pytest.raises((FinetunedError, ValueError, OverflowError)):
        command(life)
    assert dumped(life.ledger) == before


def test_a_database_that_cannot_be_written_is_said_in_our_words(life: Life):
    """What SQLite raises never leaves the room, from neither side."""
    with pytest.raises(LedgerError, match="could not be written"), life.ledger.together() as db:
        db.execute("insert into nowhere values (1)")
    with pytest.raises(LedgerError, match="could not be read"):
        asked(life.ledger, "select * from nowhere")
    with pytest.raises(LedgerError, match="could not be written"), life.ledger.together() as db:
        db.execute("commit")  # as when SQLite has rolled back by itself: a full disk
    life.settles("/srv/notes/a.txt")


def test_a_row_that_moved_on_is_not_written(life: Life):
    """Who read a file or a job too early is told so, and nothing is told of it."""
    file = life.waits("/srv/notes/a.txt")
    life.ledger.files.held_up(file, "no right", life.now(), life.now())
    job = life.seals(life.waits("/srv/notes/b.txt"))
    life.ledger.runs.try_later(job, life.now(), None, life.now())
    before = events(life)
    with pytest.raises(Stale):
        life.ledger.files.refused(file, "no", life.now())
    with pytest.raises(Stale):
        life.ledger.ends.cancelled(job, "no", life.now())
    with pytest.raises(Stale):
        life.ledger.sends.begin_attempt(job, url=URL, variant="form", names={}, now=life.now())
    assert events(life) == before


def test_a_way_that_no_table_knows_is_not_gone(life: Life):
    """The lifecycle is asked for each move."""
    file = life.settles("/srv/notes/a.txt")
    job = life.seals(life.waits("/srv/notes/b.txt"))
    with pytest.raises(FinetunedError, match="never goes from settling to duplicate"):
        life.ledger.files.duplicate(file.id, "x", life.now())
    with pytest.raises(FinetunedError, match="never goes from queued to doubtful"):
        life.ledger.sends.reply_lost(job, "no", answered=False, due_at=0.0, now=life.now())


def test_a_life_is_told_in_full(life: Life):
    """From the drop to the end every change of state is one event, in order."""
    job = life.trains(life.runs(life.claims(life.waits("/srv/notes/a.txt"))))
    life.archive(job)
    assert events(life) == [
        ("file", "1", None, "settling", "appeared"),
        ("file", "1", "settling", "waiting", "settled"),
        ("job", "notes-1", None, "queued", "sealed"),
        ("file", "1", "waiting", "packed", "sealed"),
        ("job", "notes-1", "queued", "queued", "claimed"),
        ("job", "notes-1", "queued", "submitting", "intent"),
        ("session", "ses-1", "intended", "live", "submitted"),
        ("job", "notes-1", "submitting", "running", "submitted"),
        ("file", "1", "packed", "learned", "job_ended"),
        ("session", "ses-1", "live", "trained", "trained"),
        ("job", "notes-1", "running", "done", "trained"),
        ("job", "notes-1", "done", "done", "put_away"),
    ]


def test_a_wish_tells_the_state_that_the_job_has(life: Life):
    """A request needs no version; what it tells is true all the same."""
    early = life.begins(life.claims(life.waits("/srv/notes/a.txt")))
    seen = view(life.packed(early), marker=early.under_way.marker)
    life.ledger.sends.adopt(early, seen, due_at=life.now(), cause=Cause.SUBMITTED, now=life.now())
    life.ledger.requests.give_up(early, Requested.CANCEL, life.now())
    assert life.job(early.id).requested == "cancel"
    assert audited(life.ledger) == []


def test_an_id_that_is_taken(life: Life):
    """The caller draws another one; nothing was written."""
    first, second = life.waits("/srv/notes/a.txt"), life.waits("/srv/notes/b.txt")
    assert life.ledger.batches.seal("j", "notes", "", [first.id], life.now())
    assert not life.ledger.batches.seal("j", "notes", "", [second.id], life.now())
    assert life.file(second).state is FileState.WAITING


def test_who_leaves_a_job_and_who_stays(life: Life):
    """Each leaver with its own state; a job that everybody left is cancelled."""
    stays, gone, changed, stuck = (life.waits(f"/srv/notes/{n}.txt") for n in range(4))
    job = life.seals(stays, gone, changed, stuck)
    stays, gone, changed, stuck = life.packed(job)
    left = [
        Left(file=gone, became=FileState.VANISHED, reason="gone", location=None),
        Left(file=changed, became=FileState.SETTLING, reason="changed", location="/srv/notes/2.2.txt"),
        Left(file=stuck, became=FileState.WAITING, reason="no right", location=stuck.path, due_at=life.now()),
    ]
    life.ledger.batches.claimed(job, [(stays, "/srv/notes/.processing/0.txt")], left, life.now())
    job = life.job(job.id)
    assert (job.state, job.files, job.claimed_at is not None) == (JobState.QUEUED, 1, True)
    assert [life.file(f).state for f in (stays, gone, changed, stuck)] == ["packed", "vanished", "settling", "waiting"]
    assert [life.file(f).job_id for f in (stays, gone, changed, stuck)] == [job.id, None, None, None]
    assert [life.file(f).reason for f in (gone, changed, stuck)] == ["gone", "changed", "no right"]
    other = life.seals(life.waits("/srv/notes/9.txt"), job_id="other")
    everybody = [Left(file=f, became=FileState.VANISHED, reason="gone", location=None) for f in life.packed(other)]
    life.ledger.batches.claimed(other, [], everybody, life.now())
    assert (life.job("other").state, life.job("other").reason) == (JobState.CANCELLED, "no file was left in it")


def test_a_file_that_changed_is_unread(life: Life):
    """After a change nothing is known of the content, least of all when it cannot be read then."""
    file = life.waits("/srv/notes/a.txt")
    life.ledger.files.unsettled(file, signature(9), "it changed", life.now())
    assert life.file(file).content is None
    life.ledger.files.unreadable(life.file(file), "no right", life.now(), life.now())
    assert [f.id for f in life.ledger.files.unread(["notes"], life.now(), life.now(), 2)] == [file.id]
    assert life.ledger.files.waiting() == []


def test_files_that_could_not_be_read_are_tried_again_when_it_is_their_time(life: Life):
    """Those that are due longest, so many at a time, so that each has its turn; then it is told when the next is.

    A time too far off was written before the clock was put back: it has come.
    """
    now = 1_000_000.0
    times = {"0": now - 1, "1": now + 5, "2": now, "3": now + 1000, "4": now + 4, "5": now - 9}
    for name, due_at in times.items():
        life.ledger.files.unreadable(life.settles(f"/srv/notes/{name}"), "no right", due_at, now)
    last = life.ledger.files.at_place("/srv/notes/5")[0]
    life.ledger.files.held_up(last, "no right", times["5"], now)

    def due(*folders: str, at: float, most: int = 9) -> list[str]:
        return [os.path.basename(file.path) for file in life.ledger.files.unread(folders, at, at + 60, most)]

    def next_one(*folders: str, at: float) -> tuple[float | None, int | None]:
        return life.ledger.files.unread_next(folders, at, at + 60)

    assert due("notes", at=now, most=2) == ["3", "5"]
    assert due("notes", at=now) == ["3", "5", "0", "2"]
    assert due("notes", at=now + 5) == ["3", "5", "0", "2", "4", "1"]
    assert due("other", at=now) == []
    assert next_one("notes", at=now) == (now, 1)
    for name in ("0", "2", "3", "5"):
        life.ledger.files.vanished([(life.ledger.files.at_place(f"/srv/notes/{name}")[0], "gone")], now)
    assert next_one("notes", at=now) == (now + 4, 1)
    assert next_one("other", at=now) == (None, None)


def wait_many(life: Life, folder: str, count: int) -> list[File]:
    """So many files that were seen and read, oldest first."""
    appeared = [(f"/srv/{folder}/{number}.txt", signature(number), "") for number in range(count)]
    life.ledger.files.appeared(folder, appeared, life.now())
    found = life.ledger.files.open_at(folder, [path for path, _, _ in appeared])
    files = [found[path] for path, _, _ in appeared]
    life.ledger.files.settled([(file, file.signature, content(file.path)) for file in files], life.now())
    return [life.file(file) for file in files]


def test_a_full_folder_hides_no_other(life: Life):
    """However much waits in one folder, what waits in another is planned."""
    wait_many(life, "away", WINDOW + 1)
    life.waits("/srv/notes/a.txt")
    assert "notes" in {file.folder for file in life.ledger.files.waiting()}


def test_the_oldest_wait_in_front(life: Life):
    """The window is filled from the oldest."""
    files = wait_many(life, "notes", WINDOW)
    life.waits("/srv/notes/new.txt")
    assert [f.id for f in life.ledger.files.waiting()] == [f.id for f in files]


def test_as_many_of_a_folder_are_listed_as_are_asked_for(life: Life):
    """The oldest of each folder that is named, as the whole list has them, and none of another."""
    for folder in ("notes", "other", "third"):
        for file in wait_many(life, folder, 6)[4:]:
            life.ledger.files.held_up(file, "another disk", life.now(), life.now())
    some = {"notes": 3, "other": 1}
    listed = [[f for f in life.ledger.files.waiting() if f.folder == name] for name in some]
    expected = [f for files in listed for f in (*files[: some[files[0].folder]], *files[4:][: some[files[0].folder]])]
    assert [f.id for f in life.ledger.files.waiting(None, some)] == [f.id for f in expected]


def test_what_is_held_up_hides_nothing_that_may_go(life: Life):
    """However many files cannot be moved, what can is planned first; the others follow by their next tries."""
    stuck = wait_many(life, "notes", WINDOW + 1)
    with life.ledger.together():
        for later, file in enumerate(reversed(stuck)):
            life.ledger.files.held_up(file, "another disk", NOW + later, life.now())
    free = life.waits("/srv/notes/free.txt")
    assert [f.id for f in life.ledger.files.waiting()] == [free.id, *(f.id for f in stuck[:0:-1])]


def test_a_renamed_folder_keeps_its_place_in_the_order(life: Life):
    """When it was sent from last, and what was asked of it, goes along to the new name."""
    life.ledger.folders.found("notes", "/srv/notes", "watched", life.now())
    life.begins(life.claims(life.waits("/srv/notes/a.txt")))
    life.ledger.folders.flush("notes", life.now())
    before = life.ledger.folders.all()["notes"]
    assert None not in {before.sent_at, before.flush_before}
    life.ledger.folders.renamed("texts", "/srv/notes", {"texts"}, life.now())
    life.ledger.folders.found("texts", "/srv/notes", "watched", life.now())
    assert life.ledger.folders.all() == {"texts": replace(before, name="texts")}
    assert events(life)[-1] == ("folder", "texts", None, "watched", "renamed")


def rules_of(path: str, name: str = "notes") -> FolderSettings:
    """The rules of a folder, unlike any default."""
    return FolderSettings(name=name, path=path, include=("*.rst",), after="keep", linger=7.5)


@pytest.mark.parametrize("path", ["/srv/notes", "/srv/\udcff"])
def test_a_folder_that_left_the_configuration_is_remembered_while_it_has_work(life: Life, path: str):
    """With the rules that it had, until its last job has ended and is put away."""
    folders, rules = life.ledger.folders, rules_of(path)
    folders.found("notes", path, "watched", life.now())
    folders.ruled([rules])
    assert folders.retired([]) == []
    job = life.runs(life.claims(life.waits(f"{path}/a.txt")))
    assert folders.retired([]) == [rules]
    assert folders.retired([rules]) == []
    job = life.trains(job)
    assert folders.retired([]) == [rules]
    life.archive(job)
    assert (folders.retired([]), folders.has_work("notes")) == ([], False)


@pytest.mark.parametrize("other", ["/srv/notes", "/srv", "/srv/notes/below"])
def test_a_folder_at_around_or_in_one_that_left_keeps_it_out(life: Life, other: str):
    """What one of them sweeps must not lie claimed by the other."""
    folders = life.ledger.folders
    folders.found("notes", "/srv/notes", "watched", life.now())
    folders.ruled([rules_of("/srv/notes")])
    life.claims(life.waits("/srv/notes/a.txt"))
    assert folders.retired([rules_of(other, "other")]) == []
    assert len(folders.retired([rules_of("/srv/notes2", "other")])) == 1


def test_rules_that_another_version_wrote_are_no_folders(life: Life):
    """A key that is new to us is left out; a value that we cannot read leaves its folder where it is."""
    folders = life.ledger.folders
    folders.found("notes", "/srv/notes", "watched", life.now())
    life.claims(life.waits("/srv/notes/a.txt"))
    asked(life.ledger, """update folders set rules = '{"name": "notes", "path": "", "colour": "grey"}'""")
    assert folders.retired([]) == [FolderSettings(name="notes", path="/srv/notes")]
    asked(life.ledger, """update folders set rules = '{"name": "notes", "path": "", "linger": "soon"}'""")
    assert folders.retired([]) == []


def test_a_retired_folder_is_let_go_of_and_told_of_while_files_wait(life: Life):
    """Without them nothing is left of it; with them people are to see where they lie."""
    folders = life.ledger.folders
    for name in ("notes", "other"):
        folders.found(name, f"/srv/{name}", "retired", life.now())
        assert folders.all()[name].retired
    life.waits("/srv/other/a.txt", folder="other")
    for name in ("notes", "other"):
        folders.released(name, life.now())
    assert list(folders.all()) == ["other"]
    told = [event for event in events(life) if event[3] == "released"]
    assert told == [("folder", name, "retired", "released", "folder") for name in ("notes", "other")]


def test_what_the_folder_knows(life: Life):
    """A content is known once it is learned in this folder, a twin on its way while it is packed."""
    done = life.runs(life.claims(life.waits("/srv/notes/a.txt", "x")))
    life.waits("/srv/notes/b.txt", "x")
    life.waits("/srv/other/b.txt", "x", folder="other")
    told = {f.folder: f for f in life.ledger.files.waiting()}
    assert (told["notes"].same_content_in, told["notes"].learned_by) == (done.id, None)
    assert told["other"].same_content_in is None
    life.trains(done)
    assert {f.folder: f.learned_by for f in life.ledger.files.waiting()} == {"notes": "/srv/notes/a.txt", "other": None}
    life.ledger.files.wanted_again("notes", content("x").sha256)
    assert [f.learned_by for f in life.ledger.files.waiting()] == [None, None]


def test_pairs_are_written_once(life: Life):
    """Collected again after a crash, or before a session is removed, nothing is added."""
    job = life.runs(life.claims(life.waits("/srv/notes/a.txt")))
    files = life.packed(job)
    seen = view(files, ident="ses-1", marker=job.under_way.marker)
    life.ledger.pairs.add(job, seen.id, pairs_of(files, 2), lambda _: files[0].id)
    assert life.ledger.pairs.here(seen.id) is None
    for _ in range(2):
        life.collects(job, seen, pairs_of(files, 3), files)
        life.ledger.ends.keep_pairs(seen, 3, life.now())
        assert life.ledger.pairs.here(seen.id) == 3
    twin = view(files, ident="ses-2", marker=job.under_way.marker)
    life.ledger.attempts.duplicate_found(job, twin, attempt=1, url=URL, variant="form", now=life.now())
    life.collects(job, twin, pairs_of(files, 1), files)
    life.ledger.ends.keep_pairs(twin, 1, life.now())
    assert [tuple(row) for row in asked(life.ledger, "select count(*) from qa_pairs_fts_docsize")] == [(4,)]
    asked(life.ledger, "insert into qa_pairs_fts (qa_pairs_fts) values ('integrity-check')")
    rows = asked(life.ledger, "select session_id, ordinal, file_id from qa_pairs order by ordinal")
    assert [tuple(row) for row in rows] == [("ses-1", n, files[0].id) for n in (1, 2, 3)] + [("ses-2", 4, files[0].id)]


def test_what_only_some_pairs_tell_is_written_of_these(life: Life):
    """Of a talk's first turn what the system said, of a proven pair where its evidence stands, of others nothing."""
    job = life.runs(life.claims(life.waits("/srv/notes/a.txt")))
    files = life.packed(job)
    seen = view(files, ident=job.session_id or "", marker=job.under_way.marker)
    plain, other, proven = pairs_of(files, 3)
    told = [
        plain,
        replace(other, talk=1, turn=1, system="Be brief."),
        replace(proven, talk=1, turn=2, evidence="It swims.", begins=0, ends=9, made_by="qwen"),
    ]
    life.collects(job, seen, told, files)
    rows = asked(life.ledger, "select talk, turn, system, evidence, begins, ends, made_by from qa_pairs order by id")
    assert [tuple(row) for row in rows] == [
        (plain.talk, plain.turn, *[None] * 5),
        (1, 1, "Be brief.", *[None] * 4),
        (1, 2, None, "It swims.", 0, 9, "qwen"),
    ]
    some = [msgspec.json.decode(msgspec.json.encode(row)) for row in life.ledger.pairs.some(job.id, after=0, most=5)]
    assert [row["ordinal"] for row in some] == [1, 2, 3]
    spare = {"talk", "turn", "system", "evidence", "begins", "ends", "made_by"}
    assert [spare & row.keys() for row in some][1:] == [{"talk", "turn", "system"}, spare - {"system"}]


def test_what_is_still_to_be_archived(life: Life):
    """A refused file is unarchived until it lies where it belongs; trouble with moving it is told once."""
    file = life.waits("/srv/notes/a.txt")
    life.ledger.files.refused(file, "not text", life.now())
    assert life.ledger.files.unarchived() == [UnarchivedFile(id=file.id, folder="notes")]
    told = len(events(life))
    for tries in (1, 2):
        due = life.now()
        life.ledger.files.archive_later(life.file(file), "the disk is full", due, life.now())
        assert life.ledger.files.unarchived() == [UnarchivedFile(id=file.id, folder="notes", due_at=due)]
        assert (life.file(file).tries, life.file(file).reason) == (tries, "not text")
    assert len(events(life)) == told + 1
    assert [path for path, _, _ in life.ledger.files.lying("notes")] == [file.path]
    life.ledger.files.laid(life.file(file), "/srv/notes/failed/refused/a.txt", life.now())
    assert life.ledger.files.unarchived() == []
    assert [*life.ledger.files.lying("notes")] == []


def test_the_newest_of_those_that_stayed_in_their_place(life: Life):
    """With `after = "keep"` a path may have been learned many times; the last time tells what lies there now."""
    for word in ("one", "two"):
        file = life.waits("/srv/notes/a.txt", word)
        life.ledger.files.refused(file, "no", life.now())
    assert [*life.ledger.files.lying("notes")][-1] == (file.path, file.signature, True)


def test_an_attempt_that_had_no_effect_costs_nothing(life: Life):
    """The job is queued as it was; its files are claimed anew if they are no longer what they were."""
    job = life.claims(life.waits("/srv/notes/a.txt"))
    for again in (False, True):
        sent = life.begins(life.job(job.id))
        life.ledger.sends.unsent(sent, "cut", cause=Cause.CUT, due_at=NOW, now=life.now(), claim_again=again)
        queued = life.job(job.id)
        assert (queued.state, queued.attempts, queued.due_at) == (JobState.QUEUED, 0, NOW)
        assert (queued.claimed_at is None) is again


def test_a_file_without_a_content_can_be_in_no_job(life: Life):
    """What could not be read is not packed: the table says so, and the job is not made."""
    file = life.settles("/srv/notes/a.txt")
    life.ledger.files.unreadable(file, "no right", life.now(), life.now())
    with pytest.raises(LedgerError):
        life.ledger.batches.seal("j", "notes", "", [file.id], life.now())
    assert life.ledger.jobs.get("j") is None


def test_an_upload_in_progress(life: Life):
    """A figure for those who watch: no event, no version, and only while it is sent."""
    job = life.begins(life.claims(life.waits("/srv/notes/a.txt")))
    before = events(life)
    life.ledger.attempts.uploading(job, 42)
    now = life.job(job.id)
    assert (now.under_way.progress, now.under_way.version, now.version) == (42, job.under_way.version, job.version)
    life.ledger.ends.failed(job, "refused", cause=Cause.REFUSED, now=life.now())
    life.ledger.attempts.uploading(job, 99)
    assert asked(life.ledger, "select progress from all_jobs")[0][0] == 42
    assert events(life)[: len(before)] == before


def test_what_is_not_there(life: Life):
    """A job that nobody made is null, a file that nobody saw is a LookupError, a moment that never was is null."""
    assert life.ledger.jobs.get("nobody") is None
    assert text_at(None) is None
    with pytest.raises(LookupError, match="no file 7"):
        life.ledger.files.get(7)
    with pytest.raises(LedgerError, match="CHECK constraint failed"):
        asked(life.ledger, "insert into daemon (id, pid, since, version) values (3, 1, 'x', '1')")


@pytest.mark.parametrize("action", [Requested.CANCEL, Requested.DELETE])
def test_a_request_that_came_too_late_to_give_the_job_up(life: Life, action: Requested):
    """Of a job that trained meanwhile the session stays, unless it was to be deleted."""
    job = life.runs(life.claims(life.waits("/srv/notes/a.txt")))
    life.ledger.requests.give_up(job, action, life.now())
    life.trains(job)
    assert [one.session_id for one in life.ledger.attempts.to_discard()] == (
        ["ses-1"] if action is Requested.DELETE else []
    )


def test_a_job_that_was_emptied_owes_nothing_to_its_sending(life: Life):
    """The pause that its last try had asked for does not keep it from being put away."""
    job = life.begins(life.claims(life.waits("/srv/notes/a.txt")))
    life.ledger.sends.unsent(job, "cut", cause=Cause.CUT, due_at=life.now() + 60, now=life.now(), claim_again=True)
    gone = Left(file=life.packed(job)[0], became=FileState.VANISHED, reason="gone", location=None)
    life.ledger.batches.claimed(life.job(job.id), [], [gone], life.now())
    assert (life.job(job.id).due_at, life.job(job.id).tries) == (None, 0)


def test_what_is_written_together_is_one_commit(life: Life):
    """A part that fails leaves nothing, and what was written around it is committed at the end, or not at all."""
    ledger, first, second = life.ledger, life.waits("/srv/notes/1.txt"), life.waits("/srv/notes/2.txt")

    def seal(job_id: str, file: File, *, fails: bool) -> None:
        with ledger.together():
            ledger.batches.seal(job_id, "notes", "", [file.id], life.now())
            if fails:
                ledger.files.get(1_000_000)

    with ledger.together():
        seal("whole", first, fails=False)
        with pytest.raises(LookupError):
            seal("part", second, fails=True)
        with Reader.open(ledger.path) as reader:
            assert not reader.knows("whole")
    assert (life.file(first).state, life.file(second).state) == (FileState.PACKED, FileState.WAITING)
    with pytest.raises(LookupError):
        seal("none", second, fails=True)
    assert life.file(second).state is FileState.WAITING


class TestUploads:
    """What the files of an attempt became on a server where they go first, and are learned then."""

    def job(self, life: Life) -> Job:
        """A job that is being sent."""
        return life.begins(life.claims(life.waits("/srv/notes/a.txt")))

    def again(self, life: Life, job: Job, *, claim_again: bool = False, **server: str) -> Job:
        """Nothing came of the attempt, and it is made again."""
        life.ledger.sends.unsent(
            job, "not now", cause=Cause.NOT_NOW, due_at=None, now=life.now(), claim_again=claim_again
        )
        job = life.job(job.id)
        if claim_again:
            laid = [(f, f.location or "") for f in life.ledger.jobs.files(job.id)]
            life.ledger.batches.claimed(job, laid, [], life.now())
            job = life.job(job.id)
        where = {"url": URL, "variant": "form"} | server
        return life.ledger.sends.begin_attempt(job, names={}, now=life.now(), **where)

    def test_an_upload_serves_the_next_try(self, life: Life):
        """The same files under the same names need not go there twice; the newest upload counts."""
        job = self.job(life)
        assert life.ledger.attempts.upload(job) is None
        life.ledger.attempts.uploaded(job, "e-1")
        assert life.ledger.attempts.upload(job) == "e-1"
        job = self.again(life, job)
        assert life.ledger.attempts.upload(job) == "e-1"
        life.ledger.attempts.uploaded(job, "e-2")
        job = self.again(life, job)
        assert life.ledger.attempts.upload(job) == "e-2"
        assert life.ledger.attempts.uploads(job.id) == {"e-1", "e-2"}
        assert life.ledger.attempts.uploads("other") == frozenset()
        assert audited(life.ledger) == []

    @pytest.mark.parametrize("server", [{"url": "http://other.test"}, {"variant": "learn"}])
    def test_another_server_knows_nothing_of_it(self, life: Life, server: dict[str, str]):
        """An upload is one server's, and one dialect's."""
        job = self.job(life)
        life.ledger.attempts.uploaded(job, "e-1")
        assert life.ledger.attempts.upload(self.again(life, job, **server)) is None

    def test_changed_files_are_another_upload(self, life: Life):
        """Once the files are claimed anew, what was uploaded of them before is void."""
        job = self.job(life)
        life.ledger.attempts.uploaded(job, "e-1")
        assert life.ledger.attempts.upload(self.again(life, job, claim_again=True)) is None

    def test_another_attempt_has_other_names(self, life: Life):
        """The names carry the attempt's marker, so a new attempt uploads anew; a search still knows the old one."""
        job = self.job(life)
        life.ledger.attempts.uploaded(job, "e-1")
        seen = view(life.packed(job), ident="ses-1", marker=job.under_way.marker)
        life.ledger.sends.adopt(job, seen, due_at=1.0, cause=Cause.FOUND, now=life.now())
        life.ledger.ends.next_attempt(life.job(job.id), "gone", cause=Cause.GONE, discard=False, now=life.now())
        job = life.begins(life.job(job.id))
        assert life.ledger.attempts.upload(job) is None
        assert life.ledger.attempts.uploads(job.id) == {"e-1"}


def test_a_disk_that_is_full_within_a_part_is_told_as_such(life: Life):
    """SQLite gives the whole transaction up then: nothing of it is written, and nobody takes it for a refusal."""
    ledger = life.ledger
    asked(ledger, f"pragma max_page_count = {asked(ledger, 'pragma page_count')[0][0]}")

    def grow() -> None:
        with ledger.together():
            life.settles("/srv/notes/" + "x" * 200_000)

    def ask() -> None:
        with ledger.together():
            try:
                grow()
            except LedgerStuck:
                raise
            except FinetunedError:
                ledger.events.answered("r", verb="retry", done=False, words="no", now=life.now())

    with pytest.raises(LedgerStuck):
        ask()
    assert not ledger.events.is_answered("r")
    asked(ledger, "pragma max_page_count = 100000")
    grow()
