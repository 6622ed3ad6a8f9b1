"""A reload: the daemon goes on with another configuration, in the same process, and nothing is lost or sent twice."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from finetuned.daemon.notify import Notifier
from finetuned.errors import Held
from finetuned.folders.kept import drop_folder
from finetuned.runtime import Wake
from finetuned.settings import Settings, parse
from support.lives import asked
from support.place import Place, is_send, no_connection
from support.virtual import VirtualRuntime

APlace = Callable[..., Place]


def of_daemon(place: Place) -> list[str]:
    """What became of the daemon, in order."""
    return [event["became"] for event in place.events() if event["subject"] == "daemon" and event["cause"] != "watch"]


def refusal(place: Place) -> str:
    """Why a reload was refused last."""
    return str([event["detail"] for event in place.events() if event["became"] == "reload_refused"][-1])


def a_folder(place: Place, name: str, **more: Any) -> dict[str, Any]:
    """The table of a folder."""
    return {"name": name, "path": str(place.root / name), "linger": "0s", **more}


async def test_another_configuration_is_in_use_at_once(a_place: APlace) -> None:
    """A new folder is watched and the changed rules of an old one hold, without a stop or a start in between."""
    place = a_place(folder=[{"linger": "1h"}])

    async def script() -> None:
        place.drop("a.txt")
        await place.until(lambda: place.states() == {"a.txt": "waiting"})
        await place.reload(folder=[a_folder(place, "notes"), a_folder(place, "more")])
        (place.root / "more" / "b.txt").write_text("The stone is grey. It came from a river.")
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert of_daemon(place) == ["started", "reloaded", "stopped"]
    assert len(place.network.sent()) == 2


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Whoever listens at the notify socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        door.setblocking(False)
        yield door


def statuses(manager: socket.socket) -> list[str]:
    """What the daemon said that it does, since the last time."""
    told = []
    with suppress(BlockingIOError):
        while True:
            told.append(manager.recv(4096).decode())
    return [words.removeprefix("STATUS=") for words in told if words.startswith("STATUS=")]


def hold_first_upload(place: Place) -> tuple[anyio.Event, anyio.Event]:
    """Have the first upload stand still: what is set once it has begun, and what lets it go on."""
    held, goes_on = anyio.Event(), anyio.Event()
    passed = place.network.handle_async_request

    async def slow(request: httpx.Request) -> httpx.Response:
        if is_send(request) and not held.is_set():
            held.set()
            await goes_on.wait()
        return await passed(request)

    place.network.handle_async_request = slow  # type: ignore[method-assign]
    return held, goes_on


async def test_an_upload_ends_before_the_next_daemon_begins(a_place: APlace, manager: socket.socket) -> None:
    """While it lasts nothing else is sent, but the folders are watched; then all goes on, and nothing is sent twice."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}], helix={"max_in_flight": 1})
    place.notifier = Notifier(manager.getsockname())
    held, goes_on = hold_first_upload(place)

    async def script() -> None:
        place.drop("a.txt", "The stone is grey.")
        await held.wait()
        place.configure(helix={"url": "http://helix.test", "max_in_flight": 5})
        place.service.reload()
        place.drop("b.txt", "The otter is a mammal.")
        await place.until(lambda: place.states().get("b.txt") == "packed")
        await place.pass_time(600)
        assert of_daemon(place) == ["started"]
        assert len(place.network.sent()) == 0
        assert statuses(manager)[-1].startswith("a reload waits for uploads to end; 1 queued; 1 submitting")
        goes_on.set()
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert of_daemon(place) == ["started", "reloaded", "stopped"]
    assert place.sessions_on_server() == len(place.network.sent()) == 2


async def test_of_two_reloads_in_a_row_the_last_one_counts(a_place: APlace) -> None:
    """While an upload holds up the first one, a second one has the same new folder, and other rules for it."""
    place = a_place(folder=[{"linger": "0s"}])
    held, goes_on = hold_first_upload(place)

    async def script() -> None:
        place.drop("a.txt", "The stone is grey.")
        await held.wait()
        for linger in ("1d", "0s"):
            place.configure(folder=[a_folder(place, "notes"), a_folder(place, "other", linger=linger)])
            place.service.reload()
            await place.pass_time(10)
        goes_on.set()
        (place.root / "other" / "b.txt").write_text("The otter is a mammal.")
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert of_daemon(place) == ["started", "reloaded", "stopped"]


