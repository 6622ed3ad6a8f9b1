"""Which dialect is spoken: found out, kept, and found out again when the server speaks another."""

from __future__ import annotations

import httpx
import pytest

from finetuned.backend import Submission
from finetuned.errors import NotTheServer, ReplyLost, Unreachable
from finetuned.helix.sessions import Sessions
from support.replies import PAGE, Bytes, Replies, a_session, part, said, service, told

ORDER = Submission(marker="job.1", parts=(part("job.1-0001-a.txt", b"alpha"),))
LIST = told({"counter": {"count": 0}, "sessions": []})
COMPLETION = told({"id": "s-1", "choices": []})
NO_ENTITY = said(400, "data entity ID not be empty\n")
NO_MODE = said(500, "invalid session mode: none\n")


class Server(Replies):
    """A server that speaks `dialects`, and hands all else to its frontend; its answers to a send can be replaced."""

    def __init__(self, *dialects: str) -> None:
        super().__init__(self.answered)
        self.dialects = set(dialects)
        self.instead: dict[str, httpx.Response | Exception] = {}

    def answered(self, request: httpx.Request, body: bytes) -> httpx.Response:
        line = f"{request.method} {request.url.path.removeprefix('/api/v1')}"
        if line == "GET /sessions":
            return LIST
        if instead := self.instead.get(line):
            if isinstance(instead, Exception):
                raise instead
            return instead
        calls: dict[str, tuple[str, httpx.Response]] = {
            "POST /sessions": ("form", NO_MODE if b"none" in body else told(a_session())),
            "POST /data_entities": ("learn", told({"id": "e-1"})),
            "POST /sessions/learn": ("learn", told(a_session()) if b"e-1" in body else NO_ENTITY),
            "POST /sessions/chat": ("learn", COMPLETION),
            "GET /sessions/s-1": ("", told(a_session())),
        }
        dialect, reply = calls.get(line, ("none", PAGE))
        return PAGE if dialect and dialect not in self.dialects else reply

    @property
    def sends(self) -> list[str]:
        """Every request but the list and the questions about the dialect, since this was asked last."""
        asked = zip(self.lines, self.bodies, strict=True)
        sends = [line.replace("/api/v1", "") for line, body in asked if b"none" not in body and b'_id":""' not in body]
        self.asked.clear()
        self.bodies.clear()
        return [line for line in sends if "?" not in line]


def auto(server: Replies, remembered: str | None = None) -> Sessions:
    """A service that finds out."""
    return service(server, Bytes(b"alpha"), Bytes(b"alpha"), dialect="auto", remembered=remembered)


async def learned(helix: Sessions) -> str:
    """Learn something, and tell by which session."""
    order = await helix.upload(ORDER, on_progress=lambda _: None)
    return (await helix.submit(order, on_progress=lambda _: None)).id


@pytest.mark.parametrize(
    ("dialects", "dialect", "sends"),
    [
        (("form",), "form", ["POST /sessions"]),
        (("learn",), "learn", ["POST /data_entities", "POST /sessions/learn"]),
        (("form", "learn"), "form", ["POST /sessions"]),
        ((), "form", None),
    ],
)
async def test_a_probe_finds_out(dialects: tuple[str, ...], dialect: str, sends: list[str] | None):
    """What the server speaks is spoken; of two dialects it is the form."""
    server = Server(*dialects)
    helix = auto(server)
    await helix.probe()
    assert helix.variant == dialect
    assert server.sends == []
    if sends:
        assert await learned(helix) == "s-1"
        assert server.sends == sends


@pytest.mark.parametrize("remembered", [None, "form", "learn"])
async def test_what_is_remembered_is_asked_again(remembered: str | None):
    """It is spoken until the server was asked, and not a request longer."""
    helix = auto(Server("learn"), remembered)
    assert helix.variant == (remembered or "form")
    assert await learned(helix) == "s-1"
    assert helix.variant == "learn"


