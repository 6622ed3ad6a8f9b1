"""What becomes of a job when the server, the network or the daemon fails: nothing is lost, nothing is paid twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from finetuned.daemon.requests import Request, leave_request
from finetuned.daemon.submit import Submissions
from finetuned.sandbox import Faults, Pace
from support.place import Place, is_send, no_connection

APlace = Callable[..., Place]
PAGE = "<!doctype html><html><body>A page of somebody else</body></html>"
SESSIONS = "/api/v1/sessions"


def answer(status: int, text: str, **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    """The same answer to everything."""
    return lambda request: httpx.Response(status, text=text, headers=headers, request=request)


@pytest.mark.parametrize(
    ("outage", "words"),
    [
        (no_connection, "connection refused"),
        (answer(401, "invalid API key\n"), "401"),
        (answer(200, PAGE, **{"content-type": "text/html"}), "web page"),
        (answer(503, "later", **{"retry-after": "30"}), "503"),
    ],
)
async def test_hours_without_a_server_cost_nothing(a_place: APlace, outage: Any, words: str) -> None:
    """No key, no server, not a Helix: sends pause, it is tried again by itself, and not one attempt is spent."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "5m"})
    place.network.before = outage

    async def script() -> None:
        place.drop("a.txt")
        await place.pass_time(2 * 3600)
        with place.reader() as reader:
            server = reader.server("http://helix.test")
        assert words in server["paused_because"]
        assert [(job["state"], job["attempt"]) for job in place.jobs()] == [("queued", 0)]
        assert place.network.sent() == []
        place.network.before = lambda _: None
        assert await place.until(lambda: place.states()["a.txt"] == "learned") < 300

    await place.run(until_idle=False, script=script)
    assert place.jobs()[0]["attempt"] == 1
    assert len(place.network.requests) < 2 * 3600 / 20