FOLDERS = ("notes", "notes1", "more")


class Life:
    """Six configurations, drawn from a seed, one after the other, and what is dropped meanwhile."""

    def __init__(self, place: Place, seed: int) -> None:
        self._place = place
        self._dice = VirtualRuntime(seed)
        (place.root / "more").mkdir()

    def _drawn(self, *choices: Any) -> Any:
        return choices[int(self._dice.chance() * len(choices))]

    async def _drops(self, number: int) -> None:
        for folder in FOLDERS:
            if self._drawn(True, False):
                (self._place.root / folder / f"{folder}{number}.txt").write_text(f"Stone {number} of {folder} is grey.")
        await self._place.pass_time(self._drawn(0.5, 3, 8, 60))

    def _tables(self, number: int) -> list[dict[str, Any]]:
        """The last one has every folder, the others have some."""
        kept = [name for name in FOLDERS if number == 5 or name == self._drawn(*FOLDERS)] or FOLDERS[:1]
        rules = {"max_files": self._drawn(1, 2, 3), "after": self._drawn("move", "keep"), "linger": "5s"}
        return [a_folder(self._place, name) | rules | {"write_pairs": self._drawn(True, False)} for name in kept]

    async def reloads(self) -> None:
        async def script() -> None:
            for number in range(6):
                await self._drops(number)
                await self._place.reload(folder=self._tables(number))

        await self._place.run(until_idle=False, script=script)

    async def restarts(self) -> None:
        for number in range(6):
            await self._place.run(until_idle=False, script=partial(self._drops, number))
            self._place.configure(folder=self._tables(number))
            self._place.load()


@pytest.mark.parametrize("seed", range(6))
async def test_any_configurations_lead_where_restarts_lead(a_place: APlace, seed: int) -> None:
    """Whatever they are, and whenever they come: in the end the same files are learned, and nothing is sent twice."""
    ends = []
    for live in (Life.reloads, Life.restarts):
        place = a_place(folder=[{"linger": "0s"}, {"linger": "0s"}])
        await live(Life(place, seed))
        await place.run()
        assert place.sessions_on_server() == len(place.network.sent()) == len(place.jobs())
        ends.append(place.states())
    assert ends[0] == ends[1]
    assert set(ends[0].values()) == {"learned"}


async def test_a_stop_does_not_wait_for_a_reload(a_place: APlace) -> None:
    """Told to stop while an upload holds up a reload, it gives the upload its seconds, and ends."""
    place = a_place(folder=[{"linger": "0s"}])
    held = anyio.Event()

    async def never(request: httpx.Request) -> httpx.Response:
        if is_send(request):
            held.set()
            await anyio.sleep_forever()
        return await passed(request)

    passed = place.network.handle_async_request
    place.network.handle_async_request = never  # type: ignore[method-assign]

    async def script() -> None:
        place.drop("a.txt")
        await held.wait()
        place.service.reload()
        await place.pass_time(30)

    begun = 0.0

    async def timed() -> None:
        nonlocal begun
        await script()
        begun = place.runtime.steady()

    await place.run(until_idle=False, script=timed)
    assert place.runtime.steady() - begun < 10
    assert of_daemon(place) == ["started", "stopped"]


async def test_a_stop_between_two_daemons_is_in_order(tmp_path: Path) -> None:
    """The one has ended and the other has not begun: it stops, and the ledger says so."""

    class Between(Place):
        @asynccontextmanager
        async def backend(self, *args: Any) -> AsyncIterator[Any]:
            async with super().backend(*args) as backend:
                yield backend
            self.service.stop()

    place = Between(tmp_path / "between")

    async def script() -> None:
        await place.pass_time(10)
        place.service.reload()
        await place.until(lambda: of_daemon(place)[-1] == "stopped")

    await place.run(until_idle=False, script=script)
    place.app.state.store.close()
    place.audit()
    assert of_daemon(place) == ["started", "stopped"]


