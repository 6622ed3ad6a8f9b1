"""Pairs are made of texts: each passage is asked about once, what was answered is kept, and what fails is told."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from finetuned.daemon.ledger_queue import LedgerQueue
from finetuned.daemon.paid_work import PaidWork
from finetuned.errors import Refused
from finetuned.ledger.writer import Ledger
from finetuned.local.maker import TRIES, opened
from finetuned.making.notes import ChunkState
from finetuned.making.prompts import LEAST_TOKENS
from finetuned.making.values import Drop
from finetuned.runtime import SystemRuntime
from finetuned.settings.local import MakerSettings
from support.endpoint import (
    Answer,
    Endpoint,
    Question,
    a_text,
    complains,
    entries_in,
    entries_of,
    pairs_of,
    said,
    streamed,
)
from support.workshop import RUN, TEXT, a_workshop

REAL = SystemRuntime()


async def test_a_text_becomes_pairs(tmp_path: Path):
    """Each entry of each passage, with the bytes that prove it; each passage is asked about once."""
    endpoint = Endpoint(pairs_of)
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        counts = await shop.make(TEXT)
        kept, rows = await shop.kept(), await shop.rows()
    assert counts.kept == len(kept) == 40
    assert counts.judged == counts.chunks == len(endpoint.asked) == len(endpoint.paid) > 5
    assert counts.tokens == 100 * counts.chunks
    raw = TEXT.encode()
    assert all(raw[one.draft.begins : one.draft.ends].decode() == one.draft.evidence for one in kept)
    assert {row.state for row in rows} == {ChunkState.JUDGED}
    assert {one.made_by for one in kept} == {shop.maker.made_by}
    assert shop.heard[-1].words == f"{counts.chunks} of {counts.chunks} passages, 40 pairs"
    assert shop.heard[-1].percent == 99
    assert "Document: text1.txt" in endpoint.asked[0].words
    assert {question.body["max_tokens"] for question in endpoint.asked} == {LEAST_TOKENS}


async def test_so_many_requests_go_at_a_time(tmp_path: Path):
    """Over all runs together."""
    endpoint = Endpoint(pairs_of, late=0.02)
    async with a_workshop(tmp_path, endpoint, REAL, max_requests=3) as shop, anyio.create_task_group() as tasks:
        for number in (1, 2):
            tasks.start_soon(lambda n=number: shop.make(a_text(40, n), run=f"a-job.{n}"))
    assert endpoint.most_at_once == 3


async def test_what_was_answered_is_never_asked_again(tmp_path: Path):
    """Another run of the same text costs nothing, be it later or at the same time; nor does the same one again."""
    endpoint = Endpoint(pairs_of, late=0.01)
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        async with anyio.create_task_group() as tasks:
            for run in ("a-job.1", "b-job.1"):
                tasks.start_soon(lambda run=run: shop.make(TEXT, run=run))
        first = len(endpoint.paid)
        later = await shop.make(TEXT, run="c-job.1")
        again = await shop.make(TEXT, run="c-job.1")
        both = [await shop.notes.counts(run) for run in ("a-job.1", "b-job.1")]
    assert first == len(endpoint.paid) == later.chunks
    assert later == again
    assert later.reused == later.chunks
    assert later.tokens == 0
    assert sum(one.tokens for one in both) == 100 * first
    assert {one.kept for one in (*both, later)} == {40}


async def test_another_model_is_asked_anew(tmp_path: Path):
    """What one model answered is no answer of another's, nor with other instructions."""
    for number, more in enumerate(({}, {"model": "other"}, {"instructions": "Make pairs: {passage}"})):
        endpoint = Endpoint(pairs_of)
        async with a_workshop(tmp_path, endpoint, REAL, **more) as shop:
            await shop.make(TEXT, run=f"job.{number}")
        assert endpoint.paid


async def test_a_run_under_way_keeps_its_passages(tmp_path: Path):
    """Another size is for the runs that come: nothing of this one is cut anew, left out, or paid for twice."""
    endpoint = Endpoint(pairs_of, late=0.2)
    async with a_workshop(tmp_path, endpoint, REAL, max_requests=4) as shop, anyio.create_task_group() as tasks:
        tasks.start_soon(shop.make, TEXT)
        with anyio.fail_after(20):
            while len(endpoint.asked) < 4:
                await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    endpoint.late = 0.0
    async with a_workshop(tmp_path, endpoint, REAL, chunk_bytes=2400) as shop:
        counts, rows = await shop.make(TEXT), await shop.rows()
        own = [(row.span.own, row.span.ends) for row in rows]
        after = await shop.make(a_text(40, 9), run="b-job.1")
    assert counts.kept == 40
    assert own[0][0] == 0
    assert [ends for _, ends in own] == [*(begins for begins, _ in own[1:]), len(TEXT.encode())]
    assert len(endpoint.paid) == counts.chunks + after.chunks
    assert counts.chunks > 2 * after.chunks


