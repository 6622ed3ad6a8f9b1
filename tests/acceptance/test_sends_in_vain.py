"""Sends that leave no session: each kind is counted and ends; one bad file does not cost its companions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from finetuned.daemon.split import HALVED_IN_VAIN
from finetuned.errors import Changed
from support.place import Place, text

APlace = Callable[..., Place]
PAGE = "<html><body><h1>403 Forbidden</h1>a firewall</body></html>"
PROXY_PAGE = "<html><head><title>413 Request Entity Too Large</title></head></html>"
TOGETHER = {"linger": "1s", "max_files": 2000, "max_chunks": 100_000}
BOTH = pytest.mark.parametrize("speaks", ["form", "learn"])


def is_send(request: httpx.Request) -> bool:
    """Whether a request carries the files of a job; the question about the other dialect does not."""
    asks = request.url.path == "/api/v1/sessions" and int(request.headers.get("content-length", 0)) < 300
    return request.method == "POST" and request.url.path in {"/api/v1/sessions", "/api/v1/data_entities"} and not asks


def sends(place: Place) -> list[httpx.Request]:
    """Remembers the requests that carry files, from now on."""
    seen: list[httpx.Request] = []
    before = place.network.before

    def counted(request: httpx.Request) -> Any:
        if is_send(request):
            seen.append(request)
        return before(request)

    place.network.before = counted
    return seen


def broken(kind: type[httpx.TransportError]) -> Callable[[httpx.Request], Any]:
    """The request breaks before the server has all of it."""

    def break_off(request: httpx.Request) -> Any:
        raise kind("broken", request=request)

    return break_off


def said(status: int, words: str = "", **headers: str) -> Callable[[httpx.Request], Any]:
    """The request is answered so, and has no effect."""
    return lambda request: httpx.Response(status, text=words, headers=headers, request=request)


def strike(place: Place, what: Callable[[httpx.Request], Any]) -> list[httpx.Request]:
    """Every send is struck; the sends are remembered."""
    place.network.before = lambda request: what(request) if is_send(request) else None
    return sends(place)


BREAKS = {
    "broken pipe": broken(httpx.WriteError),
    "write time-out": broken(httpx.WriteTimeout),
    "reset": broken(httpx.ReadError),
    "time-out": broken(httpx.ReadTimeout),
    "empty reply": broken(httpx.RemoteProtocolError),
}
KINDS = BREAKS | {
    "no body": said(200),
    "cut reply": said(200, '{"id": "s-1", "interactions": ['),
    "a page": said(200, PAGE, **{"content-type": "text/html"}),
    "5xx without a body": said(502),
    "a redirect": said(302, location="/login"),
    "no such call": said(404),
    "no time": said(408),
    "the wrong key": said(401, "invalid API key"),
    "a form in part": said(500, "unexpected EOF"),
}


@BOTH
@pytest.mark.parametrize("what", KINDS.values(), ids=KINDS)
async def test_every_kind_of_send_in_vain_is_counted_and_ends(a_place: APlace, speaks: str, what: Any) -> None:
    """The server lists its sessions all the time, and takes no job: five sends at most, then the job has failed."""
    place = a_place(speaks=speaks, folder=[{"linger": "0s"}])
    seen = strike(place, what)
    place.drop("a.txt")
    assert (await place.run()).failed
    (job,) = place.jobs()
    assert (job["state"], place.states(), place.sessions_on_server()) == ("failed", {"a.txt": "failed"}, 0)
    assert 3 <= len(seen) <= 5
    assert "sends" in job["reason"]
    assert "left no session; the last one:" in job["reason"]
    assert ("a proxy may allow less" in job["reason"]) == (what in BREAKS.values())
    place.network.before = lambda _: None
    place.leave("retry", job=job["id"])
    await place.run()
    assert place.states() == {"a.txt": "learned"}


async def test_what_broke_off_now_and_then_is_forgotten_once_a_job_is_taken(a_place: APlace) -> None:
    """Four broken sends are no five, however often: a session that was made ends the counting."""
    place = a_place(folder=[{"linger": "0s", "max_files": 1}])
    left = 4
    place.network.before = lambda request: broken(httpx.WriteError)(request) if is_send(request) and fails() else None

    def fails() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    for name in ("a.txt", "b.txt"):
        left = 4
        place.drop(name, text(name))
        await place.run()
        assert place.states()[name] == "learned"
    assert {job["attempt"] for job in place.jobs()} == {1}


async def test_a_server_that_asks_us_to_wait_for_ever_ends_a_run_until_idle(a_place: APlace) -> None:
    """To wait is not to fail: nothing is lost, and a person who waits for the run is told that work is left."""
    place = a_place(folder=[{"linger": "0s"}])
    seen = strike(place, said(429, "later", **{"retry-after": "10"}))
    place.drop("a.txt")
    assert (await place.run()).unusable
    assert (place.jobs()[0]["state"], place.states(), place.jobs()[0]["attempt"]) == ("queued", {"a.txt": "packed"}, 0)
    assert len(seen) <= 10


def proxy(limit: int) -> Callable[[httpx.Request], Any]:
    """A proxy that takes requests of so many bytes."""
    page = httpx.Response(413, text=PROXY_PAGE)
    return lambda request: page if int(request.headers["content-length"]) > limit else None


@BOTH
@pytest.mark.parametrize("after", ["move", "keep"])
async def test_a_proxy_that_takes_no_large_request_is_a_limit_like_a_quota(
    a_place: APlace, speaks: str, after: str
) -> None:
    """The job is halved until it fits, the file that cannot fit is refused with the numbers, and the limit is kept."""
    place = a_place(speaks=speaks, folder=[TOGETHER | {"after": after}])
    seen = strike(place, proxy(9000))
    for number in range(6):
        place.drop(f"{number}.txt", text(str(number), 700))
    size = place.drop("big.txt", text("big", 16 * 1024)).stat().st_size
    await place.run()
    files = place.files()
    assert files.pop("big.txt")["state"] == "refused"
    assert {row["state"] for row in files.values()} == {"learned"}
    reason = place.files()["big.txt"]["reason"]
    assert f"{size} bytes" in reason
    assert "413 Request Entity Too Large" in reason
    assert "<" not in reason
    assert "raise client_max_body_size in the proxy, or lower max_bytes" in reason
    assert len(seen) <= 9
    whole = place.jobs()[0]
    assert whole["reason"].startswith("split into ")
    with place.reader() as reader:
        allowed = reader.server("http://helix.test")["max_request"]
    assert 4000 < allowed <= 9000
    before = len(seen)
    for number in range(12):
        place.drop(f"later{number}.txt", text(f"later {number}", 700))
    await place.run()
    assert list(place.states().values()).count("learned") == 18
    assert len(seen) - before <= 4, "what was learned of the proxy is kept to"


async def test_a_larger_limit_is_found_out_by_a_file_that_gets_through(a_place: APlace) -> None:
    """Somebody raised the limit: one file that is larger than we thought possible tells so."""
    place = a_place(folder=[TOGETHER])
    strike(place, proxy(5000))
    for number in range(8):
        place.drop(f"{number}.txt", text(str(number), 1000))
    await place.run()
    place.network.before = lambda _: None
    size = place.drop("large.txt", text("large", 20_000)).stat().st_size
    await place.run()
    assert set(place.states().values()) == {"learned"}
    with place.reader() as reader:
        assert reader.server("http://helix.test")["max_request"] == size


def firewall(place: Place, answer: Callable[[httpx.Request], Any]) -> list[httpx.Request]:
    """A firewall that dislikes every file whose name begins with `bad`."""

    def judged(request: httpx.Request) -> Any:
        (job,) = [job for job in place.here.ledger.jobs.open() if job.state == "submitting"]
        names = [file.path.rpartition("/")[2] for file in place.here.ledger.jobs.files(job.id)]
        return answer(request) if any(name.startswith("bad") for name in names) else None

    return strike(place, judged)


REFUSALS = {
    "403": said(403, PAGE),
    "406": said(406, "Not Acceptable: mod_security"),
    "500": said(500, "the firewall says no"),
    "a page with 200": said(200, PAGE, **{"content-type": "text/html"}),
    "a reset": broken(httpx.ReadError),
}


@BOTH
@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
async def test_what_one_file_causes_does_not_cost_its_companions(a_place: APlace, speaks: str, answer: Any) -> None:
    """A firewall dislikes two files: the ten others of the job are learned, those two failed with its words."""
    place = a_place(speaks=speaks, helix={"max_in_flight": 1}, folder=[TOGETHER])
    seen = firewall(place, answer)
    for name in (*(f"good{number}.txt" for number in range(10)), "bad1.txt", "bad2.txt"):
        place.drop(name, text(name))
    assert (await place.run()).failed
    states = place.states()
    assert {states.pop("bad1.txt"), states.pop("bad2.txt")} == {"failed"}
    assert set(states.values()) == {"learned"}
    assert len(seen) <= 25
    reason = place.files()["bad1.txt"]["reason"]
    assert any(words in reason for words in ("403", "406", "firewall", "web page", "broke"))


async def test_a_firewall_that_refuses_everything_is_not_asked_once_for_each_file(a_place: APlace) -> None:
    """After some jobs that were halved in vain the rest has failed as it is, and so has the next job, at once."""
    place = a_place(folder=[TOGETHER])
    seen = strike(place, said(403, PAGE))
    for number in range(200):
        place.drop(f"{number:03}.txt", text(str(number)))
    assert (await place.run()).failed
    assert set(place.states().values()) == {"failed"}
    assert len(seen) <= 2 * HALVED_IN_VAIN + 1
    assert any("were not tried one by one" in (job["reason"] or "") for job in place.jobs())
    before = len(seen)
    for number in range(50):
        place.drop(f"later{number:02}.txt", text(f"later {number}"))
    await place.run()
    assert set(place.states().values()) == {"failed"}
    assert len(seen) - before == 1


async def test_retry_of_a_job_that_was_halved_does_not_repeat_it(a_place: APlace) -> None:
    """Its files went on in others: it is refused, with their names."""
    place = a_place(folder=[TOGETHER])
    strike(place, proxy(4000))
    for number in range(8):
        place.drop(f"{number}.txt", text(str(number), 700))
    await place.run()
    whole = next(job for job in place.jobs() if job["state"] == "cancelled")
    place.leave("retry", job=whole["id"])
    before = len(place.jobs())
    await place.run()
    assert len(place.jobs()) == before
    with place.reader() as reader:
        (event,) = [event for event in reader.events() if event["cause"] == "retry"]
    assert event["became"] == "refused"
    assert whole["reason"] in event["detail"]


async def test_a_file_that_changes_while_it_is_sent_counts_for_nothing(a_place: APlace) -> None:
    """That was no fault of the server's: the file settles anew, and its companions are sent again."""
    place = a_place(folder=[TOGETHER])
    place.drop("a.txt", text("a"))
    place.drop("b.txt", text("b"))
    times = 0

    def cut(request: httpx.Request) -> Any:
        nonlocal times
        times += 1
        if times <= 7:
            raise Changed("it changed")
        return None

    strike(place, cut)
    await place.run()
    assert set(place.states().values()) == {"learned"}


