"""Sessions that stand still are put to work again, or given up; nobody has to come for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from finetuned.sandbox import Faults, Pace
from support.place import Place, no_connection

APlace = Callable[..., Place]
OTTER = "The otter is a mammal. It lives in rivers."
MINUTE, HOUR = 60.0, 3600.0


def stuck_place(a_place: APlace, **words: Any) -> Place:
    """A place where files go at once, and where days go by fast."""
    return a_place(folder=[{"linger": "0s", "settle": "0s"}], watch={"sweep": "5m"}, **words)


def asked(place: Place, verb: str) -> list[float]:
    """When something was asked of a session, counted from the beginning."""
    begin = place.network.requests[0][0]
    return [at - begin for at, _, path in place.network.requests if path.endswith(f"/{verb}")]


def told(place: Place, cause: str) -> list[str]:
    """What the events of this cause say."""
    with place.reader() as reader:
        return [event["detail"] for event in reader.events() if event["cause"] == cause]


def the_job(place: Place) -> dict[str, Any]:
    """The only job, with everything about it."""
    with place.reader() as reader:
        found = reader.job(place.jobs()[0]["id"])
    assert found is not None
    return found


async def learn(place: Place, *, within: float = 12 * HOUR) -> float:
    """Drop a file and wait until its job has ended and is put away; how long it took."""
    took = 0.0

    async def script() -> None:
        nonlocal took
        place.drop("a.txt", OTTER)
        begin = place.runtime.steady()
        with anyio.fail_after(within):
            while not place.jobs() or place.jobs()[0]["finished_at"] is None:
                await place.pass_time(10)
        took = place.runtime.steady() - begin
        await place.pass_time(30)

    await place.run(until_idle=False, script=script)
    return took


async def test_forgotten_work_is_restarted_after_ten_minutes(a_place: APlace) -> None:
    """Half its pairs are made, and the server has forgotten the rest: one restart, and it is learned."""
    place = stuck_place(a_place, faults=Faults.parse(["forget-work:1"]))
    took = await learn(place)
    job = the_job(place)
    assert (job["state"], job["restarts"], job["attempt"]) == ("done", 1, 1)
    assert 10 * MINUTE < took < 12 * MINUTE
    assert told(place, "restart") == ["restarted 1 of 3: no sign of life for 10 min in generate_questions"]


async def test_a_server_that_crashes_on_a_session_is_survived(a_place: APlace) -> None:
    """A crash with half the pairs made costs no attempt: after it the session only has to be restarted."""
    place = stuck_place(a_place, pace=Pace(chunk=2), faults=Faults.parse(["crash:1"]))
    took = await learn(place)
    job = the_job(place)
    assert (job["state"], job["restarts"], job["attempt"]) == ("done", 1, 1)
    assert 10 * MINUTE < took < 13 * MINUTE


async def test_who_forgets_again_and_again_is_given_up_and_sent_anew(a_place: APlace) -> None:
    """Three restarts in vain: the session goes from the server, its pairs come here, and the next attempt learns."""
    place = stuck_place(a_place)
    freeze(place, state="waiting", data_prep_stage="generate_questions", progress=50, restarts=3)
    took = await learn(place)
    job = the_job(place)
    assert (job["state"], job["restarts"], job["attempt"]) == ("done", 0, 2)
    assert 40 * MINUTE < took < 48 * MINUTE
    assert len(asked(place, "restart")) == 3
    assert [session["state"] for session in job["sessions"]] == ["ended", "trained"]
    assert "its restarts (3) are used up; attempt 2 of 3 follows" in told(place, "stalled")[0]
    assert place.sessions_on_server() == 1
    with place.reader() as reader:
        query = "select count(distinct session_id) from qa_pairs"
        assert reader.connection.execute(query).fetchone()[0] == 2


async def test_a_job_whose_every_session_stands_still_fails_with_the_reason(a_place: APlace) -> None:
    """After so many attempts it says why, and leaves no unfinished session on the server."""
    place = stuck_place(a_place, submit={"attempts": 2}, poll={"restarts": 0})
    freeze(place, for_ever=True, state="waiting", data_prep_stage="extract_text", progress=1)
    took = await learn(place)
    job = the_job(place)
    assert (job["state"], job["attempt"], place.sessions_on_server()) == ("failed", 2, 0)
    assert "no sign of life for 10 min in extract_text" in job["reason"]
    assert 20 * MINUTE < took < 25 * MINUTE
    assert place.states() == {"a.txt": "failed"}


async def test_without_a_restart_route_the_session_is_given_up_at_once(a_place: APlace) -> None:
    """The newest servers answer a restart with a page: the next attempt begins without another ten minutes."""
    place = stuck_place(a_place, faults=Faults.parse(["forget-work:1", "no-restart-route"]))
    took = await learn(place)
    job = the_job(place)
    assert (job["state"], job["attempt"], place.sessions_on_server()) == ("done", 2, 1)
    assert 10 * MINUTE < took < 12 * MINUTE
    assert "web page" in told(place, "stalled")[0]


@pytest.mark.parametrize(
    ("faults", "calls", "ends"),
    [
        (["chunk-error:1"], {"retry": 1, "start": 0}, "done"),
        (["chunk-error"], {"retry": 3, "start": 1}, "partial"),
        (["review-rest:1"], {"retry": 0, "start": 1}, "done"),
    ],
    ids=["a chunk failed", "a chunk always fails", "nothing is wrong"],
)
async def test_a_rest_before_the_training_is_ended(
    a_place: APlace, faults: list[str], calls: dict[str, int], ends: str
) -> None:
    """Failed chunks are made again, three times at most; then it is trained with what there is."""
    place = stuck_place(a_place, faults=Faults.parse(faults))
    took = await learn(place)
    assert {verb: len(asked(place, f"{verb}")) for verb in calls} == calls
    job = the_job(place)
    assert (job["state"], job["attempt"]) == (ends, 1)
    assert 30 < took < 30 + 40 * sum(calls.values())
    assert asked(place, "restart") == []


async def test_a_queue_for_a_trainer_is_joined_again_ever_more_rarely(a_place: APlace) -> None:
    """Ten minutes, twenty, forty: harmless, and never counted."""
    place = stuck_place(a_place, pace=Pace(queue=HOUR))
    await learn(place)
    job = the_job(place)
    assert (job["state"], job["restarts"], job["attempt"]) == ("done", 0, 1)
    first, second, third = asked(place, "restart")
    assert 10 * MINUTE <= first <= 12 * MINUTE
    assert 20 * MINUTE <= second - first <= 22 * MINUTE
    assert 40 * MINUTE <= third - second <= 42 * MINUTE


async def test_a_long_queue_on_a_server_without_restarts_is_waited_out(a_place: APlace) -> None:
    """Who only queues is not thrown out of the queue after ten minutes."""
    place = stuck_place(
        a_place, poll={"slowest": "2m"}, pace=Pace(queue=5 * HOUR), faults=Faults.parse(["no-restart-route"])
    )
    took = await learn(place)
    assert (the_job(place)["state"], the_job(place)["attempt"]) == ("done", 1)
    assert 5 * HOUR < took < 5.1 * HOUR


async def test_a_queue_without_an_end_is_left_in_the_end(a_place: APlace) -> None:
    """No restart route, and more patience with trainings than any queue is asked again after: it is given up."""
    rules = {"training_stalled_after": "12h", "slowest": "5m"}
    place = stuck_place(a_place, poll=rules, pace=Pace(queue=999 * HOUR), faults=Faults.parse(["no-restart-route"]))

    async def script() -> None:
        place.drop("a.txt", OTTER)
        with anyio.fail_after(36 * HOUR):
            while not told(place, "stalled"):
                await place.pass_time(10 * MINUTE)

    await place.run(until_idle=False, script=script)
    assert "queued for a trainer" in told(place, "stalled")[0]


async def test_a_training_that_stands_still_is_restarted_after_six_hours(a_place: APlace) -> None:
    """Training is slow: patience is long, and the restart counts."""
    place = stuck_place(a_place, poll={"slowest": "2m"})
    freeze(place, state="waiting", data_prep_stage="finetune", progress=40, restarts=1)
    took = await learn(place)
    assert (the_job(place)["state"], the_job(place)["restarts"]) == ("done", 1)
    assert 6 * HOUR < took < 6.1 * HOUR


async def test_a_runner_that_works_silently_is_left_at_it(a_place: APlace) -> None:
    """“currently active” is a sign of life: nothing counts, and the clock starts anew."""
    place = stuck_place(a_place, poll={"slowest": "5m"}, pace=Pace(train=99 * 7 * HOUR))
    freeze(place, answer="session is currently active", state="waiting", data_prep_stage="finetune", progress=40)

    async def script() -> None:
        place.drop("a.txt", OTTER)
        await place.pass_time(20 * HOUR)

    await place.run(until_idle=False, script=script)
    assert len(asked(place, "restart")) == 3
    job = the_job(place)
    assert (job["state"], job["restarts"], job["attempt"]) == ("running", 0, 1)


async def test_a_restart_that_never_reached_the_server_does_not_count(a_place: APlace) -> None:
    """Four times the connection is refused just then; the one restart that is allowed helps in the end."""
    place = stuck_place(a_place, faults=Faults.parse(["forget-work:1"]), poll={"restarts": 1})

    def down(request: httpx.Request) -> Any:
        if request.url.path.endswith("/restart") and len(asked(place, "restart")) < 5:
            no_connection(request)

    place.network.before = down
    await learn(place)
    job = the_job(place)
    assert (job["state"], job["restarts"], job["attempt"]) == ("done", 1, 1)
    assert len(told(place, "unreachable")) == 4


async def test_a_failed_training_that_cannot_be_restarted_fails_with_the_trainers_words(a_place: APlace) -> None:
    """The server has no such call: that is no reason to name instead of the real one."""
    place = stuck_place(a_place, faults=Faults.parse(["runner-error", "no-restart-route"]))
    await learn(place)
    assert (the_job(place)["state"], place.sessions_on_server()) == ("failed", 1)
    assert the_job(place)["reason"] == "the server's training failed: CUDA out of memory"


async def test_a_session_that_ended_with_an_error_stays_as_evidence(a_place: APlace) -> None:
    """Nothing to restart: the job failed with the server's words, and the session can be looked at."""
    place = stuck_place(a_place, faults=Faults.parse(["state-error"]))
    await learn(place)
    assert the_job(place)["state"] == "failed"
    assert "could not be prepared" in the_job(place)["reason"]
    assert (asked(place, "restart"), place.sessions_on_server()) == ([], 1)


