"""Answers that come word by word: what is made of the events, and of a connection that breaks among them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from finetuned import pieces
from finetuned.errors import CutShort, ReplyLost, Unreachable
from finetuned.helix.sessions import Sessions
from finetuned.helix.speech import LONGEST_LINE, Speech
from finetuned.helix.wire import NotThat
from support.replies import KEY, Replies, a_session, said, service, told

CUT = httpx.ReadError("cut")


def event(words: str | None = None, ident: str = "s-1", **more: Any) -> bytes:
    """A piece of an answer, as the server writes it; without words the one that comes first."""
    choices = None if words is None else [{"index": 0, "delta": {"content": words}}]
    return b"data: " + json.dumps({"id": ident, "choices": choices} | more).encode() + b"\n\n"


class Pieces(httpx.AsyncByteStream):
    """A body in pieces; an error among them breaks it off."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def spoken(*pieces: bytes | Exception) -> Any:
    """A reply of events."""

    def reply(_request: httpx.Request, _body: bytes) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Pieces(*pieces))

    return reply


def learn(server: Replies) -> Sessions:
    """A service of the dialect in front of `server`."""
    return service(server, dialect="learn")


async def test_words_are_told_as_they_come():
    """Each event's at once, however the bytes are cut; what is no word of an answer is passed over."""
    whole = event() + event("The ö") + b": still here\n\n" + b"event: x\n\n" + event("tter") + b"data: [DONE]\n\n"
    server, heard = Replies(spoken(*(whole[i : i + 7] for i in range(0, len(whole), 7))), told(a_session("s-1"))), []
    view = await learn(server).chat("yo", session_id=None, on_text=heard.append)
    assert (view.session_id, heard) == ("s-1", ["The ö", "tter"])
    assert server.lines == ["POST /api/v1/sessions/chat", "GET /api/v1/sessions/s-1"]
    assert json.loads(server.bodies[0])["stream"] is True


async def test_a_word_is_told_before_the_next_one_comes():
    """Nobody waits for the end of an answer to hear its beginning."""
    heard: list[str] = []

    class Waits(Pieces):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield event("The")
            assert heard == ["The"]
            yield event(" otter")

    def reply(_request: httpx.Request, _body: bytes) -> httpx.Response:
        return httpx.Response(200, stream=Waits())

    await learn(Replies(reply, told(a_session("s-1")))).chat("yo", session_id=None, on_text=heard.append)
    assert heard == ["The", " otter"]


@pytest.mark.parametrize(
    "odd",
    [
        b"data: {\n",
        b"data: 7\n",
        b"data: \xff\n",
        b'data: {"id": 7, "choices": 7}\n',
        b'data: {"choices": [7]}\n',
        b'data: {"id": "../x", "choices": [{"delta": 7}]}\n',
        b'data: {"choices": [{"delta": {"content": 7}}]}\n',
    ],
)
def test_an_odd_event_is_passed_over(odd: bytes):
    """What is no piece of an answer tells nothing, and breaks nothing off."""
    heard: list[str] = []
    speech = Speech(heard.append)
    speech.take(odd + event("yes") + odd)
    speech.end(pieces.Pieces.of(b""))
    assert (speech.session_id, speech.complaint, heard) == ("s-1", "", ["yes"])


@pytest.mark.parametrize("body", [b"", b"data: [DONE]\n", b"<!doctype html>\n<title>x</title>", b'{"id": "s-1"}'])
def test_an_answer_that_names_no_session_is_none(body: bytes):
    """A page, or nothing at all, is no answer."""
    speech = Speech(lambda _: None)
    speech.take(body)
    with pytest.raises(NotThat):
        speech.end(pieces.Pieces.of(body))


@pytest.mark.parametrize(
    "complaint",
    [
        b"no GPU is free for hl-secret\x1b\n",
        b"no GPU is free for hl-secret\x1b",
        b'data: {"error": "no GPU is free for hl-secret\\u001b"}\n\n',
    ],
)
async def test_a_complaint_among_the_words_ends_the_answer(complaint: bytes):
    """The status was sent before: the words alone say what went wrong, without our key and harmless."""
    server = Replies(spoken(event(), event("The"), complaint))
    with pytest.raises(ReplyLost, match=r"the answer broke off: no GPU is free for …\\x1b$") as caught:
        await learn(server).chat("yo", session_id=None)
    assert not isinstance(caught.value, CutShort)
    assert KEY == "hl-secret"


def turns(*ids: str) -> dict[str, Any]:
    """A session of so many answers."""
    made: list[dict[str, Any]] = []
    for ident in ids:
        made += [{"id": f"u{ident}", "creator": "user"}, {"id": ident, "creator": "assistant"}]
    return a_session("s-1") | {"interactions": made}


async def test_what_breaks_off_says_where_to_look():
    """The session is known by the first event, or because the talk went on in it; nothing is said twice."""
    server = Replies(spoken(event("The"), CUT))
    with pytest.raises(CutShort) as caught:
        await learn(server).chat("yo", session_id=None)
    assert (caught.value.session_id, caught.value.before, caught.value.answered) == ("s-1", "", False)
    assert server.lines == ["POST /api/v1/sessions/chat"]

    server = Replies(told(turns("a1", "a2")), CUT)
    with pytest.raises(CutShort) as caught:
        await learn(server).chat("yo", session_id="s-1")
    assert (caught.value.session_id, caught.value.before) == ("s-1", "a2")
    assert len(server.lines) == 2


async def test_what_was_heard_but_cannot_be_seen_is_to_be_looked_at_again():
    """A look that fails after the answer is no reason to say anything twice; the same for a picture."""
    completion = told({"id": "s-1", "choices": []})
    for first, ask in ((spoken(event("The")), "chat"), (completion, "image")):
        helix = learn(Replies(first, httpx.ConnectError("no")))
        with pytest.raises(CutShort) as caught:
            await (helix.chat("yo", session_id=None) if ask == "chat" else helix.image("yo"))
        assert caught.value.session_id == "s-1"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [(CUT, ReplyLost), (said(500, "error running LLM"), ReplyLost), (httpx.ConnectError("no"), Unreachable)],
)
async def test_what_leads_nowhere_is_as_it_was(reply: Any, outcome: type[Exception]):
    """Without a session there is nowhere to look; what the server answered, and what never left, is no riddle."""
    with pytest.raises(outcome) as caught:
        await learn(Replies(reply)).chat("yo", session_id=None)
    assert type(caught.value) is outcome
    if reply is not CUT:
        with pytest.raises(outcome) as caught:
            await learn(Replies(told(turns("a1")), reply)).chat("yo", session_id="s-1")
        assert type(caught.value) is outcome


def test_a_line_without_an_end_is_not_kept():
    """Of an event that is longer than any may be too little is remembered to hear it; the next event is heard."""
    heard: list[str] = []
    speech = Speech(heard.append)
    longest = "x" * (LONGEST_LINE - len(event("").rstrip()))
    for words in (longest, longest + "x" * 200_000):
        sent = event(words)
        for at in range(0, len(sent), 100_000):
            speech.take(sent[at : at + 100_000])
    speech.take(event("word"))
    assert heard == [longest, "word"]
