"""The newer dialect beyond what was recorded: two steps, chats in JSON, and the calls of the other dialect."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trio.testing

from finetuned.sandbox import CutError, Dialect
from sandbox.kit import FIELDS, LEARN, TEXT, Clock, Desk, desk, form, pairs_path

# one file is 9 chunks: generated after 0.9 s, queued from 1.0, taken at 2.0, trained at 11.9
QUEUED, TAKEN, TRAINED = 1.0, 2.0, 11.9


def said(text: str, **more: Any) -> dict[str, Any]:
    """The body of a chat call with one message."""
    return {"messages": [{"role": "user", "content": {"content_type": "text", "parts": [text]}}]} | more


async def talk(at: Desk, text: str, **more: Any) -> dict[str, Any]:
    """Say something and give the answer's body."""
    answer = await at.client.post("/sessions/chat", json=said(text, **more))
    assert answer.status_code == 200, answer.text
    return answer.json()


def documents(session: dict[str, Any]) -> list[str]:
    """The names of the uploads, as a client reads them to find its work again."""
    return [path.rpartition("/")[2] for path in session["config"]["document_ids"]]


async def test_an_entity_and_its_name_lead_back_to_the_session() -> None:
    """A client that lost the answer finds its session by the entity, or by the names of what it sent."""
    async with desk(dialect="learn") as at:
        entity = await at.upload([("job.1-0001-a.txt", TEXT), ("job.1-0002-b.txt", TEXT + b" More.")])
        session = await at.learn(entity)
        row = (await at.client.get("/sessions")).json()["sessions"][0]
        found = await at.get({"id": row["session_id"]})
        assert found["id"] == session["id"]
        assert found["config"]["uploaded_data_entity_id"] == entity["id"]
        assert documents(found) == ["job.1-0001-a.txt", "job.1-0002-b.txt"]
        assert row["summary"] == "fine tuning on 2 files"
        at.clock.at(60)
        row = (await at.client.get("/sessions")).json()["sessions"][0]
        assert row["summary"] == ""


async def test_ids_begin_with_the_time() -> None:
    """Sessions sort by their ids, and their group is the beginning of it."""
    async with desk(dialect="learn") as at:
        entity = await at.upload()
        first = await at.learn(entity)
        at.clock.forward(1)
        second = await at.learn(entity)
        assert first["id"] < second["id"]
        assert len(first["id"]) == len("ses_01m83dt23vnj32mjk100ttq49f")
        assert first["config"]["document_group_id"] == first["id"][:10]


async def test_two_sessions_of_one_entity_have_pairs_each() -> None:
    """Neither is in the other's way, the files outlive both, and the entity can be learned from once more."""
    async with desk(dialect="learn") as at:
        entity = await at.upload()
        first, second = await at.learn(entity), await at.learn(entity)
        at.clock.at(60)
        assert len(await at.pairs(first) or []) == len(await at.pairs(second) or []) == 18
        await at.client.delete(f"/sessions/{first['id']}")
        await at.client.delete(f"/sessions/{second['id']}")
        third = await at.learn(entity)
        at.clock.forward(60)
        assert len(await at.pairs(third) or []) == 18


async def test_a_second_session_finds_the_first_one_s_file() -> None:
    """The server's own file lies in the entity's folder, and is listed before a pair of the second is made."""
    async with desk(dialect="learn") as at:
        entity = await at.upload()
        first = await at.learn(entity)
        assert len(first["interactions"][0]["files"]) == 1
        at.clock.at(0.5)
        second = await at.learn(entity)
        assert [path.rpartition("/")[2] for path in second["interactions"][0]["files"]] == [
            "a.txt",
            "finetune_dataset.jsonl",
        ]
        assert list(second["config"]["document_ids"]) == second["interactions"][0]["files"][:1]


async def test_an_entity_is_remembered(tmp_path: Path) -> None:
    """What was uploaded before a restart can be learned from after it; ids do not come twice."""
    clock = Clock()
    async with desk(data=str(tmp_path), clock=clock, dialect="learn") as at:
        entity = await at.upload()
    async with desk(data=str(tmp_path), clock=clock, dialect="learn") as at:
        assert (await at.upload())["id"] != entity["id"]
        session = await at.learn(entity)
        clock.forward(60)
        assert len(await at.pairs(session) or []) == 18


async def test_an_upload_that_is_cut_makes_no_entity(tmp_path: Path) -> None:
    """As with a session's form: nothing is kept of what came before the final boundary."""
    async with desk(data=str(tmp_path), dialect="learn") as at:
        request = at.client.build_request("POST", "/data_entities", files={"files": ("a.txt", TEXT)})
        answer = await at.client.post(
            "/data_entities",
            content=(await request.aread())[:-10],
            headers={"Content-Type": request.headers["Content-Type"]},
        )
        assert (answer.status_code, answer.text) == (500, "unexpected EOF\n")
    assert [name for _, _, names in os.walk(tmp_path) for name in names] == []


