"""What cannot be moved, or is changed under our hands: it keeps its reason, and nothing else waits for it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import anyio
import httpx
import pytest

from support.mortal import mortal
from support.place import Place
from support.virtual import VirtualRuntime

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."


async def test_files_that_cannot_be_claimed_wait_with_the_reason(a_place: APlace) -> None:
    """Something lies where `.processing` should be: files leave their job, with a reason, and go when it is gone."""
    place = a_place(folder=[{"linger": "0s"}, {"linger": "0s"}])
    (place.notes / ".processing").write_text("I am in the way")

    async def script() -> None:
        place.drop("a.txt", GREY)
        (place.root / "notes1" / "b.txt").write_text(GREY)
        await place.until(lambda: place.states().get("b.txt") == "learned")
        stuck = place.files()["a.txt"]
        assert stuck["state"] == "waiting"
        assert stuck["reason"]
        assert (place.notes / "a.txt").exists()
        (place.notes / ".processing").unlink()
        await place.until(lambda: place.states()["a.txt"] == "learned", within=600)

    await place.run(until_idle=False, script=script)
    assert len(place.network.sent()) == 2


async def test_a_file_that_is_closed_to_us_waits_with_the_reason(a_place: APlace) -> None:
    """It is tried again and again, and keeps nobody waiting; opened, it is learned."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt", GREY).chmod(0)
        place.drop("b.txt", GREY + " And it is round.")
        await place.until(lambda: place.states().get("b.txt") == "learned")
        await place.pass_time(600)
        closed = place.files()["a.txt"]
        assert closed["state"] == "waiting"
        assert "permission denied" in closed["reason"].lower()
        (place.notes / "a.txt").chmod(0o644)
        await place.until(lambda: place.states()["a.txt"] == "learned", within=120)

    with mortal():
        await place.run(until_idle=False, script=script)
    assert len(place.network.sent()) == 2


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_files_that_are_closed_to_us_keep_no_run_from_its_end(a_place: APlace, count: int) -> None:
    """With --until-idle each is tried three times, and they are passed over then: it waits with the reason."""
    place = a_place(folder=[{"linger": "0s"}])
    place.drop("open.txt", GREY)
    for number in range(count):
        place.drop(f"{number}.txt", f"{GREY} {number}").chmod(0)
    with mortal(), anyio.fail_after(300):
        await place.run()
    assert place.states() == {"open.txt": "learned", **{f"{number}.txt": "waiting" for number in range(count)}}
    with closing(sqlite3.connect(place.ledger_path)) as db:
        assert db.execute("select min(tries) from files where sha256 is null").fetchone() == (3,)


async def test_a_run_does_not_end_before_a_file_that_changed_while_it_waited(a_place: APlace) -> None:
    """Its job finds it out; the file settles again, and is learned in the same run."""
    place = a_place(folder=[{"linger": "1h"}])
    note = place.drop("a.txt", GREY)
    await place.run(until_idle=False, script=lambda: place.until(lambda: place.states() == {"a.txt": "waiting"}))
    note.chmod(0o600)
    await place.run()
    assert place.states() == {"a.txt": "learned"}


class Between(VirtualRuntime):
    """Does something right after each of the first sweeps has looked."""

    def __init__(self, *deeds: Callable[[], object]) -> None:
        super().__init__()
        self._deeds = [*deeds]

    async def in_thread(self, work: Any, *args: Any, **words: Any) -> Any:
        done = await super().in_thread(work, *args, **words)
        if getattr(work, "__name__", "") == "sweep" and self._deeds:
            self._deeds.pop(0)()
        return done


