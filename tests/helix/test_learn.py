"""The learn dialect over a server of prepared replies: what it asks, and what it makes of the answers."""

from __future__ import annotations

import json

import httpx
import pytest
from msgspec.structs import replace

from finetuned.backend import Submission
from finetuned.errors import (
    Busy,
    KeyRefused,
    KnownRefusal,
    NoReviews,
    NotFound,
    NotTheServer,
    Quota,
    Refusal,
    Refused,
    ReplyLost,
    ServerError,
    Unreachable,
)
from finetuned.helix.sessions import Sessions
from helix.test_form import Listed, row
from support.replies import KEY, PAGE, Bytes, Replies, a_session, part, said, service, told

ENTITY = "89279d72-3c2e-49ab-9e14-d8cf50a27711"
UPLOAD = {"id": ENTITY, "type": "uploaded_documents", "config": {"filestore_path": f"data/{ENTITY}"}}
CONTENTS = {"job.1-0001-a.txt": b"alpha", "job.1-0002-b.txt": b"beta beta"}
ORDER = Submission(marker="job.1", parts=tuple(part(name, content) for name, content in CONTENTS.items()))
UPLOADED = Submission(marker=ORDER.marker, parts=ORDER.parts, upload_id=ENTITY)
COMPLETION = {"id": "s-1", "object": "chat.completion", "choices": [{"message": {"content": "hi"}}]}


def learn(server: Replies) -> Sessions:
    """A service of the dialect in front of `server`, with the order's files at hand."""
    return service(server, *(Bytes(content) for content in CONTENTS.values()), dialect="learn")


async def test_files_are_uploaded_under_their_names():
    """One form of nothing but files, streamed and told of; what comes back is an order that names the upload."""
    server, heard = Replies(told(UPLOAD)), []
    order = await learn(server).upload(ORDER, on_progress=heard.append)
    assert order == UPLOADED
    assert server.lines == ["POST /api/v1/data_entities"]
    body = server.bodies[0]
    assert server.asked[0].headers["content-length"] == str(len(body))
    assert server.asked[0].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert body.count(b'name="files"; filename="job.1-0001-a.txt"') == 1
    assert b"\r\n\r\nbeta beta\r\n--" in body
    assert body.count(b"Content-Disposition") == 2
    assert heard == sorted(heard)
    assert heard[-1] > sum(map(len, CONTENTS.values()))


async def test_an_upload_is_learned():
    """The second request names the upload, and wants a fine-tune and nothing else; it comes back as a session."""
    server, heard = Replies(told(a_session("s-1", ""))), []
    view = await learn(server).submit(UPLOADED, on_progress=heard.append)
    assert view.id == "s-1"
    assert server.lines == ["POST /api/v1/sessions/learn"]
    assert server.asked[0].headers["content-type"] == "application/json"
    assert json.loads(server.bodies[0]) == {
        "type": "text",
        "data_entity_id": ENTITY,
        "rag_enabled": False,
        "text_finetune_enabled": True,
    }
    assert heard == [sum(map(len, CONTENTS.values()))]


async def test_nothing_is_learned_unreviewed():
    """Neither uploaded, nor learned of an upload that was made before a review was wanted."""
    server = Replies()
    for call, order in ((learn(server).upload, ORDER), (learn(server).submit, UPLOADED)):
        with pytest.raises(NoReviews):
            await call(replace(order, review=True), on_progress=lambda _: None)
    assert server.lines == []


async def test_nothing_is_learned_without_an_upload():
    """The server would take an empty wish for a question, so it is never sent."""
    server = Replies(told(a_session()))
    with pytest.raises(ValueError, match=r"job\.1 has no upload"):
        await learn(server).submit(ORDER, on_progress=lambda _: None)
    assert server.asked == []


