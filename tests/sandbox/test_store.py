"""What the sandbox remembers: over restarts, in lists, and until it is told to forget."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from finetuned.sandbox import deeds
from finetuned.sandbox.intake import Form
from sandbox.kit import FIELDS, TEXT, Clock, desk, pairs_path


async def test_a_restarted_sandbox_goes_on_where_time_is(tmp_path: Path) -> None:
    """With a data folder the next sandbox knows every session, and time went on in between."""
    clock = Clock()
    async with desk(data=str(tmp_path), clock=clock) as at:
        session = await at.post()
        review = await at.post(manuallyReviewQuestions="yes")
        chat = await at.chat("yo")
        clock.at(5)
        written = (await at.pairs(review))[:3]
        await at.client.put(pairs_path(review), json=written)
        before = await at.get(session)
    (tmp_path / "spool" / "left").mkdir()
    async with desk(data=str(tmp_path), clock=clock) as at:
        assert await at.get(session) == before
        assert await at.pairs(review) == written
        clock.at(60)
        assert (await at.get(session))["mode"] == "inference"
        assert len(await at.pairs(session)) == 18
        assert (await at.last(chat))["finished"]
        newer = await at.post()
        rows = (await at.client.get("/sessions")).json()["sessions"]
        assert [row["session_id"] for row in rows] == [newer["id"], chat["id"], review["id"], session["id"]]
        assert os.listdir(tmp_path / "spool") == []


async def test_counted_faults_stay_counted(tmp_path: Path) -> None:
    """What a fault has struck before a restart counts after it."""
    async with desk(data=str(tmp_path), faults=["qa-fails:1"]) as at:
        await at.post()
    async with desk(data=str(tmp_path), faults=["qa-fails:1"]) as at:
        session = await at.post()
        at.clock.forward(60)
        assert await at.pairs(session) is not None


async def test_without_a_folder_nothing_stays() -> None:
    """The temporary folder is gone when the sandbox is closed."""
    async with desk() as at:
        await at.post()
        root = at.app.state.store.root
        assert os.path.isdir(root)
    assert not os.path.exists(root)


async def test_what_is_deleted_is_gone(tmp_path: Path) -> None:
    """A deleted session is unknown to every call, and its files are removed."""
    async with desk(data=str(tmp_path)) as at:
        session = await at.post()
        assert (await at.client.delete(f"/sessions/{session['id']}")).json()["id"] == session["id"]
        for answer in (
            await at.client.get(f"/sessions/{session['id']}"),
            await at.client.delete(f"/sessions/{session['id']}"),
            await at.put(session, "/meta", json={"name": "x"}),
            await at.client.get(pairs_path(session)),
        ):
            assert (answer.status_code, answer.text) == (500, "not found\n")
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == []


async def test_a_session_that_is_deleted_while_it_is_asked_is_unknown() -> None:
    """A turn or a document that comes in for a session that is gone by then is refused."""
    async with desk() as at:
        for deed, part in (("", {"input": (None, "yo")}), ("/finetune/documents", {"files": ("b.txt", TEXT)})):
            session = await at.post()
            request = at.client.build_request("PUT", f"/sessions/{session['id']}{deed}", files=part)
            body = await request.aread()

            async def slowly(session: Any = session, body: bytes = body) -> Any:
                yield body[:20]
                await at.client.delete(f"/sessions/{session['id']}")
                yield body[20:]

            headers = {"Content-Type": request.headers["Content-Type"]}
            answer = await at.put(session, deed, content=slowly(), headers=headers)
            assert (answer.status_code, answer.text) == (500, "not found\n")


async def test_a_name_can_be_given() -> None:
    """Rename shows in the session and in the list; a body that is no JSON is refused."""
    async with desk() as at:
        session = await at.post()
        assert (await at.put(session, "/meta", json={"name": "finetuned job 17"})).json()["name"] == "finetuned job 17"
        assert (await at.client.get("/sessions")).json()["sessions"][0]["name"] == "finetuned job 17"
        assert (await at.put(session, "/meta", content=b"{")).status_code == 500


async def test_pairs_that_are_none_are_not_taken() -> None:
    """Reviewed pairs must be JSON of the known form; none at all reads back as null."""
    async with desk() as at:
        session = await at.post(manuallyReviewQuestions="yes")
        at.clock.forward(60)
        for content in (b"{", b'[{"x":1}]', b"[{}]", b'[{"conversations":[{"from":"human"}]}]'):
            assert (await at.client.put(pairs_path(session), content=content)).status_code == 500
        assert len(await at.pairs(session)) == 18
        assert (await at.client.put(pairs_path(session), content=b"[]")).status_code == 200
        assert await at.pairs(session) is None


async def test_children_are_left_out_of_lists() -> None:
    """A session with a parent can be looked at, and is in no list and no count."""
    async with desk() as at:
        child = await at.post(parent_session="someone")
        assert (await at.get(child))["parent_session"] == "someone"
        assert (await at.client.get("/sessions")).json() == {"counter": {"count": 0}, "sessions": []}


async def test_pages_of_a_list() -> None:
    """Offset and limit cut the list; what is no number counts for nothing."""
    async with desk() as at:
        made = [(await at.chat(f"number {number}"))["id"] for number in range(5)][::-1]
        for query, expected in [
            ("", made),
            ("?limit=0", made),
            ("?offset=x", made),
            ("?offset=1&limit=2", made[1:3]),
            ("?offset=4&limit=9", made[4:]),
            ("?offset=9", []),
            ("?offset=-1&limit=-2", made),
        ]:
            listed = (await at.client.get(f"/sessions{query}")).json()
            assert [row["session_id"] for row in listed["sessions"]] == expected
            assert listed["counter"] == {"count": 5}


async def test_two_thousand_sessions_list_quickly() -> None:
    """A page of all sessions costs no more than some tens of milliseconds."""
    async with desk() as at:
        for number in range(2000):
            at.clock.forward(0.01)
            deeds.create(at.app.state.store, Form(fields=FIELDS | {"input": f"job {number}"}, files=()))
        begun = time.process_time()
        listed = (await at.client.get("/sessions")).json()
        assert len(listed["sessions"]) == 2000
        assert time.process_time() - begun < 0.5  # generous: a busy machine must not fail it
