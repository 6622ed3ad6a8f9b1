"""From a dropped file to its pairs in either dialect, through what goes wrong only where a fine-tune has two steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from finetuned.sandbox import DEFAULT_KEY, Faults, Pace, create_app
from support.place import URL, Place
from support.virtual import BEGIN

APlace = Callable[..., Place]
UPLOAD, LEARN = "/api/v1/data_entities", "/api/v1/sessions/learn"
#: the length of the question about the dialect
QUESTION = str(len('{"data_upload_id":""}'))
FULL = (
    "you have reached the maximum number of concurrent finetuning sessions (3/100) allowed for your subscription plan"
)


def starts(request: httpx.Request) -> bool:
    """Whether a request learns an upload; the question about the dialect names none."""
    return request.method == "POST" and request.url.path == LEARN and request.headers["content-length"] != QUESTION


def posts(place: Place, path: str) -> int:
    """How often a path was posted to."""
    return sum(1 for _, method, asked in place.network.requests if (method, asked) == ("POST", path))


def entities(place: Place) -> list[str | None]:
    """The uploads that the ledger knows, oldest first."""
    with place.reader() as reader:
        return [row["upload_id"] for row in reader.connection.execute("select upload_id from sessions order by id")]


def now_speaks(place: Place, dialect: str) -> None:
    """The server is started anew, with all it knew, in another version."""
    place.app.state.store.close()
    place.app = create_app(
        keys=frozenset({DEFAULT_KEY}),
        data=str(place.root / "sandbox"),
        clock=lambda: BEGIN + place.runtime.steady(),
        dialect=dialect,
    )
    place.network.server = httpx.ASGITransport(app=place.app)


@pytest.mark.parametrize(
    ("dialect", "speaks", "spoken"),
    [
        ("auto", "form", "form"),
        ("auto", "learn", "learn"),
        ("auto", "both", "form"),
        ("learn", "learn", "learn"),
        ("learn", "both", "learn"),
    ],
)
async def test_a_dropped_file_is_learned(a_place: APlace, dialect: str, speaks: str, spoken: str) -> None:
    """In whatever dialect: one session, its pairs, the marker in front of the names; the ledger says which it was."""
    place = a_place(speaks=speaks, helix={"dialect": dialect})
    place.drop("otter.txt")
    place.drop("heron.txt", "The heron is a bird. It stands in the reeds.")
    assert not (await place.run()).failed
    assert place.states() == {"otter.txt": "learned", "heron.txt": "learned"}
    (job,) = place.jobs()
    assert (job["state"], job["attempt"], place.sessions_on_server()) == ("done", 1, 1)
    with place.reader() as reader:
        assert reader.server(URL)["dialect"] == spoken
        assert reader.job(job["id"])["sessions"][0]["dialect"] == spoken
        assert {row["file"].rpartition("/")[2] for row in reader.pairs(job=job["id"])} == {"otter.txt", "heron.txt"}
    assert (entities(place) != [None]) is (spoken == "learn")
    assert place.runtime.steady() < 60


async def test_an_upload_is_known_before_it_is_learned(a_place: APlace) -> None:
    """Whatever dies while the upload is learned, its session can be told by it."""
    place = a_place(speaks="learn")
    place.drop("otter.txt")
    known: list[Any] = []

    def look(request: httpx.Request) -> None:
        if starts(request):
            known.extend(entities(place))

    place.network.before = look
    await place.run()
    assert known == entities(place)
    assert None not in known
    (session,) = place.app.state.store.newest_first()
    assert [session.entity] == known


async def test_a_lost_answer_to_the_learn_call_is_found(a_place: APlace) -> None:
    """The server learns already: after the settle time the session is found, and nothing is sent twice."""
    place = a_place(speaks="learn")
    place.drop("otter.txt")
    lost: list[httpx.Request] = []

    def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if starts(request) and not lost:
            lost.append(request)
            raise httpx.ReadTimeout("", request=request)
        return response

    place.network.after = lose
    await place.run()
    assert lost
    assert place.states() == {"otter.txt": "learned"}
    assert (place.jobs()[0]["attempt"], place.sessions_on_server(), posts(place, UPLOAD)) == (1, 1, 1)
    assert place.runtime.steady() >= 120


async def test_a_session_is_found_by_its_upload_alone(a_place: APlace) -> None:
    """A server that calls the files something else still tells which upload a session learns."""
    place = a_place(speaks="learn")
    place.drop("otter.txt")
    lost: list[httpx.Request] = []

    def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if starts(request) and not lost:
            lost.append(request)
            (session,) = place.app.state.store.newest_first()
            (upload,) = session.uploads
            place.app.state.store.save(replace(session, uploads=(replace(upload, name="0.txt"),)))
            raise httpx.ReadTimeout("", request=request)
        return response

    place.network.after = lose
    await place.run()
    assert lost
    assert place.states() == {"otter.txt": "learned"}
    assert (place.jobs()[0]["attempt"], place.sessions_on_server()) == (1, 1)


class Died(BaseException):
    """The daemon's end, wherever it was."""