BROKEN = httpx.ReadTimeout("")
#: a reply -> the outcome of an upload, the outcome of the call that learns it
OUTCOMES = [
    pytest.param(BROKEN, Unreachable, ReplyLost, id="time-out"),
    pytest.param(httpx.RemoteProtocolError("cut"), Unreachable, ReplyLost, id="cut"),
    pytest.param(httpx.ConnectError("no"), Unreachable, Unreachable, id="no-connection"),
    pytest.param(PAGE, NotTheServer, ReplyLost, id="page"),
    pytest.param(told({}), NotTheServer, ReplyLost, id="empty-object"),
    pytest.param(said(404, "404 page not found"), NotTheServer, NotTheServer, id="no-route"),
    pytest.param(said(502, "bad gateway"), ReplyLost, ReplyLost, id="unknown-5xx"),
    pytest.param(said(503, "later", retry_after="7"), Busy, Busy, id="busy"),
    pytest.param(said(401, "Unauthorized"), KeyRefused, KeyRefused, id="key"),
    pytest.param(said(403, "no"), Refused, Refused, id="forbidden"),
    pytest.param(said(500, "unexpected EOF\n"), KnownRefusal, KnownRefusal, id="form-in-part"),
    pytest.param(said(500, "not found\n"), NotFound, NotFound, id="unknown-upload"),
    pytest.param(said(400, "you must own the data entity\n"), NotFound, NotFound, id="somebody-elses"),
    pytest.param(said(400, "there is something about it\n"), Refused, Refused, id="unknown-400"),
]


@pytest.mark.parametrize(("reply", "upload", "start"), OUTCOMES)
async def test_only_the_call_that_starts_something_can_be_lost(
    reply: httpx.Response | Exception, upload: type[ServerError], start: type[ServerError]
):
    """A broken upload started nothing and is repeated; of a broken learn call nobody knows what it started."""
    with pytest.raises(upload) as caught:
        await learn(Replies(reply)).upload(ORDER, on_progress=lambda _: None)
    assert type(caught.value) is upload
    with pytest.raises(start) as caught:
        await learn(Replies(reply)).submit(UPLOADED, on_progress=lambda _: None)
    assert type(caught.value) is start


@pytest.mark.parametrize(
    ("words", "kind", "quota"),
    [
        (
            "you have reached the maximum number of concurrent finetuning sessions (3/100) allowed for your plan",
            Refusal.TOO_MANY,
            Quota(asked=3, limit=None),
        ),
        (
            "Sorry, too much data to process on the free tier 😅 (resulted in 18 chunks while the limit is 5), upgrade",
            Refusal.TOO_MUCH,
            Quota(asked=18, limit=5),
        ),
        ("data entity ID not be empty", Refusal.NO_UPLOAD, None),
    ],
)
async def test_a_refusal_carries_its_kind_and_numbers(words: str, kind: Refusal, quota: Quota | None):
    """What a plan does not allow is known by its words, and how much it allows is read from them."""
    with pytest.raises(KnownRefusal) as caught:
        await learn(Replies(said(500, words))).submit(UPLOADED, on_progress=lambda _: None)
    assert (caught.value.kind, caught.value.quota) == (kind, quota)
    assert caught.value.remedy


async def test_find_knows_our_sessions_by_name_and_by_upload():
    """No message carries a marker here: the uploads' names do, and so does the id of an upload of ours."""
    documents = {"document_ids": {f"dev/users/u1/data/{ENTITY}/job.1-0001-a.txt": "d"}}
    turns = [{"id": "u", "creator": "user", "mode": "finetune", "message": "", "files": ["data/x/job.2-0001-a.txt"]}]
    sessions = {
        "named": a_session("named", "", config=documents),
        "early": a_session("early", "") | {"interactions": turns, "config": {"document_ids": None}},
        "entity": a_session("entity", "", config={"document_ids": None, "uploaded_data_entity_id": ENTITY}),
        "other": a_session("other", "", config={"uploaded_data_entity_id": "another"}),
        "none": a_session("none", "", config={"uploaded_data_entity_id": ""}),
    }
    helix = learn(Listed([row(ident) for ident in sessions], sessions))
    found = await helix.find("job", since=0.0, known=(), uploads={ENTITY})
    assert [view.id for view in found] == ["named", "early", "entity"]
    assert [view.id for view in await helix.find("job", since=0.0, known=())] == ["named", "early"]
    assert [view.id for view in await helix.find("job", since=0.0, known=(), uploads={""})] == ["named", "early"]


async def test_a_chat_is_answered_in_its_session():
    """A completion names the session; the session holds the answer. The server may think for minutes."""
    server = Replies(told(COMPLETION), told(a_session("s-1")))
    reply = await learn(server).chat("yo", session_id=None)
    assert reply.session_id == "s-1"
    assert server.lines == ["POST /api/v1/sessions/chat", "GET /api/v1/sessions/s-1"]
    message = {"role": "user", "content": {"content_type": "text", "parts": ["yo"]}}
    assert json.loads(server.bodies[0]) == {"type": "text", "messages": [message], "stream": True}
    assert [asked.extensions["timeout"]["read"] for asked in server.asked] == [600.0, 5.0]