async def test_a_run_does_not_end_before_a_file_that_was_heard_of_during_a_sweep(a_place: APlace) -> None:
    """There is nothing else to do, as another one has vanished, and the next sweep is far."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "1d"})
    other = place.drop("b.txt", GREY)

    def drop() -> None:
        place.drop("a.txt", GREY)
        place.sweep_soon()

    place.runtime = Between(other.unlink, drop)
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "vanished"}


async def test_a_start_reads_what_can_be_read_by_now(a_place: APlace) -> None:
    """However long it was to wait for the next try: somebody has seen to it, and started the daemon."""
    place = a_place(folder=[{"linger": "0s"}])
    note = place.drop("a.txt", GREY)
    note.chmod(0)
    with mortal():
        await place.run(until_idle=False, script=lambda: place.pass_time(600))
        note.chmod(0o644)
        await place.run()
    assert place.states() == {"a.txt": "learned"}


@contextmanager
def commits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What ended a transaction of the connections that write."""
    said: list[str] = []
    real = sqlite3.connect

    def connect(path: str, *args: Any, **words: Any) -> sqlite3.Connection:
        db = real(path, *args, **words)
        if not words.get("uri"):
            db.set_trace_callback(lambda text: said.append(text) if text == "commit" else None)
        return db

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", connect)
        yield said


