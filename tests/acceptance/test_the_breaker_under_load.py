"""A server that cannot be used while a hundred jobs wait: one probe at a time, nothing lost, and healed soon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from finetuned.sandbox import DEFAULT_KEY, Pace
from support.place import Place

APlace = Callable[..., Place]
HOUR = 3600.0
JOBS = 110
IN_FLIGHT = 20
LONGEST_PAUSE = 600.0
SESSIONS = "/api/v1/sessions"
Way = Callable[[httpx.Request], httpx.Response]


def no_route(request: httpx.Request) -> httpx.Response:
    """Nobody answers."""
    raise httpx.ConnectTimeout("timed out", request=request)


def a_page(request: httpx.Request) -> httpx.Response:
    """Somebody else answers."""
    return httpx.Response(200, html="<!doctype html><html><body>Welcome</body></html>", request=request)


class Outage(httpx.AsyncBaseTransport):
    """The last piece of the way to the server: while it is out, every request takes a while and fails."""

    def __init__(self, place: Place, *, takes: float = 5.0) -> None:
        self.way: Way | None = None
        self.calls: list[tuple[float, str, str]] = []
        self.under_way = 0
        self.most = 0
        self._place = place
        self._takes = takes
        self._server = place.network.server
        place.network.server = self

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        way = self.way
        if way is None:
            return await self._server.handle_async_request(request)
        self.calls.append((self._place.runtime.steady(), request.method, request.url.path))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            async for _ in request.stream:  # type: ignore[union-attr]
                pass
            await self._place.pass_time(self._takes)
            return way(request)
        finally:
            self.under_way -= 1


def a_full_place(a_place: APlace, *, train: float = 40.0) -> Place:
    """More jobs than there are slots, each of one file."""
    place = a_place(
        folder=[{"linger": "0s", "max_files": 1, "settle": "0s"}],
        helix={"max_in_flight": IN_FLIGHT, "longest_pause": "10m"},
        watch={"sweep": "10m"},
        poll={"fastest": "10s", "slowest": "10m"},
        pace=Pace(train=train),
    )
    for n in range(JOBS):
        place.drop(f"{n:03d}.txt", f"The stone number {n} is grey.")
    return place


async def until(place: Place, condition: Callable[[], bool], within: float) -> None:
    """Wait until `condition` holds, looking every ten seconds."""
    for _ in range(int(within / 10)):
        if condition():
            return
        await place.pass_time(10)
    raise AssertionError(f"not within {within} s")


def states(place: Place) -> Counter[str]:
    """How many jobs are in each state."""
    return Counter(job["state"] for job in place.jobs())


@pytest.mark.parametrize(
    ("way", "words"),
    [(no_route, "no connection"), (a_page, "web page")],
    ids=["unreachable", "not a Helix"],
)
async def test_a_weekend_with_a_hundred_jobs(a_place: APlace, way: Way, words: str) -> None:
    """It begins in the middle of the sends and lasts 60 hours; no attempt is spent, and it heals by itself, soon."""
    place = a_full_place(a_place)
    outage = Outage(place)

    def begin(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if len(place.network.sent()) == IN_FLIGHT // 2:  # the other half is on its way
            outage.way = way
        return response

    place.network.after = begin

    async def script() -> None:
        await until(place, lambda: outage.way is not None, 600)
        await place.pass_time(HOUR)  # what was on its way has failed, too, and was looked for
        with place.reader() as reader:
            assert words in reader.server("http://helix.test")["paused_because"]
        calls, outage.most = len(outage.calls), 0
        before = states(place)
        await place.pass_time(59 * HOUR)
        assert outage.most == 1
        assert {method for _, method, _ in outage.calls[calls:]} == {"GET"}
        assert {path for _, _, path in outage.calls[calls:]} == {SESSIONS}
        # on average half of the longest pause lies between two probes
        assert 59 * HOUR / LONGEST_PAUSE < len(outage.calls) - calls < 59 * HOUR / LONGEST_PAUSE * 2.5
        assert states(place) == before
        assert {job["attempt"] for job in place.jobs()} <= {0, 1}
        outage.way = None
        healed = len(place.network.requests)
        await until(place, lambda: len(place.network.requests) > healed + 1, LONGEST_PAUSE + 20)
        await until(place, lambda: states(place)["done"] == JOBS, 4 * HOUR)

    await place.run(until_idle=False, script=script)
    assert {(job["state"], job["attempt"]) for job in place.jobs()} == {("done", 1)}
    assert place.sessions_on_server() == JOBS


async def test_a_key_that_is_taken_back_stops_everything_until_there_is_another(a_place: APlace) -> None:
    """401 on every call of a hundred jobs: one probe at a time; the new key is read by itself, and all goes on."""
    place = a_full_place(a_place)

    async def script() -> None:
        await until(place, lambda: states(place)["running"] == IN_FLIGHT, 600)
        place.app.state.keys = frozenset({"hl-new"})
        await place.pass_time(HOUR)
        asked = len(place.network.requests)
        await place.pass_time(59 * HOUR)
        assert states(place) == {"running": IN_FLIGHT, "queued": JOBS - IN_FLIGHT}
        assert len(place.network.requests) - asked < 59 * HOUR / LONGEST_PAUSE * 2.5
        assert {(method, path) for _, method, path in place.network.requests[asked:]} == {("GET", SESSIONS)}
        place.key = "hl-new"
        await until(place, lambda: states(place)["done"] > 0, LONGEST_PAUSE + 700)
        await until(place, lambda: states(place)["done"] == JOBS, 4 * HOUR)

    assert place.key == DEFAULT_KEY
    await place.run(until_idle=False, script=script)
    assert {job["attempt"] for job in place.jobs()} == {1}
    assert place.sessions_on_server() == JOBS


async def test_a_daemon_that_is_started_again_and_again_does_not_hammer(a_place: APlace) -> None:
    """Each start asks once, at once; the pauses go on where they were, and the outage is told once."""
    place = a_place(folder=[{"linger": "0s"}])
    outage = Outage(place, takes=0.0)
    outage.way = no_route
    place.drop("a.txt")
    starts = 40
    for _ in range(starts):
        begin = len(outage.calls)
        await place.run(until_idle=False, script=lambda: place.pass_time(20))
        assert len(outage.calls) > begin
    assert len(outage.calls) < 1.5 * starts + 10
    with place.reader() as reader:
        told = reader.connection.execute("select count(*) from events where subject = 'server'").fetchone()[0]
    assert told == 1
    outage.way = None

    async def script() -> None:
        await place.until(lambda: place.states() == {"a.txt": "learned"}, within=60)

    await place.run(until_idle=False, script=script)
