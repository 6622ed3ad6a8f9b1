"""The sandbox against what was recorded of real servers: every trace of both dialects, step by step.

1. Statuses, content types and texts must be the recorded ones; JSON must have the recorded shape, key by key.
2. Before a look the clock is moved until the sandbox says what the server said; if it never does, the test fails.
3. What can't be replayed stands in `NOT_REPLAYED` with its reason, what differs on purpose in `LOOSE`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sandbox.kit import KEY, Desk, desk, form

TRACES = os.path.join(os.path.dirname(__file__), "..", "traces")
DIALECTS = ("form", "learn")

NOT_REPLAYED: dict[tuple[str, int], str] = {
    ("refusals", 13): "recorded with a stand-in of the frontend; the page has a test of its own",
    ("server-restarted-while-queued", 3): "a note, beside the wire",
    ("learn-refusals", 0): "recorded with a stand-in of the frontend; the page has a test of its own",
    ("learn-refusals", 7): "recorded with a stand-in of the frontend; the page has a test of its own",
}
LOOSE: dict[tuple[str, int], str] = {
    ("restart-while-generating", 3): "a late write of the second generator left progress and status behind",
    ("start-of-a-finished-one", 1): "the recording's runner took the training for a chat",
    ("start-of-a-finished-one", 2): "the recording's runner took the training for a chat",
    ("list-delete-parent", 1): "the recorded answer came after the work had begun",
    ("list-delete-parent", 2): "the recorded answer came after the work had begun",
    ("list-delete-parent", 3): "the recorded answer came after the work had begun",
}
# seconds that went by before a step, where the recording did not look first
BEFORE: dict[tuple[str, int], float] = {
    ("retry-route", 1): 60,
    ("add-documents", 1): 60,
    ("list-delete-parent", 4): 1.5,
}
FAULTS = {
    "finetune-runner-error": ["runner-error:1"],
    "qa-generator-fails-for-all": ["qa-fails"],
    "qa-generator-fails-for-one-file": ["qa-fails-one"],
    "server-restarted-while-generating": ["forget-work:1"],
    "learn-quota-strict": ["too-much"],
    "learn-quota-truncates": ["truncate"],
}
MAPS = ("document_ids", "data_prep_chunks")  # their keys are names, not part of the shape
BOUNDARY = {"Content-Type": "multipart/form-data; boundary=b"}
SPECIAL: dict[tuple[str, int], dict[str, Any]] = {
    ("refusals", 0): {"headers": {"Authorization": ""}},
    ("refusals", 1): {"headers": {"Authorization": "Bearer hl-wrong"}},
    ("refusals", 2): {"headers": {"Authorization": "Bearer some.other.token"}},
    ("refusals", 5): {"data": {"input": "yo", "mode": "inference", "type": "text"}},
    ("refusals", 11): {
        "content": b'--b\r\nContent-Disposition: form-data; name="mode"\r\n\r\nfine',
        "headers": BOUNDARY,
    },
    ("chat-image", 4): {"headers": {"Authorization": ""}},
    ("learn-refusals", 4): {"headers": {"Authorization": ""}},
    ("learn-refusals", 8): {"headers": {"Authorization": "Bearer hl-wrong"}},
}


def traces() -> dict[str, list[dict[str, Any]]]:
    """All recordings by the name of their scenario."""
    found = {}
    for dialect in DIALECTS:
        folder = os.path.join(TRACES, dialect)
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                recorded = json.load(file)
            found[recorded["scenario"]] = recorded["steps"]
    return found


ALL = traces()


def dialect_of(scenario: str) -> str:
    """Which server was recorded."""
    return "learn" if scenario.startswith("learn-") else "form"


class Player:
    """Plays one recording against a sandbox and knows which of its ids is which of the recording's."""

    def __init__(self, scenario: str, at: Desk) -> None:
        self.scenario = scenario
        self.at = at
        self.ids: dict[str, str] = {}

    async def set_up(self) -> None:
        """What the recording found there when it began."""
        if self.scenario == "start-of-a-finished-one":
            first = ALL[self.scenario][0]["response"]["body"]
            names = [path.rpartition("/")[2] for path in first["config"]["document_ids"]]
            self.learn(first, await self.at.post([(name, content_of(name, i)) for i, name in enumerate(names)]))
            self.at.clock.forward(60)
        if self.scenario == "refusals":
            await self.at.post()
            self.at.clock.forward(60)
        if self.scenario == "learn-refusals":
            await self.at.learn(await self.at.upload())
            self.at.clock.forward(60)

    async def play(self, number: int, step: dict[str, Any]) -> None:
        """Ask what was asked, when it was asked, and compare."""
        self.at.clock.forward(BEFORE.get((self.scenario, number), 0))
        recorded = step["response"]
        answer = await self.ask(number, step["request"])
        body = recorded["body"]
        if is_session(body) and step["request"]["method"] == "GET":
            answer = await self.wait_for(number, step["request"], body, answer)
        where = f"{self.scenario} step {number} ({step['note']})"
        assert (answer.status_code, answer.headers["content-type"]) == (recorded["status"], recorded["content_type"]), (
            where
        )
        assert answer.headers["X-Helix-Sandbox"] == "simulated"
        if recorded["content_type"] != "application/json":
            compare_text(body, answer, where)
            return
        got = answer.json()
        problems = list(differences(body, got, ""))
        assert not problems, f"{where}: {problems}"
        if is_entity(body):
            self.ids[body["id"]] = got["id"]
        if is_session(body):
            self.learn(body, got)
            if (self.scenario, number) not in LOOSE:
                assert signs(got) == signs(body), where

    async def ask(self, number: int, request: dict[str, Any]) -> httpx.Response:
        """Send a recorded request, with our ids in place of the recorded ones."""
        said = json.dumps(request)
        for theirs, ours in self.ids.items():
            said = said.replace(theirs, ours)
        request = json.loads(said)
        more: dict[str, Any] = {}
        if "form" in request or "file_names" in request:
            files = [("files", (name, content_of(name, i))) for i, name in enumerate(request.get("file_names", []))]
            more["files"] = [*form(request.get("form", {})), *files]
        if "json" in request:
            more["json"] = request["json"]
        more |= SPECIAL.get((self.scenario, number), {})
        return await self.at.client.request(request["method"], f"{self.at.url}{request['path']}", **more)

    async def wait_for(
        self, number: int, request: dict[str, Any], body: dict[str, Any], answer: httpx.Response
    ) -> httpx.Response:
        """Move the clock until the sandbox says what the server said."""
        if (self.scenario, number) in LOOSE:
            self.at.clock.forward(60)
            return await self.ask(number, request)
        for _ in range(500):
            if signs(answer.json()) == signs(body):
                break
            self.at.clock.forward(0.05)
            answer = await self.ask(number, request)
        return answer

    def learn(self, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        """Take over which id is which."""
        self.ids[theirs["id"]] = ours["id"]
        for one, other in zip(theirs["interactions"], ours["interactions"], strict=True):
            self.ids[one["id"]] = other["id"]


def content_of(name: str, number: int) -> bytes:
    """Something for a file of this name to hold."""
    if name == "empty.txt":
        return b""
    if name.endswith(".jsonl"):
        return b'{"conversations":[{"from":"human","value":"why?"},{"from":"gpt","value":"so"}]}\n'
    return f"This text is number {number} and it is called {name}. Nothing else is in it.".encode()


def is_session(body: Any) -> bool:
    return isinstance(body, dict) and "interactions" in body


def is_entity(body: Any) -> bool:
    return isinstance(body, dict) and body.get("type") == "uploaded_documents"


def signs(body: dict[str, Any]) -> tuple[Any, ...]:
    """What a client goes by: the last interaction's state, and the session's."""
    last = body["interactions"][-1]
    status = re.sub(r"\d+", "N", last["status"])
    return (
        body["mode"],
        bool(body["lora_dir"]),
        len(body["interactions"]),
        last["creator"],
        last["state"],
        last["data_prep_stage"],
        status,
        last["error"],
        last["finished"],
        bool(last["message"]),
        bool(last["lora_dir"]),
        bool(last["data_prep_chunks"]),
        *(last.get(key) for key in ("data_prep_limited", "data_prep_limit", "data_prep_total_chunks")),
    )


def compare_text(recorded: str, answer: httpx.Response, where: str) -> None:
    """Texts are compared to the letter; of what was recorded as a length, the length, but for pictures."""
    length = re.fullmatch(r"(\d+) bytes", recorded)
    if length is None:
        assert answer.text == recorded, where
    elif answer.headers["content-type"] != "image/png":
        assert len(answer.content) == int(length[1]), where


def differences(recorded: Any, got: Any, path: str) -> Iterator[str]:
    """Where the shape of an answer is not that of the recorded one."""
    if type(recorded) is not type(got):
        yield f"{path}: {type(got).__name__} for {type(recorded).__name__}"
    elif isinstance(recorded, dict):
        if path.endswith(MAPS):
            recorded, got = list(recorded.values()), list(got.values())
            yield from differences(recorded, got, f"{path}.*")
        elif list(recorded) != list(got):
            yield f"{path}: keys {list(got)} for {list(recorded)}"
        else:
            for key, value in recorded.items():
                yield from differences(value, got[key], f"{path}.{key}")
    elif isinstance(recorded, list) and recorded:
        # rows may be of several shapes: each of ours must be one of theirs
        for item in got:
            tries = [list(differences(other, item, f"{path}[]")) for other in recorded]
            yield from min(tries, key=len)


async def replay(scenario: str, *, on_a_socket: bool) -> None:
    """Play all steps of a recording that can be had again."""
    faults, dialect = FAULTS.get(scenario, ()), dialect_of(scenario)
    async with desk(faults=faults, dialect=dialect, on_a_socket=on_a_socket) as at:
        player = Player(scenario, at)
        await player.set_up()
        for number, step in enumerate(ALL[scenario]):
            if (scenario, number) not in NOT_REPLAYED:
                await player.play(number, step)


@pytest.mark.parametrize("scenario", ALL)
async def test_the_sandbox_answers_as_recorded(scenario: str) -> None:
    """Each recorded exchange can be had again from the sandbox."""
    await replay(scenario, on_a_socket=False)


class TestOnASocket:
    """The same over a port."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Uvicorn knows asyncio only."""
        return "asyncio"

    @pytest.mark.parametrize("scenario", ALL)
    async def test_the_sandbox_answers_as_recorded(self, anyio_backend: str, scenario: str) -> None:
        """What holds in one process holds on the wire."""
        await replay(scenario, on_a_socket=True)


def test_the_tables_name_steps_that_exist() -> None:
    """No exception outlives the recording it is about."""
    for scenario, number in [*NOT_REPLAYED, *LOOSE, *SPECIAL, *BEFORE]:
        assert number < len(ALL[scenario])
    assert set(FAULTS) <= set(ALL)
    assert KEY.startswith("hl-")


async def test_an_unknown_route_is_the_frontend() -> None:
    """What is no route answers with a page, with any method and without a key."""
    async with desk() as at:
        for method, path in [
            ("GET", "/nonesuch"),
            ("POST", "/sessions/learn"),
            ("DELETE", "/sessions"),
            ("PATCH", "/x"),
        ]:
            answer = await at.client.request(method, path, headers={"Authorization": ""})
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/html")
            assert "simulated" in answer.text
            assert answer.headers["X-Helix-Sandbox"] == "simulated"


async def test_config_and_status_tell_dialect_and_key() -> None:
    """The two calls of a health check are JSON; one of them needs the key."""
    async with desk() as at:
        config = await at.client.get("/config", headers={"Authorization": ""})
        assert (config.status_code, config.json()["simulated"]) == (200, True)
        status = await at.client.get("/status")
        assert (status.status_code, status.json()["user"]) == (200, "u1")
        refused = await at.client.get("/status", headers={"Authorization": "Basic x"})
        assert (refused.status_code, refused.text) == (401, "token missing\n")