async def test_many_files_that_are_closed_to_us_are_tried_together(
    a_place: APlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds a commit, and not all in one round: thousands may not keep the others waiting."""
    place = a_place(folder=[{"linger": "0s"}])
    names = [f"{number}.txt" for number in range(1000)]

    def tries() -> int:
        with closing(sqlite3.connect(f"file:{place.ledger_path}?mode=ro", uri=True)) as db:
            return int(db.execute("select sum(tries) from files").fetchone()[0])

    async def script() -> None:
        for name in names:
            place.drop(name, GREY + name).chmod(0)
        await place.until(lambda: set(place.states().values()) == {"waiting"}, within=120)
        made.clear()
        before = tries()
        await place.pass_time(60)
        assert len(made) < 100, len(made)
        assert tries() - before > 1000
        for name in names:
            (place.notes / name).chmod(0o644)
        await place.until(lambda: set(place.states().values()) == {"learned"}, within=600)

    with mortal(), commits(monkeypatch) as made:
        await place.run(until_idle=False, script=script)


async def test_a_job_that_cannot_be_archived_is_tried_again(a_place: APlace) -> None:
    """The verdict stands in the ledger; the files follow when they can."""
    place = a_place(folder=[{"linger": "0s"}])
    (place.notes / "done").write_text("I am in the way")

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states().get("a.txt") == "learned")
        await place.pass_time(30)
        assert "/.processing/" in place.files()["a.txt"]["location"]
        (place.notes / "done").unlink()
        await place.until(lambda: bool(list(place.notes.glob("done/*/a.txt"))), within=300)

    await place.run(until_idle=False, script=script)


async def test_a_job_that_cannot_be_archived_holds_up_no_other(a_place: APlace) -> None:
    """Jobs that end together are put away together: one stays, and the others lie where they belong."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}])
    names = {f"{number}.txt" for number in range(4)}

    def archived() -> set[str]:
        return {path.name for path in place.notes.glob("done/*/*.txt")}

    async def script() -> None:
        for name in sorted(names):
            place.drop(name, f"{GREY} {name}")
        await place.until(lambda: len(place.jobs()) == len(names))
        blocked = place.files()["1.txt"]["job_id"]
        (place.notes / "done").mkdir()
        in_the_way = place.notes / "done" / blocked
        in_the_way.write_text("I am in the way")
        await place.until(lambda: set(place.states().values()) == {"learned"})
        await place.pass_time(1)
        assert archived() == names - {"1.txt"}
        assert "/.processing/" in place.files()["1.txt"]["location"]
        assert {event["subject_id"] for event in place.events() if event["cause"] == "held_up"} == {blocked}
        in_the_way.unlink()
        await place.until(lambda: archived() == names, within=300)

    await place.run(until_idle=False, script=script)


async def test_a_refused_file_that_cannot_be_archived_is_tried_again(a_place: APlace) -> None:
    """Its state is told at once, its place changes when it can."""
    place = a_place(folder=[{"linger": "0s"}])
    (place.notes / "failed").write_text("I am in the way")

    async def script() -> None:
        place.drop("a.txt", b"\xff")
        await place.until(lambda: place.states().get("a.txt") == "refused")
        await place.pass_time(30)
        assert (place.notes / "a.txt").exists()
        (place.notes / "failed").unlink()
        await place.until((place.notes / "failed" / "refused" / "a.txt.why.txt").exists, within=300)

    await place.run(until_idle=False, script=script)


async def test_bytes_that_change_before_they_are_sent_never_reach_the_server(a_place: APlace) -> None:
    """A claimed file that somebody edits leaves its job and is learned as a new version, once."""
    place = a_place(folder=[{"linger": "0s"}], helix={"longest_pause": "5s"})

    def nobody(request: httpx.Request) -> None:
        raise httpx.ConnectError("connection refused", request=request)

    place.network.before = nobody

    async def script() -> None:
        place.drop("a.txt", GREY)
        place.drop("b.txt", GREY + " And it is round.")
        await place.until(lambda: bool(place.jobs()) and bool(list(place.notes.glob(".processing/*/a.txt"))))
        claimed = next(place.notes.glob(".processing/*/a.txt"))
        claimed.write_text("The stone is red now. It was painted.")
        place.network.before = lambda _: None
        await place.until(lambda: set(place.states().values()) == {"learned"}, within=600)

    await place.run(until_idle=False, script=script)
    texts = sorted(path.read_text() for path in place.notes.glob("done/*/*.txt"))
    assert texts == [GREY + " And it is round.", "The stone is red now. It was painted."]
    assert place.sessions_on_server() == 2


async def test_a_claimed_file_that_is_taken_away_leaves_its_job(a_place: APlace) -> None:
    """Somebody removes it from `.processing`: the others of the job are learned, it has vanished."""
    place = a_place(folder=[{"linger": "0s"}], helix={"longest_pause": "5s"})

    def nobody(request: httpx.Request) -> None:
        raise httpx.ConnectError("connection refused", request=request)

    place.network.before = nobody

    async def script() -> None:
        place.drop("a.txt", GREY)
        place.drop("b.txt", GREY + " And it is round.")
        await place.until(lambda: bool(list(place.notes.glob(".processing/*/a.txt"))))
        next(place.notes.glob(".processing/*/a.txt")).unlink()
        place.network.before = lambda _: None
        await place.until(lambda: place.states() == {"a.txt": "vanished", "b.txt": "learned"}, within=600)

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 1


async def test_a_folder_that_is_away_at_the_start_is_waited_for(a_place: APlace) -> None:
    """The others go on; when it is there it is watched."""
    place = a_place(folder=[{"linger": "0s"}, {"linger": "0s"}])
    shutil.rmtree(place.root / "notes1")

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states().get("a.txt") == "learned")
        with place.reader() as reader:
            assert reader.folders()["notes1"]["state"] == "away"
        (place.root / "notes1").mkdir()
        (place.root / "notes1" / "b.txt").write_text(GREY)
        await place.until(lambda: place.states().get("b.txt") == "learned")

    await place.run(until_idle=False, script=script)


@pytest.mark.parametrize("its_rules", ["known", "unknown"])
async def test_work_of_a_folder_that_left_the_configuration(a_place: APlace, its_rules: str) -> None:
    """It is done; if an older version noted no rules it waits, a run until idle ends, and put back it goes on."""
    place = a_place(folder=[{"linger": "0s"}, {"linger": "0s"}], helix={"max_in_flight": 1})

    def nobody(request: httpx.Request) -> None:
        raise httpx.ConnectError("connection refused", request=request)

    place.network.before = nobody
    (place.root / "notes1" / "b.txt").write_text(GREY)
    await place.run()
    assert place.states() == {"b.txt": "packed"}
    if its_rules == "unknown":
        with closing(sqlite3.connect(place.ledger_path)) as db, db:
            db.execute("update folders set rules = null")
    place.network.before = lambda _: None
    both = place.settings
    place.settings = type(both)(folders=both.folders[:1], helix=both.helix)
    place.drop("a.txt", GREY)
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned" if its_rules == "known" else "packed"}
    place.settings = both
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}