@BOTH
async def test_a_job_that_is_far_too_large_is_cut_to_size_without_sending_every_half(
    a_place: APlace, speaks: str
) -> None:
    """What is larger than what a proxy was found to take is halved before it is sent: few requests are refused."""
    place = a_place(speaks=speaks, folder=[TOGETHER])
    seen = strike(place, proxy(9000))
    for number in range(200):
        place.drop(f"{number:03}.txt", text(str(number), 3000))
    await place.run()
    assert set(place.states().values()) == {"learned"}
    assert sum(int(request.headers["content-length"]) > 9000 for request in seen) <= 16


async def test_no_job_fails_as_several_were_too_large_at_a_time(a_place: APlace) -> None:
    """What is refused for its size alone was no vain try: the next is smaller, however many went out together."""
    place = a_place(folder=[TOGETHER], helix={"max_in_flight": 64})
    strike(place, proxy(4500))
    for number in range(300):
        place.drop(f"{number:03}.txt", text(str(number), 3000))
    await place.run()
    assert set(place.states().values()) == {"learned"}


async def test_a_proxy_that_refuses_everything_as_too_large_is_asked_once_for_each_file(a_place: APlace) -> None:
    """Each file has its own verdict, with its own numbers, for one request; no half of a job costs one more."""
    place = a_place(folder=[TOGETHER])
    seen = strike(place, proxy(0))
    for number in range(100):
        place.drop(f"{number:03}.txt", text(str(number), 3000))
    await place.run()
    assert set(place.states().values()) == {"refused"}
    assert len(seen) <= 120
    assert "413 Request Entity Too Large" in place.files()["000.txt"]["reason"]