async def test_an_outage_in_the_middle_costs_nothing(a_place: APlace) -> None:
    """A server that goes while a job runs there is waited for."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "5m"})

    async def script() -> None:
        place.drop("a.txt")
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "running")
        place.network.before = no_connection
        await place.pass_time(3600)
        assert place.jobs()[0]["state"] == "running"
        place.network.before = lambda _: None
        await place.until(lambda: place.states()["a.txt"] == "learned")

    await place.run(until_idle=False, script=script)
    assert (place.jobs()[0]["attempt"], place.sessions_on_server()) == (1, 1)


async def test_until_idle_ends_when_the_server_cannot_be_used(a_place: APlace) -> None:
    """A run until idle says that work is left, instead of waiting for ever."""
    place = a_place()
    place.drop("a.txt")
    place.network.before = no_connection
    outcome = await place.run()
    assert outcome.unusable
    assert place.states() == {"a.txt": "packed"}
    place.network.before = lambda _: None
    assert not (await place.run()).unusable
    assert place.states() == {"a.txt": "learned"}


async def test_a_lost_answer_is_not_a_lost_session(a_place: APlace) -> None:
    """The server took the job, the answer never came: the session is found by its marker and adopted."""
    place = a_place()
    place.drop("a.txt")
    lost = []

    def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if is_send(request) and not lost:
            lost.append(request)
            raise httpx.ReadError("connection reset", request=request)
        return response

    place.network.after = lose
    await place.run()
    assert lost
    assert place.states() == {"a.txt": "learned"}
    assert place.sessions_on_server() == 1
    assert place.jobs()[0]["attempt"] == 1
    assert place.runtime.steady() >= 120


@pytest.mark.parametrize("status", [500, 502, 504, 200])
async def test_a_send_that_never_took_effect_is_sent_again_after_a_search(a_place: APlace, status: int) -> None:
    """An answer that says nothing sure makes the job doubtful; nothing being found, it is sent again."""
    place = a_place()
    place.drop("a.txt")
    failed = []

    def fail(request: httpx.Request) -> httpx.Response | None:
        if is_send(request) and not failed:
            failed.append(request)
            return httpx.Response(status, text="somebody in between says something", request=request)
        return None

    place.network.before = fail
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert place.sessions_on_server() == 1
    assert place.jobs()[0]["attempt"] == 1
    first, second = place.network.sent()
    assert second - first >= 120


async def test_a_server_that_always_errs_fails_the_job_after_three_sends(a_place: APlace) -> None:
    """Three answers that left no session are enough; `retry` makes it whole."""
    place = a_place()
    place.drop("a.txt")
    place.network.before = lambda request: (
        httpx.Response(500, text="boom", request=request) if is_send(request) else None
    )
    outcome = await place.run()
    assert outcome.failed
    assert len(place.network.sent()) == 3
    job = place.jobs()[0]
    assert job["state"] == "failed"
    assert "boom" in job["reason"]
    assert (place.notes / "failed" / job["id"] / "a.txt.why.txt").exists()


async def test_a_known_refusal_fails_the_job_at_once(a_place: APlace) -> None:
    """What the server surely did not do, and never will, is not tried again."""
    place = a_place()
    place.drop("a.txt")
    place.network.before = lambda request: (
        httpx.Response(500, text="invalid session mode: finetune\n", request=request) if is_send(request) else None
    )
    assert (await place.run()).failed
    assert len(place.network.sent()) == 1
    assert "invalid session mode" in place.jobs()[0]["reason"]


async def test_a_cut_upload_is_sent_again_at_once(a_place: APlace) -> None:
    """Nothing can have come of a form that never reached its end."""
    place = a_place()
    place.drop("a.txt")
    cut = []

    def before(request: httpx.Request) -> None:
        if is_send(request) and not cut:
            cut.append(request)
            raise httpx.WriteError("broken pipe", request=request)

    place.network.before = before
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert place.sessions_on_server() == 1
    assert place.runtime.steady() < 120


async def test_a_failed_training_is_tried_once_more_in_place(a_place: APlace) -> None:
    """CUDA out of memory is no success; one restart may help."""
    place = a_place(faults=Faults.parse(["runner-error:1"]))
    place.drop("a.txt")
    await place.run()
    job = place.jobs()[0]
    assert (job["state"], job["restarts"], job["attempt"]) == ("done", 1, 1)


async def test_a_training_that_fails_again_fails_the_job_with_the_servers_words(a_place: APlace) -> None:
    """The pairs that the server made are kept all the same."""
    place = a_place(faults=Faults.parse(["runner-error:2"]))
    place.drop("a.txt")
    assert (await place.run()).failed
    job = place.jobs()[0]
    assert job["state"] == "failed"
    assert "CUDA out of memory" in job["reason"]
    with place.reader() as reader:
        assert list(reader.pairs(job=job["id"]))


@pytest.mark.parametrize(("fault", "words"), [("state-error", ""), ("qa-fails", "no file taught anything")])
async def test_a_session_that_ends_badly_fails_the_job(a_place: APlace, fault: str, words: str) -> None:
    """state = error, or a training on nothing: the job failed, with a reason."""
    place = a_place(faults=Faults.parse([fault]))
    place.drop("a.txt")
    assert (await place.run()).failed
    job = place.jobs()[0]
    assert job["state"] == "failed"
    assert words in job["reason"]
    assert list(place.notes.glob("failed/*/a.txt.why.txt"))


async def test_a_file_that_taught_nothing_is_named(a_place: APlace) -> None:
    """The server says nothing of it; the job is partial all the same."""
    place = a_place(faults=Faults.parse(["qa-fails-one:1"]))
    place.drop("a.txt", "The first text is about an owl. Owls hunt mice.")
    place.drop("b.txt", "The second text is about a fox. Foxes hunt hens.")
    await place.run()
    job = place.jobs()[0]
    assert job["state"] == "partial"
    barren = [name for name, state in place.states().items() if state == "barren"]
    assert len(barren) == 1
    assert barren[0] in job["reason"]
    assert (place.notes / "failed" / job["id"] / f"{barren[0]}.why.txt").exists()


async def test_a_session_that_is_gone_is_replaced(a_place: APlace) -> None:
    """Somebody deleted it on the server: after three looks over the settle time there is another attempt."""
    place = a_place(folder=[{"linger": "0s"}])

    async def script() -> None:
        place.drop("a.txt")
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "running")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=place.app)) as http:
            address = f"http://helix.test{SESSIONS}/{place.jobs()[0]['session_id']}"
            gone = await http.delete(address, headers={"Authorization": f"Bearer {place.key}"})
            assert gone.status_code == 200
        await place.until(lambda: place.states()["a.txt"] == "learned")

    await place.run(until_idle=False, script=script)
    assert (place.jobs()[0]["attempt"], place.sessions_on_server()) == (2, 1)


async def test_no_more_jobs_are_on_the_server_than_allowed(a_place: APlace) -> None:
    """max_in_flight counts everything that may hold a slot there."""
    place = a_place(folder=[{"max_files": 1}], helix={"max_in_flight": 2})
    for n in range(6):
        place.drop(f"{n}.txt", f"The stone number {n} is grey.")
    most = 0

    def count(request: httpx.Request) -> None:
        nonlocal most
        if is_send(request):
            running = [job for job in place.jobs() if job["state"] in {"submitting", "running", "doubtful"}]
            most = max(most, len(running))

    place.network.before = count
    await place.run()
    assert most == 2
    assert set(place.states().values()) == {"learned"}


@pytest.mark.parametrize("after", [0.1 * n for n in range(1, 40, 3)])
async def test_a_daemon_that_is_cut_off_goes_on_where_it_was(a_place: APlace, after: float) -> None:
    """Whenever a run is broken off, the next one ends with everything learned once, in one session a job."""
    place = a_place(folder=[{"max_files": 2, "linger": "0s", "settle": "500ms"}])
    for n in range(5):
        place.drop(f"{n}.txt", f"The stone number {n} is grey.")
    with anyio.move_on_after(after):
        await place.run()
    place.audit()
    await place.run()
    assert set(place.states().values()) == {"learned"}
    assert place.sessions_on_server() == len(place.jobs()) == 3


async def test_a_clock_that_jumps_stops_nothing(a_place: APlace) -> None:
    """A day forward or back in the middle of a job, and it is learned all the same, soon."""
    for day in (86400.0, -86400.0):
        place = a_place(folder=[{"linger": "30s"}])

        async def script(place: Place = place, day: float = day) -> None:
            place.drop("a.txt")
            await place.until(lambda: place.states().get("a.txt") == "waiting")
            place.runtime.jump(day)
            await place.until(lambda: place.states().get("a.txt") == "packed", within=120)
            place.runtime.jump(-day)
            await place.until(lambda: place.states().get("a.txt") == "learned", within=300)

        await place.run(until_idle=False, script=script)


async def test_a_session_is_gone_when_three_looks_in_a_row_say_so(a_place: APlace) -> None:
    """A server that goes and comes does not find it before an outage nor right after it, and has it all the same."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "5m"}, poll={"fastest": "10s"}, pace=Pace(train=1200.0))
    not_found = answer(500, "not found\n")

    def missed() -> bool:
        with place.reader() as reader:
            return any(event["cause"] == "session_missing" for event in reader.events())

    def once(request: httpx.Request) -> httpx.Response | None:
        if request.method != "GET" or not request.url.path.startswith(f"{SESSIONS}/"):
            return None
        place.network.before = lambda _: None
        return not_found(request)

    async def script() -> None:
        place.drop("a.txt")
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["stage"] == "finetune")
        place.network.before = once
        await place.until(missed)
        place.network.before = no_connection
        await place.pass_time(300)
        place.network.before = once
        await place.until(lambda: place.states()["a.txt"] == "learned", within=7200)
        assert place.network.before is not once

    await place.run(until_idle=False, script=script)
    assert (place.jobs()[0]["attempt"], place.sessions_on_server()) == (1, 1)


