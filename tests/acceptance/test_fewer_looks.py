"""Sessions in training are followed by one list, and looked at when they moved."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from finetuned.daemon.batch_poll import ROWS_A_SECOND, BatchPoll
from finetuned.daemon.loop import POLLS
from finetuned.daemon.poll import NOTED_EVERY, SLICE
from finetuned.runtime import Wake
from finetuned.sandbox import Pace
from finetuned.times import instant
from support.place import URL, Place
from support.virtual import VirtualRuntime

APlace = Callable[..., Place]
MINUTE = 60.0
LOOK = re.compile(r"/api/v1/sessions/[^/]+")


class Distant(httpx.AsyncBaseTransport):
    """A server that every request takes a second to reach."""

    def __init__(self, server: httpx.AsyncBaseTransport, place: Place) -> None:
        self._server = server
        self._place = place

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await self._place.pass_time(1.0)
        return await self._server.handle_async_request(request)


def counted(place: Place) -> tuple[int, int]:
    """How many looks and lists there were."""
    gets = [path for _, method, path in place.network.requests if method == "GET"]
    return sum(1 for path in gets if LOOK.fullmatch(path)), gets.count("/api/v1/sessions")


def many(a_place: APlace, jobs: int, pace: Pace, **sections: dict[str, str]) -> Place:
    """A place where so many jobs train side by side."""
    place = a_place(
        pace=pace,
        helix={"max_in_flight": jobs},
        folder=[{"linger": "0s", "settle": "0s", "max_files": 1}],
        watch={"sweep": "1m"},
        **sections,
    )
    for number in range(jobs):
        place.drop(f"{number}.txt", f"The otter number {number} is a mammal.")
    return place


async def test_one_list_stands_for_the_looks_at_all_that_train(a_place: APlace) -> None:
    """Twelve trainings that move once in ten minutes cost a list a minute, not twelve looks; all are learned."""
    place = many(a_place, 12, Pace(train=99 * 10 * MINUTE))

    async def script() -> None:
        await place.pass_time(15 * MINUTE)
        looks, lists = counted(place)
        await place.pass_time(60 * MINUTE)
        more_looks, more_lists = (after - before for after, before in zip(counted(place), (looks, lists), strict=True))
        assert more_looks < 12 * 6 * 5  # six steps, and what follows each of them closely
        assert 40 < more_lists < 60 * 4

    await place.run(until_idle=False, script=script)
    assert {job["state"] for job in place.jobs()} == {"running"}


async def test_a_long_list_is_believed_for_longer(a_place: APlace) -> None:
    """Of thousands some always move, and are to be looked at soon: not all others are listed each second for that.

    What it does not have yet may have come meanwhile, and is among the newest.
    """
    rows = 3 * ROWS_A_SECOND
    place = many(a_place, 1, Pace(train=99 * 1000 * MINUTE))
    store = place.app.state.store

    async def script() -> None:
        await place.until(lambda: [job["stage"] for job in place.jobs()] == ["finetune"])
        session = next(iter(store.newest_first()))
        ids = [session.id, *(f"another-{number}" for number in range(rows - 1))]
        for one in ids:
            store.save(replace(session, id=one))
        polls = BatchPoll(place.here, URL)

        async def pages(asked: str, *, after: float) -> int:
            await place.pass_time(after)
            before = counted(place)[1]
            await polls.marks({asked}, lambda: {*ids, asked})
            return counted(place)[1] - before

        assert await pages(session.id, after=0.0) > 1
        assert await pages("new", after=1.9) == 0
        assert await pages("new", after=0.2) == 1
        assert await pages("new", after=0.5) == 0
        assert await pages(session.id, after=0.3) == 0
        assert await pages("in no list", after=0.2) > 1
        assert await pages("in no list", after=2.1) == 0

    await place.run(until_idle=False, script=script)


class Heard(VirtualRuntime):
    """Remembers how many polls were noted at a time, each of which takes so many seconds."""

    takes = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[int] = []
        self.on_noted: Callable[[], object] = lambda: None

    async def in_thread(self, work: Any, *args: Any, **words: Any) -> Any:
        if getattr(getattr(work, "func", None), "__name__", "") == "unmoved":
            await self.wait(Wake(), self.takes)
            self.noted.append(len(work.args[0]))
            self.on_noted()
        return await super().in_thread(work, *args, **words)


async def test_what_stands_still_is_noted_a_few_at_a_time(a_place: APlace) -> None:
    """However many a list stands for: whoever needs the ledger meanwhile waits for a part of them."""
    jobs = SLICE + 20
    place = many(a_place, jobs, Pace(train=99 * 1000 * MINUTE))
    place.runtime = heard = Heard()

    async def script() -> None:
        await place.until(lambda: place.network.sent()[jobs - 1 :])
        await place.pass_time(15 * MINUTE)

    await place.run(until_idle=False, script=script)
    assert max(heard.noted) == SLICE
    assert sum(heard.noted) > 2 * jobs


async def test_the_ledger_is_told_once_a_minute_of_what_stands_still(a_place: APlace) -> None:
    """It is listed every five seconds; to write that down each time would be thousands of rows for nothing."""
    jobs, every = 12, 5.0
    place = many(a_place, jobs, Pace(train=99 * 1000 * MINUTE), poll={"slowest": f"{every:.0f}s"})
    place.runtime = heard = Heard()

    async def script() -> None:
        await place.until(lambda: [job["stage"] for job in place.jobs()] == ["finetune"] * jobs)
        await place.pass_time(15 * MINUTE)
        noted, lists = sum(heard.noted), counted(place)[1]
        await place.pass_time(10 * MINUTE)
        assert counted(place)[1] - lists >= 10 * MINUTE / every
        assert 0 < sum(heard.noted) - noted <= 10 * jobs
        with place.reader() as reader:
            due = [instant(row["due_at"]) for row in reader.rows("select due_at from open_jobs")]
        assert place.runtime.now() - min(due) < NOTED_EVERY

    await place.run(until_idle=False, script=script)


async def test_after_a_jump_of_the_clock_the_ledger_is_told_anew(a_place: APlace) -> None:
    """It says when a session is polled next, and not when that would have been by a clock that was wrong."""
    jobs, every = 3, 5.0
    place = many(a_place, jobs, Pace(train=99 * 1000 * MINUTE), poll={"slowest": f"{every:.0f}s"})

    async def script() -> None:
        await place.until(lambda: [job["stage"] for job in place.jobs()] == ["finetune"] * jobs)
        await place.pass_time(15 * MINUTE)
        place.runtime.jump(-60 * MINUTE)
        await place.pass_time(2 * every)
        with place.reader() as reader:
            due = [instant(row["due_at"]) for row in reader.rows("select due_at from open_jobs")]
        assert max(due) <= place.runtime.now() + every

    await place.run(until_idle=False, script=script)


async def test_after_a_jump_of_the_clock_no_list_stands_for_a_poll(a_place: APlace) -> None:
    """For how long one may was counted by a clock that was wrong: a step of recovery would be due a day late."""
    jobs = 3
    place = many(a_place, jobs, Pace(train=99 * 1000 * MINUTE), poll={"slowest": "5s"})

    async def script() -> None:
        await place.until(lambda: [job["stage"] for job in place.jobs()] == ["finetune"] * jobs)
        await place.pass_time(15 * MINUTE)
        looks = counted(place)[0]
        place.runtime.jump(-24 * 60 * MINUTE)
        await place.pass_time(2 * MINUTE)
        assert counted(place)[0] - looks >= jobs
        await place.pass_time(10 * MINUTE)
        assert counted(place)[0] - looks < 10 * jobs

    await place.run(until_idle=False, script=script)


async def test_what_rests_is_asked_for_no_sooner_where_all_is_waited_for(a_place: APlace) -> None:
    """What the ledger is not told, `--until-idle` knows nonetheless: it does not go round all the while."""
    every = 5.0
    place = many(a_place, 5, Pace(train=99 * MINUTE), poll={"slowest": f"{every:.0f}s"})
    await place.run()
    assert set(place.states().values()) == {"learned"}
    assert counted(place)[1] < 2 * place.runtime.steady() / every


async def test_what_may_have_ended_is_looked_at_before_all_that_stands_still_is_noted(a_place: APlace) -> None:
    """Its slot may be waited for; nobody waits for the notes."""
    jobs = 2 * SLICE
    place = many(a_place, jobs, Pace(train=99 * 1000 * MINUTE))
    place.runtime = heard = Heard()
    store = place.app.state.store

    async def script() -> None:
        await place.until(lambda: place.network.sent()[jobs - 1 :])
        await place.pass_time(15 * MINUTE)
        store.save(replace(next(iter(store.newest_first())), parent="of somebody else"))  # such are in no list
        heard.takes = 0.01
        heard.on_noted = lambda: order.append("noted")
        place.network.before = lambda request: order.append("look") if LOOK.fullmatch(request.url.path) else None
        await place.until(lambda: order.count("noted") == 2 and "look" in order)

    order: list[str] = []
    await place.run(until_idle=False, script=script)
    assert order.index("look") < 2


async def test_the_end_of_a_training_is_seen_at_once_in_a_list(a_place: APlace) -> None:
    """Every file is learned within two minutes of the end of its training."""
    place = many(a_place, 5, Pace(train=99 * MINUTE))
    await place.run()
    assert set(place.states().values()) == {"learned"}
    assert place.runtime.steady() < 99 * MINUTE + 2 * MINUTE


@pytest.mark.parametrize("answer", [(200, '{"counter": {"count": 9}, "sessions": []}'), (403, "you may not")])
async def test_what_a_list_does_not_show_is_looked_at(a_place: APlace, answer: tuple[int, str]) -> None:
    """Among the newest rows there are only others' sessions, or lists are refused: every training is looked at."""
    place = many(a_place, 3, Pace(train=99 * 10 * MINUTE))
    status, text = answer
    place.network.before = lambda request: (
        httpx.Response(status, text=text, headers={"content-type": "application/json"}, request=request)
        if request.url.params.get("limit", "1") != "1"  # of one row, it only asks whether the server is there
        else None
    )

    async def script() -> None:
        await place.pass_time(15 * MINUTE)
        looks, _ = counted(place)
        await place.pass_time(30 * MINUTE)
        assert counted(place)[0] - looks >= 3 * 30

    await place.run(until_idle=False, script=script)


