"""The seeded ways of going wrong, each in both dialects where it exists in both."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio.testing

from finetuned.sandbox import FAULTS, CutError, Faults
from sandbox.kit import LEARN, TEXT, Clock, Desk, desk, pairs_path

DIALECTS = pytest.mark.parametrize("dialect", ["form", "learn"])
MANY = [(f"{number:04}.txt", TEXT + b" %d." % number) for number in range(12)]


async def begin(at: Desk, dialect: str, files: list[tuple[str, bytes]] | None = None) -> dict[str, Any]:
    """Make a fine-tune in a dialect's way."""
    files = files or [("a.txt", TEXT)]
    return await at.post(files) if dialect == "form" else await at.learn(await at.upload(files))


async def listed(at: Desk) -> list[str]:
    """The ids in the list; the counter must agree."""
    body = (await at.client.get("/sessions")).json()
    ids = [row["session_id"] for row in body["sessions"]]
    assert body["counter"] == {"count": len(ids)}
    return ids


def test_every_fault_has_a_test() -> None:
    """A name in the table that no test of the sandbox switches on was never seen to work."""
    found: set[str] = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value.partition(":")[0].partition("@")[0])
    assert set(FAULTS) - found == set()


@DIALECTS
async def test_a_lost_reply_leaves_a_session(dialect: str) -> None:
    """The server acts, then there is no answer; the next one is whole."""
    async with desk(faults=["reply-lost:1"], dialect=dialect) as at:
        with pytest.raises(CutError):
            await begin(at, dialect)
        assert len(await listed(at)) == 1
        session = await begin(at, dialect)
        assert session["id"] in await listed(at)


@pytest.mark.parametrize("dialect", ["form", "learn", "both"])
async def test_only_what_made_a_session_is_lost(dialect: str) -> None:
    """A refusal, and the page that answers the other dialect's question, come through and use nothing up."""
    async with desk(faults=["reply-lost:1"], dialect=dialect) as at:
        asked = await at.client.post("/sessions/learn", json={"data_entity_id": ""})
        assert asked.status_code == (200 if dialect == "form" else 400)
        assert (await at.client.post("/sessions", files=[("mode", (None, "x"))])).status_code in {200, 500}
        with pytest.raises(CutError):
            await begin(at, dialect)
        assert len(await listed(at)) == 1


@DIALECTS
async def test_a_late_session_is_there_and_not_listed(dialect: str) -> None:
    """It can be looked at by who knows its id; lists and their counter have it later."""
    async with desk(faults=["list-late:1"], dialect=dialect) as at:
        late, other = await begin(at, dialect), await begin(at, dialect)
        assert await listed(at) == [other["id"]]
        assert (await at.get(late))["id"] == late["id"]
        at.clock.at(4.9)
        assert await listed(at) == [other["id"]]
        at.clock.at(5)
        assert await listed(at) == [other["id"], late["id"]]


@DIALECTS
async def test_a_crash_forgets_what_is_under_way(dialect: str, tmp_path: Path) -> None:
    """Half-made pairs and a place in the queue are lost until a restart; what a runner has goes on."""
    clock = Clock()
    async with desk(faults=["crash:1"], dialect=dialect, data=str(tmp_path), clock=clock) as at:
        taken = await begin(at, dialect)
        clock.at(1.5)
        queued = await begin(at, dialect)
        clock.at(2.6)
        making = await begin(at, dialect)
        clock.at(3.0)
        await at.get(making)  # not half way yet: nothing happens
        clock.at(3.2)
        with pytest.raises(CutError):
            await at.get(making)
    clock.at(1_000)
    async with desk(faults=["crash:1"], dialect=dialect, data=str(tmp_path), clock=clock) as at:
        assert (await at.get(taken))["mode"] == "inference"
        last = await at.last(queued)
        assert (last["state"], last["data_prep_stage"], last["progress"]) == ("waiting", "finetune", 1)
        last = await at.last(making)
        assert (last["state"], last["data_prep_stage"], last["progress"]) == ("waiting", "generate_questions", 66)
        for session in (queued, making):
            assert (await at.put(session, "/restart")).status_code == 200
        clock.forward(60)
        for session in (queued, making):
            assert (await at.get(session))["mode"] == "inference"
            assert len(await at.pairs(session) or []) == 18  # nothing twice


async def test_a_crash_waits_for_whoever_looks_seldom(tmp_path: Path) -> None:
    """Although the pairs would have been made by then, the server went down in the middle of them."""
    clock = Clock()
    async with desk(faults=["crash:1"], data=str(tmp_path), clock=clock) as at:
        session = await at.post()
        clock.at(600)
        with pytest.raises(CutError):
            await at.get(session)
    async with desk(faults=["crash:1"], data=str(tmp_path), clock=clock) as at:
        last = await at.last(session)
        assert (last["state"], last["data_prep_stage"]) == ("waiting", "generate_questions")
        assert 50 <= last["progress"] < 100
        await at.put(session, "/restart")
        clock.forward(60)
        assert (await at.get(session))["mode"] == "inference"