@pytest.mark.parametrize(("jump", "attempts"), [(86_400.0, 1), (-86_400.0, 2)])
async def test_how_long_a_session_is_missed_is_no_matter_of_the_wall_clock(
    a_place: APlace, jump: float, attempts: int
) -> None:
    """Put forward, it makes no session gone that was missed for a moment; put back, it keeps none that is gone."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "5m"}, poll={"fastest": "10s"}, pace=Pace(train=1200.0))
    not_found = answer(500, "not found\n")
    missed: list[float] = []

    def miss(request: httpx.Request) -> httpx.Response | None:
        if request.method != "GET" or not request.url.path.startswith(f"{SESSIONS}/"):
            return None
        missed.append(place.runtime.steady())
        if len(missed) == 2:
            place.runtime.jump(jump)
        if jump > 0 and len(missed) == 3:  # a server that was started again
            place.network.before = lambda _: None
        return not_found(request)

    async def script() -> None:
        place.drop("a.txt")
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["stage"] == "finetune")
        place.network.before = miss
        await place.until(lambda: place.jobs()[0]["attempt"] == 2 or place.network.before is not miss, within=1800)
        place.network.before = lambda _: None
        await place.until(lambda: place.states()["a.txt"] == "learned", within=7200)

    await place.run(until_idle=False, script=script)
    assert (place.jobs()[0]["attempt"], len(place.network.sent())) == (attempts, attempts)


async def test_what_was_missed_long_ago_makes_no_session_gone_sooner(a_place: APlace) -> None:
    """It was seen since: three looks over the whole settle time are needed once more."""
    place = a_place(folder=[{"linger": "0s"}], watch={"sweep": "5m"}, poll={"fastest": "10s"}, pace=Pace(train=9000.0))
    not_found, missed = answer(500, "not found\n"), 0
    misses: set[int] = set()

    def miss(request: httpx.Request) -> httpx.Response | None:
        nonlocal missed
        look = request.method == "GET" and request.url.path.startswith(f"{SESSIONS}/")
        if not look or missed + 1 not in misses:
            return None
        missed += 1
        return not_found(request)

    async def script() -> None:
        place.network.before = miss
        place.drop("a.txt")
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["stage"] == "finetune")
        for wanted in ({1}, {2, 3, 4}):
            misses.update(wanted)
            await place.until(lambda wanted=wanted: missed == max(wanted))
            await place.pass_time(600)

    await place.run(until_idle=False, script=script)
    assert (missed, place.jobs()[0]["attempt"], len(place.network.sent())) == (4, 1, 1)


async def test_a_gateway_that_knows_nothing_makes_no_session_gone(a_place: APlace) -> None:
    """It says of everything what the server says of a session that is gone: that is an outage, however long."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}], watch={"sweep": "5m"}, pace=Pace(train=9000.0))
    for name in ("a.txt", "b.txt"):
        place.drop(name, f"The otter of {name} is a mammal.")

    async def script() -> None:
        await place.until(lambda: [job["stage"] for job in place.jobs()] == ["finetune"] * 2)
        place.network.before = answer(404, "Not Found")
        await place.pass_time(1800)
        place.network.before = lambda _: None
        await place.until(lambda: place.states() == {"a.txt": "learned", "b.txt": "learned"}, within=20_000)

    await place.run(until_idle=False, script=script)
    assert len(place.network.sent()) == place.sessions_on_server() == 2


