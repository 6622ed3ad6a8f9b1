"""A ledger that was lost, or restored from an older copy, while files lie claimed: nothing is lost or paid twice."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from finetuned.sandbox import Faults, Pace
from support.place import Place, is_send, no_connection

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
ROUND = "The stone is round. It lies on a beach."
SLOW = Pace(train=60.0)


def lose_ledger(place: Place) -> None:
    """As if the disk that held it had died."""
    shutil.rmtree(os.path.dirname(place.ledger_path))


def back_up(place: Place) -> Path:
    """A copy of the ledger as it is now."""
    copy = place.root / "backup.db"
    with place.reader() as reader, closing(sqlite3.connect(copy)) as target:
        reader.connection.backup(target)
    return copy


def restore(place: Place, copy: Path) -> None:
    """Put yesterday's ledger back."""
    lose_ledger(place)
    os.makedirs(os.path.dirname(place.ledger_path))
    shutil.copy(copy, place.ledger_path)


async def until_state(place: Place, state: str) -> None:
    """Run until the first job is in this state."""

    async def script() -> None:
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == state)

    await place.run(until_idle=False, script=script)


async def claimed_only(place: Place) -> None:
    """Run while the server is away, so that files lie claimed and nothing was sent."""
    place.network.before = no_connection
    await place.run()
    place.network.before = lambda _: None


async def test_a_running_job_is_adopted_from_its_note(a_place: APlace) -> None:
    """The job is back under its id, its session is found by its marker, every pair finds its file."""
    place = a_place(folder=[{"linger": "0s"}], pace=SLOW)
    place.drop("a.txt", GREY)
    place.drop("sub/b.txt", ROUND)
    await until_state(place, "running")
    before = place.jobs()[0]
    lose_ledger(place)
    await place.run()
    job = place.jobs()[0]
    assert (job["id"], job["state"], job["session_id"]) == (before["id"], "done", before["session_id"])
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}
    assert place.files()["b.txt"]["path"] == str(place.notes / "sub" / "b.txt")
    assert len(place.network.sent()) == 1
    assert sorted(p.name for p in place.notes.glob("done/*/**/*.txt")) == ["a.txt", "b.txt"]
    with place.reader() as reader:
        assert {e["became"] for e in reader.events(job=job["id"]) if e["cause"] == "adopted"} == {"doubtful", "packed"}
        assert all(pair["file"] for pair in reader.pairs())


@pytest.mark.parametrize("runs_on", [False, True])
async def test_a_claimed_file_that_cannot_be_read_for_now(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch, runs_on: bool
) -> None:
    """The job stays where it is until the disk lets it be known: its files are not given back, and sent once more."""
    place = a_place(folder=[{"linger": "0s"}], pace=SLOW)
    place.drop("a.txt", GREY)
    place.drop("b.txt", ROUND)
    await until_state(place, "running")
    lose_ledger(place)
    opened, fails = os.open, {"a.txt"}

    def fail(name: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name in fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(name, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", fail)

    async def script() -> None:
        await place.pass_time(30.0)
        fails.add(".processing")
        await place.pass_time(120.0)
        assert place.files() == {}
        assert len(list(place.notes.glob(".processing/*/*.txt"))) == 2
        fails.clear()
        if runs_on:
            await place.until(lambda: set(place.states().values()) == {"learned"})

    await place.run(until_idle=False, script=script)
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}
    assert len(place.network.sent()) == 1


async def test_a_job_that_never_was_sent_is_sent_once(a_place: APlace) -> None:
    """Doubtful first: the server is searched before anything is sent again."""
    place = a_place(folder=[{"linger": "0s"}])
    place.drop("a.txt", GREY)
    await claimed_only(place)
    job_id = place.jobs()[0]["id"]
    lose_ledger(place)
    await place.run()
    assert [(job["id"], job["state"], job["attempt"]) for job in place.jobs()] == [(job_id, "done", 1)]
    assert len(place.network.sent()) == 1


async def test_a_claimed_file_that_was_taken_away_meanwhile(a_place: APlace) -> None:
    """Its twin in the job keeps its own pairs, whatever number it had in the upload; the missing one is named."""
    place = a_place(folder=[{"linger": "0s"}], pace=SLOW)
    place.drop("a.txt", GREY)
    place.drop("b.txt", ROUND)
    await until_state(place, "running")
    next(place.notes.glob(".processing/*/a.txt")).unlink()
    lose_ledger(place)
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}
    assert place.files()["a.txt"]["location"] is None
    with place.reader() as reader:
        assert all(
            "beach" in p["answer"] or "round" in p["answer"] for p in reader.pairs(path=str(place.notes / "b.txt"))
        )


