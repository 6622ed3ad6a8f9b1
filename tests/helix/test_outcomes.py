"""Which of the three outcomes each failure is, for a look (safe) and for an upload (not safe)."""

from __future__ import annotations

import socket
import ssl

import httpx
import pytest

from finetuned.backend import Push, Submission
from finetuned.errors import (
    Busy,
    KeyRefused,
    KnownRefusal,
    NoSuchCall,
    NotFound,
    NotTheServer,
    Refused,
    ReplyLost,
    ServerError,
    TooLarge,
    Unreachable,
)
from finetuned.helix import wire
from finetuned.helix.body import PIECE_BYTES
from finetuned.helix.sessions import Sessions
from finetuned.pieces import MAX_ANSWER_BYTES
from support.replies import KEY, PAGE, URL, Bytes, Replies, Reply, a_session, part, said, service, told

ORDER = Submission(marker="job.1", parts=(part("job.1-0001-a.txt", b"alpha"),))
#: more than two pieces on the wire
BIG = b"alpha" * PIECE_BYTES
BIG_ORDER = Submission(marker="job.1", parts=(part("job.1-0001-a.txt", BIG),))


async def outcome(helix: Sessions, method: str) -> ServerError:
    """What a look, an upload or a restart raises."""
    work = {
        "GET": lambda: helix.observe("s-1"),
        "POST": lambda: helix.submit(ORDER, on_progress=lambda _: None),
        "PUT": lambda: helix.push("s-1", Push.RESTART),
    }
    with pytest.raises(ServerError) as caught:
        await work[method]()
    return caught.value


#: reply; what it is to a GET, to the POST of an upload, to the PUT of a route that not every server has
TABLE: list[tuple[Reply, type[ServerError], type[ServerError], type[ServerError]]] = [
    (said(500, "not found\n"), NotFound, NotFound, NotFound),
    (said(500, "session is currently active\n"), KnownRefusal, KnownRefusal, KnownRefusal),
    (said(500, "invalid session mode: x\n"), KnownRefusal, KnownRefusal, KnownRefusal),
    (said(500, "unexpected EOF\n"), KnownRefusal, KnownRefusal, KnownRefusal),
    (said(500, "pq: deadlock detected"), Unreachable, ReplyLost, ReplyLost),
    (said(502, "bad gateway"), Unreachable, ReplyLost, ReplyLost),
    (said(503, "starting"), Unreachable, ReplyLost, ReplyLost),
    (said(503, "", retry_after="7"), Busy, Busy, Busy),
    (said(429, "slow down"), Busy, Busy, Busy),
    (said(504, ""), Unreachable, ReplyLost, ReplyLost),
    (said(401, "invalid API key"), KeyRefused, KeyRefused, KeyRefused),
    (said(403, "access denied"), Refused, Refused, Refused),
    (said(400, "bad request"), Refused, Refused, Refused),
    (said(413, "too large"), Refused, TooLarge, Refused),
    (said(404, "404 page not found"), NotTheServer, NotTheServer, NoSuchCall),
    (said(405, ""), NotTheServer, NotTheServer, NoSuchCall),
    (said(408, ""), Unreachable, Unreachable, Unreachable),
    (said(302, "", location="https://login.test/in?x=1"), NotTheServer, NotTheServer, NotTheServer),
    (PAGE, NotTheServer, ReplyLost, NoSuchCall),
    (said(200, "<html>"), NotTheServer, ReplyLost, NoSuchCall),
    (said(200, "{}"), NotTheServer, ReplyLost, ReplyLost),
    (said(200, ""), NotTheServer, ReplyLost, ReplyLost),
    (said(200, '{"id": "s-1", "inter'), NotTheServer, ReplyLost, ReplyLost),
    (httpx.ConnectError("refused"), Unreachable, Unreachable, Unreachable),
    (httpx.ConnectTimeout(""), Unreachable, Unreachable, Unreachable),
    (httpx.PoolTimeout(""), Unreachable, Unreachable, Unreachable),
    (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), Unreachable, Unreachable, Unreachable),
    (httpx.LocalProtocolError("x"), Unreachable, Unreachable, Unreachable),
    (httpx.ReadTimeout(""), Unreachable, ReplyLost, ReplyLost),
    (httpx.WriteTimeout(""), Unreachable, ReplyLost, ReplyLost),
    (httpx.ReadError(""), Unreachable, ReplyLost, ReplyLost),
    (httpx.WriteError(""), Unreachable, ReplyLost, ReplyLost),
    (httpx.RemoteProtocolError("cut"), Unreachable, ReplyLost, ReplyLost),
    (ssl.SSLError("bad record"), Unreachable, ReplyLost, ReplyLost),
]
CASES = [
    pytest.param(reply, method, kind, id=f"{method}-{number}-{kind.__name__}")
    for number, (reply, *kinds) in enumerate(TABLE)
    for method, kind in zip(("GET", "POST", "PUT"), kinds, strict=True)
]


@pytest.mark.parametrize(("reply", "method", "kind"), CASES)
async def test_every_failure_has_its_outcome(reply: Reply, method: str, kind: type[ServerError]):
    """Each row of the table comes out as it says, names the request, and keeps the key to itself."""
    error = await outcome(service(Replies(reply), Bytes(b"alpha"), Bytes(b"alpha")), method)
    assert type(error) is kind
    assert f"{method} {URL}/api/v1/sessions" in str(error)
    assert error.remedy
    assert KEY not in f"{error!s}{error!r}{error.remedy}"


