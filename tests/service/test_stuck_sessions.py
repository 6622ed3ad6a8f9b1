"""Sessions that stand still, with a real daemon, a real server that goes wrong, and a real socket between them.

What rests where, and what is done about it, row by row; rows that a numbered way shows stand in
`test_the_sixteen_ways.py`:

1. while pairs are made: a restart that counts (way 6); there is no such call: given up for a new attempt (here)
2. queueing for a trainer: queued again, and never counted (here)
3. in training: restarts that count, and given up when they are used up; a runner works on it: a sign of life (here)
4. before the training: for a review, left alone; chunks failed, made again (way 5); neither, started (here)
5. complete with an error: trained again once, then failed (way 2)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.tiny_helix import TinyHelix
from finetuned.sandbox import DEFAULT_KEY, Pace, create_app, serve
from support.process import Home, wait_for

AtWork = Callable[..., Home]
AHome = Callable[..., Home]
GREY = "The stone is grey. It came from a river."
IMPATIENT = """
slowest = "1s"
stalled_after = "1s"
training_stalled_after = "1s"
"""
REMEDIES = {"restart", "stalled", "broken", "start", "requeue", "retry_chunks", "active"}


def remedies(home: Home) -> list[str]:
    """What was done about the job's sessions, in order."""
    return [cause for cause in home.causes() if cause in REMEDIES]


def came_to(home: Home) -> tuple[str, int, int]:
    """The only job's end, its attempts, and the restarts of the last one."""
    (job,) = home.ended()
    return job["state"], job["attempt"], job["restarts"]


def test_a_session_that_cannot_be_restarted_is_given_up(at_work: AtWork) -> None:
    """The newest servers have no such call: what was tried is told, the next attempt learns, and one session stays."""
    home = at_work("forget-work:1", "no-restart-route", poll=IMPATIENT)
    home.drop("stone.txt", GREY)
    assert came_to(home) == ("done", 2, 0)
    assert remedies(home) == ["restart", "stalled"]
    wait_for(lambda: home.sessions_on_server() == 1, "server with one session")


def test_a_session_in_a_queue_is_queued_again_and_nothing_counts(at_work: AtWork) -> None:
    """Longer and longer it is left alone; the training comes when a trainer is free."""
    # of the daemon's seconds it stands 18 in the queue, anew after each restart: it is queued again after 6, and 12
    home = at_work(speed=1 / 1.5, pace=20, poll='slowest = "1m"\nstalled_after = "6s"')
    home.drop("stone.txt", GREY)
    assert came_to(home) == ("done", 1, 0)
    assert set(remedies(home)) == {"requeue"}
    assert home.ask("select count(distinct raw_question) = count(*) from qa_pairs") == 1


def test_a_training_that_stands_still_is_restarted_and_then_given_up(a_home: AHome) -> None:
    """Each restart counts; when they are used up the session goes from the server, and the next attempt learns."""
    with TinyHelix() as server:
        server.trains = True
        home = a_home(url=server.url, poll=f"{IMPATIENT}restarts = 1")
        home.start()
        wait_for(home.is_watched, "daemon at work")
        home.drop("stone.txt", GREY)
        wait_for(lambda: any(request.method == "DELETE" for request in server.requests), "removal")
        server.trains = False
        assert came_to(home) == ("done", 2, 0)
        assert remedies(home) == ["restart", "stalled"]
        told = home.says("events")
        assert "restarted 1 of 1: no sign of life for 1 s in finetune" in told
        assert "its restarts (1) are used up; attempt 2 of 3 follows" in told
        assert home.stop() == 0
        home.audit()


@contextmanager
def sandbox_at(pace: Pace, root: Path) -> Iterator[str]:
    """Where the stand-in server answers, at a pace that it has no option for."""
    app = create_app(keys=frozenset({DEFAULT_KEY}), pace=pace, data=str(root))
    served: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(serve(app, port=0, ready=lambda port: served.append((port, loop, task))))
        await asyncio.wait([task])

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        wait_for(lambda: served, "server")
        yield f"http://127.0.0.1:{served[0][0]}"
    finally:
        _, loop, task = served[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(10)
        app.state.store.close()


def test_a_runner_that_works_in_silence_is_left_at_it(a_home: AHome, tmp_path: Path) -> None:
    """“currently active” is a sign of life: no restart counts, and no attempt is lost."""
    with sandbox_at(Pace(queue=0.0, chunk=0.01, train=99 * 60.0), tmp_path / "slow") as url:
        home = a_home(url=url, poll=IMPATIENT)
        home.start()
        wait_for(home.is_watched, "daemon at work")
        home.drop("stone.txt", GREY)
        wait_for(lambda: "active" in home.causes(), "sign of life")
        (job,) = home.jobs()
        assert (job["state"], job["attempt"], job["restarts"]) == ("running", 1, 0)
        assert home.stop() == 0
        home.audit()


def test_a_session_that_rests_for_no_reason_is_started(at_work: AtWork) -> None:
    """Three looks over half a minute, then its training is asked for."""
    home = at_work("review-rest:1", pace=30, poll='slowest = "1m"')
    home.drop("stone.txt", GREY)
    assert came_to(home) == ("done", 1, 0)
    assert remedies(home) == ["start"]
    assert home.sessions_on_server() == 1
