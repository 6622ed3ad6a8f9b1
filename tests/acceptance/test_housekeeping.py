"""What is removed after a time, as the configuration says: nothing else, and nothing without such a line."""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from finetuned import logs
from finetuned.daemon.housekeeping import PIECE
from support.place import Place
from support.virtual import BEGIN, VirtualRuntime

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
DAY = 86_400.0
ALL = {"done": "30d", "failed": "60d", "events": "90d"}


def below(root: Path) -> list[str]:
    """Everything below, folders too, a job's name left out."""
    ways = (path.relative_to(root).parts for path in root.rglob("*") if ".processing" not in path.parts)
    return sorted("/".join("JOB" if part.startswith("notes-20") else part for part in way) for way in ways)


async def with_one_of_each(place: Place) -> None:
    """Let a file be learned, one be a duplicate, one be refused, and one fail."""
    place.drop("sub/a.txt", GREY)
    place.drop("bad.txt", b"\xff")
    await place.run()
    place.drop("same.txt", GREY)
    await place.run()
    place.drop("fails.txt", "The otter swims. It eats fish.")

    async def cancels() -> None:
        await place.until(lambda: place.state(1) == "running")
        await place.ask("cancel", job=place.jobs()[1]["id"])
        await place.until(lambda: place.state(1) == "cancelled")

    await place.run(until_idle=False, script=cancels)
    await place.run()


async def after(place: Place, days: float) -> None:
    """Let so many days pass, and a daemon look what is to do."""
    place.runtime.jump(days * DAY)
    await place.run()


async def test_what_is_old_is_removed_from_done_and_failed_each_at_its_age(a_place: APlace) -> None:
    """With our papers and the folders that are empty then; the ledger says when and why, and keeps all it learned."""
    place = a_place(retention=ALL)
    await with_one_of_each(place)
    before = below(place.notes)
    assert {"done/JOB/sub/a.txt", "done/JOB/job.json", "done/JOB/pairs.jsonl", "done/duplicates/same.txt"} <= set(
        before
    )
    assert {"failed/JOB/fails.txt", "failed/JOB/fails.txt.why.txt", "failed/refused/bad.txt"} <= set(before)
    await after(place, 29)
    assert below(place.notes) == before
    await after(place, 2)
    assert [way for way in below(place.notes) if way.startswith("done")] == ["done"]
    assert [way for way in below(place.notes) if way.startswith("failed/")] == [w for w in before if "failed/" in w]
    await after(place, 30)
    assert below(place.notes) == ["done", "failed", "sub"]
    assert place.states() == {"a.txt": "learned", "bad.txt": "refused", "same.txt": "duplicate", "fails.txt": "failed"}
    assert {file["location"] for file in place.files().values()} == {None}
    told = [event["detail"] for event in place.events() if event["cause"] == "expired" and event["subject"] == "file"]
    assert sorted(told) == [
        *["removed from done/, as [retention] done says"] * 2,
        *["removed from failed/, as [retention] failed says"] * 2,
    ]
    with place.reader() as reader:
        assert len(list(reader.pairs())) > 0


async def test_without_a_line_nothing_is_removed(a_place: APlace) -> None:
    """Whatever its age."""
    place = a_place()
    await with_one_of_each(place)
    before, events = below(place.notes), len(place.events())
    assert events > 40
    await after(place, 10_000)
    assert below(place.notes) == before
    assert {event["subject"] for event in place.events()[events:]} <= {"daemon", "server"}


async def test_what_somebody_else_put_there_stays(a_place: APlace, tmp_path: Path) -> None:
    """Files beside ours, another file in the place of one of ours, links, folders of no job."""
    place = a_place(retention=ALL)
    await with_one_of_each(place)
    (done,) = (place.notes / "done").glob("notes-*")
    (done / "mine.txt").write_text("mine")
    (done / "sub" / "a.txt").unlink()
    (done / "sub" / "a.txt").write_text("another")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "job.json").write_text("{}")
    (place.notes / "done" / "notes-20200101-000000-aaaa").symlink_to(elsewhere)
    unknown = place.notes / "done" / "notes-20200101-000000-bbbb"
    unknown.mkdir()
    (unknown / "job.json").write_text("{}")
    (place.notes / "failed" / "refused" / "bad.txt").unlink()
    await after(place, 100)
    await after(place, 1)
    left = sorted(str(path.relative_to(place.notes)) for path in place.notes.rglob("*") if path.is_file())
    ours = f"done/{done.name}"
    assert left == ["done/notes-20200101-000000-bbbb/job.json", f"{ours}/mine.txt", f"{ours}/sub/a.txt"]
    assert (elsewhere / "job.json").exists()
    lost = [event["detail"] for event in place.events() if event["cause"] == "lost"]
    assert lost == ["another file lies in its place, and stays"]
    assert len([event for event in place.events() if event["subject"] == "job" and event["cause"] == "expired"]) == 2