@pytest.mark.parametrize("other", [{"model": "other"}, {"kind": "rules"}])
async def test_a_run_that_another_maker_goes_on_with_tells_them_apart(tmp_path: Path, other: dict[str, str]):
    """What was answered is used, and bears who answered it; the rest bears who made it."""
    endpoint = Endpoint(pairs_of, late=0.2)
    async with a_workshop(tmp_path, endpoint, REAL, max_requests=4) as shop, anyio.create_task_group() as tasks:
        first = shop.maker.made_by
        tasks.start_soon(shop.make, TEXT)
        with anyio.fail_after(20):
            while len(endpoint.asked) < 4:
                await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    async with a_workshop(tmp_path, Endpoint(pairs_of), REAL, **other) as shop:
        await shop.make(TEXT)
        made = {(entries_in(one.draft.evidence), one.made_by) for one in await shop.kept()}
        rows = {row.made_by for row in await shop.rows()}
    of_first = {entry for question in endpoint.paid for entry in entries_of(question)}
    assert {entry for entries, who in made if who == first for entry in entries} == of_first
    assert {who for _, who in made} == rows == {first, shop.maker.made_by}


async def test_a_passage_without_words_costs_nothing(tmp_path: Path):
    """It has taught nothing, and says why."""
    endpoint = Endpoint(pairs_of)
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        counts = await shop.make("*** --- ***\n" * 5)
        (row,) = await shop.rows()
    assert (counts.barren, counts.failed, endpoint.asked) == (1, 0, [])
    assert row.reason


@pytest.mark.parametrize(
    "answer",
    [
        lambda q: streamed(pairs_of(q)),
        lambda q: said("Sure! Here they are:\n```json\n" + pairs_of(q) + "\n```\nAnything else?"),
        lambda q: said("<think>hm {</think>" + pairs_of(q), tokens=None),
    ],
)
async def test_answers_in_other_shapes_are_read(tmp_path: Path, answer):
    """Streams, fences, thoughts."""
    endpoint = Endpoint()
    endpoint.always(answer)
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        assert (await shop.make(TEXT)).kept == 40


async def test_a_cut_answer_is_read_as_far_as_it_goes(tmp_path: Path):
    """The pairs before the cut are kept, and nothing is asked twice for the rest."""
    endpoint = Endpoint()
    endpoint.always(lambda q: said(pairs_of(q)[:-330], reason="length"))
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        counts = await shop.make(TEXT)
    assert 0 < counts.kept < 40
    assert len(endpoint.paid) == counts.chunks


async def test_a_model_that_always_answers_the_same_pair_makes_one(tmp_path: Path):
    """The others are duplicates, or have no evidence where they are said to be."""
    line = TEXT.splitlines()[0]
    pair = {"question": "How wide is the otter river of entry one?", "answer": "Very wide.", "evidence": line}
    endpoint = Endpoint(lambda _: json.dumps([pair]))
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        counts = await shop.make(TEXT)
    assert counts.kept <= 1
    assert sum(counts.dropped.values()) == counts.chunks - counts.kept
    assert counts.barren == counts.chunks - counts.kept


async def test_refused_content_fails_its_passage_at_once(tmp_path: Path):
    """Whether the endpoint or the model refuses it: it is told with its words, and what it cost is counted."""
    words = TEXT.splitlines()
    endpoint = Endpoint(pairs_of)
    endpoint.whenever(words[0], said(None, refusal="I will not."))
    endpoint.whenever(words[-1] or words[-2], complains(400, "blocked by our content policy", "content_filter"))
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        counts = await shop.make(TEXT)
        reasons = [row.reason for row in await shop.rows() if row.state is ChunkState.FAILED]
    assert counts.failed == len(reasons) == 2
    assert counts.kept > 20
    assert "I will not." in reasons[0]
    assert "content policy" in reasons[1]
    assert len(endpoint.asked) == counts.chunks
    assert counts.tokens == 100 * (counts.chunks - 1)


async def test_a_model_that_refuses_without_a_word_is_told_so(tmp_path: Path):
    """As endpoints do that filter content."""
    endpoint = Endpoint()
    endpoint.always(said(None, reason="content_filter"))
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        with pytest.raises(Refused, match="the model refuses: it gives no reason; another model may not"):
            await shop.make(TEXT)


async def test_a_context_that_is_too_small_fails_the_job_with_what_helps(tmp_path: Path):
    """No passage fits: the run fails, and says which key to change."""
    endpoint = Endpoint()
    endpoint.always(complains(400, "maximum context length is 64 tokens", "context_length_exceeded"))
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        with pytest.raises(Refused, match=r"all \d+ passages failed.*maker.chunk_bytes"):
            await shop.make(TEXT)