async def test_a_session_restarted_just_as_it_finished_is_recognised(a_place: APlace) -> None:
    """It hangs in waiting/complete for ever, but its model is there: it is learned, and never restarted again."""
    place = stuck_place(a_place)
    freeze(place, for_ever=True, state="waiting", data_prep_stage="complete", finished=False, when="inference")
    took = await learn(place)
    assert (the_job(place)["state"], asked(place, "restart")) == ("done", [])
    assert took < 2 * MINUTE


async def test_neither_a_sleep_nor_an_outage_nor_our_own_restart_counts(a_place: APlace) -> None:
    """After each of them the ten minutes begin anew: nobody looked, so nobody knows."""
    place = stuck_place(a_place, faults=Faults.parse(["forget-work:1"]))

    async def until_nine() -> None:
        place.drop("a.txt", OTTER)
        await place.pass_time(9 * MINUTE)

    async def sleep_then_outage() -> None:
        await place.pass_time(9 * MINUTE)
        place.runtime.jump(8 * HOUR)  # the lid was closed, and the server slept as well
        await place.pass_time(9 * MINUTE)
        place.network.before = no_connection
        await place.pass_time(5 * MINUTE)
        place.network.before = lambda _: None
        await place.pass_time(9 * MINUTE)
        assert asked(place, "restart") == []
        await place.until(lambda: place.jobs()[0]["state"] == "done", within=4 * MINUTE)

    await place.run(until_idle=False, script=until_nine)
    await place.run(until_idle=False, script=sleep_then_outage)
    assert the_job(place)["restarts"] == 1