async def test_a_job_that_was_tried_again_is_as_old_as_its_new_end(a_place: APlace) -> None:
    """What lies of it stays as long as of any other."""
    place = a_place(retention=ALL)
    await with_one_of_each(place)
    failed = place.jobs()[1]["id"]
    place.runtime.jump(59 * DAY)

    async def retries() -> None:
        await place.ask("retry", job=failed)
        await place.until(lambda: place.state(1) == "done")

    await place.run(until_idle=False, script=retries)
    await after(place, 2)
    assert place.files()["fails.txt"]["location"].endswith("fails.txt")
    assert os.path.exists(place.files()["fails.txt"]["location"])
    assert not os.path.lexists(place.notes / "failed" / "refused")


@pytest.mark.parametrize("after_learned", ["keep", "delete"])
async def test_by_the_rules_of_the_folder(a_place: APlace, after_learned: str) -> None:
    """With `keep` files lie where they were dropped, and stay; with `delete` the papers of a job are all there is."""
    place = a_place(retention=ALL, folder=[{"after": after_learned}])
    place.drop("a.txt", GREY)
    place.drop("bad.txt", b"\xff")
    await place.run()
    await after(place, 100)
    left = [way for way in below(place.notes) if way not in {"done", "failed"}]
    assert left == (["a.txt", "bad.txt"] if after_learned == "keep" else [])


async def test_a_marker_goes_with_its_file_if_it_is_empty(a_place: APlace) -> None:
    """What a person wrote into it is theirs."""
    place = a_place(retention=ALL, folder=[{"ready_file": "{name}.ok"}])
    for name, marker in (("a.txt", ""), ("b.txt", "by me")):
        place.drop(name, f"{GREY} {name}")
        place.drop(f"{name}.ok", marker)
    await place.run()
    await after(place, 100)
    assert [way for way in below(place.notes) if way.startswith("done")] == ["done", "done/JOB", "done/JOB/b.txt.ok"]


async def test_old_events_go_but_for_the_newest_of_each_thing(a_place: APlace) -> None:
    """The audit finds the ledger whole, numbers are not given again, and what happens now is told as ever."""
    place = a_place(retention={"events": "90d"})
    await with_one_of_each(place)
    before = place.events()
    await after(place, 100)
    left = [event for event in place.events() if event["id"] <= before[-1]["id"]]
    assert 0 < len(left) < len(before) / 2
    kept = {(event["subject"], event["subject_id"]): event["became"] for event in place.events()}
    gone = {(event["subject"], event["subject_id"]) for event in before} - set(kept)
    assert {subject for subject, _ in gone} == {"daemon"}  # the answer to a request
    assert [kept["job", job["id"]] for job in place.jobs()] == [job["state"] for job in place.jobs()]
    place.drop("new.txt", f"{GREY} new")
    await place.run()
    assert place.states()["new.txt"] == "learned"


async def test_a_daemon_that_runs_on_forgets_events_as_they_grow_old(a_place: APlace) -> None:
    """Not only those that were old at its start: each goes at its own age."""
    place = a_place(retention={"events": "1h"}, watch={"sweep": "10m"})

    async def script() -> None:
        for number in range(6):
            place.drop(f"{number}.txt", f"{GREY} {number}")
            place.sweep_soon()
            await place.until(lambda n=number: place.states().get(f"{n}.txt") == "learned")
            await place.pass_time(1800)
        assert [event for event in place.events() if event["became"] == "settling"]
        await place.pass_time(4 * 3600)
        assert not [event for event in place.events() if event["became"] == "settling"]

    await place.run(until_idle=False, script=script)


