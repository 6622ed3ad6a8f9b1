"""The ledger cannot be written for a while: the daemon waits, says so, and nothing is lost or sent twice."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
import trio

from finetuned.daemon.breaker import LONGEST_WAIT, Breaker
from finetuned.daemon.notify import Notifier
from finetuned.errors import LedgerStuck
from finetuned.ledger.lock import why_stuck
from finetuned.ledger.writer import Ledger
from finetuned.sandbox import Pace
from support.lives import asked
from support.place import Place, is_send

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
SESSIONS = "/api/v1/sessions"


class Lock:
    """Another program that writes to the ledger, and does not end."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._db: sqlite3.Connection | None = None

    def take(self) -> None:
        asked(self._place.here.ledger, "pragma busy_timeout = 0")  # how long SQLite waits is no virtual time
        self._db = sqlite3.connect(self._place.ledger_path, isolation_level=None)
        self._db.execute("begin immediate")

    def let_go(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


@pytest.fixture
def locks() -> Iterator[Callable[[Place], Lock]]:
    """Makes other programs, and ends them."""
    made: list[Lock] = []

    def make(place: Place) -> Lock:
        made.append(Lock(place))
        return made[-1]

    yield make
    for lock in made:
        lock.let_go()


@contextmanager
def full(place: Place) -> Iterator[None]:
    """The ledger may not grow by one page more, as on a full disk."""
    ((pages,),) = asked(place.here.ledger, "pragma page_count")
    asked(place.here.ledger, f"pragma max_page_count = {pages}")
    try:
        yield
    finally:
        asked(place.here.ledger, "pragma max_page_count = 1000000")


def of_daemon(place: Place) -> list[dict[str, Any]]:
    """What happened to the daemon."""
    with place.reader() as reader:
        return [event for event in reader.events() if event["subject"] == "daemon"]


MOMENTS = [
    ("before", "POST", SESSIONS),
    ("after", "POST", SESSIONS),
    ("after", "GET", f"{SESSIONS}/"),
    ("after", "GET", "/conversations/"),
]


@pytest.mark.parametrize(("side", "method", "path"), MOMENTS)
async def test_a_lock_at_any_moment_costs_time_only(
    a_place: APlace, locks: Callable[[Place], Lock], side: str, method: str, path: str
) -> None:
    """What was answered and could not be written is found out anew: one session, no second attempt."""
    place = a_place(folder=[{"linger": "0s"}])
    lock = locks(place)
    taken = False

    def cut_in(request: httpx.Request, response: httpx.Response | None = None) -> httpx.Response | None:
        nonlocal taken
        if not taken and request.method == method and path in request.url.path:
            lock.take()
            taken = True
        return response

    setattr(place.network, side, cut_in)

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: taken)
        sent = len(place.network.sent())
        place.drop("b.txt", GREY + " And it is round.")
        await place.pass_time(60)
        assert len(place.network.sent()) <= max(1, sent)  # nothing new is begun
        lock.let_go()
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"}, within=400)

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == len(place.jobs()) == 2
    assert [job["attempt"] for job in place.jobs()] == [1, 1]
    going_on = next(event for event in of_daemon(place) if event["became"] == "going_on")
    assert "database is locked" in going_on["detail"]


