"""The form dialect over a server of prepared replies: what it asks, and what it makes of the answers."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx
import pytest

from finetuned.backend import Push
from finetuned.errors import KeyRefused, KnownRefusal, NotTheServer, Refused, Unreachable
from finetuned.helix import wire
from finetuned.helix.client import ApiKey, new_http
from finetuned.helix.observe import observe
from finetuned.helix.sessions import Sessions
from finetuned.settings import HelixSettings
from finetuned.times import instant
from support.replies import KEY, PAGE, Replies, a_session, said, service, told

NEW, OLD = "2026-11-23T05:00:00Z", "2026-11-20T05:00:00Z"
SINCE = instant("2026-11-22T05:00:00Z")
GONE = said(500, "not found\n")


def row(ident: str, created: str = NEW, updated: str = NEW, **more: Any) -> dict[str, Any]:
    """A row of the list."""
    return {"session_id": ident, "created": created, "updated": updated, "mode": "finetune", "type": "text", **more}


class Listed(Replies):
    """A server with a list and some sessions to open."""

    def __init__(self, rows: list[dict[str, Any]], sessions: dict[str, dict[str, Any]], page: int = 1000) -> None:
        super().__init__(self.answered)
        self.rows, self.sessions, self.page = rows, sessions, page

    def answered(self, request: httpx.Request, _body: bytes) -> httpx.Response:
        if request.url.path.endswith("/sessions"):
            start = int(request.url.params["offset"])
            shown = self.rows[start : start + min(self.page, int(request.url.params["limit"]))]
            return told({"counter": {"count": len(self.rows)}, "sessions": shown})
        found = self.sessions.get(request.url.path.rpartition("/")[2])
        return GONE if found is None else told(found)

    @property
    def opened(self) -> list[str]:
        """The sessions that were looked at."""
        return [line.rpartition("/")[2] for line in self.lines if "?" not in line]


async def test_it_is_a_service():
    """The dialect keeps the protocol's promise of shape."""
    helix: Sessions = service(Replies(told({"sessions": None})))
    assert helix.variant == "form"


async def test_probe_asks_for_one_row_with_the_key():
    """A list of its shape, given to our key, is what tells a Helix; then it asks for the dialect."""
    server = Replies(told({"counter": {"count": 0}, "sessions": []}))
    await service(server).probe()
    assert server.lines == ["GET /api/v1/sessions?offset=0&limit=1", "POST /api/v1/sessions/learn"]
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert server.asked[0].headers["host"] == "helix.test:8585"


@pytest.mark.parametrize("reply", [PAGE, told({}), told([]), said(200, "ok")])
async def test_probe_knows_what_is_no_helix(reply: httpx.Response):
    """Something else at the address is named, not mistaken for an outage."""
    with pytest.raises(NotTheServer):
        await service(Replies(reply)).probe()


@pytest.mark.parametrize(
    "url", ["http://h:1", "http://h:1/", "http://h:1/api/v1", "http://h:1/api/v1/", "http://me:pw@h:1"]
)
async def test_the_url_may_be_written_in_many_ways(url: str):
    """A trailing slash or the base path changes nothing; a password in it is not sent."""
    server = Replies(told({"sessions": []}))
    await service(server, url=url).probe()
    assert str(server.asked[0].url) == "http://h:1/api/v1/sessions?offset=0&limit=1"
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


async def test_a_changed_key_is_tried_once_more():
    """After a 401 the key is read again; a new one is used at once, the old one is not tried twice."""
    keys = iter(["old", "old", "new"])
    server = Replies(said(401, "no"), said(401, "no"), told({"sessions": []}))
    helix = service(server, key=ApiKey("", lambda: next(keys)))
    with pytest.raises(KeyRefused):
        await helix.probe()
    assert len(server.asked) == 1
    await helix.list(offset=0, limit=1)
    assert [request.headers["authorization"] for request in server.asked] == ["Bearer old", "Bearer old", "Bearer new"]


def test_a_key_shows_nowhere(tmp_path):
    """A key comes from its file without the line's end, and never appears in a text about it."""
    file = tmp_path / "key"
    file.write_text("hl-from-file\n")
    key = ApiKey(str(file), lambda: "hl-other")
    assert key.read() == key.current() == "hl-from-file"
    assert "hl-" not in repr(key)
    assert "hl-" not in str(key)


@pytest.mark.parametrize("text", ["", " \n", "two words", "line\nline", "schlüssel", "\x00"])
def test_a_key_that_cannot_be_sent_is_refused(text: str):
    """No key, or one that no header could carry, is said before anything is sent."""
    with pytest.raises(KeyRefused) as caught:
        ApiKey("", lambda: text).current()
    assert "two" not in str(caught.value)