async def test_an_event_that_a_hook_has_still_to_hear_stays(a_place: APlace, tmp_path: Path) -> None:
    """And all after it, however old."""
    program = tmp_path / "tell"
    program.write_text(f"#!/bin/sh\n[ -e {tmp_path}/open ] || exit 1\ncat >> {tmp_path}/heard\n")
    program.chmod(0o755)
    place = a_place(retention={"events": "1h"}, hook=[{"command": [str(program)]}], watch={"sweep": "10m"})

    async def script() -> None:
        place.drop("bad.txt", b"\xff")
        await place.until(lambda: place.states().get("bad.txt") == "refused")
        await place.pass_time(5 * 3600)
        (tmp_path / "open").touch()
        await place.pass_time(3600)

    await place.run(until_idle=False, script=script)
    assert json.loads((tmp_path / "heard").read_text())["on"] == "file_refused"


async def test_it_is_done_in_pieces_and_then_rests_for_an_hour(a_place: APlace) -> None:
    """A job a round, so that a new file does not wait for hundreds of them."""
    place = a_place(retention={"done": "30d"}, folder=[{"max_files": 1, "linger": "0s"}], watch={"sweep": "1m"})
    for number in range(5):
        place.drop(f"{number}.txt", f"{GREY} {number}")
    await place.run()
    place.runtime.jump(31 * DAY)

    async def script() -> None:
        await place.until(lambda: not list((place.notes / "done").iterdir()), within=30)
        old = place.drop("old.txt", f"{GREY} old")
        await place.until(lambda: place.states().get("old.txt") == "learned")
        assert not old.exists()
        place.runtime.jump(31 * DAY)
        await place.pass_time(1800)
        assert list((place.notes / "done").iterdir()) != []
        await place.pass_time(1900)
        assert list((place.notes / "done").iterdir()) == []

    await place.run(until_idle=False, script=script)


class Counting(VirtualRuntime):
    """Counts the pieces that are done."""

    pieces = 0

    async def in_thread(self, work: Any, *args: Any, **words: Any) -> Any:
        self.pieces += getattr(work, "__name__", "") == "_next"
        return await super().in_thread(work, *args, **words)


async def test_of_what_stays_a_few_are_asked_for_at_a_time(a_place: APlace) -> None:
    """A year's jobs lie there: nobody waits until the ledger has told of all of them."""
    place = a_place(retention={"done": "30d"})
    place.runtime = counting = Counting()
    for ident in product("abcdefgh", repeat=3):
        (place.notes / f"done/notes-20261123-052311-a{''.join(ident)}").mkdir(parents=True)
    await place.run()
    assert counting.pieces > 8**3 / PIECE