async def test_what_a_poll_showed_and_could_not_be_written_is_shown_again(
    a_place: APlace, locks: Callable[[Place], Lock]
) -> None:
    """Trainings are followed by a list: that one stands as it was seen last says nothing of what the ledger has."""
    moves = 1000.0
    place = a_place(pace=Pace(train=99 * moves), folder=[{"linger": "0s", "max_files": 1}], helix={"max_in_flight": 3})
    lock, shown = locks(place), dict[str, int]()

    def progress() -> dict[str, int]:
        with place.reader() as reader:
            return {row["session_id"]: row["progress"] for row in reader.rows("select * from open_jobs")}

    def cut_in(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        session = request.url.path.rsplit("/", 1)[-1]
        if not shown and request.method == "GET" and session in known:
            now = response.json()["interactions"][-1]["progress"]
            if now != known[session]:
                shown[session] = now
                lock.take()
        return response

    async def script() -> None:
        for number in range(3):
            place.drop(f"{number}.txt", f"{GREY} And it has the number {number}.")
        await place.until(lambda: [job["stage"] for job in place.jobs()] == ["finetune"] * 3)
        await place.pass_time(moves / 2)
        known.update(progress())
        place.network.after = cut_in
        await place.until(lambda: bool(shown))
        await place.pass_time(30)
        lock.let_go()
        await place.until(lambda: shown.items() <= progress().items(), within=moves / 2)

    known: dict[str, int] = {}
    await place.run(until_idle=False, script=script)


#: another program's hold on a ledger, for as long as its standard input is open
HOLDS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("begin immediate")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_program(path: str) -> Iterator[int]:
    """A process that has the ledger locked; its pid."""
    words = [sys.executable, "-c", HOLDS, path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        program.stdout.readline()
        yield program.pid
        program.communicate()


async def test_who_only_reads_is_told_who_has_it_locked(a_place: APlace) -> None:
    """By name and pid, with what else cannot be written down meanwhile; and nothing of it once it is over."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        await place.until(lambda: bool(of_daemon(place)))
        asked(place.here.ledger, "pragma busy_timeout = 0")
        with another_program(place.ledger_path) as pid:
            place.drop("a.txt", GREY)
            place.here.unserved = "its port is taken"
            await place.until(lambda: why_stuck(place.ledger_path) is not None)
            stuck = why_stuck(place.ledger_path)
            assert stuck is not None
            assert re.search(rf"database is locked \(by [^ ]+, pid {pid}\)$", str(stuck))
            assert "end the program" in stuck.remedy
            with place.reader() as reader:
                assert (reader.unserved(), reader.unwatched()) == ("its port is taken", None)
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=400)
        assert why_stuck(place.ledger_path) is None

    await place.run(until_idle=False, script=script)


async def test_what_a_killed_daemon_told_is_told_no_more(a_place: APlace, locks: Callable[[Place], Lock]) -> None:
    """Neither while none runs, nor by the next one."""
    place = a_place()
    lock = locks(place)
    told: list[bytes] = []

    async def script() -> None:
        await place.until(lambda: bool(of_daemon(place)))
        lock.take()
        place.drop("a.txt", GREY)
        await place.until(lambda: why_stuck(place.ledger_path) is not None)
        told.append(Path(f"{place.ledger_path}.lock").read_bytes())

    await place.run(until_idle=False, script=script)
    lock.let_go()
    Path(f"{place.ledger_path}.lock").write_bytes(told[0])
    assert why_stuck(place.ledger_path) is None
    with Ledger.open(place.ledger_path):
        assert why_stuck(place.ledger_path) is None


async def test_a_full_disk_is_waited_for(a_place: APlace) -> None:
    """The daemon stays up and begins nothing; with space again everything goes on within seconds."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states().get("a.txt") == "learned")
        requests = len(place.network.requests)
        with full(place):
            for n in range(60):
                place.drop(f"{n}.txt", f"{GREY} It is the stone number {n}. " + "It is grey. " * 50)
            await place.pass_time(3600)
            assert len(place.network.sent()) < 4
            assert len(place.network.requests) < requests + 60  # nobody hammers the server meanwhile
        took = await place.until(lambda: list(place.states().values()).count("learned") == 61, within=300)
        assert took < 120

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == len(place.jobs())
    assert any("full" in (event["detail"] or "") for event in of_daemon(place))


async def test_a_disk_with_room_for_a_page_is_not_hammered(a_place: APlace) -> None:
    """The try goes well and the round does not, again and again: the pauses grow until a round went well."""
    place = a_place()
    async with place.context() as context:
        breaker = Breaker(context, Notifier(None), pid=1, patient=True)

        async def ten_times(*, well: bool) -> float:
            begun = place.runtime.steady()
            for _ in range(10):
                breaker.open(LedgerStuck("database or disk is full"))
                await breaker.closed(lambda: False)
                if well:
                    breaker.all_is_well()
            return place.runtime.steady() - begun

        assert await ten_times(well=True) <= 20
        assert 2 * LONGEST_WAIT < await ten_times(well=False) < 10 * LONGEST_WAIT


async def test_trouble_of_others_does_not_end_the_wait(
    a_place: APlace, locks: Callable[[Place], Lock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks that ask a stuck ledger while its trouble is noted hear of it; the loop waits on, until it is well."""
    place = a_place()
    lock = locks(place)
    at_once = place.runtime.in_thread

    async def beside(work: Callable[..., object], *args: object, **words: object) -> object:
        await anyio.lowlevel.checkpoint()  # others come while it is at work, as they do beside a real thread
        return await at_once(work, *args, **words)

    monkeypatch.setattr(place.runtime, "in_thread", beside)
    async with place.context() as context:
        breaker = Breaker(context, Notifier(None), pid=1, patient=True)
        lock.take()
        breaker.open(LedgerStuck("database is locked"))
        refused: list[LedgerStuck] = []

        async def one_of_many() -> None:
            try:
                await context.in_ledger(context.ledger.daemon.stopped, pid=1, now=context.runtime.now())
            except LedgerStuck as trouble:
                refused.append(trouble)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(one_of_many)
            tasks.start_soon(breaker.closed, lambda: False)
            for _ in range(3):
                tasks.start_soon(one_of_many)
            await place.until(lambda: len(refused) == 6)
            assert breaker.is_open
            lock.let_go()
        assert not breaker.is_open


async def test_what_was_read_and_not_written_is_read_again(a_place: APlace, locks: Callable[[Place], Lock]) -> None:
    """A file that settles while nothing can be written is not forgotten."""
    place = a_place(folder=[{"linger": "0s"}])
    lock = locks(place)

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states() == {"a.txt": "settling"})
        lock.take()
        await place.pass_time(30)
        lock.let_go()
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=60)

    await place.run(until_idle=False, script=script)


async def test_a_ledger_that_is_moved_away_is_not_written_to(a_place: APlace) -> None:
    """Whatever is written into a file without a name is lost: it waits until the very file is back, its place free."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt", GREY)
        await place.until(lambda: place.states().get("a.txt") == "learned")
        os.rename(place.ledger_path, f"{place.ledger_path}.away")
        await place.pass_time(60)
        assert not os.path.lexists(place.ledger_path)
        place.drop("b.txt", GREY + " And it is round.")
        await place.pass_time(60)
        assert (place.notes / "b.txt").exists()
        assert not os.path.lexists(place.ledger_path)
        os.rename(f"{place.ledger_path}.away", place.ledger_path)
        await place.until(lambda: place.states().get("b.txt") == "learned", within=200)

    await place.run(until_idle=False, script=script)
    assert any("moved or removed" in (event["detail"] or "") for event in of_daemon(place))


async def test_it_can_be_stopped_while_it_waits(a_place: APlace, locks: Callable[[Place], Lock]) -> None:
    """At once, and in order; the next start goes on."""
    place = a_place(folder=[{"linger": "0s"}])
    lock = locks(place)

    async def script() -> None:
        await place.until(lambda: bool(of_daemon(place)))
        lock.take()
        place.drop("a.txt", GREY)
        await place.pass_time(60)

    with anyio.fail_after(70):
        outcome = await place.run(until_idle=False, script=script)
    assert not outcome.failed
    lock.let_go()
    await place.run()
    assert place.states() == {"a.txt": "learned"}


async def test_a_run_until_idle_gives_up(a_place: APlace, locks: Callable[[Place], Lock]) -> None:
    """Somebody waits for it: after a few tries it ends with what to do."""
    place = a_place(folder=[{"linger": "0s"}])
    place.drop("a.txt", GREY)
    lock = locks(place)
    place.network.after = lambda request, response: (is_send(request) and lock.take()) or response
    with anyio.fail_after(200), pytest.RaisesGroup(pytest.RaisesExc(LedgerStuck, match="locked")) as caught:
        await place.run()
    assert "end the program that writes to it" in caught.value.exceptions[0].remedy
    lock.let_go()
    place.network.after = lambda request, response: response
    await place.run()
    assert (place.states(), place.sessions_on_server()) == ({"a.txt": "learned"}, 1)


class Slow(httpx.AsyncByteStream):
    """A request's body that takes two seconds for each of its chunks."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            clock = trio.lowlevel.current_clock()
            assert isinstance(clock, trio.testing.MockClock)
            clock.jump(2.0)
            yield chunk


async def test_progress_that_cannot_be_written_does_not_cut_an_upload(
    a_place: APlace, locks: Callable[[Place], Lock]
) -> None:
    """How far it is, is told to the ledger for people only."""
    place = a_place(folder=[{"linger": "0s", "max_file_bytes": "8MiB", "max_bytes": "8MiB"}])
    lock = locks(place)
    answers: list[int] = []

    def slow(request: httpx.Request) -> None:
        if is_send(request):
            assert isinstance(request.stream, httpx.AsyncByteStream)
            request.stream = Slow(request.stream)
            lock.take()

    def arrived(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if is_send(request):
            answers.append(response.status_code)
            lock.let_go()
        return response

    place.network.before, place.network.after = slow, arrived

    async def script() -> None:
        place.drop("a.txt", "The stone is grey. " * 100_000)
        await place.until(lambda: place.states().get("a.txt") == "learned", within=600)

    await place.run(until_idle=False, script=script)
    assert (answers, place.sessions_on_server()) == ([200], 1)


async def test_pairs_that_find_no_room_are_asked_for_ever_more_rarely(
    a_place: APlace, locks: Callable[[Place], Lock]
) -> None:
    """The ledger takes everything but the pairs: each time they are fetched, the next time is later."""
    place = a_place(folder=[{"linger": "0s"}])
    lock, asked = locks(place), []

    def after(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if "/conversations/" in request.url.path and len(asked) < 9:
            asked.append(place.runtime.now())
            lock.take()
        return response

    async def script() -> None:
        place.network.after = after
        place.drop("stone.txt", GREY)
        for number in range(1, 10):
            await place.until(lambda number=number: len(asked) == number)
            await place.pass_time(1)
            lock.let_go()
        await place.until(lambda: place.states() == {"stone.txt": "learned"})

    await place.run(until_idle=False, script=script)
    pauses = [later - sooner for sooner, later in pairwise(asked)]
    assert sum(pauses[4:]) > 3 * sum(pauses[:4])