def test_a_missing_key_file_is_named(tmp_path):
    """A key file that cannot be read is named, and no other key is used in its place."""
    with pytest.raises(KeyRefused, match="nowhere"):
        ApiKey(str(tmp_path / "nowhere"), lambda: "hl-other").read()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_mark_that_an_editor_put_before_the_key_is_left_out(tmp_path, encoding: str):
    """Notepad saves a file so; the key is what follows."""
    file = tmp_path / "key"
    file.write_bytes(f"{KEY}\r\n".encode(encoding))
    assert ApiKey(str(file), lambda: None).read() == KEY


async def test_find_opens_what_may_be_ours():
    """Only text sessions, touched since, not known, are opened; those with a marker of the job are found."""
    rows = [
        row("ours"),
        row("other"),
        row("known"),
        row("gone"),
        row("chat", type="image"),
        row("odd", mode="tool"),
        row("twin", mode="inference", created=OLD),
        row("../x"),
        row("old", OLD, OLD),
        row("untimed", "", ""),
    ]
    named = {"config": {"document_ids": {"dev/x/job.2-0001-a.txt": "d"}}}
    sessions = {
        "ours": a_session("ours", "job.1"),
        "other": a_session("other", "job2.1"),
        "twin": a_session("twin", "", **named),
        "untimed": a_session("untimed", "job.3"),
    }
    server = Listed(rows, sessions)
    found = await service(server).find("job", since=SINCE, known={"known"})
    assert [view.id for view in found] == ["ours", "twin", "untimed"]
    assert server.opened == ["ours", "other", "gone", "twin", "untimed"]


@pytest.mark.parametrize("ill", [500, 502])
async def test_find_reads_on_past_a_session_that_the_server_fails_at(ill: int):
    """What is found behind it counts; without it nobody says that there is none, and nobody speaks of an outage."""
    server = Listed([row("ill"), row("ours")], {"ours": a_session("ours", "job.1")})
    listed = server.answered
    server.replies = [lambda ask, body: said(ill, "boom") if ask.url.path.endswith("/ill") else listed(ask, body)]
    found = await service(server).find("job", since=SINCE, known=())
    assert [view.id for view in found] == ["ours"]
    with pytest.raises(Refused, match=r"cannot be read: .*/ill: .* boom"):
        await service(server).find("other", since=SINCE, known=())


async def test_find_ends_where_the_connection_breaks():
    """A server that is gone is an outage, whichever row it goes at."""
    server = Replies(told({"sessions": [row("one")]}), httpx.ConnectError("no"))
    with pytest.raises(Unreachable):
        await service(server).find("job", since=SINCE, known=())


async def test_find_turns_pages_until_they_are_old():
    """Pages overlap, nothing is opened twice, and the first page that ends in old sessions is the last."""
    rows = [row(f"n{number}") for number in range(60)] + [row(f"o{number}", OLD, OLD) for number in range(60)]
    server = Listed(rows, {}, page=40)
    assert await service(server).find("job", since=SINCE, known=()) == ()
    assert [line for line in server.lines if "?" in line] == [
        "GET /api/v1/sessions?offset=0&limit=1000",
        "GET /api/v1/sessions?offset=38&limit=1000",
    ]
    assert len(server.opened) == len(set(server.opened)) == 60


@pytest.mark.parametrize(("wanted", "pages"), [(("n0", "n999"), 1), (("n0", "n1000"), 2), (("n0", "gone"), 4), ((), 4)])
async def test_marks_are_listed_until_all_that_are_wanted_are_there(wanted: tuple[str, ...], pages: int):
    """Of a list of three pages; what it does not have is looked for to its end."""
    server = Listed([row(f"n{number}") for number in range(2500)], {}, page=1000)
    marks = await service(server).list_marks(9000, wanted=wanted)
    assert marks.keys() >= {one for one in wanted if one != "gone"}
    assert len(server.lines) == pages


async def test_find_reads_to_the_end_of_the_list():
    """A list of nothing but new sessions ends where its counter says."""
    server = Listed([row(f"n{number}") for number in range(45)], {"n44": a_session("n44")}, page=20)
    assert len(await service(server).find("job", since=SINCE, known=())) == 1


async def test_find_is_not_caught_by_a_server_that_cannot_turn_pages():
    """The same page again means the end, whatever the counter promises."""
    server = Replies(told({"counter": {"count": 10**6}, "sessions": [row("a", type="image")]}))
    assert await service(server).find("job", since=SINCE, known=()) == ()
    assert len(server.asked) == 2