async def test_a_training_that_stands_still_is_restarted_although_only_lists_are_asked_for(a_place: APlace) -> None:
    """The queue for a trainer is joined again after ten minutes, each time right after a look."""
    place = many(a_place, 4, Pace(queue=24 * 60 * MINUTE))

    async def script() -> None:
        await place.pass_time(12 * MINUTE)

    await place.run(until_idle=False, script=script)
    calls = [(method, path) for _, method, path in place.network.requests]
    restarts = [n for n, (_, path) in enumerate(calls) if path.endswith("/restart")]
    assert len(restarts) == 4
    for n in restarts:
        session = calls[n][1].removesuffix("/restart")
        before = [call for call in calls[:n] if call[1].startswith(session)]
        assert before[-1] == ("GET", session)


async def test_what_is_cancelled_is_not_listed_any_more(a_place: APlace) -> None:
    """Of five trainings four are cancelled: the last one is looked at, and nothing is kept of the others."""
    place = many(a_place, 5, Pace(train=99 * 10 * MINUTE))

    async def script() -> None:
        await place.pass_time(15 * MINUTE)
        *others, last = place.jobs()
        for job in others:
            await place.ask("cancel", job=job["id"])
        await place.until(lambda: place.sessions_on_server() == 1)
        looks, lists = counted(place)
        await place.pass_time(30 * MINUTE)
        assert (counted(place)[0] - looks > 10, counted(place)[1] - lists) == (True, 0)
        assert place.here.own == {last["id"]}

    await place.run(until_idle=False, script=script)


async def test_of_many_that_ended_at_once_the_first_are_done_before_the_last_are_polled(a_place: APlace) -> None:
    """So a stop in between, or a crash, finds most of the work done; it is not begun for all of them at once."""
    jobs = 2 * POLLS
    place = many(a_place, jobs, Pace(train=60 * MINUTE))

    async def until_all_train() -> None:
        await place.until(lambda: [job["stage"] for job in place.jobs()] == ["finetune"] * jobs)

    await place.run(until_idle=False, script=until_all_train)
    await place.pass_time(120 * MINUTE)
    place.network.server = Distant(place.network.server, place)
    before = len(place.network.requests)
    await place.run()
    paths = [path for _, _, path in place.network.requests[before:]]
    polls = {path: number for number, path in reversed([*enumerate(paths)]) if LOOK.fullmatch(path)}
    pairs = next(number for number, path in enumerate(paths) if "/conversations/" in path)
    assert sum(number > pairs for number in polls.values()) >= jobs - POLLS