@pytest.mark.parametrize(
    "reply", [httpx.ReadError(""), httpx.WriteTimeout(""), httpx.RemoteProtocolError("closed"), said(502, "")]
)
@pytest.mark.parametrize("takes", [0, 1, 2])
async def test_a_form_that_was_cut_never_took_effect(reply: Reply, takes: int):
    """Before the final boundary was handed over, the server cannot have a whole form."""
    file = Bytes(BIG)
    with pytest.raises(Unreachable) as caught:
        await service(Replies(reply, takes=takes), file).submit(BIG_ORDER, on_progress=lambda _: None)
    assert type(caught.value) is Unreachable
    assert file.closed is (takes > 0)


async def test_an_early_answer_to_a_cut_form_counts():
    """A server that refuses before it has read everything is heard."""
    with pytest.raises(Refused, match="too large"):
        await service(Replies(said(413, "too large"), takes=1), Bytes(BIG)).submit(
            BIG_ORDER, on_progress=lambda _: None
        )


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0"}, 1.0),
        ({"retry_after": "99999999999999"}, 3600.0),
        ({"retry_after": "soon"}, 30.0),
        ({}, 30.0),
        ({"retry_after": "Mon, 23 Nov 2026 05:24:10 GMT", "date": "Mon, 23 Nov 2026 05:23:10 GMT"}, 60.0),
        ({"retry_after": "Mon, 23 Nov 2026 05:24:10 -0000", "date": "Mon, 23 Nov 2026 05:23:10 GMT"}, 30.0),
        ({"retry_after": "Mon, 01 Jan 99999999999 00:00:00 GMT", "date": "Mon, 23 Nov 2026 05:23:10 GMT"}, 30.0),
        ({"retry_after": "Mon, 23 Nov 2026 05:24:10 +99999999999999"}, 30.0),
    ],
)
async def test_a_busy_server_says_when_to_come_back(headers: dict[str, str], after: float):
    """Seconds or a date by the server's own clock, from a second to an hour."""
    error = await outcome(service(Replies(said(429, "", **headers))), "GET")
    assert isinstance(error, Busy)
    assert error.after == after


@pytest.mark.parametrize(("location", "host"), [("https://login.test/in", "login.test"), ("/login", "another path")])
async def test_a_redirect_names_where_it_leads(location: str, host: str):
    """A login page before the server is told by its host."""
    error = await outcome(service(Replies(said(302, "", location=location))), "GET")
    assert host in str(error)


async def test_servers_words_are_cut_and_harmless():
    """Control characters, our own key and the length of a page do not get through."""
    error = await outcome(service(Replies(said(500, f"\x1b[31m bad {KEY}\n" + "x" * 100_000))), "GET")
    words = str(error)
    assert "\x1b" not in words
    assert "\\x1b[31m bad …" in words
    assert len(words) < 500


async def test_a_known_refusal_tells_its_kind():
    """The caller need not read words again."""
    error = await outcome(service(Replies(said(500, "session is currently active"))), "PUT")
    assert isinstance(error, KnownRefusal)
    assert error.kind is wire.Refusal.ACTIVE


class Endless(httpx.AsyncByteStream):
    """An answer without an end; closed, it breaks as a socket does."""

    def __init__(self) -> None:
        self.sent = 0
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self) -> bytes:
        if self.closed:
            raise httpx.ReadError("closed")
        self.sent += 1024 * 1024
        return b" " * (1024 * 1024)

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("method", "kind"), [("GET", Refused), ("POST", ReplyLost)])
async def test_an_answer_without_end_is_left(method: str, kind: type[ServerError]):
    """64 MiB are read, no more; one such session is no reason to leave the server alone."""
    endless = Endless()
    helix = service(Replies(lambda _request, _body: httpx.Response(200, stream=endless)), Bytes(b"alpha"))
    assert type(await outcome(helix, method)) is kind
    assert endless.sent <= MAX_ANSWER_BYTES + 2 * 1024 * 1024


async def test_an_error_without_end_is_left():
    """Of an error's text, 64 KiB are read."""
    endless = Endless()
    helix = service(Replies(lambda _request, _body: httpx.Response(500, stream=endless)))
    assert type(await outcome(helix, "GET")) is Unreachable
    assert endless.sent == 1024 * 1024


async def test_another_session_in_the_answer_is_no_answer():
    """Something on the way mixes answers up: better nothing than another session's state."""
    error = await outcome(service(Replies(told(a_session("s-2")))), "GET")
    assert type(error) is NotTheServer
    assert "s-2" in str(error)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (ExceptionGroup("several", [OSError(101, "no"), OSError(111, "no")]), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError("All failed"), "All failed"),
    ],
)
async def test_why_there_is_no_connection_is_said_in_the_systems_words(cause: Exception, words: str) -> None:
    """The library keeps them inside: "All connection attempts failed" helps nobody."""
    error = httpx.ConnectError(str(cause) if isinstance(cause, socket.gaierror) else "All failed")
    error.__cause__ = cause
    with pytest.raises(Unreachable, match=f"no connection: .*{words}$"):
        await service(Replies(error)).probe()