async def test_a_session_crashes_the_server_once() -> None:
    """A fault without a count does not keep the server from ever coming back; what it forgot once stays forgotten."""
    async with desk(faults=["crash"]) as at:
        chat = await at.chat("yo")
        first = await at.post()
        at.clock.at(0.5)
        with pytest.raises(CutError):
            await at.get(first)
        before = await at.get(first)
        second = await at.post()
        at.clock.at(1.2)
        with pytest.raises(CutError):
            await at.get(second)
        assert await at.get(first) == before
        assert (await at.last(chat))["finished"]


async def test_busy_by_turns_and_with_no_effect() -> None:
    """Both statuses come with the seconds to wait, and nothing is made."""
    async with desk(faults=["busy:2"]) as at:
        answers = [await at.client.get("/sessions"), await at.client.delete("/sessions/x")]
        assert [answer.status_code for answer in answers] == [429, 503]
        assert [answer.headers["retry-after"] for answer in answers] == ["1", "1"]
        assert await listed(at) == []


@pytest.mark.parametrize(("fault", "status", "kind"), [("500-text", 500, "text/plain"), ("html", 200, "text/html")])
@DIALECTS
async def test_an_answer_that_is_none_had_no_effect(dialect: str, fault: str, status: int, kind: str) -> None:
    """The form is heard out, no session is made, and health checks stay sound."""
    async with desk(faults=[f"{fault}:1"], dialect=dialect) as at:
        assert (await at.client.get("/config")).headers["content-type"] == "application/json"
        answer = await at.client.post("/sessions/learn" if dialect == "learn" else "/sessions", json=LEARN)
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["X-Helix-Sandbox"] == "simulated"
        assert await listed(at) == []


async def test_chance_comes_from_the_seed() -> None:
    """A tenth of the answers goes wrong, always the same ones with one seed, others with another."""

    async def struck(seed: str) -> list[bool]:
        async with desk(faults=["html@0.1"], seed=seed) as at:
            answers = [await at.client.get("/sessions") for _ in range(200)]
            return ["html" in answer.headers["content-type"] for answer in answers]

    first = await struck("1")
    assert 8 <= sum(first) <= 35
    assert await struck("1") == first
    assert await struck("2") != first


def test_chance_and_count_hold_together() -> None:
    """A count is not used up by draws that did not strike."""
    faults = Faults.parse(["html:1@0.5"])
    assert not faults.strikes("html", 0, lambda: 0.5)
    assert faults.strikes("html", 0, lambda: 0.49)
    assert not faults.strikes("html", 1, lambda: 0.0)


class TestInVirtualTime:
    """Where waiting costs nothing."""

    @pytest.fixture
    def anyio_backend(self) -> tuple[str, dict[str, Any]]:
        """A clock that jumps."""
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}

    async def test_a_slow_answer_comes_after_the_deed(self, anyio_backend: Any) -> None:
        """Who gives up waiting has the session nevertheless; who does not has the answer two seconds later."""
        async with desk(faults=["slow:2"]) as at:
            with anyio.move_on_after(1.9) as patience:
                await at.post()
            assert patience.cancelled_caught
            begun = anyio.current_time()
            assert len(await listed(at)) == 1
            assert anyio.current_time() - begun == pytest.approx(2)
            assert len(await listed(at)) == 1
            assert anyio.current_time() - begun == pytest.approx(2)


@DIALECTS
async def test_a_server_without_the_restart_route(dialect: str) -> None:
    """The call reaches the frontend, and the session stays as it was."""
    async with desk(faults=["no-restart-route"], dialect=dialect) as at:
        session = await begin(at, dialect)
        at.clock.at(60)
        before = await at.get(session)
        answer = await at.put(session, "/restart")
        assert answer.headers["content-type"].startswith("text/html")
        assert await at.get(session) == before


@DIALECTS
async def test_a_rest_that_nobody_asked_for(dialect: str) -> None:
    """It rests in editing without a chunk error, until it is told to train."""
    async with desk(faults=["review-rest:1"], dialect=dialect) as at:
        session = await begin(at, dialect)
        at.clock.at(1_000)
        last = await at.last(session)
        assert (last["state"], last["data_prep_stage"]) == ("editing", "edit_questions")
        assert not any(chunk["error"] for chunks in last["data_prep_chunks"].values() for chunk in chunks)
        assert (await at.client.post(f"/sessions/{session['id']}/finetune/start")).status_code == 200
        at.clock.forward(60)
        assert (await at.get(session))["mode"] == "inference"


