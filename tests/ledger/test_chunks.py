"""The paid work in the ledger: what was asked, answered and made; nothing answered is paid for twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256

import pytest
from msgspec.structs import replace

from finetuned.ledger.chunks import Chunks, forget_words
from finetuned.ledger.writer import Ledger
from finetuned.making.notes import ChunkState
from finetuned.making.values import Draft, Drop, Span
from support.lives import asked

RUN = "notes-20261129-101010-abcd.1"
AGAIN = "notes-20261129-101010-abcd.2"


def name(run: str, number: int = 1) -> str:
    """The name of a document of a run."""
    return f"{run}-{number:04d}-stones.txt"


def spans(*texts: str) -> list[Span]:
    """The spans of these passages, one after the other."""
    found, at = [], 0
    for number, text in enumerate(texts, 1):
        ends = at + len(text)
        found.append(Span(number=number, begins=at, own=at, ends=ends, sha256=sha256(text.encode()).hexdigest()))
        at = ends
    return found


KEPT = Draft(question="What colour is it?", answer="Grey.", evidence="is grey", begins=4, ends=11)
DROPPED = Draft(question="Why?", answer="Because.", drop=Drop.NO_EVIDENCE)


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    """A new ledger."""
    with Ledger.open(str(tmp_path / "ledger.db")) as ledger:
        yield ledger


@pytest.fixture
def chunks(ledger: Ledger) -> Chunks:
    """The paid work of a run with two passages, planned."""
    ledger.chunks.plan(RUN, "a" * 16, {name(RUN): spans("one", "two")})
    return ledger.chunks


def test_a_run_is_planned_once(chunks: Chunks):
    """Planned again it stays as it is; what is not planned has nothing."""
    chunks.plan(RUN, "b" * 16, {name(RUN): spans("three")})
    assert [(row.span, row.made_by) for row in chunks.open_chunks(RUN)] == [(s, "a" * 16) for s in spans("one", "two")]
    assert chunks.is_planned(RUN)
    assert not chunks.is_planned(AGAIN)
    assert chunks.open_chunks(AGAIN) == []
    assert chunks.counts(AGAIN).chunks == 0


def test_a_chunk_goes_its_way(chunks: Chunks):
    """Asked, answered, judged: at its end it is not open any more, and everything is counted."""
    first, second = chunks.open_chunks(RUN)
    chunks.asking(first.id)
    assert (chunks.open_chunks(RUN)[0].state, chunks.open_chunks(RUN)[0].tries) == (ChunkState.ASKING, 1)
    chunks.answered(first.id, "[]", 120)
    assert [row.raw for row in chunks.open_chunks(RUN)] == ["[]", None]
    chunks.judged(first.id, [KEPT, DROPPED])
    assert [row.id for row in chunks.open_chunks(RUN)] == [second.id]
    counts = chunks.counts(RUN)
    assert (counts.chunks, counts.judged, counts.waiting, counts.left) == (2, 1, 1, 1)
    assert (counts.kept, counts.dropped, counts.tokens, counts.barren) == (1, {Drop.NO_EVIDENCE: 1}, 120, 0)
    ((kept, ordinal),) = chunks.kept(RUN)
    assert (kept.document, kept.number, kept.made_by, kept.draft, ordinal) == (name(RUN), 1, "a" * 16, KEPT, 1)
    told = chunks.chunks(RUN)
    assert [(row.state, row.kept, row.dropped, row.raw) for row in told] == [
        (ChunkState.JUDGED, 1, {Drop.NO_EVIDENCE: 1}, None),
        (ChunkState.WAITING, 0, {}, None),
    ]


def test_an_answer_is_known_in_any_run(chunks: Chunks, ledger: Ledger):
    """By who made it and by the passage; not of another maker, and not one that could not be read."""
    first, second = chunks.open_chunks(RUN)
    chunks.answered(first.id, "good", 10)
    chunks.answered(second.id, "spoilt", 20)
    chunks.failed(second.id, "it is no list of pairs", final=False)
    assert chunks.answer_known("a" * 16, first.span.sha256) == "good"
    assert chunks.answer_known("b" * 16, first.span.sha256) is None
    assert chunks.answer_known("a" * 16, second.span.sha256) is None
    chunks.plan(AGAIN, "a" * 16, {name(AGAIN): spans("one")})
    (again,) = chunks.open_chunks(AGAIN)
    chunks.answered(again.id, "good", 0)
    chunks.judged(again.id, [])
    counts = chunks.counts(AGAIN)
    assert (counts.reused, counts.barren, counts.tokens) == (1, 1, 0)


def test_an_answer_that_cost_nothing_need_not_have_been_known(chunks: Chunks):
    """A maker may tell no cost: only what another answer came before was known."""
    first, _ = chunks.open_chunks(RUN)
    chunks.answered(first.id, "good", 0)
    chunks.judged(first.id, [KEPT])
    assert chunks.counts(RUN).reused == 0


def test_what_was_spent_stays_spent(chunks: Chunks):
    """Whatever became of the answers; of one run, or since an instant."""
    first, second = chunks.open_chunks(RUN)
    chunks.answered(first.id, "spoilt", 10)
    chunks.failed(first.id, "it is no list of pairs", final=True)
    chunks.answered(second.id, "good", 5)
    assert (chunks.spent(), chunks.spent(run=RUN), chunks.spent(run=AGAIN)) == (15, 15, 0)
    assert chunks.spent(since=4_000_000_000.0) == 0
    assert [(row.state, row.tokens, row.reason) for row in chunks.chunks(RUN)] == [
        (ChunkState.FAILED, 10, "it is no list of pairs"),
        (ChunkState.ANSWERED, 5, None),
    ]


def test_judging_again_replaces(chunks: Chunks):
    """The drafts of the last judgement count, and why nothing was kept."""
    first = chunks.open_chunks(RUN)[0]
    chunks.judged(first.id, [KEPT, KEPT])
    chunks.judged(first.id, [DROPPED], reason="nothing in it is a fact")
    assert chunks.kept(RUN) == []
    assert chunks.chunks(RUN)[0].reason == "nothing in it is a fact"
    assert chunks.counts(RUN).barren == 1


def test_lists_come_in_pages(ledger: Ledger):
    """Each page goes on where the one before it ended, over documents too."""
    chunks = ledger.chunks
    chunks.plan(RUN, "a" * 16, {name(RUN, n): spans(*(f"{n}.{m}" for m in range(3))) for n in (1, 2)})
    rows = chunks.open_chunks(RUN)
    for row in rows:
        chunks.judged(row.id, [KEPT, KEPT])
    pages, after = [], ("", 0, 0)
    while page := chunks.kept(RUN, after=after, most=4):
        pages += page
        kept, ordinal = page[-1]
        after = (kept.document, kept.number, ordinal)
    assert [(k.document, k.number, n) for k, n in pages] == [
        (name(RUN, d), number, n) for d in (1, 2) for number in (1, 2, 3) for n in (1, 2)
    ]
    assert chunks.open_chunks(RUN, after=rows[1].id, most=2) == []
    first = chunks.chunks(RUN, most=4)
    rest = chunks.chunks(RUN, after=(first[-1].document, first[-1].span.number), most=4)
    assert [row.id for row in (*first, *rest)] == [row.id for row in rows]


def test_a_chunk_that_is_not_there(chunks: Chunks):
    """Raises LookupError."""
    for command in (chunks.asking, lambda n: chunks.answered(n, "", 1), lambda n: chunks.judged(n, [])):
        with pytest.raises(LookupError):
            command(99)
    assert chunks.spent() == 0


def test_planning_is_whole_or_not_at_all(ledger: Ledger):
    """Spans that cannot be leave no run behind."""
    wrong = [Span(number=1, begins=3, own=2, ends=5, sha256="0" * 64)]
    with pytest.raises(Exception, match="CHECK"):
        ledger.chunks.plan(RUN, "a" * 16, {name(RUN): wrong})
    assert not ledger.chunks.is_planned(RUN)


def test_no_word_of_a_forgotten_file_is_left(ledger: Ledger):
    """Neither a heading of it, nor what a model that failed said of it; another file of the job keeps all."""
    chunks = ledger.chunks
    secret = [replace(one, heading="Secret") for one in spans("one", "two")]
    chunks.plan(RUN, "a" * 16, {name(RUN): secret, name(RUN, 2): secret})
    for row in chunks.open_chunks(RUN):
        chunks.answered(row.id, "secret", 10)
        if row.span.number == 1:
            chunks.judged(row.id, [KEPT])
        else:
            chunks.failed(row.id, "it begins: secret", final=True)
    with closing(sqlite3.connect(ledger.path)) as db, db:
        forget_words(db, "notes-20261129-101010-abcd", "notes-20261129-101010-abcd-0001-stones.txt")
    forgotten, other = (rows := chunks.chunks(RUN))[:2], rows[2:]
    assert [(row.span.heading, row.reason, row.kept) for row in forgotten] == [("", None, 0), ("", "forgotten", 0)]
    assert [(row.span.heading, row.reason) for row in other] == [("Secret", None), ("Secret", "it begins: secret")]
    assert [row["n"] for row in asked(ledger, "select count(*) as n from drafts")] == [1]
    assert chunks.spent(run=RUN) == 40


def test_the_questions_use_indexes(ledger: Ledger):
    """No question about paid work goes through a whole table."""
    seen: list[str] = []
    chunks = ledger.chunks
    chunks.plan(RUN, "a" * 16, {name(RUN): spans("one")})
    with ledger.reading() as reader:
        db = reader.connection
        db.set_trace_callback(seen.append)
        chunks.open_chunks(RUN)
        chunks.answer_known("a" * 16, "0" * 64)
        chunks.spent(since=0.0)
        chunks.spent(run=RUN)
        chunks.counts(RUN)
        chunks.kept(RUN)
        chunks.chunks(RUN)
        db.set_trace_callback(None)
    plans = [row["detail"] for query in seen for row in asked(ledger, f"explain query plan {query}")]
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan] == []