async def test_a_session_that_is_always_gone_fails_the_job_in_the_end(a_place: APlace) -> None:
    """`attempts` bounds what a job may cost."""
    place = a_place(folder=[{"linger": "0s"}], submit={"attempts": 2, "lost_answer_settle": "5s"})
    place.network.before = lambda request: (
        httpx.Response(500, text="not found\n", request=request)
        if request.method == "GET" and request.url.path != SESSIONS
        else None
    )
    place.drop("a.txt")
    assert (await place.run()).failed
    job = place.jobs()[0]
    assert (job["state"], job["attempt"], len(place.network.sent())) == ("failed", 2, 2)
    assert "gone from the server" in job["reason"]


@pytest.mark.parametrize(
    "text", ["you have reached the maximum number of concurrent finetuning sessions", "unexpected EOF"]
)
async def test_a_refusal_for_now_costs_nothing(a_place: APlace, text: str) -> None:
    """Too many at a time, or a form that arrived in part: it is sent again later, as the same attempt."""
    place = a_place()
    place.drop("a.txt")
    refused = []

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if is_send(request) and len(refused) < 3:
            refused.append(request)
            return httpx.Response(500, text=text, request=request)
        return None

    place.network.before = refuse
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    assert (len(refused), place.jobs()[0]["attempt"], place.sessions_on_server()) == (3, 1, 1)


async def test_a_session_we_may_not_see_is_looked_at_later(a_place: APlace) -> None:
    """403 speaks of that session only: others go on, and so does it once we may."""
    place = a_place(folder=[{"linger": "0s"}])
    denied = []

    def deny(request: httpx.Request) -> httpx.Response | None:
        if request.method == "GET" and request.url.path != SESSIONS and len(denied) < 3:
            denied.append(request)
            return httpx.Response(403, text="not yours", request=request)
        return None

    place.network.before = deny
    place.drop("a.txt")
    await place.run()
    assert place.states() == {"a.txt": "learned"}
    with place.reader() as reader:
        assert any("not yours" in (event["detail"] or "") for event in reader.events())


