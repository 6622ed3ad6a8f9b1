"""The review that was recorded of a real server, gone through again by the client: what it sends is what was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from finetuned.backend import Push, Status, Submission
from finetuned.errors import NoReviews, ReplyLost
from finetuned.helix.qa import dressed, pair
from support.replies import Bytes, Replies, part, service, told

TRACE = Path(__file__).parents[1] / "traces" / "form" / "finetune-manual-review.json"
TEXT = b"honey"


def steps() -> Iterator[dict[str, Any]]:
    """What was asked and answered, in order."""
    yield from json.loads(TRACE.read_bytes())["steps"]


def unheard(_: int) -> None:
    """Nobody listens to the upload."""


async def test_the_recorded_review_is_gone_through():
    """Asked for, found at rest, its pairs read, written back as they were sent then, started, trained."""
    recorded = list(steps())
    server = Replies(*(told(step["response"]["body"]) for step in recorded))
    helix = service(server, Bytes(TEXT))
    asked = await helix.submit(
        Submission(marker="ft-marker-3", parts=(part("0001-a.txt", TEXT),), review=True), on_progress=unheard
    )
    assert b'name="manuallyReviewQuestions"\r\n\r\nyes\r\n' in server.bodies[0]
    view = await helix.observe(asked.id)
    assert (view.awaits_review, view.status) == (True, Status.PAUSED)
    await helix.pairs(view)
    sent = recorded[3]["request"]["json"]
    edited = [pair(*(said["value"] for said in row["conversations"])) for row in sent]
    await helix.write_pairs(view, edited)
    assert json.loads(server.bodies[3]) == sent
    await helix.pairs(view)
    await helix.push(view.id, Push.START)
    assert (await helix.observe(view.id)).status is Status.RUNNING
    assert (await helix.observe(view.id)).status is Status.TRAINED
    assert server.lines == [f"{step['request']['method']} {step['request']['path']}" for step in recorded]


async def test_a_pair_is_dressed_as_the_server_dresses_it():
    """With the session's own names of document and group the recorded words come out."""
    for step in steps():
        if step["request"]["method"] == "GET" and isinstance(step["response"]["body"], list):
            for row in step["response"]["body"]:
                read = pair(*(said["value"] for said in row["conversations"]))
                assert dressed(read.question, read.answer, "eb897419a9", "3157cf09ba") == read


async def test_other_pairs_than_those_that_were_written_are_told():
    """A server that answers with something else has perhaps kept something else."""
    recorded = list(steps())
    server = Replies(told(recorded[1]["response"]["body"]), told(None))
    helix = service(server)
    view = await helix.observe(recorded[1]["response"]["body"]["id"])
    with pytest.raises(ReplyLost, match="other pairs"):
        await helix.write_pairs(view, [pair("q", "a")])


async def test_the_learn_dialect_takes_no_order_for_a_review():
    """It would train unreviewed: not a byte is sent."""
    server = Replies(httpx.Response(500))
    helix = service(server, Bytes(TEXT), dialect="learn")
    with pytest.raises(NoReviews):
        await helix.upload(Submission(marker="j.1", parts=(part("a.txt", TEXT),), review=True), on_progress=unheard)
    assert server.asked == []