async def test_equal_names_are_one_file() -> None:
    """The folder of an entity lists a name once, with the content that came last."""
    async with desk(dialect="learn") as at:
        entity = await at.upload([("same.txt", b"Zebras live here."), ("same.txt", b"Otters live here.")])
        session = await at.learn(entity)
        at.clock.at(60)
        assert documents(await at.get(session)) == ["same.txt"]
        values = {pair["conversations"][1]["value"].partition("\n\n")[2] for pair in await at.pairs(session) or []}
        assert values == {"Otters live here."}


async def test_a_review_does_not_exist() -> None:
    """A field that asks for one is not read: the session trains, unreviewed."""
    async with desk(dialect="learn") as at:
        session = await at.learn(await at.upload(), manuallyReviewQuestions="yes")
        assert session["config"]["manually_review_questions"] is False
        at.clock.at(TRAINED)
        assert (await at.get(session))["mode"] == "inference"


async def test_a_finished_session_that_is_restarted_hangs() -> None:
    """As in the older dialect: the server obeys, and nothing ever comes of it."""
    async with desk(dialect="learn") as at:
        session = await at.learn(await at.upload())
        at.clock.at(TAKEN + 1)
        refused = await at.put(session, "/restart")
        assert (refused.status_code, refused.text) == (500, "session is currently active\n")
        at.clock.at(60)
        assert (await at.put(session, "/restart")).status_code == 200
        at.clock.at(1_000_000)
        last = await at.last(session)
        assert (last["state"], last["data_prep_stage"], last["creator"]) == ("waiting", "complete", "assistant")


async def test_a_restart_beside_a_generator_doubles_the_pairs() -> None:
    """As in the older dialect: nobody stops the generator that is at work."""
    async with desk(dialect="learn") as at:
        session = await at.learn(await at.upload())
        at.clock.at(0.45)
        assert (await at.put(session, "/restart")).status_code == 200
        at.clock.at(60)
        assert len(await at.pairs(session) or []) == 28


async def test_a_chat_is_answered_whole() -> None:
    """The answer is a completion that names its session; a further turn goes on in it."""
    async with desk(dialect="learn") as at:
        first = await talk(at, "yo", system="be brief")
        assert first["choices"][0]["message"]["content"].endswith("You said: yo")
        assert first["object"] == "chat.completion"
        second = await talk(at, "and now?", session_id=first["id"])
        assert second["id"] == first["id"]
        session = await at.get(first)
        assert [turn["creator"] for turn in session["interactions"]] == ["user", "assistant"] * 2
        assert [turn["finished"] for turn in session["interactions"]] == [True] * 4
        assert session["config"]["system_prompt"] == "be brief"


