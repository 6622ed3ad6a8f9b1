"""What was recorded of real servers in the learn dialect, replayed step by step to the client that we ship.

The client has to make the very request that was recorded, and what it makes of the answer stands in the table.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from finetuned.backend import Observation, Pair, Submission
from finetuned.errors import KnownRefusal, ServerError
from finetuned.helix import wire
from finetuned.helix.call import Call, get
from finetuned.helix.client import ApiKey, Wire
from finetuned.helix.observe import capabilities, observe
from finetuned.helix.sessions import Sessions
from finetuned.lifecycle import FileState
from finetuned.model import File
from finetuned.verdict import judge, tally
from support.replies import KEY, URL, Bytes, Replies, disk, part, service

TRACES = Path(__file__).parents[1] / "traces" / "learn"

#: by step, what the client makes of it: a session's standing (`+` once it moved) and verdict, or an error by its name;
#: (what a client of ours never asks is in brackets: there only the outcome of the answer is held)
EXPECTED: dict[str, tuple[str, ...]] = {
    "learn-happy": (
        "uploaded 2 files",
        "running",
        "+running",
        "+running",
        "+trained",
        "trained",
        "6 pairs: done",
        "2 of 2 sessions",
    ),
    "learn-quota-strict": (
        "uploaded 2 files",
        "failed, 18 chunks of 5",
        "failed, 18 chunks of 5",
        "failed, 18 chunks of 5",
        "0 pairs",
        "1 of 1 sessions",
    ),
    "learn-quota-truncates": (
        "uploaded 4 files",
        "running, 36 chunks of 5",
        "+running, 36 chunks of 5",
        "6 pairs: partial",
    ),
    "learn-refusals": (
        "(ReplyLost)",
        "(KnownRefusal form)",
        "KnownRefusal no_upload",
        "NotFound",
        "(KeyRefused)",
        "NotFound",
        "uploaded 0 files",
        "(NotTheServer)",
        "(KeyRefused)",
        "uploaded 1 files",
        "running",
        "running",
        "3 of 4 sessions",
        "uploaded 2 files",
        "uploaded 1 files",
        "running",
        "running",
        "(running)",
    ),
}


def steps(scenario: str) -> list[dict[str, Any]]:
    """The steps of a scenario that are exchanges."""
    return [step for step in json.loads((TRACES / f"{scenario}.json").read_bytes())["steps"] if "request" in step]


def is_ours(request: dict[str, Any]) -> bool:
    """Whether our client would ever make this request in this dialect, with its key."""
    if "json" in request:
        return request["json"].get("text_finetune_enabled") is True
    if request["method"] == "POST":
        return request["path"].endswith("/data_entities")
    return request["path"] not in {"/api/v1/sessions", "/api/v1/data_entities"}


class Recorded(Replies):
    """A server that says what was recorded, and holds each request against the recorded one."""

    def __init__(self, step: dict[str, Any]) -> None:
        super().__init__(self.said)
        self.wanted, self.response = step["request"], step["response"]

    def said(self, request: httpx.Request, body: bytes) -> httpx.Response:
        if is_ours(self.wanted):
            assert (
                f"{request.method} {request.url.raw_path.decode()}" == f"{self.wanted['method']} {self.wanted['path']}"
            )
            if "json" in self.wanted:
                assert json.loads(body) == self.wanted["json"]
            assert re.findall(rb'name="files"; filename="([^"]*)"', body) == [n.encode() for n in names(self.wanted)]
        raw = self.response["body"]
        content = raw.encode() if isinstance(raw, str) else json.dumps(raw).encode()
        return httpx.Response(
            self.response["status"], headers={"content-type": self.response["content_type"]}, content=content
        )


def names(request: dict[str, Any]) -> list[str]:
    """The names of the files that a request carries."""
    return request.get("file_names", [])


def wire_to(step: dict[str, Any]) -> Wire:
    """The client's requests without a dialect, for what no dialect asks."""
    return Wire(httpx.AsyncClient(transport=Recorded(step)), url=URL, key=ApiKey("", lambda: KEY), disk=disk())


