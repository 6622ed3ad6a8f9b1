"""The values between us and a backend: what they count and tell by themselves."""

from __future__ import annotations

import pytest

from finetuned.backend import CallEnd, Capabilities, Observation, Part, Phase, Status, Submission, Taught, call_end
from finetuned.errors import Busy, KeyRefused, Refused, ReplyLost, ServerError, Unreachable
from finetuned.model import Content


def part(size: int) -> Part:
    """A file of `size` bytes."""
    content = Content(sha256="ab", bytes=size + 3, sent_bytes=size)
    return Part(upload_name=f"{size}.txt", location=f"/drop/{size}.txt", folder="notes", content=content)


def test_a_submission_weighs_what_is_sent():
    """A byte-order mark, say, is no part of it."""
    assert Submission(marker="j.1", parts=(part(5), part(7))).bytes == 12
    assert Submission(marker="j.1", parts=()).bytes == 0


def test_an_observation_counts_its_chunks():
    """Those of all its files, as far as it tells of any."""
    seen = Observation(id="s", status=Status.RUNNING, phase=Phase.PREPARING, stage="pairs")
    files = {"a.txt": Taught(chunks=2), "b.txt": Taught(document="d"), "c.txt": Taught(chunks=9)}
    told = Observation(id="s", status=Status.RUNNING, phase=Phase.PREPARING, stage="pairs", files=files)
    assert (seen.chunks, told.chunks) == (0, 11)


@pytest.mark.parametrize(("size", "chunks"), [(0, 3), (1, 3), (100, 3), (101, 6), (200, 6), (1001, 33)], ids=str)
def test_each_started_piece_of_a_text_makes_its_chunks(size: int, chunks: int):
    """Even an empty text has some; a backend that cuts nothing makes none."""
    assert Capabilities(chunk_bytes=100, chunks_each=3).chunks(size) == chunks
    assert Capabilities().chunks(size) == 0


def test_a_stage_tells_what_is_done():
    """Without progress it may wait for a trainer; a stage that nobody knows tells nothing."""
    can = Capabilities(stages={"pairs": Phase.PREPARING, "gpu": Phase.TRAINING}, queue_stages=frozenset({"gpu"}))
    assert [can.phase("pairs", 0), can.phase("gpu", 1), can.phase("gpu", 2), can.phase("tea", 0)] == [
        Phase.PREPARING,
        Phase.QUEUED,
        Phase.TRAINING,
        Phase.UNKNOWN,
    ]


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (Busy("later", after=1.0), CallEnd.BUSY),
        (KeyRefused("no"), CallEnd.KEY_REFUSED),
        (Unreachable("away"), CallEnd.UNREACHABLE),
        (ReplyLost("lost"), CallEnd.REPLY_LOST),
        (Refused("no"), CallEnd.REFUSED),
    ],
)
def test_how_a_request_ended(error: ServerError, end: CallEnd):
    """Each outcome has its word, for those who count them."""
    assert call_end(error) is end