class TestWordByWord:
    """An answer as events; the time between two words is slept, so the clock jumps."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """A clock that jumps."""
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}

    async def test_the_events_are_pieces_of_a_completion(self, anyio_backend: Any) -> None:
        """Each names the session; the first has no choices, the last says stop, and no `[DONE]` follows."""
        async with desk(dialect="learn") as at:
            begun = anyio.current_time()
            answer = await at.client.post("/sessions/chat", json=said("good day", stream=True))
            assert anyio.current_time() - begun == pytest.approx(1.0)
            assert answer.headers["content-type"] == "text/event-stream"
            events = events_of(answer)
            session = await at.get(events[0])
            assert {(event["id"], event["object"]) for event in events} == {(session["id"], "chat.completion.chunk")}
            assert events[0]["choices"] is None
            assert [event["choices"][0]["finish_reason"] for event in events[1:]] == [None] * (len(events) - 2) + [
                "stop"
            ]
            assert whole(events) == session["interactions"][-1]["message"]
            assert session["interactions"][-1]["finished"]

    async def test_a_tuned_model_begins_with_its_role(self, anyio_backend: Any) -> None:
        """Older code serves it, whose first event is another; a picture has no words."""
        async with desk(dialect="learn") as at:
            session = await at.learn(await at.upload())
            at.clock.at(60)
            lora = (await at.get(session))["lora_dir"]
            words = said("Is a lion a danger?", session_id=session["id"], lora_dir=lora, stream=True)
            events = events_of(await at.client.post("/sessions/chat", json=words))
            assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
            assert "A lion is a danger to every zebra." in whole(events)
            drawn = events_of(await at.client.post("/sessions/chat", json=said("fish", type="image", stream=True)))
            assert whole(drawn) == ""
            assert (await at.last(drawn[0]))["files"]

    async def test_a_turn_that_comes_between_is_kept(self, anyio_backend: Any) -> None:
        """Two who talk in one session at a time hear each their own, and a session that is removed stays away."""
        async with desk(dialect="learn") as at:
            first = await talk(at, "yo")
            answers: list[str] = []

            async def ask(text: str) -> None:
                words = said(text, session_id=first["id"], stream=True)
                answers.append(whole(events_of(await at.client.post("/sessions/chat", json=words))))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, "one")
                tasks.start_soon(ask, "two")
            turns = (await at.get(first))["interactions"]
            assert sorted(answers) == sorted(turn["message"] for turn in turns[3::2])
            assert [turn["finished"] for turn in turns] == [True] * 6
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, "three")
                await anyio.wait_all_tasks_blocked()
                await at.client.delete(f"/sessions/{first['id']}")
            assert (await at.client.get("/sessions")).json()["counter"] == {"count": 0}

    @pytest.mark.parametrize("fault", ["broken-off:1", "reply-lost:1"])
    async def test_an_answer_that_breaks_off_is_in_its_session(self, anyio_backend: Any, fault: str) -> None:
        """After a few of its words or none the connection is cut; the next answer is whole."""
        async with desk(dialect="learn", faults=[fault]) as at:
            with pytest.raises(CutError):
                await at.client.post("/sessions/chat", json=said("good day", stream=True))
            row = (await at.client.get("/sessions")).json()["sessions"][0]
            assert (await at.last({"id": row["session_id"]}))["message"].endswith("You said: good day")
            again = await at.client.post("/sessions/chat", json=said("good day", stream=True))
            assert whole(events_of(again)).endswith("You said: good day")


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of an answer; nothing else is in it."""
    assert answer.status_code == 200
    *blocks, rest = answer.text.split("\n\n")
    assert rest == ""
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def whole(events: list[dict[str, Any]]) -> str:
    """The words of events together."""
    return "".join(event["choices"][0]["delta"]["content"] for event in events if event["choices"])


async def test_an_answer_grows() -> None:
    """Who asks in the older way has the session at once, and sees its answer get longer at each look."""
    async with desk(dialect="learn") as at:
        session = await talk(at, "yo", legacy=True)
        seen = [session["interactions"][-1]["message"]]
        for seconds in (0.3, 0.6, 2):
            at.clock.at(seconds)
            seen.append((await at.last(session))["message"])
        assert seen[0] == ""
        assert len(set(seen)) == len(seen)
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(seen))


async def test_only_who_names_the_tuned_model_hears_it() -> None:
    """Without its lora_dir the plain model answers, in the same session."""
    async with desk(dialect="learn") as at:
        session = await at.learn(await at.upload())
        at.clock.at(60)
        lora = (await at.get(session))["lora_dir"]
        tuned = await talk(at, "Is a lion a danger?", session_id=session["id"], lora_dir=lora)
        plain = await talk(at, "Is a lion a danger?", session_id=session["id"])
        assert "A lion is a danger to every zebra." in tuned["choices"][0]["message"]["content"]
        assert "You said" in plain["choices"][0]["message"]["content"]
        assert len((await at.get(session))["interactions"]) == 6


async def test_a_picture_lies_in_the_filestore() -> None:
    """It can be fetched with the key, and with nothing else."""
    async with desk(dialect="learn") as at:
        drawn = await talk(at, "flying fish", type="image")
        path = (await at.last(drawn))["files"][0]
        picture = await at.client.get(f"/filestore/viewer/{path}")
        assert picture.content.startswith(b"\x89PNG")
        refused = await at.client.get(f"/filestore/viewer/{path}", headers={"Authorization": ""})
        assert (refused.status_code, refused.text) == (403, "Access denied\n")