async def test_a_jobs_own_model_is_named():
    """Without its lora_dir the server would answer with the model it was made from."""
    tuned = told(a_session("s-1", lora_dir="dev/l", mode="inference"))
    server = Replies(tuned, told(COMPLETION), tuned)
    await learn(server).chat("yo", session_id="s-1")
    sent = json.loads(server.bodies[1])
    assert (sent["session_id"], sent["lora_dir"]) == ("s-1", "dev/l")


async def test_a_picture_is_asked_for_like_a_chat():
    """Only its type is another."""
    server = Replies(told(COMPLETION), told(a_session("s-1", type="image")))
    assert (await learn(server).image("flying fish")).session_id == "s-1"
    assert json.loads(server.bodies[0])["type"] == "image"


@pytest.mark.parametrize("reply", [PAGE, told({}), told({"id": "../x", "choices": []})])
async def test_an_answer_that_names_no_session_is_lost(reply: httpx.Response):
    """What was said was said: nobody says it again on their own."""
    with pytest.raises(ReplyLost):
        await learn(Replies(reply)).chat("yo", session_id=None)


NO_UPLOAD = said(400, "data entity ID not be empty\n")
NO_MODE = said(500, "invalid session mode: none\n")
ROWS = told({"counter": {"count": 0}, "sessions": []})


@pytest.mark.parametrize(
    ("replies", "spoken"),
    [
        ((NO_UPLOAD, PAGE), {"learn"}),
        ((NO_UPLOAD, told({})), {"learn"}),
        ((NO_UPLOAD, said(404, "404 page not found")), {"learn"}),
        ((NO_UPLOAD, said(502, "bad gateway")), {"learn"}),
        ((NO_UPLOAD, said(500, "not found")), {"learn"}),
        ((NO_UPLOAD, NO_MODE), {"form", "learn"}),
        ((PAGE, ROWS), {"form"}),
        ((said(404, "404 page not found"), ROWS), {"form"}),
        ((said(405, "method not allowed"), ROWS), {"form"}),
        ((PAGE, said(403, "no")), set()),
        ((told({}),), set()),
        ((said(403, "no"),), set()),
        ((said(400, "no"),), set()),
        ((said(413, "too large"),), set()),
        ((said(422, "no"),), set()),
        ((said(404, "not found\n"),), set()),
        ((said(500, "not found\n"),), set()),
        ((said(500, "request Content-Type isn't multipart/form-data\n"),), set()),
        ((said(502, "bad gateway"),), set()),
        ((BROKEN,), set()),
        ((NO_UPLOAD, BROKEN), {"learn"}),
    ],
)
async def test_two_harmless_questions_tell_the_dialects(replies: tuple[httpx.Response, ...], spoken: set[str]):
    """Each dialect refuses its own question in its own words; the rest is a page or an error."""
    server = Replies(*replies)
    assert await learn(server).dialects() == spoken
    second = "POST /api/v1/sessions" if replies[0] is NO_UPLOAD else "GET /api/v1/sessions?offset=0&limit=1"
    assert server.lines == ["POST /api/v1/sessions/learn", second][: len(replies)]
    assert json.loads(server.bodies[0]) == {"data_entity_id": ""}


@pytest.mark.parametrize("reply", [said(401, "no"), httpx.ConnectError("no"), said(503, "", retry_after="1")])
@pytest.mark.parametrize("before", [(), (NO_UPLOAD,), (PAGE,)])
async def test_who_does_not_answer_tells_no_dialect(reply: httpx.Response | Exception, before: tuple[httpx.Response]):
    """An outage between the questions is an outage, not a dialect."""
    with pytest.raises(Unreachable):
        await learn(Replies(*before, reply)).dialects()


async def test_it_is_a_service():
    """The dialect keeps the protocol's promise of shape, and asks with our key."""
    server = Replies(told({"counter": {"count": 0}, "sessions": []}), NO_UPLOAD, PAGE)
    helix: Sessions = learn(server)
    assert helix.variant == "learn"
    await helix.probe()
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