async def test_restarts_that_were_used_stay_used_over_our_own_restart(a_place: APlace) -> None:
    """What was done is in the ledger: a daemon that is started again does not begin to count anew."""
    place = stuck_place(a_place, submit={"attempts": 1}, poll={"restarts": 2})
    freeze(place, for_ever=True, state="waiting", data_prep_stage="generate_questions", progress=50)

    async def quarter() -> None:
        place.drop("a.txt", OTTER)
        await place.pass_time(15 * MINUTE)

    async def hours() -> None:
        await place.pass_time(2 * HOUR)

    await place.run(until_idle=False, script=quarter)
    assert the_job(place)["restarts"] == 1
    await place.run(until_idle=False, script=hours)
    assert (the_job(place)["restarts"], len(asked(place, "restart"))) == (2, 2)
    assert (the_job(place)["state"], place.sessions_on_server()) == ("failed", 0)


def freeze(
    place: Place,
    *,
    restarts: int = 0,
    for_ever: bool = False,
    answer: str = "",
    when: str = "",
    **words: Any,
) -> None:
    """Let the first session show always the same, until so many restarts were asked for and the session is another.

    A restart is answered with `answer` (500) or as if it had helped, and does not reach the server. `when`: only a
    session of this mode.
    """
    frozen: dict[str, bytes] = {}
    restarted: list[str] = []

    def before(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/restart"):
            return None
        ident = request.url.path.split("/")[-2]
        restarted.append(ident)
        if answer:
            return httpx.Response(500, text=answer, request=request)
        if len(restarted) == restarts and "finetune" in words.values():
            frozen.clear()
            words.clear()
        return httpx.Response(200, content=frozen.get(ident, b"{}"), request=request)

    def after(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        ident = request.url.path.split("/")[-1]
        looks = request.method == "GET" and request.url.path == f"/api/v1/sessions/{ident}"
        if not looks or not words or not (for_ever or not frozen or ident in frozen):
            return response
        if ident not in frozen:
            body = response.json()
            if when and body["mode"] != when:
                return response
            turn = body["interactions"][-1]
            turn.update({"error": "", "finished": False} | words)
            if not when:
                body["mode"], body["lora_dir"], turn["lora_dir"] = "finetune", "", ""
            frozen[ident] = json.dumps(body).encode()
        return httpx.Response(200, content=frozen[ident], request=request)

    place.network.before, place.network.after = before, after
