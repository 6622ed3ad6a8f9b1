"""What takes time: endpoints that want to be left alone or are away, back-offs, budgets, stops; in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trio.testing

from finetuned.errors import Refused
from finetuned.local.maker import TRIES
from finetuned.making.notes import ChunkState
from support.endpoint import PAGE, Answer, Endpoint, a_text, complains, pairs_of, said
from support.virtual import BEGIN, VirtualRuntime
from support.workshop import RUN, TEXT, Workshop, a_workshop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """A loop whose time jumps to whatever is next."""
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


async def moments(endpoint: Endpoint) -> list[float]:
    """Have the moments noted at which it is asked."""
    found: list[float] = []
    answers = endpoint.answers

    def noting(question: Any) -> str:
        found.append(anyio.current_time())
        return answers(question)

    endpoint.answers = noting
    return found


async def waits(shop: Workshop, seconds: float) -> Any:
    """What a run waits for after so many seconds."""
    with anyio.move_on_after(seconds):
        await anyio.sleep_forever()
    return shop.maker.waits(RUN)


async def test_the_whole_endpoint_is_left_alone_for_as_long_as_it_wants(tmp_path: Path):
    """One 429 holds all runs back; nothing fails, and it is told until when."""
    endpoint = Endpoint(pairs_of)
    endpoint.then(complains(429, "slow down", retry_after="90"))
    asked = await moments(endpoint)
    async with a_workshop(tmp_path, endpoint, VirtualRuntime(), max_requests=1) as shop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.make, TEXT)
            tasks.start_soon(lambda: shop.make(a_text(20, 7), run="other.1"))
            pause = await waits(shop, 30)
            assert "slow down" in pause.why
            assert pause.until == pytest.approx(BEGIN + 90, abs=1)
            assert shop.maker.pause == pause
            assert shop.heard[-1].waits
            assert "slow down" in shop.heard[-1].words
        assert shop.maker.waits(RUN) is None
        assert not shop.heard[-1].waits
        assert (await shop.notes.counts(RUN)).failed == 0
    assert asked[0] >= 90
    assert len(endpoint.asked) == len(endpoint.paid) + 1


async def test_an_endpoint_that_is_asked_again_is_said_to_be(tmp_path: Path):
    """While a slow model thinks after an outage, nobody is told that it is left alone."""
    endpoint = Endpoint(pairs_of, late=60.0)
    endpoint.then(complains(503, "loading"))
    async with a_workshop(tmp_path, endpoint, VirtualRuntime(), max_requests=1, timeout=600.0) as shop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.make, TEXT)
            pause = await waits(shop, 90)
            assert pause.tried
            assert shop.heard[-1].waits
            assert shop.heard[-1].words.startswith(
                "the endpoint is asked again, and has not answered yet; the last time: POST"
            )
            assert "503 loading" in shop.heard[-1].words
            assert await waits(shop, 60) is None
        assert not shop.heard[-1].waits
    assert len(endpoint.asked) == len(endpoint.paid) + 1


OUTAGES = [
    complains(503, "loading"),
    complains(502, "bad gateway"),
    complains(429, "no idea when"),
    complains(402, "Insufficient Balance"),
    complains(401, "bad key"),
    complains(404, "model 'tiny' not found"),
    Answer(body=PAGE, kind="text/html"),
    complains(500, "CUDA error"),
    Answer(body=b"{}"),
    Answer(cut_after=3),
    Answer(silent=True),
]


@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_outage_fails_nothing(tmp_path: Path, outage: Answer):
    """Half a day long: it is asked more and more rarely, by one at a time, and all is made afterwards."""
    endpoint = Endpoint(pairs_of)
    endpoint.always(outage)
    async with a_workshop(tmp_path, endpoint, VirtualRuntime(), max_requests=8) as shop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.make, TEXT)
            pause = await waits(shop, 6 * 3600)
            assert pause is not None
            assert pause.why
            assert pause.remedy
            assert (await shop.notes.counts(RUN)).failed == 0
            assert len(endpoint.asked) < 6 * 60 + 40
            endpoint.well()
        counts = await shop.notes.counts(RUN)
    assert (counts.kept, counts.failed, counts.left) == (40, 0, 0)
    assert len(endpoint.paid) == counts.chunks


async def test_nobody_there_fails_nothing(tmp_path: Path):
    """Connections that are refused, until somebody starts the server."""
    endpoint = Endpoint(pairs_of)

    def away(_: Any) -> Answer:
        raise httpx.ConnectError("refused")

    endpoint.always(away)
    async with a_workshop(tmp_path, endpoint, VirtualRuntime()) as shop, anyio.create_task_group() as tasks:
        tasks.start_soon(shop.make, TEXT)
        pause = await waits(shop, 600)
        assert "no connection" in pause.why
        endpoint.well()
    assert len(endpoint.paid) > 5


@pytest.mark.parametrize(
    ("bad", "paid"),
    [
        (complains(500, "CUDA error"), 0),
        (Answer(cut_after=3), 0),
        (said("I do not know what you mean."), TRIES),
        (said(""), TRIES),
        (Answer(silent=True), 0),
    ],
)
async def test_one_bad_passage_is_tried_again_and_then_told(tmp_path: Path, bad: Answer, paid: int):
    """Three times, after all others; then it has failed with its reason, and the rest of its file is kept."""
    endpoint = Endpoint(pairs_of)
    word = TEXT.splitlines()[0]
    endpoint.whenever(word, bad)
    async with a_workshop(tmp_path, endpoint, VirtualRuntime()) as shop:
        counts = await shop.make(TEXT)
        first, *others = await shop.rows()
    about = [number for number, question in enumerate(endpoint.asked) if word in question.words]
    assert len(about) == TRIES
    assert about[1:] == [len(endpoint.asked) - 2, len(endpoint.asked) - 1]
    assert (counts.failed, first.state, first.tries) == (1, ChunkState.FAILED, TRIES)
    assert first.reason
    assert {row.state for row in others} == {ChunkState.JUDGED}
    assert len(endpoint.paid) == counts.chunks - 1 + paid
    assert counts.tokens == 100 * len(endpoint.paid)
    assert shop.heard[-1].words.endswith("1 failed")


async def test_a_bad_passage_that_gets_well_has_not_failed(tmp_path: Path):
    """Two failures are no proof."""
    endpoint = Endpoint(pairs_of)
    endpoint.then(complains(500, "oops"))
    async with a_workshop(tmp_path, endpoint, VirtualRuntime(), max_requests=1) as shop:
        counts = await shop.make(TEXT)
    assert (counts.failed, counts.kept) == (0, 40)


@pytest.mark.parametrize("bad", [complains(500, "CUDA error"), said("what?")])
async def test_the_only_passage_fails_its_run(tmp_path: Path, bad: Answer):
    """Nothing is left to compare it with: after three times it is over."""
    endpoint = Endpoint()
    endpoint.always(bad)
    async with a_workshop(tmp_path, endpoint, VirtualRuntime()) as shop:
        with pytest.raises(Refused, match="the only passage failed") as caught:
            await shop.make(a_text(2))
    assert caught.value.remedy
    assert len(endpoint.asked) == TRIES


# -- budgets


async def test_a_days_budget_pauses_until_the_day_is_over(tmp_path: Path):
    """By UTC; what was answered is kept, no more than one answer too many is paid, and all goes on by itself."""
    endpoint = Endpoint(pairs_of, late=1.0)
    runtime = VirtualRuntime()
    # the ledger's rows bear the real time, so that the virtual days have to be later ones
    async with a_workshop(tmp_path, endpoint, runtime, max_tokens_a_day=250, max_requests=4) as shop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.make, TEXT)
            pause = await waits(shop, 3600)
            assert "250 tokens of today are spent" in pause.why
            assert pause.until > runtime.now()
            assert pause.until % 86400 == 0
            assert len(endpoint.paid) == 3
            assert (await shop.notes.counts(RUN)).failed == 0
            tasks.cancel_scope.cancel()
        with anyio.move_on_after(60):
            await shop.make(TEXT)
    assert len(endpoint.paid) == 3


async def test_a_jobs_budget_waits_for_a_person(tmp_path: Path):
    """Other jobs go on; with a higher budget so does this one."""
    endpoint = Endpoint(pairs_of)
    runtime = VirtualRuntime()
    few = a_workshop(tmp_path, endpoint, runtime, max_tokens_a_job=250)
    async with few as shop, anyio.create_task_group() as tasks:
        tasks.start_soon(shop.make, TEXT)
        pause = await waits(shop, 86400 * 3)
        assert "this job has spent its 250 tokens" in pause.why
        assert pause.until is None
        assert "maker.max_tokens_a_job" in pause.remedy
        assert len(endpoint.paid) == 3
        await shop.make(a_text(4, 9), run="small.1")
        assert shop.maker.pause is None
        tasks.cancel_scope.cancel()
    async with a_workshop(tmp_path, endpoint, runtime, max_tokens_a_job=100_000) as shop:
        counts = await shop.make(TEXT)
    assert (counts.kept, counts.failed) == (40, 0)


# -- stops


async def test_a_stop_waits_no_longer_than_it_may(tmp_path: Path):
    """A request that is not answered within three seconds is given up; it is asked about again."""
    endpoint = Endpoint(pairs_of)
    endpoint.always(Answer(silent=True))
    async with a_workshop(tmp_path, endpoint, VirtualRuntime(), timeout=600.0) as shop:
        begun = anyio.current_time()
        with anyio.move_on_after(10):
            await shop.make(TEXT)
        assert anyio.current_time() - begun == pytest.approx(13)
        assert (await shop.notes.counts(RUN)).asking > 0
        endpoint.well()
        assert (await shop.make(TEXT)).kept == 40


@pytest.mark.parametrize("outage", [complains(503, "no"), complains(429, "no", retry_after="900")])
async def test_a_stop_waits_for_no_pause(tmp_path: Path, outage: Answer):
    """Who waits for an endpoint ends at once."""
    endpoint = Endpoint(pairs_of)
    endpoint.always(outage)
    async with a_workshop(tmp_path, endpoint, VirtualRuntime()) as shop:
        with anyio.move_on_after(100):
            await shop.make(TEXT)
        assert anyio.current_time() == pytest.approx(100, abs=0.1)
        endpoint.well()
        assert (await shop.make(TEXT)).kept == 40
