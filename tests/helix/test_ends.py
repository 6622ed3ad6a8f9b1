"""Who counts requests hears of each: how it was asked, how it ended, and after how long."""

from __future__ import annotations

import anyio
import httpx
import pytest

from finetuned.backend import CallEnd, Submission
from finetuned.errors import ServerError
from finetuned.helix.client import ApiKey
from finetuned.helix.sessions import Sessions
from support.replies import KEY, URL, Replies, Reply, a_session, disk, said, told

Ends = list[tuple[str, CallEnd, float]]


def counted(reply: Reply) -> tuple[Sessions, Ends]:
    """A service that answers so, and what is heard of its requests."""
    ends: Ends = []
    http = httpx.AsyncClient(transport=Replies(reply))
    key = ApiKey("", lambda: KEY)

    def on_end(method: str, end: CallEnd, seconds: float) -> None:
        ends.append((method, end, seconds))

    return Sessions(http, url=URL, key=key, disk=disk(), dialect="form", on_end=on_end), ends


class Silent(httpx.AsyncBaseTransport):
    """A server that never answers, and whose first request ends a scope."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self._scope = scope

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._scope.cancel()
        await anyio.sleep_forever()
        raise AssertionError


async def submit(helix: Sessions) -> None:
    """Send an order of no files."""
    await helix.submit(Submission(marker="job.1", parts=()), on_progress=lambda _: None)


@pytest.mark.parametrize(
    ("reply", "end"),
    [
        (told(a_session()), CallEnd.ANSWERED),
        (said(400, "bad request"), CallEnd.REFUSED),
        (said(500, "not found\n"), CallEnd.REFUSED),
        (said(401, "invalid API key"), CallEnd.KEY_REFUSED),
        (said(429, "slow down"), CallEnd.BUSY),
        (httpx.ConnectError("refused"), CallEnd.UNREACHABLE),
        (httpx.ReadTimeout(""), CallEnd.REPLY_LOST),
    ],
)
async def test_each_way_to_end_is_told(reply: Reply, end: CallEnd) -> None:
    """In one word, whatever became of it."""
    helix, ends = counted(reply)
    try:
        await submit(helix)
    except ServerError:
        assert end is not CallEnd.ANSWERED
    ((method, heard, seconds),) = ends
    assert (method, heard) == ("POST", end)
    assert 0 <= seconds < 60


async def test_one_that_we_stop_is_told_too() -> None:
    """The daemon ends in the middle of it."""
    ends: Ends = []
    scope = anyio.CancelScope()
    http = httpx.AsyncClient(transport=Silent(scope))
    key = ApiKey("", lambda: KEY)
    helix = Sessions(http, url=URL, key=key, disk=disk(), dialect="form", on_end=lambda *end: ends.append(end))
    with scope:
        await helix.observe("s-1")
    assert [(method, end) for method, end, _ in ends] == [("GET", CallEnd.STOPPED)]
