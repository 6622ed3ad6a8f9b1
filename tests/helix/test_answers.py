"""Long answers: written down while they come, believed when they are whole, and never in memory."""

from __future__ import annotations

import json
import os
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from finetuned.backend import Observation, Odd, Pair, Submission
from finetuned.errors import NotKept, NotTheServer, Refused, ReplyLost, ServerError, Unreachable
from finetuned.helix import client, wire
from finetuned.helix.answers import IN_MEMORY_BYTES, Keeper, NoRoom
from finetuned.helix.client import ApiKey
from finetuned.helix.observe import Handle, observe
from finetuned.helix.sessions import Sessions
from finetuned.pieces import MAX_ANSWER_BYTES
from finetuned.runtime import SystemRuntime, Wake
from support.replies import KEY, URL, Bytes, a_session, disk, part

PAIR = b'{"question": "q", "answer": "' + b"a" * 900 + b'"}'
NEW = "2026-11-23T05:23:11Z"
LONG = b"[" + b",".join([PAIR] * 3000) + b"]"
assert len(LONG) > 2 * IN_MEMORY_BYTES


class Stream(httpx.AsyncByteStream):
    """An answer's body in pieces, which may break off, or come slowly."""

    def __init__(self, body: bytes, *, pause: float = 0.0, error: Exception | None = None) -> None:
        self.body = body
        self.pause = pause
        self.error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        step = 1 if self.pause else 50_000
        for place in range(0, len(self.body), step):
            await SystemRuntime().wait(Wake(), self.pause)
            yield self.body[place : place + step]
        if self.error is not None:
            raise self.error


class Server(httpx.AsyncBaseTransport):
    """Answers everything with these bodies, in order; the last one stays."""

    def __init__(self, *bodies: Stream) -> None:
        self.bodies = list(bodies)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for _ in request.stream:
            pass
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        return httpx.Response(200, headers={"content-type": "application/json"}, stream=body)


def service(*bodies: Stream, spool: Path | str | None = None) -> Sessions:
    """A client of that server, which keeps long answers in the folder `spool`."""
    return Sessions(
        httpx.AsyncClient(transport=Server(*bodies)),
        url=URL,
        key=ApiKey("", lambda: KEY),
        disk=disk(Bytes(b"x"), spool=None if spool is None else str(spool)),
        dialect="form",
    )


def session(**more: Any) -> Observation:
    """A session whose pairs may be asked for."""
    return observe(wire.session(json.dumps(a_session(**more)).encode()))


async def failure(helix: Sessions) -> ServerError:
    """What it raises when pairs are asked for."""
    with pytest.raises(ServerError) as caught:
        await helix.harvest(session())
    return caught.value


async def test_a_long_answer_is_read_as_often_as_is_wanted(tmp_path: Path):
    """It lies in the folder that was named, under no name, and is gone once it is let go."""
    with await service(Stream(LONG), spool=tmp_path).harvest(session()) as harvest:
        assert (harvest.is_long, harvest.length) == (True, 3000)
        assert os.listdir(tmp_path) == []
        assert _held_in(tmp_path) == 1
        for _ in range(2):
            assert sum(1 for one in harvest if isinstance(one, Pair)) == 3000
    assert _held_in(tmp_path) == 0


def _held_in(folder: Path) -> int:
    """How many files of this folder we hold open."""
    held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    return sum(1 for path in held if path.startswith(str(folder)))


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


async def test_a_long_answer_costs_no_memory(tmp_path: Path):
    """Neither while it comes nor while it is read."""
    helix = service(Stream(LONG), spool=tmp_path)
    tracemalloc.start()
    try:
        with await helix.harvest(session()) as harvest:
            assert sum(1 for _ in harvest) == 3000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(LONG)


async def test_a_short_answer_stays_in_memory(tmp_path: Path):
    """No file is made for what everybody gets."""
    with await service(Stream(b"[" + PAIR + b", 1]"), spool=tmp_path / "missing").harvest(session()) as harvest:
        assert (harvest.is_long, [type(one) for one in harvest]) == (False, [Pair, Odd])


async def test_a_long_session_is_looked_at(tmp_path: Path):
    """Pairs that a session tells itself are passed over by a look, and harvested where they are more."""
    told = json.dumps(a_session(qa_pairs=[{"question": "q", "answer": "a" * 900}] * 3000)).encode()
    view = await service(Stream(told), spool=tmp_path).observe("s-1")
    assert isinstance(view.handle, Handle)
    assert view.handle.tells_pairs
    with await service(Stream(b"null"), Stream(told), spool=tmp_path).harvest(view) as harvest:
        assert harvest.length == 3000
    assert _held_in(tmp_path) == 0