def call_of(request: dict[str, Any]) -> Call:
    """What no client of ours would ask, as a call."""
    return get("/x") if request["method"] == "GET" else Call(method=request["method"], path="/x")


class Replay:
    """The client, from step to step: what it was shown last is what it goes by."""

    def __init__(self) -> None:
        self.view: Observation | None = None
        self.signs: dict[str, tuple[object, ...]] = {}

    async def step(self, step: dict[str, Any]) -> str:
        """What the client makes of a step."""
        request = step["request"]
        helix = service(Recorded(step), *(Bytes(b"text") for _ in names(request)), dialect="learn")
        try:
            if is_ours(request):
                return await self.asks(helix, step)
            return f"({self.seen(observe(await wire_to(step).read(call_of(request), wire.session)))})"
        except KnownRefusal as error:
            words = f"{type(error).__name__} {error.kind}"
        except ServerError as error:
            words = type(error).__name__
        return words if is_ours(request) else f"({words})"

    async def asks(self, helix: Sessions, step: dict[str, Any]) -> str:
        """Ask as the daemon does."""
        request = step["request"]
        path = request["path"].removeprefix("/api/v1")
        parts = tuple(part(name, b"text") for name in names(request))
        if path == "/data_entities":
            order = await helix.upload(Submission(marker="m", parts=parts), on_progress=lambda _: None)
            assert wire.safe_id(order.upload_id or "")
            return f"uploaded {len(parts)} files"
        if path == "/sessions/learn":
            entity = request["json"]["data_entity_id"]
            if not entity:  # this is the question about the dialect
                question = Call(method="POST", path=path, body=json.dumps(request["json"]).encode())
                await wire_to(step).read(question, wire.session)
            view = await helix.submit(Submission(marker="m", parts=(), upload_id=entity), on_progress=lambda _: None)
            assert view.upload_id == entity
            return self.seen(view)
        if path.startswith("/sessions?"):
            query = httpx.URL(path).params
            count, rows = await helix.list(offset=int(query["offset"]), limit=int(query["limit"]))
            return f"{len(rows)} of {count} sessions"
        if "/conversations/" in path:
            assert self.view is not None
            return self.verdict(self.view, await helix.pairs(self.view))
        return self.seen(await helix.observe(path.rpartition("/")[2]))

    def seen(self, view: Observation) -> str:
        """Where a session stands, whether it moved since the last poll, and what a quota says."""
        signs = view.signs
        moved = "+" if self.signs.get(view.id, signs) != signs else ""
        self.view, self.signs[view.id] = view, signs
        quota = view.quota
        return f"{moved}{view.status}" + (f", {quota.asked} chunks of {quota.limit}" if quota else "")

    def verdict(self, view: Observation, pairs: tuple[Pair, ...]) -> str:
        """How many pairs there are, and what they make of the job."""
        if not pairs:
            return "0 pairs"
        assert {pair.document for pair in pairs} <= {taught.document for taught in view.files.values()}
        return f"{len(pairs)} pairs: {judge(view, tally(view, pairs), files_of(view), capabilities('learn')).state}"


def files_of(view: Observation) -> list[File]:
    """A job's files, as this session has them."""
    return [
        File(
            id=number,
            folder="notes",
            path=f"/srv/notes/{name}",
            location=None,
            state=FileState.PACKED,
            signature=None,
            version=1,
            upload_name=name,
        )
        for number, name in enumerate(sorted(name for name, taught in view.files.items() if taught.document), 1)
    ]


def test_every_trace_is_replayed():
    """A trace that is not in the table was not replayed."""
    assert {path.stem for path in TRACES.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("scenario", EXPECTED)
async def test_a_recorded_exchange_is_gone_through_again(scenario: str):
    """Every request is the recorded one, and every answer is read for what it was."""
    replay = Replay()
    assert tuple([await replay.step(step) for step in steps(scenario)]) == EXPECTED[scenario]
