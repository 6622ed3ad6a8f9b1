"""A server whose plan allows little: jobs are made smaller, fewer are sent at a time, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from finetuned.daemon.requests import Request, leave_request
from finetuned.lifecycle import Requested
from finetuned.sandbox import PLANS, Faults, Pace
from support.kernel import renames_by
from support.place import Place, is_send, text

APlace = Callable[..., Place]
HOUR = 3600.0
KIB = 1024


class Died(BaseException):
    """The end of a process."""


def job_of(place: Place, job_id: str) -> dict[str, Any]:
    """One job, with everything about it."""
    with place.reader() as reader:
        found = reader.job(job_id)
    assert found is not None
    return found


def server(place: Place) -> dict[str, Any]:
    """What is known of the server."""
    with place.reader() as reader:
        return reader.server("http://helix.test")


@pytest.mark.parametrize("speaks", ["form", "learn"])
@pytest.mark.parametrize("after", ["move", "keep"])
async def test_too_much_data_is_halved_until_it_fits(a_place: APlace, speaks: str, after: str) -> None:
    """The paid plan takes eleven small files; of twenty-four in one job all are learned, in smaller ones."""
    place = a_place(
        speaks=speaks,
        faults=Faults.parse(["too-much"]),
        quota=PLANS["paid"],
        folder=[{"linger": "1s", "max_files": 99, "max_chunks": 999, "after": after}],
    )
    for number in range(24):
        place.drop(f"{number:02}.txt", text(str(number)))
    await place.run()
    assert set(place.states().values()) == {"learned"}
    jobs = place.jobs()
    whole, *parts = jobs
    assert (whole["state"], whole["reason"]) == ("cancelled", f"split into {parts[0]['id']}, {parts[1]['id']}")
    assert [job["state"] for job in parts].count("done") == 4
    assert sorted(job["files"] for job in parts if job["state"] == "done") == [6, 6, 6, 6]
    assert server(place)["max_chunks"] == 100
    assert not list(place.notes.glob(".processing/*"))
    if after == "move":
        assert len(list(place.notes.glob("done/*/*.txt"))) == 24

    async def script() -> None:
        leave_request(place.ledger_path, Request(id="r", verb="retry", job=whole["id"]), "1")
        for number in range(12):
            place.drop(f"later{number:02}.txt", text(f"later {number}"))
        await place.until(lambda: list(place.states().values()).count("learned") == 36)

    await place.run(until_idle=False, script=script)
    with place.reader() as reader:
        answer = reader.answer("r")
    assert answer is not None
    assert answer["became"] == "refused"
    assert parts[0]["id"] in answer["detail"]
    later = place.jobs()[len(jobs) :]
    assert sorted(job["files"] for job in later) == [1, 11], "what was learned of the plan is kept to"


async def test_a_file_that_can_never_fit_is_refused_with_the_arithmetic(a_place: APlace) -> None:
    """Nine chunks for each started 16 KiB: the free plan takes no file at all, and says so of each."""
    place = a_place(speaks="learn", faults=Faults.parse(["too-much"]), folder=[{"linger": "1s"}], quota=PLANS["free"])
    place.drop("a.txt", text("a"))
    place.drop("b.txt", text("b", 20 * KIB))
    await place.run()
    files = place.files()
    assert {name: row["state"] for name, row in files.items()} == {"a.txt": "refused", "b.txt": "refused"}
    assert "it makes 9 chunks" in files["a.txt"]["reason"]
    assert "it makes 18 chunks" in files["b.txt"]["reason"]
    assert files["b.txt"]["reason"].endswith("5 allowed; upgrade the plan: even the smallest file needs 9")
    why = (place.notes / "failed" / "refused" / "b.txt.why.txt").read_text()
    assert "it makes 18 chunks" in why
    assert not list(place.notes.glob(".processing/*"))
    assert {job["state"] for job in place.jobs()} == {"cancelled"}


async def test_a_file_that_is_larger_than_the_plan_says_that_it_may_be_split(a_place: APlace) -> None:
    """The paid plan takes eleven pieces of 16 KiB."""
    place = a_place(speaks="learn", faults=Faults.parse(["too-much"]), quota=PLANS["paid"])
    place.drop("a.txt", text("a", 180 * KIB))
    await place.run()
    assert place.files()["a.txt"]["reason"].endswith("100 allowed; split the file, or upgrade the plan")


async def test_a_better_plan_is_found_out_by_a_file_that_was_too_big(a_place: APlace) -> None:
    """The limit is forgotten once something bigger trains whole."""
    place = a_place(
        faults=Faults.parse(["too-much:3"]),
        quota=PLANS["free"],
        folder=[{"linger": "1s", "max_files": 2, "duplicates": "send"}],
    )
    place.drop("a.txt", text("a"))
    place.drop("b.txt", text("b"))
    await place.run()
    assert server(place)["max_chunks"] == 5
    place.drop("c.txt", text("c"))
    await place.run()
    assert (place.states()["c.txt"], server(place)["max_chunks"]) == ("learned", None)


async def test_ready_made_pairs_tell_nothing_of_what_a_plan_allows(a_place: APlace) -> None:
    """No text is cut into chunks for them: however many they are, the limit that was learned stays."""
    place = a_place(folder=[{"linger": "0s", "include": ["*.txt", "*.jsonl"]}])

    async def script() -> None:
        await place.pass_time(0.1)
        place.here.ledger.servers.chunks_allowed("http://helix.test", 5, place.runtime.now())
        place.drop("c.jsonl", "\n".join(f'{{"instruction": "{n}?", "output": "{n}."}}' for n in range(999)))
        await place.until(lambda: place.states().get("c.jsonl") == "learned")

    await place.run(until_idle=False, script=script)
    assert server(place)["max_chunks"] == 5


async def test_death_between_split_and_claim_is_made_good(a_place: APlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The successors claim their files at the next start, from where the first job had laid them."""
    place = a_place(faults=Faults.parse(["too-much:1"]), quota=PLANS["free"], folder=[{"linger": "1s"}])
    place.drop("a.txt", text("a"))
    place.drop("b.txt", text("b"))

    def dies_at_the_second_claim(rename: Callable[[], None], old: str, new: str) -> None:
        if len(place.jobs()) > 1:
            raise Died
        rename()

    with monkeypatch.context() as patch, pytest.RaisesGroup(Died, flatten_subgroups=True, allow_unwrapped=True):
        renames_by(patch, dies_at_the_second_claim)
        await place.run()
    assert len(place.jobs()) == 3
    assert len(list(place.notes.glob(f".processing/{place.jobs()[0]['id']}/*.txt"))) == 2
    await place.run()
    assert place.states() == {"a.txt": "learned", "b.txt": "learned"}
    assert not list(place.notes.glob(".processing/*"))