async def test_find_ends_at_a_server_whose_list_does_not():
    """Rows that nobody made, page after page: nobody can say that there is no session, but nobody reads for ever."""
    pages = itertools.count()

    def page(_request: httpx.Request, _body: bytes) -> httpx.Response:
        rows = [row(f"made-up-{next(pages)}", type="image") for _ in range(3)]
        return told({"counter": {"count": 10**9}, "sessions": rows})

    server = Replies(page)
    with pytest.raises(Refused, match="no end after 1000 pages"):
        await service(server).find("job", since=SINCE, known=())
    assert len(server.asked) == 1000


@pytest.mark.parametrize(("times", "expected"), [(1, ["q", "q2"]), (2, ["q", "q"]), (3, ["q", "q", "q"])])
async def test_pairs_are_asked_by_the_users_turn(times: int, expected: list[str]):
    """The call's pairs, or those that the session tells itself, if they are more: they are the same pairs."""
    rows = [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}]
    session = a_session(qa_pairs=[*rows, {"question": "q2", "answer": "a2"}])
    server = Replies(told(rows * times), told(session))
    pairs = await service(server).pairs(observe(wire.session(json.dumps(session).encode())))
    assert [pair.question for pair in pairs] == expected
    path = "GET /api/v1/sessions/s-1"
    assert server.lines == [f"{path}/finetune/text/conversations/u-1", path]


@pytest.mark.parametrize("reply", [told(None), said(500, "no files found\n"), said(500, "file is not a jsonl file\n")])
async def test_no_pairs_are_no_error(reply: httpx.Response):
    """A session without pairs has several ways to say so."""
    view = observe(wire.session(json.dumps(a_session()).encode()))
    assert await service(Replies(reply)).pairs(view) == ()


async def test_a_chat_has_no_pairs_to_ask_for():
    """Without a fine-tune there is no key to pairs, so nothing is asked."""
    server = Replies(GONE)
    assert await service(server).pairs(observe(wire.session(b'{"id": "s", "interactions": []}'))) == ()
    assert server.asked == []


async def test_other_refusals_of_pairs_are_errors():
    """Only the two known words mean that there are none."""
    view = observe(wire.session(json.dumps(a_session()).encode()))
    with pytest.raises(KnownRefusal):
        await service(Replies(said(500, "session is currently active"))).pairs(view)


async def test_steering_uses_the_servers_routes():
    """Restart, retry and start go where the traces went."""
    server = Replies(told(a_session()))
    helix = service(server)
    for how in (Push.RESTART, Push.RETRY_CHUNKS, Push.START):
        await helix.push("s-1", how)
    assert server.lines == [
        "PUT /api/v1/sessions/s-1/restart",
        "PUT /api/v1/sessions/s-1/finetune/text/retry",
        "POST /api/v1/sessions/s-1/finetune/start",
    ]
    assert {request.headers["content-length"] for request in server.asked} == {"0"}


@pytest.mark.parametrize("reply", [told(a_session()), said(200, ""), said(204, ""), GONE])
async def test_deleted_is_deleted(reply: httpx.Response):
    """A session that is gone already counts as removed."""
    server = Replies(reply)
    await service(server).delete("s-1")
    assert server.lines == ["DELETE /api/v1/sessions/s-1"]


async def test_rename_sends_the_owner_along():
    """The call replaces the whole meta, so it names the owner that was seen."""
    server = Replies(told(a_session(owner="u1", owner_type="user")))
    asked = service(server)
    await asked.rename(await asked.observe("s-1"), "job 17")
    assert server.lines == ["GET /api/v1/sessions/s-1", "PUT /api/v1/sessions/s-1/meta"]
    assert json.loads(server.bodies[1]) == {"id": "s-1", "name": "job 17", "owner": "u1", "owner_type": "user"}


@pytest.mark.parametrize("ident", ["", ".", "..", "a\0b"])
async def test_no_id_leads_elsewhere(ident: str):
    """What would climb out of the path is refused before anything is sent."""
    server = Replies(told({}))
    with pytest.raises(Refused):
        await service(server).observe(ident)
    assert server.asked == []


async def test_fetch_quotes_its_path():
    """A path of the store is sent as it is, segment by segment."""
    server = Replies(httpx.Response(200, content=b"\x89PNG"))
    assert await service(server).fetch("dev/a b/ü?#%.png") == b"\x89PNG"
    assert server.lines == ["GET /api/v1/filestore/viewer/dev/a%20b/%C3%BC%3F%23%25.png"]
    with pytest.raises(Refused):
        await service(server).fetch("dev/../../config")


async def test_the_connections_are_direct():
    """No redirects, nothing from the environment, the configured patience with the server alone."""
    async with new_http(HelixSettings(timeout=7.0)) as http:
        assert http.timeout == httpx.Timeout(7.0, pool=None)
        assert not http.follow_redirects
        assert not http.trust_env