async def test_an_entity_s_files_lie_in_the_filestore() -> None:
    """An upload and the pairs can be fetched by the paths that the session names; others are unknown."""
    async with desk(dialect="learn") as at:
        session = await at.learn(await at.upload())
        at.clock.at(60)
        text, pairs = (await at.get(session))["interactions"][0]["files"]
        assert (await at.client.get(f"/filestore/viewer/{text}")).content == TEXT
        assert len((await at.client.get(f"/filestore/viewer/{pairs}")).content.splitlines()) == 18
        for other in (text.replace("a.txt", "b.txt"), "dev/users/u1/data/nobody/a.txt", "dev/users/u1/data"):
            assert (await at.client.get(f"/filestore/viewer/{other}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "invalid request body: EOF"),
        (b"{", 400, "invalid request body: "),
        ({"messages": []}, 400, "messages must not be empty"),
        ({"messages": [{}, {}]}, 400, "only 1 message is allowed for now"),
        ({"messages": [{"role": "user", "content": {"parts": []}}]}, 400, "invalid message"),
        ({"messages": [{"role": "user", "content": {"parts": [1]}}]}, 400, "invalid message"),
        (said("yo", type="image") | {"messages": [{"role": "king"}]}, 400, "invalid role 'king'"),
        (said("yo", lora_dir="/etc"), 400, "lora dir path must be within the user's directory"),
        (said("yo", session_id="ses_no"), 500, "failed to get session ses_no, error: not found"),
        (said("yo", session_id="ses_no", lora_dir="dev/users/u1/x"), 400, "not found"),
    ],
)
async def test_a_chat_that_is_none_is_refused(body: Any, status: int, words: str) -> None:
    """The newer calls refuse with 400 where it is the asker's fault, and make no session."""
    async with desk(dialect="learn") as at:
        how = {"content": body} if isinstance(body, bytes) else {"json": body}
        answer = await at.client.post("/sessions/chat", **how)
        assert (answer.status_code, answer.text[: len(words)]) == (status, words)
        assert (await at.client.get("/sessions")).json()["counter"] == {"count": 0}


def is_page(answer: httpx.Response) -> bool:
    """Whether the web frontend answered."""
    return answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")


async def test_the_other_dialect_s_calls_reach_the_frontend() -> None:
    """A call that the server has not is answered with a page, and starts nothing."""
    asked = {"json": LEARN | {"data_entity_id": "x"}}
    sent = {"files": [*form(FIELDS), ("files", ("a.txt", TEXT))]}
    for dialect, path, body in (
        ("learn", "/sessions", sent),
        ("form", "/data_entities", {"files": [("files", ("a.txt", TEXT))]}),
        ("form", "/sessions/learn", asked),
        ("form", "/sessions/chat", {"json": said("yo")}),
    ):
        async with desk(dialect=dialect) as at:
            assert is_page(await at.client.post(path, **body)), (dialect, path)
            assert (await at.client.get("/sessions")).json()["counter"] == {"count": 0}


async def test_the_question_that_tells_the_dialects_apart() -> None:
    """A learn call without an entity starts nothing, and only a server that speaks it says so."""
    for dialect in Dialect:
        async with desk(dialect=dialect) as at:
            answer = await at.client.post("/sessions/learn", json={"data_entity_id": ""})
            speaks = (answer.status_code, answer.text) == (400, "data entity ID not be empty\n")
            assert speaks is (dialect is not Dialect.FORM)
            assert speaks or is_page(answer)
            assert (await at.client.get("/sessions")).json()["counter"] == {"count": 0}


async def test_a_server_between_the_two_takes_both() -> None:
    """The form with its marker and its review, and an entity; both in one list, in the newer shape."""
    async with desk(dialect="both") as at:
        reviewed = await at.post(manuallyReviewQuestions="yes")
        learned = await at.learn(await at.upload())
        at.clock.at(60)
        assert (await at.last(reviewed))["state"] == "editing"
        assert (await at.get(reviewed))["interactions"][0]["message"] == "marker"
        trained = await at.get(learned)
        assert trained["mode"] == "inference"
        assert trained["interactions"][-1]["creator"] == "system"
        assert trained["interactions"][-1]["data_prep_total_chunks"] == 9
        rows = (await at.client.get("/sessions")).json()["sessions"]
        assert [row["session_id"] for row in rows] == [learned["id"], reviewed["id"]]


async def test_an_upgrade_under_way_keeps_the_sessions(tmp_path: Path) -> None:
    """A newer server on the older one's data shows its sessions in the newer shape, and goes on with them."""
    clock = Clock()
    async with desk(data=str(tmp_path), clock=clock) as at:
        session = await at.post()
    clock.at(60)
    async with desk(data=str(tmp_path), clock=clock, dialect="learn") as at:
        body = await at.get(session)
        assert body["mode"] == "inference"
        assert body["interactions"][-1]["creator"] == "assistant"
        assert len((await at.client.get(pairs_path(session))).json()) == 18
        assert is_page(await at.client.post("/sessions", files=form(FIELDS)))


async def test_without_training_nothing_is_done() -> None:
    """A learn call that asks for neither training nor an index waits for ever, restarted or not."""
    async with desk(dialect="learn") as at:
        session = await at.learn(await at.upload(), text_finetune_enabled=False)
        for _ in range(2):
            at.clock.forward(1_000)
            last = await at.last(session)
            assert (last["state"], last["data_prep_stage"], last["progress"]) == ("waiting", "", 0)
            assert (await at.put(session, "/restart")).status_code == 200
