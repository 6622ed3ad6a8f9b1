"""A server that speaks just enough Helix for the benchmarks, and remembers to the microsecond what it was asked.

1. Answers have the shape of the recorded ones (`tests/traces/form`), whose bodies serve as moulds.
2. Times are of the system-wide monotonic clock: a request's first byte, its last one, and when the answer was written.
3. A session is trained as soon as it is looked at, unless `held`, or for ever in training (`trains`); each of its
   files gets one pair, or the session all those of the `flood`, or in turns one of the `answers`, as bytes. Lists
   are empty unless it trains and `lists`; what trains is shown with `shows` files, whatever came, and makes a step
   every `moves` seconds (0: never), at a time of its own. All trainings end at once when `ended` is set. Every answer
   comes so many seconds late (`late`).
4. Of a long body only the beginning and the end are kept, so that this server never is what is measured.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

TRACE = Path(__file__).parents[1] / "traces" / "form" / "finetune-happy.json"
#: when its sessions were made: a daemon that searches for one of its own looks at none that is older
STILL = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime())
KEPT_BYTES = 1024 * 1024
#: what answers calls that the server does not know
PAGE = "<!doctype html><title>Helix</title>"


@dataclass(kw_only=True)
class Request:
    """One request: its first byte, its last one, and its answer, in seconds of the monotonic clock."""

    method: str
    path: str
    began: float
    whole: float = 0.0
    answered: float = 0.0
    bytes: int = 0
    files: int = 0
    answer_bytes: int = 0

    @property
    def is_job(self) -> bool:
        """Whether a fine-tune was sent; the question about the other dialect is none."""
        return (self.method, self.path) == ("POST", "/api/v1/sessions")

    @property
    def is_pairs(self) -> bool:
        """Whether pairs were asked for: the last thing that a daemon wants to know of a session."""
        return "/conversations/" in self.path


class TinyHelix:
    """The server, in a thread of its own, on any free port."""

    def __init__(self) -> None:
        steps = json.loads(TRACE.read_bytes())["steps"]
        self._created: dict[str, Any] = steps[0]["response"]["body"]
        self._trained = next(step["response"]["body"] for step in steps if step["note"] == "final")
        self._sessions: dict[str, tuple[str, list[str]]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listens = threading.Event()
        self.requests: list[Request] = []
        self.connections: set[asyncio.Transport] = set()
        self.held = False
        self.trains = False
        self.endless: set[str] = set()
        self.lists = True
        self.flood: list[Any] = []
        self.answers: list[bytes] = []
        self.shows = 1
        self.moves = 0.0
        self.ended = False
        self.late = 0.0
        self.port = 0

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def sent(self) -> list[str]:
        """By what the jobs that were sent can be found again: their markers."""
        return [marker for marker, _ in self._sessions.values()]

    @property
    def jobs(self) -> list[Request]:
        """The fine-tunes that were sent."""
        return [request for request in self.requests if request.is_job]

    def __enter__(self) -> Self:
        self._thread.start()
        self._listens.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        self._loop.run_forever()
        server.close()
        for transport in tuple(self.connections):
            transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def answer(self, request: Request, body: bytes) -> Any:
        """What answers a request, as JSON or its bytes; null: there is no such thing."""
        parts = request.path.partition("?")[0].strip("/").split("/")[2:]
        if parts[1:] == ["learn"]:
            return PAGE
        if request.is_job:
            return self._submit(request, body)
        if len(parts) == 1:
            return self._list(request)
        if parts[1] not in self._sessions:
            return None
        return self._pairs(parts[1]) if request.is_pairs else self._session(parts[1])

    def _submit(self, request: Request, body: bytes) -> Any:
        names = [name.decode() for name in re.findall(rb'filename="([^"]+)"', body)]
        marker = re.search(rb'name="input"\r\n\r\n(.*?)\r\n', body)
        ident = str(uuid.uuid4())
        request.files = len(names)
        self._sessions[ident] = (marker[1].decode() if marker else "", names)
        return self._shaped(self._created, ident)

    def _session(self, ident: str) -> Any:
        return self._shaped(self._created if self.held or self._trains(ident) else self._trained, ident)

    def train_for_ever(self) -> None:
        """Let every session that there is train for ever, and those to come as they are told."""
        self.endless = set(self._sessions)
        self.trains = False

    def _trains(self, ident: str) -> bool:
        return not self.ended and (self.trains or ident in self.endless)

    def _shaped(self, mould: dict[str, Any], ident: str) -> Any:
        """A recorded session, with the ids, the marker and the files of this one."""
        marker, names = self._sessions[ident]
        if self._trains(ident):
            names = [*names, *(f"{number:04d}-{names[0]}" for number in range(len(names), self.shows))]
        session = json.loads(json.dumps(mould))
        inputs = f"dev/users/u1/sessions/{ident}/inputs/{ident}-user"
        session["id"] = ident
        session["config"]["document_ids"] = {f"{inputs}/{n}": _document(i) for i, n in enumerate(names)}
        asked, tuning = session["interactions"]
        asked |= {"id": f"{ident}-user", "message": marker, "files": [f"{inputs}/{name}" for name in names]}
        tuning |= {"id": f"{ident}-system", "data_prep_chunks": {}}
        if self._trains(ident):
            chunks = [{"index": n, "prompt_name": "simple", "question_count": 9, "error": ""} for n in range(9)]
            steps = self._steps(ident)
            tuning |= {"state": "waiting", "data_prep_stage": "finetune", "progress": 40 + steps % 50}
            tuning |= {"updated": _updated(steps)}
            tuning["data_prep_chunks"] = {f"{inputs}/{name}": chunks for name in names}
        return session

    def _list(self, request: Request) -> Any:
        """A page of rows as the server has them, newest first."""
        shown = list(reversed(self._sessions)) if (self.trains or self.endless) and self.lists else []
        asked = dict(re.findall(r"(offset|limit)=(\d+)", request.path))
        offset, limit = int(asked.get("offset", 0)), int(asked.get("limit", 1000))
        rows = [self._row(ident) for ident in shown[offset : offset + limit]]
        return {"counter": {"count": len(shown)}, "sessions": rows}

    def _row(self, ident: str) -> dict[str, Any]:
        times = dict.fromkeys(("created", "scheduled", "completed"), STILL) | {"updated": _updated(self._steps(ident))}
        known = {"session_id": ident, "name": "ancient-otter-7", "interaction_id": f"{ident}-system", "lora_dir": ""}
        kinds = {
            "mode": "finetune",
            "type": "text",
            "priority": False,
            "owner": "u1",
            "summary": "fine tuning on 2 files",
        }
        ended = {"mode": "inference", "lora_dir": f"dev/{ident}", "updated": STILL} if self.ended else {}
        return known | kinds | times | ended

    def _steps(self, ident: str) -> int:
        """How many steps a training has made."""
        return int(time.monotonic() / self.moves + int(ident[:8], 16) / 2**32) if self.moves else 0

    def _pairs(self, ident: str) -> Any:
        group = ident[:10]
        if self.answers:
            return self.answers[list(self._sessions).index(ident) % len(self.answers)]
        if self.flood:
            return self.flood
        return [
            {
                "conversations": [
                    {
                        "from": "human",
                        "value": f"In document {_document(i)} (document group {group}), what is {name}?",
                    },
                    {"from": "gpt", "value": f"[DOC_ID:{_document(i)}] [DOC_GROUP:{group}]\n\nIt is a file."},
                ]
            }
            for i, name in enumerate(self._sessions[ident][1])
        ]


def _updated(steps: int) -> str:
    """When a training made its last step, as the server writes it."""
    return f"{STILL[:-10]}{steps % 10**9:09d}Z"


def _document(number: int) -> str:
    return f"{number:010x}"


@dataclass(kw_only=True)
class _Body:
    """What is kept of a body of `length` bytes."""

    length: int
    seen: int = 0
    start: bytearray = field(default_factory=bytearray)
    end: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> None:
        self.seen += len(data)
        if len(self.start) < KEPT_BYTES:
            self.start += data
        else:
            self.end += data
            del self.end[: -2 * len(data)]

    @property
    def whole(self) -> bool:
        return self.seen >= self.length


class _Connection(asyncio.Protocol):
    """One connection: a request after the other."""

    def __init__(self, helix: TinyHelix) -> None:
        self._helix = helix
        self._head = bytearray()
        self._request: Request | None = None
        self._body = _Body(length=0)
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._helix.connections.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._helix.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            if not self._head:
                self._began = time.monotonic()
            self._head += data
            head, mark, data = bytes(self._head).partition(b"\r\n\r\n")
            if not mark:
                return
            self._begin(head.decode("latin-1"))
        self._body.feed(data)
        if self._body.whole and self._request is not None:
            self._finish(self._request)

    def _begin(self, head: str) -> None:
        method, path, _ = head.split("\r\n", 1)[0].split(" ")
        length = re.search(r"(?im)^content-length: *(\d+)", head)
        self._body = _Body(length=int(length[1]) if length else 0)
        self._request = Request(method=method, path=path, began=self._began, bytes=self._body.length)

    def _finish(self, request: Request) -> None:
        request.whole = time.monotonic()
        found = self._helix.answer(request, bytes(self._body.start + self._body.end))
        self._head.clear()
        self._request = None
        status, kind = "200 OK", "application/json"
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        if found is None:
            status, kind, body = "500 Error", "text/plain", b"not found\n"
        elif found is PAGE:
            kind, body = "text/html", PAGE.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        request.answer_bytes = len(head) + len(body)
        self._helix.requests.append(request)  # first, so that who got the answer finds it here
        asyncio.get_running_loop().call_later(self._helix.late, self._write, request, head.encode() + body)

    def _write(self, request: Request, answer: bytes) -> None:
        request.answered = time.monotonic()
        self._transport.write(answer)