async def test_a_text_that_was_changed_or_removed_fails_its_run(tmp_path: Path):
    """What lies in a run's folder is not to be touched; who does is told."""
    endpoint = Endpoint(pairs_of)
    async with a_workshop(tmp_path, endpoint, REAL) as shop:
        name, path = shop.text("text1", TEXT)
        await shop.notes.plan(RUN, shop.maker.made_by, {name: _spans(path)})
        Path(path).write_text(TEXT.replace("tells", "tolls"))
        with pytest.raises(Refused, match="not the text any more"):
            await shop.make_of({name: path})
        Path(path).unlink()
        with pytest.raises(Refused, match="cannot be read: No such file"):
            await shop.make_of({name: path})
        with pytest.raises(Refused, match="has no text"):
            await shop.make_of({})
        with pytest.raises(Refused, match="cannot be read"):
            await shop.make_of({name: path}, "other.1")
        Path(path).write_bytes(b"\xff\xfe")
        with pytest.raises(Refused, match="no UTF-8"):
            await shop.make_of({name: path}, "other.1")
    assert endpoint.asked == []


def _spans(path: str):
    from finetuned.local import texts  # noqa: PLC0415

    return texts.spans(path, 600)


# -- judges


def _verdicts(question: Question) -> str:
    """A judge that finds the first pair of each passage wrong."""
    count = question.words.count("\nQuestion: ")
    return "\n".join(f"{number}: {'NO' if number == 1 else 'YES'}" for number in range(1, count + 1))


async def test_a_judge_has_the_last_word(tmp_path: Path):
    """What it says is wrong is dropped, with the reason; what it costs is counted."""
    endpoint, judge = Endpoint(pairs_of), Endpoint(_verdicts)
    async with a_workshop(tmp_path, endpoint, REAL, judge=judge) as shop:
        counts = await shop.make(TEXT)
    assert counts.dropped == {Drop.JUDGED: counts.chunks}
    assert counts.kept == 40 - counts.chunks
    assert counts.tokens == 200 * counts.chunks
    assert len(judge.paid) == len(endpoint.paid) == counts.chunks


async def test_a_verdict_is_never_paid_again(tmp_path: Path):
    """A stop waits for verdicts that are under way; they are read when it goes on, and in another run."""
    endpoint, judge = Endpoint(pairs_of), Endpoint(_verdicts, late=0.2)
    async with a_workshop(tmp_path, endpoint, REAL, judge=judge) as shop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.make, TEXT)
            with anyio.fail_after(20):
                while len(judge.asked) < 2:
                    await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        stopped = await shop.notes.counts(RUN)
        judge.late = 0.0
        counts = await shop.make(TEXT)
        again = await shop.make(TEXT, run="b-job.1")
    assert stopped.judged == 0
    assert counts.dropped == again.dropped == {Drop.JUDGED: counts.chunks}
    assert len(judge.paid) == len(endpoint.paid) == counts.chunks
    assert (counts.tokens, again.tokens) == (200 * counts.chunks, 0)
    assert again.reused == again.chunks


@pytest.mark.parametrize(
    "answer", [said("I cannot say."), complains(400, "no"), said(None, refusal="no"), Answer(body=b"{}")]
)
async def test_a_judge_that_says_nothing_drops_nothing(tmp_path: Path, answer: Answer):
    """Pairs whose evidence was found stay."""
    endpoint, judge = Endpoint(pairs_of), Endpoint()
    judge.always(answer)
    async with a_workshop(tmp_path, endpoint, REAL, judge=judge, max_requests=1) as shop:
        counts = await shop.make(a_text(2))
    assert counts.kept == 2
    assert len(judge.asked) <= TRIES


async def test_a_judge_behind_the_same_address_shares_its_requests(tmp_path: Path):
    """One machine is asked so many things at a time, be it for pairs or for verdicts; over real sockets."""

    def either(question: Question) -> str:
        return _verdicts(question) if question.body["model"] == "wise" else pairs_of(question)

    ledger = Ledger.open(str(tmp_path / "ledger.db"))
    (tmp_path / "a.txt").write_text(TEXT)
    with closing(ledger), Endpoint(either, late=0.01) as endpoint:
        chosen = MakerSettings(url=endpoint.url, model="tiny", judge_model="wise", chunk_bytes=600, max_requests=3)
        notes = PaidWork(ledger.chunks, LedgerQueue(ledger, REAL).run)
        async with opened(notes, chosen, REAL) as maker:
            assert "lists the model tiny" in await maker.probe()
            await maker.make(RUN, {"a.txt": str(tmp_path / "a.txt")}, lambda _: None)
        counts = await notes.counts(RUN)
        assert counts.dropped[Drop.JUDGED] == counts.chunks
        assert len(endpoint.paid) == 2 * counts.chunks
        assert endpoint.most_at_once <= 3


# -- stops


async def test_a_stop_waits_for_what_is_paid(tmp_path: Path):
    """Requests that are under way are heard out and kept; nothing new is asked; the rest is made later."""
    endpoint = Endpoint(pairs_of, late=0.2)
    async with a_workshop(tmp_path, endpoint, REAL, max_requests=4) as shop:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.make, TEXT)
            with anyio.fail_after(20):
                while len(endpoint.asked) < 4:
                    await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        counts = await shop.notes.counts(RUN)
        assert len(endpoint.asked) == 4
        assert counts.answered + counts.judged == len(endpoint.paid) == 4
        endpoint.late = 0.0
        assert (await shop.make(TEXT)).kept == 40
        assert len(endpoint.paid) == counts.chunks