async def test_no_other_finetuned_can_take_a_folder_in_between(tmp_path: Path) -> None:
    """Neither one that stays, nor a new one, nor one that is retired: each is held by the one or the other daemon."""
    held: list[bool] = []

    class Between(Place):
        @asynccontextmanager
        async def backend(self, *args: Any) -> AsyncIterator[Any]:
            if of_daemon(self):  # the first one has ended, and the next one has not begun
                for rules in [*self.settings.folders, *before.folders]:
                    with pytest.raises(Held):
                        drop_folder(rules, beside=str(tmp_path / "beside")).hold()
                    held.append(True)
            async with super().backend(*args) as backend:
                yield backend

    place = Between(tmp_path / "between", folder=[{"linger": "0s"}, {"linger": "0s"}])
    before = place.settings

    async def script() -> None:
        place.network.before = no_connection
        (place.root / "notes1" / "b.txt").write_text("The otter is a mammal.")
        await place.until(lambda: place.states() == {"b.txt": "packed"})
        await place.reload(folder=[a_folder(place, "notes"), a_folder(place, "more")])
        place.network.before = lambda _: None
        await place.until(lambda: place.states() == {"b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    place.app.state.store.close()
    assert (of_daemon(place), len(held)) == (["started", "reloaded", "stopped"], 4)


class SlowThreads(VirtualRuntime):
    """One in which threads take half a minute to begin what has this name."""

    slow = ""

    async def in_thread(self, work: Any, *args: Any, **words: Any) -> Any:
        if getattr(work, "__name__", "") == self.slow:
            await self.wait(Wake(), 30.0)
        return await super().in_thread(work, *args, **words)


@pytest.mark.parametrize("slow", ["_retired", "_checked"])
async def test_a_reload_at_the_hand_over_of_another_one_is_taken(a_place: APlace, slow: str) -> None:
    """It finds what that one has held to be its own, and the last configuration is in use at the end."""
    place = a_place(folder=[{"linger": "0s"}])
    place.runtime = SlowThreads()

    async def script() -> None:
        await place.pass_time(10)
        place.runtime.slow = slow
        for names in (["notes", "other"], ["notes", "other", "third"]):
            place.configure(folder=[a_folder(place, name) for name in names])
            place.service.reload()
            await place.pass_time(5 if slow == "_retired" else 28)
        for name in ("other", "third"):
            (place.root / name / f"{name}.txt").write_text(f"The {name} is a mammal.")
        await place.until(lambda: place.states() == {"other.txt": "learned", "third.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert "reload_refused" not in of_daemon(place)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"poll": {"fastest": "1h", "slowest": "1s"}}, "poll.fastest"),
        ({"folder": []}, "folder"),
        ({"ledger": {"path": "/elsewhere/ledger.db"}}, "restart the daemon"),
    ],
)
async def test_what_cannot_be_used_changes_nothing(
    a_place: APlace, manager: socket.socket, tables: dict[str, Any], words: str
) -> None:
    """The old configuration stays in use, an event says why, and the next reload that works is in force."""
    place = a_place(folder=[{"linger": "0s"}])
    place.notifier = Notifier(manager.getsockname())

    async def script() -> None:
        await place.reload(**tables)
        assert words in refusal(place)
        await place.pass_time(10)
        assert "the reload was refused: " in statuses(manager)[-1]
        with place.reader() as reader:
            assert words in (reader.daemon() or {})["reload_refused_because"]
        place.drop("a.txt")
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        await place.reload(poll={}, ledger={}, folder=[a_folder(place, "notes")])
        with place.reader() as reader:
            assert (reader.daemon() or {})["reload_refused_because"] is None

    await place.run(until_idle=False, script=script)
    assert of_daemon(place) == ["started", "reload_refused", "reloaded", "stopped"]


@pytest.mark.parametrize("how", ["reload", "restart"])
@pytest.mark.parametrize("rules", [{}, {"after": "keep"}, {"write_pairs": False}], ids=str)
async def test_the_jobs_of_a_removed_folder_end_properly(a_place: APlace, how: str, rules: dict[str, Any]) -> None:
    """They are followed to their end, as the rules were then; nothing new is taken, and the folder is let go of."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1, "settle": "5s", **rules}], helix={"max_in_flight": 1})
    other = [a_folder(place, "other")]

    async def until_sent() -> None:
        place.drop("a.txt", "The stone is grey.")
        place.drop("b.txt", "The otter is a mammal.")
        await place.until(lambda: sorted(job["state"] for job in place.jobs()) == ["queued", "running"])

    async def removed() -> None:
        place.drop("c.txt", "The sea is wide.")
        await place.until(lambda: {job["state"] for job in place.jobs()} == {"done"})
        await place.until(lambda: told()[-1] == "released")

    def told() -> list[str]:
        return [event["became"] for event in place.events() if event["subject_id"] == "notes"]

    async def script() -> None:
        await until_sent()
        await place.reload(folder=other)
        await removed()
        another = drop_folder(first, beside=str(place.root / "beside"))
        another.hold()
        another.close()

    first = place.settings.folders[0]
    if how == "reload":
        await place.run(until_idle=False, script=script)
    else:
        await place.run(until_idle=False, script=until_sent)
        place.configure(folder=other)
        place.load()
        await place.run(until_idle=False, script=removed)
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}
    assert len(place.network.sent()) == 2
    assert told() == ["watched", "retired", "released"]
    assert (place.root / "notes" / "c.txt").exists()
    kept = rules.get("after") == "keep"
    assert (place.root / "notes" / "a.txt").exists() is kept
    papers = {path.name for path in (place.root / "notes" / "done").rglob("*.json*")}
    assert papers == (set() if kept else {"job.json", "pairs.jsonl"} if rules == {} else {"job.json"})


async def test_a_removed_folder_that_comes_back_takes_what_came_meanwhile(a_place: APlace) -> None:
    """Before its last job has ended, or after."""
    place = a_place(folder=[{"linger": "0s"}])
    both = [a_folder(place, "notes"), a_folder(place, "other")]

    async def script() -> None:
        place.drop("a.txt", "The stone is grey.")
        await place.until(lambda: place.state() == "running")
        await place.reload(folder=both[1:])
        place.drop("b.txt", "The otter is a mammal.")
        await place.reload(folder=both)
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})
        await place.reload(folder=both[1:])
        place.drop("c.txt", "The sea is wide.")
        await place.pass_time(60)
        assert "c.txt" not in place.states()
        await place.reload(folder=both)
        await place.until(lambda: place.states().get("c.txt") == "learned")

    await place.run(until_idle=False, script=script)
    assert len(place.network.sent()) == 3


async def test_a_name_does_not_move_to_another_folder_before_its_jobs_have_ended(a_place: APlace) -> None:
    """The reload is refused with the way out, which works; a folder that was moved as a whole keeps its name."""
    place = a_place(folder=[{"linger": "0s"}])
    elsewhere = a_folder(place, "notes") | {"path": str(place.root / "elsewhere")}

    async def script() -> None:
        place.drop("a.txt", "The stone is grey.")
        await place.until(lambda: place.state() == "running")
        await place.reload(folder=[elsewhere])
        assert "give the new folder another name" in refusal(place)
        await place.reload(folder=[elsewhere | {"name": "new"}])
        (place.root / "elsewhere" / "b.txt").write_text("The otter is a mammal.")
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})
        (place.root / "elsewhere" / "c.txt").write_text("The sea is wide.")
        await place.until(lambda: place.states().get("c.txt") == "packed")
        (place.root / "elsewhere").rename(place.root / "moved")
        await place.reload(folder=[a_folder(place, "new") | {"path": str(place.root / "moved")}])
        await place.until(lambda: place.states()["c.txt"] == "learned")

    await place.run(until_idle=False, script=script)
    assert of_daemon(place) == ["started", "reload_refused", "reloaded", "reloaded", "stopped"]
    assert len(place.network.sent()) == 3


async def test_a_folder_may_be_called_otherwise_while_its_job_runs(a_place: APlace) -> None:
    """It is the same one at its place: its job goes along to the new name, and it is watched all the while."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt", "The stone is grey.")
        await place.until(lambda: place.state() == "running")
        await place.reload(folder=[a_folder(place, "texts") | {"path": str(place.notes)}])
        place.drop("b.txt", "The otter is a mammal.")
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert {job["folder"] for job in place.jobs()} == {"texts"}
    assert "retired" not in {event["became"] for event in place.events()}
    assert len(place.network.sent()) == 2


async def test_a_folder_that_another_finetuned_holds_is_not_taken(a_place: APlace) -> None:
    """The reload is refused, and nothing is held for it."""
    place = a_place(folder=[{"linger": "0s"}])
    both = [a_folder(place, "notes"), a_folder(place, "other")]
    (place.root / "other").mkdir()
    rules = parse({"folder": both[1:]}, base=str(place.root)).folders[0]
    another = drop_folder(rules, beside=str(place.root / "beside"))
    another.hold()

    async def script() -> None:
        await place.reload(folder=both)
        assert "another finetuned" in refusal(place)
        place.drop("a.txt")
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        another.close()
        await place.reload(folder=both)

    await place.run(until_idle=False, script=script)
    assert of_daemon(place) == ["started", "reload_refused", "reloaded", "stopped"]


async def test_a_reload_waits_while_the_ledger_is_stuck(a_place: APlace) -> None:
    """Another program holds it for an hour: the reload comes then, and nothing was lost."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt", "The stone is grey.")
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        asked(place.here.ledger, "pragma busy_timeout = 0")
        with closing(sqlite3.connect(place.ledger_path, isolation_level=None)) as db:
            db.execute("begin immediate")
            place.configure(folder=[a_folder(place, "notes"), a_folder(place, "other")])
            place.service.reload()
            await place.pass_time(3600)
            assert of_daemon(place) == ["started"]
        (place.root / "other" / "b.txt").write_text("The otter is a mammal.")
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert [one for one in of_daemon(place) if one != "going_on"] == ["started", "reloaded", "stopped"]


@pytest.mark.parametrize("well", [True, False], ids=["sound", "spoilt"])
async def test_a_ledger_that_gets_stuck_in_a_reload_is_waited_for(a_place: APlace, well: bool) -> None:
    """Another program locks it just then: the new daemon begins once it can, and a refusal is written down then."""
    place = a_place(folder=[{"linger": "0s"}])
    load = place.load

    async def script() -> None:
        place.drop("a.txt", "The stone is grey.")
        await place.until(lambda: place.states() == {"a.txt": "learned"})
        asked(place.here.ledger, "pragma busy_timeout = 0")
        with closing(sqlite3.connect(place.ledger_path, isolation_level=None)) as db:

            def load_and_lock() -> Settings:
                db.execute("begin immediate")
                return load()

            place.load = load_and_lock  # type: ignore[method-assign]
            place.configure(folder=[a_folder(place, "notes")] if well else [])
            place.service.reload()
            await place.pass_time(600)
            assert of_daemon(place) == ["started"]
            with place.reader() as reader:
                known = reader.daemon()
            assert known is not None
            assert ("found none" in (known["reload_refused_because"] or "")) == (not well)
        place.drop("b.txt", "The otter is a mammal.")
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"})

    await place.run(until_idle=False, script=script)
    assert [one for one in of_daemon(place) if one != "going_on"] == [
        "started", "reloaded" if well else "reload_refused", "stopped",
    ]  # fmt: skip


async def test_a_stop_does_not_wait_for_a_daemon_that_waits_for_the_ledger(a_place: APlace) -> None:
    """Told to stop while the next daemon cannot begin, it ends at once; the next start has everything."""
    place = a_place(folder=[{"linger": "0s"}])
    load, stopped_at = place.load, 0.0
    await place.run()
    with closing(sqlite3.connect(place.ledger_path, isolation_level=None)) as db:

        def load_and_lock() -> Settings:
            db.execute("begin immediate")
            return load()

        async def script() -> None:
            nonlocal stopped_at
            await place.pass_time(10)
            asked(place.here.ledger, "pragma busy_timeout = 0")
            place.load = load_and_lock  # type: ignore[method-assign]
            place.service.reload()
            await place.pass_time(60)
            stopped_at = place.runtime.steady()

        await place.run(until_idle=False, script=script)
        assert place.runtime.steady() - stopped_at < 1
    place.drop("a.txt")
    await place.run()
    assert place.states() == {"a.txt": "learned"}