@pytest.mark.parametrize("remembered", ["form", "learn"])
@pytest.mark.parametrize("status", [400, 403, 413, 422, 502])
async def test_an_answer_that_tells_nothing_changes_nothing(remembered: str, status: int):
    """An ill server, or something that stands before it, has not changed its dialect."""
    server = Server("form", "learn")
    server.instead["POST /sessions/learn"] = said(status, "no")
    helix = auto(server, remembered)
    await helix.probe()
    assert helix.variant == remembered


async def test_an_outage_during_a_probe_is_one():
    """Who cannot be asked cannot be used yet."""
    server = Server("learn")
    server.instead["POST /sessions/learn"] = httpx.ConnectError("no")
    with pytest.raises(Unreachable):
        await auto(server).probe()


async def test_a_question_without_an_answer_is_asked_again():
    """What lies in between may swallow it: that keeps nothing from being sent, and the next one asks again."""
    server = Server("learn")
    server.instead["POST /sessions/learn"] = httpx.ReadTimeout("")
    helix = auto(server)
    await helix.probe()
    assert helix.variant == "form"
    del server.instead["POST /sessions/learn"]
    assert await learned(helix) == "s-1"
    assert helix.variant == "learn"


async def test_an_upgrade_is_noticed_at_the_next_send():
    """The send is doubtful, for all that can be proved; the next one is in the right dialect, and found out once."""
    server = Server("form")
    helix = auto(server)
    await helix.probe()
    server.dialects = {"learn"}
    with pytest.raises(ReplyLost):
        await learned(helix)
    assert helix.variant == "learn"
    assert server.sends == ["POST /sessions"]
    assert await learned(helix) == "s-1"
    assert server.sends == ["POST /data_entities", "POST /sessions/learn"]


async def test_a_step_back_is_noticed_by_the_probe():
    """An upload that meets a page started nothing: the server is left alone until a probe tells more."""
    server = Server("learn")
    helix = auto(server)
    await helix.probe()
    server.dialects = {"form"}
    with pytest.raises(NotTheServer):
        await learned(helix)
    await helix.probe()
    assert helix.variant == "form"
    assert await learned(helix) == "s-1"


async def test_an_order_keeps_its_dialect():
    """What was uploaded is learned, and what was not goes as a form, whatever was found out in between."""
    server = Server("form", "learn")
    helix = auto(server, "learn")
    server.instead["POST /sessions/learn"] = said(502, "bad gateway")
    order = await helix.upload(ORDER, on_progress=lambda _: None)
    del server.instead["POST /sessions/learn"]
    await helix.probe()
    assert helix.variant == "form"
    assert server.sends == ["POST /data_entities"]
    await helix.submit(order, on_progress=lambda _: None)
    assert server.sends == ["POST /sessions/learn"]


async def test_an_outage_in_the_middle_of_a_send_asks_nothing():
    """Only an answer can be the answer of another dialect."""
    server = Server("form")
    helix = auto(server)
    await helix.probe()
    asked = len(server.asked)
    server.instead["POST /sessions"] = httpx.ReadTimeout("")
    with pytest.raises(ReplyLost):
        await learned(helix)
    assert len(server.asked) == asked + 1


@pytest.mark.parametrize(
    ("dialect", "chat", "image"),
    [
        ("form", ["POST /sessions"], ["POST /sessions"]),
        ("learn", ["POST /sessions/chat", "GET /sessions/s-1"], ["POST /sessions/chat", "GET /sessions/s-1"]),
    ],
)
async def test_a_talk_finds_out_first(dialect: str, chat: list[str], image: list[str]):
    """Nobody probes for a command: it asks by itself, once."""
    server = Server(dialect)
    helix = auto(server)
    await helix.chat("yo", session_id=None)
    assert server.sends == chat
    await helix.image("flying fish")
    assert server.sends == image


@pytest.mark.parametrize("dialect", ["auto", "form", "learn"])
async def test_the_configured_dialect_is_spoken(dialect: str):
    """Where both are spoken, the configuration decides."""
    server = Server("form", "learn")
    helix = service(server, Bytes(b"alpha"), dialect=dialect)
    await helix.probe()
    assert helix.variant == ("learn" if dialect == "learn" else "form")
    assert await learned(helix) == "s-1"