@pytest.mark.parametrize("other", [[], [{"name": "notes", "after": "keep"}]])
async def test_a_kept_folder_is_adopted_too(a_place: APlace, other: list[dict[str, str]]) -> None:
    """With after = keep the note lies beside the ledger, the files where they were dropped.

    Those of all such folders lie there, also of one whose name begins with another's.
    """
    place = a_place(folder=[*other, {"name": "notes-old", "linger": "0s", "after": "keep"}], pace=SLOW)
    path = place.drop("../notes-old/a.txt", GREY)
    await until_state(place, "running")
    for file in Path(place.ledger_path).parent.glob("ledger.db*"):
        if file.is_file():
            file.unlink()
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert [job["folder"] for job in place.jobs()] == ["notes-old"]
    assert len(place.network.sent()) == 1
    assert path.exists()


@pytest.mark.parametrize(
    "note",
    [
        None,
        b"{",
        b'{"id": "another-20261123-052311-7fka", "created_at": "2026-11-23T05:23:11Z", "attempt": 0, "file_list": []}',
        "other id",
        "bad time",
        "bad hash",
        b'{"deep": ' + b"[" * 100_000,
    ],
)
async def test_without_a_note_that_can_be_believed_files_go_back(a_place: APlace, note: bytes | str | None) -> None:
    """They lie where they were dropped, as new files, and are learned."""
    place = a_place(folder=[{"linger": "0s"}])
    place.drop("sub/a.txt", GREY)
    await claimed_only(place)
    old = place.jobs()[0]["id"]
    paper = place.notes / ".processing" / old / "job.json"
    told = json.loads(paper.read_bytes())
    if note == "other id":
        told["id"] = "notes-20261123-052311-aaaa"
    elif note == "bad time":
        told["created_at"] = "once upon a time"
    elif note == "bad hash":
        told["file_list"][0]["sha256"] = "../../etc/passwd"
    if note is None:
        paper.unlink()
    else:
        paper.write_bytes(json.dumps(told).encode() if isinstance(note, str) else note)
    lose_ledger(place)
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert place.files()["a.txt"]["path"] == str(place.notes / "sub" / "a.txt")
    assert old not in {job["id"] for job in place.jobs()}
    assert list((place.notes / ".processing").iterdir()) == []


async def test_a_note_that_points_elsewhere_reaches_nothing_there(a_place: APlace) -> None:
    """A stranger's note names files outside the folder: they are neither read nor moved."""
    place = a_place(folder=[{"linger": "0s"}])
    secret = place.root / "secret.txt"
    secret.write_text("The secret is out. It is a number.")
    job = "notes-20261123-052311-7fka"
    claimed = place.notes / ".processing" / job
    claimed.mkdir(parents=True)
    (claimed / "a.txt").write_text(GREY)
    row = {
        "path": str(secret),
        "state": "packed",
        "sha256": hashlib.sha256(secret.read_bytes()).hexdigest(),
        "bytes": 34,
    }
    told = {"id": job, "created_at": "2026-11-23T05:23:11Z", "attempt": 0, "file_list": [row]}
    (claimed / "job.json").write_text(json.dumps(told))
    await place.run()
    await place.run()
    await place.run()
    assert secret.exists()
    assert place.states() == {"a.txt": "learned"}
    assert job not in {known["id"] for known in place.jobs()}
    assert all(b"The secret" not in body for body in place.network.bodies)


async def test_a_ledger_from_before_the_job_was_sealed(a_place: APlace) -> None:
    """It knows the file as waiting: that one is packed in the job that it is in, and no other is made of it."""
    place = a_place(folder=[{"linger": "10m"}], pace=SLOW)
    path = place.drop("a.txt", GREY)

    async def until_waiting() -> None:
        await place.until(lambda: place.states() == {"a.txt": "waiting"})

    await place.run(until_idle=False, script=until_waiting)
    copy = back_up(place)
    await until_state(place, "running")
    restore(place, copy)
    await place.run()
    with place.reader() as reader:
        assert [(row["path"], row["state"]) for row in reader.files()] == [(str(path), "learned")]
    assert len(place.network.sent()) == 1