async def test_a_session_that_cannot_be_removed_now_is_removed_later(a_place: APlace) -> None:
    """What was given up does not hold a slot for ever."""
    place = a_place(folder=[{"linger": "0s"}])
    failed = []

    def fail(request: httpx.Request) -> httpx.Response | None:
        if request.method == "DELETE" and len(failed) < 2:
            failed.append(request)
            return httpx.Response(500, text="boom", request=request)
        return None

    place.network.before = fail

    async def script() -> None:
        place.drop("a.txt")
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "running")
        leave_request(place.ledger_path, Request(id="c", verb="cancel", job=place.jobs()[0]["id"]), "1")
        await place.until(lambda: place.sessions_on_server() == 0, within=900)

    await place.run(until_idle=False, script=script)
    assert len(failed) == 2


async def test_two_sessions_of_one_job_leave_one(a_place: APlace) -> None:
    """A send that seemed lost arrived twice: one session is adopted, the twin is recorded and removed."""
    place = a_place(watch={"sweep": "1m"}, pace=Pace(train=600.0))
    place.drop("a.txt")
    bodies: list[tuple[bytes, httpx.Headers]] = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=place.app)) as http:

        def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if is_send(request) and not bodies:
                bodies.append((place.network.bodies[-1], request.headers))
                raise httpx.ReadError("connection reset", request=request)
            return response

        place.network.after = lose

        async def script() -> None:
            await place.until(lambda: bool(bodies))
            body, headers = bodies[0]
            again = await http.post(f"http://helix.test{SESSIONS}", content=body, headers=headers)
            assert again.status_code == 200
            assert place.sessions_on_server() == 2
            await place.until(lambda: place.states() == {"a.txt": "learned"})
            await place.until(lambda: place.sessions_on_server() == 1)

        await place.run(until_idle=False, script=script)
    with place.reader() as reader:
        job = reader.job(place.jobs()[0]["id"])
    assert job is not None
    assert sorted(session["state"] for session in job["sessions"]) == ["trained", "twin"]


async def test_a_doubt_of_an_earlier_daemon_is_waited_out_once(a_place: APlace) -> None:
    """A new daemon that finds an old doubt waits the settle time from its own start, and no longer than plans wait."""
    place = a_place(folder=[{"linger": "0s"}])
    place.network.before = lambda request: (
        httpx.Response(502, text="bad gateway", request=request) if is_send(request) else None
    )

    async def script() -> None:
        place.drop("a.txt")
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["state"] == "doubtful")

    await place.run(until_idle=False, script=script)
    await place.pass_time(3600)
    async with place.context() as context:
        await Submissions(context).search(place.jobs()[0]["id"])
        (job,) = context.ledger.jobs.open()
        assert job.next_at is not None
        assert 119.9 < job.next_at - place.runtime.now() <= 120


async def test_a_session_that_cannot_be_read_holds_up_its_searcher_alone(a_place: APlace) -> None:
    """While a job is searched for, the server fails at one session: other jobs are sent, and nothing is sent twice."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}])
    lost: list[str] = []

    def lose_the_first(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if is_send(request) and response.is_success and not lost:
            lost.append(response.json()["id"])
            raise httpx.ReadError("connection reset", request=request)
        return response

    def fail_at_it(request: httpx.Request) -> httpx.Response | None:
        ill = lost and request.method == "GET" and request.url.path == f"{SESSIONS}/{lost[0]}"
        return httpx.Response(500, text="boom", request=request) if ill else None

    def held_up() -> bool:
        with place.reader() as reader:
            return any("cannot be read" in (event["detail"] or "") for event in reader.events())

    async def script() -> None:
        place.network.after = lose_the_first
        place.network.before = fail_at_it
        place.drop("a.txt")
        await place.until(held_up, within=600)
        with place.reader() as reader:
            assert reader.server("http://helix.test")["paused_because"] is None
        place.drop("b.txt", "The sky is blue. It is wide.")
        await place.until(lambda: place.states().get("b.txt") == "learned", within=600)
        assert place.states()["a.txt"] == "packed"
        place.network.before = lambda _: None
        await place.until(lambda: place.states()["a.txt"] == "learned", within=600)

    await place.run(until_idle=False, script=script)
    assert place.sessions_on_server() == 2