async def test_a_folder_that_does_not_let_us_is_passed_over(a_place: APlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line tells why; the others are seen to, and it is tried again."""
    stream = io.StringIO()
    place = a_place(retention={"done": "30d"}, folder=[{}, {}])
    place.drop("a.txt", GREY)
    (place.root / "notes1" / "b.txt").write_text(f"{GREY} b")
    await place.run()
    logs.configure(level="warning", format="json", terminal=False, stream=stream)
    unlink = os.unlink

    def fails(name: Any, *, dir_fd: int | None = None) -> None:
        if name == "a.txt":
            raise PermissionError(1, "Operation not permitted")
        unlink(name, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", fails)
        await after(place, 31)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    (line,) = (line for line in told if line["event"] == "housekeeping_waits")
    assert (line["folder"], line["why"].partition(";")[0]) == ("notes", "cannot be removed: permission denied")
    assert below(place.root / "notes1") == ["done"]
    assert "done/JOB/a.txt" in below(place.notes)
    await after(place, 1)
    assert below(place.notes) == ["done"]


async def test_what_cannot_be_removed_holds_up_nothing_else(a_place: APlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the jobs after it nor the files of no job; one line names the first, and tells how many there are."""
    stream = io.StringIO()
    place = a_place(retention={"done": "30d", "failed": "30d"})
    for name in ("a.txt", "b.txt"):
        place.drop(name, f"{GREY} {name}")
        await place.run()
    for name in ("bad1.txt", "bad2.txt", "bad3.txt"):
        place.drop(name, b"\xff" + name.encode())
    await place.run()
    logs.configure(level="warning", format="json", terminal=False, stream=stream)
    unlink = os.unlink

    def fails(name: Any, *, dir_fd: int | None = None) -> None:
        if name in {"a.txt", "bad1.txt", "bad2.txt"}:
            raise PermissionError(1, "Operation not permitted")
        unlink(name, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", fails)
        await after(place, 31)
    left = [Path(way).name for way in below(place.notes) if way.endswith(".txt") and ".why" not in way]
    assert left == ["a.txt", "bad1.txt", "bad2.txt"]
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    lines = [line for line in told if line["event"] == "housekeeping_waits"]
    assert [(Path(line["path"]).name, line["more"]) for line in lines] == [("a.txt", 0), ("bad1.txt", 1)]


async def test_a_job_that_cannot_be_looked_into_holds_up_nothing_else(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jobs after it are removed, and its folder is named."""
    place = a_place(folder=[{"after": "delete"}], retention={"done": "30d"})
    for name in ("a.txt", "b.txt"):
        place.drop(name, f"{GREY} {name}")
        await place.run()
    first, second = (job["id"] for job in place.jobs())
    opened = os.open

    def fails(name: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if name == first:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(name, flags, mode, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fails)
        await after(place, 31)
    assert [path.name for path in place.notes.glob("done/*")] == [first]
    with place.reader() as reader:
        (row,) = reader.rows("select unremoved from folders")
    assert f"done/{first}" in row["unremoved"]
    assert second not in row["unremoved"]


async def test_what_could_not_be_removed_is_told_once_until_it_is(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file's story and the folder's row; the job's own end is told when all its files are gone."""
    place = a_place(retention={"done": "30d"})
    for name in ("a.txt", "b.txt"):
        place.drop(name, f"{GREY} {name}")
    await place.run()
    unlink = os.unlink

    def fails(name: Any, *, dir_fd: int | None = None) -> None:
        if name == "a.txt":
            raise PermissionError(1, "Operation not permitted")
        unlink(name, dir_fd=dir_fd)

    def told(subject: str) -> list[str]:
        causes = ("expired", "held_up")
        return [event["cause"] for event in place.events() if event["subject"] == subject and event["cause"] in causes]

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", fails)
        await after(place, 31)
        await after(place, 1)
    location = place.files()["a.txt"]["location"]
    assert (told("file"), told("job")) == (["expired", "expired", "held_up"], [])
    with place.reader() as reader:
        (path, why, count) = reader.folders()["notes"]["unremoved"]
    assert (path, why.partition(";")[0], count) == (location, "cannot be removed: permission denied", 1)
    await after(place, 1)
    assert (told("file"), told("job")) == (["expired", "expired", "held_up", "expired"], ["expired"])
    with place.reader() as reader:
        assert not reader.folders()["notes"]["unremoved"]
    assert place.files()["a.txt"]["location"] is None


async def test_folders_that_a_claim_left_empty_are_removed_if_that_is_asked_for(a_place: APlace) -> None:
    """And those above them; not those that were always empty, that hold something, or that are new."""
    place = a_place(folder=[{"prune_empty": True, "linger": "0s"}])
    (place.notes / "always").mkdir()
    place.drop("a/b/c/one.txt", GREY)
    place.drop("full/two.txt", f"{GREY} two")
    place.drop("full/left.csv", "1,2")
    place.runtime.jump(os.stat(place.notes).st_mtime - BEGIN)

    async def script() -> None:
        await place.until(lambda: {job["state"] for job in place.jobs()} == {"done"})
        assert (place.notes / "a" / "b" / "c").is_dir()
        place.runtime.jump(61)
        await place.pass_time(70)
        assert not (place.notes / "a" / "b" / "c").exists()
        place.runtime.jump(61)
        await place.pass_time(70)
        place.runtime.jump(61)
        await place.pass_time(70)

    await place.run(until_idle=False, script=script)
    assert sorted(path.name for path in place.notes.iterdir()) == [".processing", "always", "done", "full"]


async def test_folders_are_left_empty_otherwise(a_place: APlace) -> None:
    """Which is the default."""
    place = a_place()
    place.drop("a/one.txt", GREY)
    await place.run()
    place.runtime.jump(os.stat(place.notes).st_mtime - BEGIN + 3600)
    await place.run()
    assert (place.notes / "a").is_dir()