@DIALECTS
@pytest.mark.parametrize(
    ("fault", "state", "stage", "remedy"),
    [
        ("runner-error:1", "complete", "finetune", "/restart"),
        ("state-error:1", "error", "generate_questions", "/restart"),
        ("chunk-error:1", "editing", "edit_questions", "/finetune/text/retry"),
        ("forget-work:1", "waiting", "generate_questions", "/restart"),
    ],
)
async def test_a_session_that_went_wrong_can_be_helped(
    dialect: str, fault: str, state: str, stage: str, remedy: str
) -> None:
    """In both dialects it stays wrong until the call that helps, and is trained afterwards, with no pair twice."""
    async with desk(faults=[fault], dialect=dialect) as at:
        session = await begin(at, dialect)
        at.clock.at(1_000)
        last = await at.last(session)
        assert (last["state"], last["data_prep_stage"]) == (state, stage)
        assert (await at.get(session))["lora_dir"] == ""
        assert (await at.put(session, remedy)).status_code == 200
        at.clock.forward(60)
        assert (await at.get(session))["lora_dir"]
        assert len(await at.pairs(session) or []) == 18


@DIALECTS
async def test_a_generator_that_fails_says_nothing(dialect: str) -> None:
    """Trained on nothing, with no error anywhere; the pairs are null."""
    async with desk(faults=["qa-fails:1"], dialect=dialect) as at:
        session = await begin(at, dialect)
        at.clock.at(60)
        assert (await at.get(session))["lora_dir"]
        assert (await at.client.get(pairs_path(session))).json() is None


@DIALECTS
async def test_a_generator_that_fails_for_one_file(dialect: str) -> None:
    """The other file's pairs are there, and the next session is whole."""
    async with desk(faults=["qa-fails-one:1"], dialect=dialect) as at:
        files = [("a.txt", TEXT), ("b.txt", b"Otters swim.")]
        session, whole = await begin(at, dialect, files), await begin(at, dialect, files)
        at.clock.at(60)
        told = {pair["conversations"][0]["value"].split()[2] for pair in await at.pairs(session) or []}
        document = (await at.get(session))["config"]["document_ids"]
        assert told == {digest for path, digest in document.items() if path.endswith("b.txt")}
        assert len({pair["conversations"][0]["value"].split()[2] for pair in await at.pairs(whole) or []}) == 2


async def test_too_much_for_the_plan_ends_at_once() -> None:
    """The words have both numbers; nothing is made, a restart changes nothing, and its slot is free."""
    async with desk(faults=["too-much", "too-many"], dialect="learn") as at:
        session = await at.learn(await at.upload())
        last = await at.last(session)
        assert (last["state"], last["finished"], last["data_prep_limit"]) == ("error", True, 5)
        assert "resulted in 9 chunks while the limit is 5" in last["error"]
        assert (await at.put(session, "/restart")).status_code == 200
        at.clock.forward(60)
        assert (await at.last(session))["error"] == last["error"]
        await at.learn(await at.upload())


async def test_only_more_than_the_plan_allows_is_too_much() -> None:
    """On the paid plan eleven small files train, and twelve do not."""
    async with desk(faults=["too-much"], dialect="learn", plan="paid") as at:
        fits, over = await at.learn(await at.upload(MANY[:11])), await at.learn(await at.upload(MANY))
        at.clock.at(1_000)
        assert (await at.get(fits))["lora_dir"]
        assert not (await at.last(fits))["data_prep_limited"]
        assert "resulted in 108 chunks while the limit is 100" in (await at.last(over))["error"]


async def test_a_truncated_session_trains_on_a_part() -> None:
    """Complete, with a model, and a hint in three numbers that it saw 100 chunks of 108."""
    async with desk(faults=["truncate"], dialect="learn", plan="paid") as at:
        session = await at.learn(await at.upload(MANY))
        assert "(108), reducing to 100 text chunks" in session["interactions"][-1]["status"]
        at.clock.at(1_000)
        last = await at.last(session)
        assert (last["state"], last["error"], bool(last["lora_dir"])) == ("complete", "", True)
        assert (last["data_prep_limited"], last["data_prep_limit"], last["data_prep_total_chunks"]) == (True, 100, 108)
        assert sum(len(chunks) for chunks in last["data_prep_chunks"].values()) == 100
        assert len(await at.pairs(session) or []) == 200


@DIALECTS
async def test_too_many_at_a_time_are_refused(dialect: str) -> None:
    """One that waits for ever holds its slot; deleting it makes room."""
    async with desk(faults=["too-many", "forget-work:1"], dialect=dialect) as at:
        stuck = await begin(at, dialect)
        at.clock.at(1_000)
        with pytest.raises(AssertionError, match=r"maximum number of concurrent finetuning sessions \(1/100\)"):
            await begin(at, dialect)
        assert await listed(at) == [stuck["id"]]
        await at.client.delete(f"/sessions/{stuck['id']}")
        await begin(at, dialect)