async def test_too_many_at_a_time_wait_and_cost_nothing(a_place: APlace) -> None:
    """The plan allows three; ten jobs are learned, none in a second attempt, and no hammering."""
    place = a_place(
        speaks="learn",
        faults=Faults.parse(["too-many"]),
        quota=PLANS["paid"],
        pace=Pace(train=120),
        helix={"max_in_flight": 8},
        folder=[{"linger": "0s", "max_files": 1}],
        watch={"sweep": "1m"},
        poll={"fastest": "10s"},
    )
    for number in range(10):
        place.drop(f"{number}.txt", text(str(number)))

    async def script() -> None:
        await place.until(lambda: list(place.states().values()).count("learned") == 3, within=HOUR)
        assert server(place)["max_sessions"] == 3
        await place.until(lambda: set(place.states().values()) == {"learned"}, within=HOUR)

    await place.run(until_idle=False, script=script)
    assert {job["attempt"] for job in place.jobs()} == {1}
    refused = [event for event in place.events() if event["cause"] == "not_now"]
    assert 1 <= len(refused) <= 7
    assert place.sessions_on_server() == 10


async def test_one_more_at_a_time_is_tried_each_hour(a_place: APlace) -> None:
    """A plan that was full because of somebody else's sessions is used up to max_in_flight again."""
    place = a_place(
        pace=Pace(train=30 * 60),
        poll={"fastest": "1m", "stalled_after": "30d"},
        helix={"max_in_flight": 3},
        folder=[{"linger": "0s", "max_files": 1}],
        watch={"sweep": "1m"},
    )
    full = True

    def before(request: httpx.Request) -> httpx.Response | None:
        if full and (request.method, request.url.path) == ("POST", "/api/v1/sessions") and len(place.jobs()) > 1:
            words = "you have reached the maximum number of concurrent finetuning sessions (3/100) allowed"
            return httpx.Response(500, text=words, request=request)
        return None

    def running() -> int:
        return [job["state"] for job in place.jobs()].count("running")

    async def script() -> None:
        nonlocal full
        place.drop("first.txt", text("first"))
        await place.until(lambda: running() == 1)
        place.network.before = before
        for number in range(20):
            place.drop(f"{number}.txt", text(str(number)))
        await place.until(lambda: server(place)["max_sessions"] == 1)
        full = False
        await place.pass_time(600)
        assert running() == 1
        await place.pass_time(HOUR)
        assert running() == 2
        await place.pass_time(HOUR)
        assert running() == 3

    await place.run(until_idle=False, script=script)


async def test_a_training_that_fails_after_a_cut_is_no_quota(a_place: APlace) -> None:
    """The plan cut the data, and then the trainer failed: that is trained again, neither halved nor refused."""
    place = a_place(
        speaks="learn",
        faults=Faults.parse(["truncate", "runner-error:1"]),
        quota=PLANS["free"],
        folder=[{"linger": "1s"}],
    )
    place.drop("a.txt", text("a"))
    place.drop("b.txt", text("b"))
    await place.run()
    (job,) = place.jobs()
    assert (job["state"], job["restarts"], place.sessions_on_server()) == ("partial", 1, 1)
    assert place.states()["a.txt"] == "learned"


async def test_a_person_who_cancels_while_the_plan_refuses_is_heard(a_place: APlace) -> None:
    """The answer to the upload is that it is too much: nothing goes on in smaller jobs."""
    place = a_place(faults=Faults.parse(["too-much"]), quota=PLANS["free"], folder=[{"linger": "0s"}])
    place.drop("a.txt", text("a"))
    place.drop("b.txt", text("b"))

    def after(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if is_send(request):
            job = place.here.ledger.jobs.get(place.jobs()[0]["id"])
            assert job is not None
            place.here.ledger.requests.give_up(job, Requested.CANCEL, place.runtime.now())
            words = "too much data to process (resulted in 18 chunks while the limit is 5)"
            return httpx.Response(500, text=words, request=request)
        return response

    place.network.after = after
    await place.run()
    assert [(job["state"], job["reason"]) for job in place.jobs()] == [("cancelled", "cancelled by a person")]
    assert set(place.states().values()) == {"failed"}