@pytest.mark.parametrize(
    ("path", "acted", "uploads"),
    [(UPLOAD, False, 1), (UPLOAD, True, 2), (LEARN, False, 1), (LEARN, True, 1)],
    ids=["before-the-upload", "after-the-upload", "before-the-learn-call", "after-the-learn-call"],
)
async def test_death_between_the_two_steps(a_place: APlace, path: str, acted: bool, uploads: int) -> None:
    """Wherever the daemon ended, the next one learns it once, and uploads it no more often than it must."""
    place = a_place(speaks="learn")
    place.drop("otter.txt")
    deaths: list[httpx.Request] = []

    def die(request: httpx.Request, response: httpx.Response | None = None) -> httpx.Response | None:
        if (starts(request) or request.url.path == UPLOAD) and request.url.path == path and not deaths:
            deaths.append(request)
            raise Died
        return response

    if acted:
        place.network.after = die
    else:
        place.network.before = die
    with pytest.RaisesGroup(Died, flatten_subgroups=True, allow_unwrapped=True):
        await place.run()
    place.audit()
    await place.run()
    assert place.states() == {"otter.txt": "learned"}
    (job,) = place.jobs()
    assert (job["state"], job["attempt"], place.sessions_on_server()) == ("done", 1, 1)
    sent = posts(place, UPLOAD) - (1 if path == UPLOAD and not acted else 0)
    assert sent == uploads


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.RemoteProtocolError])
async def test_a_lost_answer_to_an_upload_costs_nothing(a_place: APlace, error: type[httpx.HTTPError]) -> None:
    """Nothing began: no doubt, no settle time, it is uploaded again as soon as the server is back."""
    place = a_place(speaks="learn")
    place.drop("otter.txt")
    lost: list[httpx.Request] = []

    def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path == UPLOAD and not lost:
            lost.append(request)
            raise error("cut", request=request)
        return response

    place.network.after = lose
    await place.run()
    assert lost
    assert place.states() == {"otter.txt": "learned"}
    assert (place.jobs()[0]["attempt"], place.sessions_on_server(), posts(place, UPLOAD)) == (1, 1, 2)
    assert place.runtime.steady() < 60


async def test_a_server_that_always_breaks_at_an_upload_is_given_up(a_place: APlace) -> None:
    """It may be these very files that break it: after three answers of that kind the job has failed, with its words."""
    place = a_place(speaks="learn", helix={"longest_pause": "10s"}, submit={"lost_answer_settle": "5s"})
    place.drop("otter.txt")
    place.network.before = lambda request: (
        httpx.Response(500, text="disk quota\n", request=request) if request.url.path == UPLOAD else None
    )
    assert (await place.run()).failed
    (job,) = place.jobs()
    assert (job["state"], posts(place, UPLOAD), place.sessions_on_server()) == ("failed", 3, 0)
    assert "disk quota" in job["reason"]


async def test_a_full_server_is_not_uploaded_to_again(a_place: APlace) -> None:
    """One job at a time is allowed: the other waits with its upload, which is learned when there is room."""
    place = a_place(
        speaks="learn",
        faults=Faults.parse(["too-many"]),
        pace=Pace(train=600.0),
        folder=[{"max_files": 1}],
        watch={"sweep": "1m"},
        poll={"fastest": "10s"},
    )
    place.drop("otter.txt")
    place.drop("heron.txt", "The heron is a bird. It stands in the reeds.")
    await place.run()
    assert place.states() == {"otter.txt": "learned", "heron.txt": "learned"}
    assert [job["attempt"] for job in place.jobs()] == [1, 1]
    assert (place.sessions_on_server(), posts(place, UPLOAD)) == (2, 2)
    assert posts(place, LEARN) == 4  # the question about the dialect, each job, and one that was refused: then it waits


