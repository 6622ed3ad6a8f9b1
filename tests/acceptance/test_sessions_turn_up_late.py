"""Sessions that the server lists only after they were given up and sent again: found later, and doubled no longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from finetuned.daemon.requests import Request, leave_request
from finetuned.sandbox import Pace, look
from support.place import Place

APlace = Callable[..., Place]
GREY = "The stone is grey. It came from a river."
SESSIONS = "/api/v1/sessions"
HOUR = 3600.0
SLOW = Pace(train=2 * HOUR)


def calm(a_place: APlace, **words: Any) -> Place:
    """A place where hours pass quickly: little is listed, little is looked at."""
    return a_place(folder=[{"linger": "0s"}], watch={"sweep": "10m"}, poll={"fastest": "3m", "slowest": "10m"}, **words)


async def until(place: Place, condition: Callable[[], bool], *, within: float = HOUR) -> None:
    """Wait until `condition` holds, looking every half minute."""
    for _ in range(int(within / 30)):
        if condition():
            return
        await place.pass_time(30)
    raise AssertionError(f"not within {within} s")


class SlowServer:
    """Loses its first answers to a send, and leaves what it made of them out of its lists until told."""

    def __init__(self, place: Place, *, lose: int = 1) -> None:
        self.lost: list[str] = []
        self.searches = 0
        self._store = place.app.state.store
        self._lose = lose
        place.network.after = self._after

    def _after(self, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if (request.method, request.url.path) == ("POST", SESSIONS) and len(self.lost) < self._lose:
            self.lost.append(next(iter(self._store.newest_first())).id)
            self._change(parent="of somebody else")  # such sessions are in no list
            raise httpx.ReadError("connection reset", request=request)
        self.searches += request.url.params.get("limit") == "1000"
        return response

    def list_it(self) -> None:
        """From now on the lists tell the truth."""
        self._change(parent="")

    def _change(self, **fields: Any) -> None:
        for lost in self.lost:
            if (session := self._store.get(lost)) is not None:
                self._store.save(replace(session, **fields))

    def trains(self, session_id: str) -> bool:
        """Whether the server has it, and has made no model of it yet."""
        session = self._store.get(session_id)
        return session is not None and not look(session, self._store.now(), self._store.pace).trained

    def has(self, session_id: str) -> bool:
        """Whether the server still has it."""
        return self._store.get(session_id) is not None


def attempts(place: Place) -> list[tuple[str, bool]]:
    """Each session of the first job that the ledger knows: its state, and whether it has a model."""
    with place.reader() as reader:
        rows = reader.connection.execute("select state, lora_dir from sessions order by id").fetchall()
    return [(row[0], row[1] is not None) for row in rows]


async def sent_again(place: Place) -> SlowServer:
    """A job whose first answer was lost and whose session was not found, so that it runs as another."""
    server = SlowServer(place)
    place.drop("a.txt", GREY)
    await until(place, lambda: place.state() == "running")
    assert place.sessions_on_server() == 2
    assert server.searches >= 2  # after the settle time, and right before it was sent again
    return server


@pytest.mark.parametrize("after", [60.0, 600.0, HOUR / 3])
async def test_a_session_that_is_listed_late_is_recorded_and_removed(a_place: APlace, after: float) -> None:
    """However late it is while ours trains: it goes from the server, and ours is learned from once."""
    place = calm(a_place, pace=SLOW)

    async def script() -> None:
        server = await sent_again(place)
        await place.pass_time(after)
        server.list_it()
        await until(place, lambda: not server.has(server.lost[0]), within=4 * after + 300)
        await until(place, lambda: place.states() == {"a.txt": "learned"}, within=8 * HOUR)
        assert place.sessions_on_server() == 1

    await place.run(until_idle=False, script=script)
    assert attempts(place) == [("unsent", False), ("trained", True), ("twin", False)]
    assert [(job["state"], job["attempt"]) for job in place.jobs()] == [("done", 1)]


async def test_a_run_until_idle_searches_once_more_at_the_end(a_place: APlace) -> None:
    """What turned up before the verdict is found before the run ends, whatever time a search was due."""
    place = a_place(pace=Pace(train=130.0))
    server = SlowServer(place)
    place.drop("a.txt", GREY)
    real = place.network.after

    def after(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path.endswith("/user") or "conversations" in request.url.path:
            server.list_it()
        return real(request, response)

    place.network.after = after
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert attempts(place)[-1][0] == "twin"
    # by now it has trained, too: a model is a record that nobody may want to lose
    assert (place.sessions_on_server(), attempts(place)[-1]) == (2, ("twin", True))


async def test_a_late_session_that_is_trained_already_is_recorded_and_kept(a_place: APlace) -> None:
    """It is ahead of ours: both stay sound, ours is learned from, the other is a record."""
    place = calm(a_place, pace=Pace(train=300.0))

    async def script() -> None:
        server = await sent_again(place)
        await place.pass_time(200)  # 320 s after it was made, 200 s after ours was
        assert place.state() == "running"
        server.list_it()
        await until(place, lambda: len(attempts(place)) == 3, within=600)
        await until(place, lambda: place.states() == {"a.txt": "learned"}, within=8 * HOUR)
        await place.pass_time(HOUR)
        assert place.sessions_on_server() == 2

    await place.run(until_idle=False, script=script)
    assert attempts(place) == [("unsent", False), ("trained", True), ("twin", True)]


async def test_a_twin_that_trains_before_it_is_removed_stays(a_place: APlace) -> None:
    """The look right before the removal counts, not what the search saw; a person may remove it all the same."""
    place = calm(a_place, pace=Pace(train=400.0))
    refused: list[httpx.Request] = []

    async def script() -> None:
        server = await sent_again(place)
        server.list_it()

        def refuse(request: httpx.Request) -> httpx.Response | None:
            if request.method == "DELETE" and server.trains(server.lost[0]):
                refused.append(request)
                return httpx.Response(500, text="boom", request=request)
            return None

        place.network.before = refuse
        await until(place, lambda: place.states() == {"a.txt": "learned"}, within=8 * HOUR)
        await place.pass_time(HOUR)
        assert refused
        assert server.has(server.lost[0])
        leave_request(place.ledger_path, Request(id="d", verb="cancel", job=place.jobs()[0]["id"], delete=True), "1")
        await until(place, lambda: place.sessions_on_server() == 0)

    await place.run(until_idle=False, script=script)
    assert attempts(place)[-1] == ("twin", True)


async def test_a_session_listed_while_its_job_waits_to_be_sent_is_adopted(a_place: APlace) -> None:
    """The search right before a send: an outage kept the job from being sent again, and by then it is listed."""
    place = calm(a_place, pace=SLOW)
    server = SlowServer(place)

    def refuse_sends(request: httpx.Request) -> httpx.Response | None:
        if (request.method, request.url.path) == ("POST", SESSIONS) and server.lost:
            raise httpx.ConnectError("connection refused", request=request)
        return None

    async def script() -> None:
        place.network.before = refuse_sends
        place.drop("a.txt", GREY)
        await until(place, lambda: server.searches >= 2)
        server.list_it()
        await until(place, lambda: place.state() == "running", within=300)
        await until(place, lambda: place.states() == {"a.txt": "learned"}, within=8 * HOUR)

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 1
    assert attempts(place)[-1] == ("trained", True)


async def test_the_searches_for_what_never_turns_up_are_few(a_place: APlace) -> None:
    """A session that surely was never made: a day later nobody searches for it any more."""
    place = calm(a_place, pace=Pace(train=3 * HOUR))

    async def script() -> None:
        server = await sent_again(place)
        at_first = server.searches
        await until(place, lambda: place.states() == {"a.txt": "learned"}, within=4 * HOUR)
        await place.pass_time(24 * HOUR)
        assert server.searches - at_first == 4
        server.list_it()

    await place.run(until_idle=False, script=script)


async def test_a_search_that_fails_is_made_again(a_place: APlace) -> None:
    """An outage takes nothing from the number of searches; a stopped daemon takes nothing from their times."""
    place = calm(a_place, pace=SLOW)

    async def first() -> None:
        await sent_again(place)

    await place.run(until_idle=False, script=first)
    server = SlowServer(place, lose=0)
    server.lost = [session.id for session in place.app.state.store.newest_first() if session.parent]
    failed: list[httpx.Request] = []

    def fail(request: httpx.Request) -> httpx.Response | None:
        if request.url.params.get("limit") == "1000" and len(failed) < 5:
            failed.append(request)
            return httpx.Response(502, text="bad gateway", request=request)
        return None

    async def then() -> None:
        server.list_it()
        place.network.before = fail
        await until(place, lambda: not server.has(server.lost[0]), within=HOUR)

    await place.run(until_idle=False, script=then)
    assert len(failed) == 5
    assert attempts(place)[-1] == ("twin", False)


async def test_a_job_is_adopted_together_with_its_twins(a_place: APlace) -> None:
    """At no moment does the ledger know the one session and not the other: a death in between would forget it."""
    place = calm(a_place, pace=SLOW)
    store = place.app.state.store
    real = place.runtime.in_thread
    known: set[tuple[str, ...]] = set()

    def lose_two(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if (request.method, request.url.path) == ("POST", SESSIONS) and place.sessions_on_server() == 1:
            store.save(replace(next(iter(store.newest_first())), id="second"))
            raise httpx.ReadError("connection reset", request=request)
        return response

    async def watched(work: Callable[..., Any], *args: object, **words: object) -> Any:
        done = await real(work, *args, **words)
        known.add(tuple(sorted(name for name, _ in attempts(place))))
        return done

    async def script() -> None:
        place.runtime.in_thread = watched  # type: ignore[method-assign]
        place.drop("a.txt", GREY)
        await until(place, lambda: place.state() == "running")

    place.network.after = lose_two
    await place.run(until_idle=False, script=script)
    assert ("live", "twin") in known
    assert ("live",) not in known