@pytest.mark.parametrize(
    ("known", "since"),
    [("queued", "running"), ("queued", "done"), ("submitting", "running"), ("submitting", "done"), ("running", "done")],
)
async def test_a_ledger_in_which_the_job_is_younger(a_place: APlace, known: str, since: str) -> None:
    """Queued, being sent or running as far as it knows, and running or done in truth: the session is found, once."""
    place = a_place(folder=[{"linger": "0s"}], pace=SLOW)
    place.drop("a.txt", GREY)
    copies: list[Path] = []

    def before(request: httpx.Request) -> None:
        is_look = request.method == "GET" and request.url.path.count("/") == 4
        is_it = is_send(request) if known == "submitting" else is_look
        if is_it and not copies:
            copies.append(back_up(place))

    if known == "queued":
        await claimed_only(place)
        copies.append(back_up(place))
    place.network.before = before
    await until_state(place, since)
    if since == "done":
        await place.run()
    restore(place, copies[0])
    await place.run()
    assert [(job["state"], job["attempt"]) for job in place.jobs()] == [("done", 1)]
    assert place.states() == {"a.txt": "learned"}
    assert len(place.network.sent()) == 1
    assert [p.read_text() for p in place.notes.glob("done/*/a.txt")] == [GREY]
    assert Path(place.files()["a.txt"]["location"]).exists()


async def test_a_ledger_in_which_the_job_was_not_even_claimed(a_place: APlace) -> None:
    """The file lies in done/ already: it is found by its content, its session by its marker."""
    place = a_place(folder=[{"linger": "0s"}])
    path = place.drop("a.txt", GREY)
    await claimed_only(place)
    copy = back_up(place)
    db = sqlite3.connect(copy)
    with closing(db), db:
        db.execute("update jobs set claimed_at = null")
        db.execute("update files set location = path")
    await place.run()
    assert not path.exists()
    restore(place, copy)
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert len(place.network.sent()) == 1


async def test_a_ledger_in_which_the_job_had_failed_before_it_was_tried_again(a_place: APlace) -> None:
    """Its files lie claimed once more: it goes on with the session of the second attempt."""
    place = a_place(folder=[{"linger": "0s"}], pace=SLOW, faults=Faults.parse(["state-error:1"]))
    place.drop("a.txt", GREY)
    await place.run()
    copy = back_up(place)

    async def retried() -> None:
        assert (await place.ask("retry", job=place.jobs()[0]["id"]))[0] == "done"
        await place.until(lambda: place.jobs()[0]["state"] == "running")

    await place.run(until_idle=False, script=retried)
    restore(place, copy)
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert len(place.network.sent()) == 2


async def test_what_a_person_put_into_the_folder_of_a_job_that_is_over_goes_back(a_place: APlace) -> None:
    """It is a new file, and is learned."""
    place = a_place(folder=[{"linger": "0s"}])
    place.drop("a.txt", GREY)
    await place.run()
    claimed = place.notes / ".processing" / place.jobs()[0]["id"]
    claimed.mkdir(parents=True)
    (claimed / "b.txt").write_text(ROUND)
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}


async def test_a_folder_that_was_renamed_in_the_configuration(a_place: APlace) -> None:
    """Its open jobs, its files and what it has learned go on under the new name."""
    place = a_place(folder=[{"linger": "0s"}], pace=SLOW)
    place.drop("known.txt", ROUND)
    await place.run()
    place.drop("a.txt", GREY)

    async def running() -> None:
        await place.until(lambda: len(place.jobs()) == 2 and place.jobs()[1]["state"] == "running")

    await place.run(until_idle=False, script=running)
    rules = place.settings.folders[0]
    place.settings = replace(place.settings, folders=(replace(rules, name="diary"),))
    place.drop("twin.txt", ROUND)
    await place.run()
    assert place.states() == {"known.txt": "learned", "a.txt": "learned", "twin.txt": "duplicate"}
    assert {job["folder"] for job in place.jobs()} == {"diary"}
    assert len(place.network.sent()) == 2


async def test_a_folder_that_was_moved_with_its_configuration(a_place: APlace) -> None:
    """Its files under way are found where they lie now, by their content."""
    place = a_place(folder=[{"linger": "0s"}], pace=SLOW)
    place.drop("a.txt", GREY)
    await until_state(place, "running")
    moved = place.root / "moved"
    place.notes.rename(moved)
    place.settings = replace(place.settings, folders=(replace(place.settings.folders[0], path=str(moved)),))
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert [p.read_text() for p in moved.glob("done/*/a.txt")] == [GREY]
    assert len(place.network.sent()) == 1