async def test_a_session_that_was_given_up_is_neither_learned_nor_found_again(a_place: APlace) -> None:
    """It stands still and cannot be removed: the next attempt has an upload of its own, and is found as itself."""
    place = a_place(
        speaks="learn",
        faults=Faults.parse(["forget-work:1", "no-restart-route"]),
        folder=[{"linger": "0s"}],
        watch={"sweep": "5m"},
    )
    lost: list[str] = []

    def kept(request: httpx.Request) -> httpx.Response | None:
        if request.method == "DELETE":
            return httpx.Response(500, text="the store gave no answer\n", request=request)
        return None

    def lose(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if starts(request):
            lost.append(response.json()["id"])
            if len(lost) == 2:
                raise httpx.ReadError("cut", request=request)
        return response

    async def script() -> None:
        place.network.before, place.network.after = kept, lose
        place.drop("otter.txt")
        await place.until(lambda: place.states().get("otter.txt") == "learned", within=7200)
        assert place.sessions_on_server() == 2
        place.network.before = lambda _: None
        await place.until(lambda: place.sessions_on_server() == 1)

    await place.run(until_idle=False, script=script)
    (job,) = place.jobs()
    assert (job["state"], job["attempt"], job["session_id"]) == ("done", 2, lost[1])
    assert (len(lost), posts(place, UPLOAD), len(set(entities(place)))) == (2, 2, 2)
    assert [session.id for session in place.app.state.store.newest_first()] == [lost[1]]


@pytest.mark.parametrize(("status", "words"), [(500, "not found\n"), (400, "you must own the data entity\n")])
async def test_an_upload_that_the_server_lost_is_made_again(a_place: APlace, status: int, words: str) -> None:
    """The server was full, then it or the key was another: what it does not know is uploaded once more, at once."""
    place = a_place(speaks="learn")
    place.drop("otter.txt")
    refused: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response | None:
        if starts(request) and len(refused) < 2:
            refused.append(request)
            first = len(refused) == 1
            return httpx.Response(500 if first else status, text=FULL if first else words, request=request)
        return None

    place.network.before = refuse
    await place.run()
    assert place.states() == {"otter.txt": "learned"}
    assert (place.jobs()[0]["attempt"], place.sessions_on_server(), posts(place, UPLOAD)) == (1, 1, 2)


@pytest.mark.parametrize(("before", "after"), [("form", "learn"), ("learn", "form"), ("form", "both")])
async def test_an_upgrade_under_our_feet(a_place: APlace, before: str, after: str) -> None:
    """What runs goes on, what comes next is sent in the new dialect; nothing is learned twice, no attempt is lost."""
    place = a_place(speaks=before, pace=Pace(train=600.0), folder=[{"linger": "0s"}], watch={"sweep": "1m"})

    async def script() -> None:
        place.drop("otter.txt")
        await place.until(lambda: bool(place.jobs()) and place.jobs()[0]["stage"] == "finetune")
        now_speaks(place, after)
        place.drop("heron.txt", "The heron is a bird. It stands in the reeds.")
        took = await place.until(lambda: place.states().get("heron.txt") == "learned")
        assert took < 1800
        await place.until(lambda: place.states()["otter.txt"] == "learned")

    await place.run(until_idle=False, script=script)
    assert [(job["state"], job["attempt"]) for job in place.jobs()] == [("done", 1), ("done", 1)]
    assert place.sessions_on_server() == 2
    with place.reader() as reader:
        assert reader.server(URL)["dialect"] == {"both": "form"}.get(after, after)


@pytest.mark.parametrize(("dialect", "speaks"), [("learn", "form"), ("form", "learn")])
async def test_a_wrong_dialect_waits_for_a_person(a_place: APlace, dialect: str, speaks: str) -> None:
    """The configuration names a dialect that is not spoken: nothing is sent or failed, and the words say what to do."""
    place = a_place(speaks=speaks, helix={"dialect": dialect}, folder=[{"linger": "0s"}], watch={"sweep": "5m"})

    async def script() -> None:
        place.drop("otter.txt")
        await place.pass_time(2 * 3600)
        with place.reader() as reader:
            assert f"but not the {dialect} dialect" in reader.server(URL)["paused_because"]
        assert [(job["state"], job["attempt"]) for job in place.jobs()] == [("queued", 0)]
        now_speaks(place, "both")
        assert await place.until(lambda: place.states()["otter.txt"] == "learned") < 300

    await place.run(until_idle=False, script=script)
    assert (place.jobs()[0]["attempt"], place.sessions_on_server()) == (1, 1)


@pytest.mark.parametrize("speaks", ["form", "learn"])
@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        ("too-much", "refused", "it makes 9 chunks"),
        ("truncate", "learned", "5 of 9 chunks were used"),
    ],
)
async def test_a_plan_that_allows_less_is_named(
    a_place: APlace, speaks: str, fault: str, state: str, words: str
) -> None:
    """A strict quota refuses the file with the arithmetic; a lenient one cuts it. No second session is spent on it."""
    place = a_place(speaks=speaks, faults=Faults.parse([fault]))
    place.drop("otter.txt")
    await place.run()
    (job,) = place.jobs()
    file = place.files()["otter.txt"]
    assert (job["attempt"], place.sessions_on_server()) == (1, 1)
    assert job["state"] == {"refused": "cancelled", "learned": "partial"}[state]
    assert (file["state"], words in file["reason"]) == (state, True), file["reason"]