async def test_what_was_kept_is_let_go_where_the_rest_breaks_off(tmp_path: Path):
    """The call told its pairs, and the session could not be read."""
    view = session(qa_pairs=[{"question": "q", "answer": "a"}])
    with pytest.raises(NotTheServer):
        await service(Stream(LONG), Stream(b"oops"), spool=tmp_path).harvest(view)
    assert _held_in(tmp_path) == 0


@pytest.mark.parametrize("half", [LONG[:-1], LONG[:-10], LONG + b"]", LONG[:-1] + b', {"question": oops}]'])
async def test_half_a_long_answer_is_none(tmp_path: Path, half: bytes):
    """However it was cut, nothing of it is believed, and nothing of it is left."""
    assert type(await failure(service(Stream(half), spool=tmp_path))) is NotTheServer
    assert _held_in(tmp_path) == 0


async def test_a_long_answer_that_breaks_off_leaves_nothing(tmp_path: Path):
    """The connection ended in the middle."""
    broken = Stream(LONG, error=httpx.ReadError("reset"))
    assert type(await failure(service(broken, spool=tmp_path))) is Unreachable
    assert _held_in(tmp_path) == 0


async def test_no_room_for_a_long_answer_is_told(tmp_path: Path):
    """Our own disk is no fault of the server's: a look is tried again later, and a send is looked for."""
    helix = service(Stream(LONG), spool=tmp_path / "missing")
    error = await failure(helix)
    assert type(error) is NotKept
    assert "the answer is long and cannot be kept: No such file or directory" in str(error)
    assert "free some space" in error.remedy
    with pytest.raises(ReplyLost, match="cannot be kept"):
        await helix.submit(
            Submission(marker="job.1", parts=(part("job.1-0001-a.txt", b"x"),)), on_progress=lambda _: None
        )


async def test_a_session_that_cannot_be_kept_is_not_called_somebody_elses(tmp_path: Path):
    """While our disk is full nobody knows whether it is the job's: one that is not found is sent once more."""
    row = {"session_id": "ses-ours", "created": NEW, "updated": NEW, "mode": "finetune", "type": "text"}
    listed = Stream(json.dumps({"counter": {"count": 1}, "sessions": [row]}).encode())
    told = json.dumps(a_session("ses-ours", "job.1", qa_pairs=[{"question": "q", "answer": "a" * 900}] * 3000)).encode()
    with pytest.raises(NotKept):
        await service(listed, Stream(told), spool=tmp_path / "missing").find("job", since=0.0, known=())


async def test_a_disk_that_is_full_at_the_end_is_told_as_such(monkeypatch: pytest.MonkeyPatch):
    """What waits to be written when the file is closed is of no use any more."""
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "r+b"))  # noqa: SIM115
    keeper = Keeper(disk(Bytes(b"x")))
    with pytest.raises(NoRoom, match="No space left"):
        await keeper.add(b"x" * (2 * IN_MEMORY_BYTES))
    keeper.close()


@pytest.mark.parametrize(
    ("ask", "remedy"),
    [
        (lambda helix: helix.observe("s-1"), "delete the session"),
        (lambda helix: helix.harvest(session()), "delete the session"),
        (lambda helix: helix.list(offset=0, limit=1), "no Helix answers so; check helix.url"),
    ],
    ids=["session", "pairs", "list"],
)
async def test_what_is_too_long_to_be_read_says_what_helps(tmp_path: Path, ask: Any, remedy: str):
    """Nobody can delete a list; and sizes are told in units that people read."""
    endless = Stream(b"[" + b" " * MAX_ANSWER_BYTES)
    with pytest.raises(Refused, match="longer than 64 MiB") as caught:
        await ask(service(endless, spool=tmp_path))
    assert remedy in caught.value.remedy
    assert _held_in(tmp_path) == 0


async def test_an_answer_that_drips_ends(monkeypatch: pytest.MonkeyPatch):
    """A byte now and then is no answer: a picture, pairs or a look end in words, however patient the connection is."""
    monkeypatch.setattr(client, "FIRST_SECONDS", 0.2)
    helix = service(Stream(b"[" + b" " * 10_000, pause=0.02))
    with pytest.raises(Unreachable, match="no complete answer in time"):
        await helix.fetch("a/picture.png")


async def test_an_answer_at_a_bearable_pace_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    """What comes at the slowest pace, or faster, may take longer than the first seconds."""
    monkeypatch.setattr(client, "FIRST_SECONDS", 0.2)
    monkeypatch.setattr(client, "SLOWEST_PACE", 10)
    assert await service(Stream(b"x" * 40, pause=0.02)).fetch("a/picture.png") == b"x" * 40
