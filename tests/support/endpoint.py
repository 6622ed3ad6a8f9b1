"""A stand-in for an endpoint that answers chats: a real server on a socket, which goes wrong in every way on demand.

1. It answers `POST …/chat/completions` with what `answers` makes of the question, `late` seconds later, and counts what
   it was `paid` for: every answer that it made, whether or not it arrived.
2. What goes wrong is an `Answer` of its own: `then(…)` for the next questions, `whenever(…)` for those with a word.
3. It runs in a thread of its own, so that whoever asks may have any loop, or be another process.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import anyio
import httpx

CERTIFICATE: Final = Path(__file__).with_name("self_signed.pem")
PAGE: Final = b"<!doctype html><html><head><title>Welcome to nginx!</title></head><body>hi</body></html>"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request: `words` is all that its messages hold."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def words(self) -> str:
        return "\n".join(str(message.get("content")) for message in self.body.get("messages", []))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is sent: a head, and a body; after `pause` seconds, and cut after so many bytes.

    `silent`: nothing is sent, and the connection stays. `drip`: a byte every so many seconds. `raw`: all of it as it
    stands, with no head. `paid`: whether it cost something.
    """

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    cut_after: int | None = None
    silent: bool = False
    drip: float = 0.0
    raw: bool = False
    paid: bool = False

    @property
    def wire(self) -> bytes:
        """The bytes."""
        if self.raw:
            return self.body
        named = {"Content-Type": self.kind, "Content-Length": str(len(self.body)), **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return f"HTTP/1.1 {self.status} Word\r\n{lines}\r\n".encode() + self.body


def said(text: str | None, *, tokens: int | None = 100, reason: str = "stop", **message: Any) -> Answer:
    """A whole answer, as an OpenAI-compatible endpoint gives it."""
    told: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "tiny",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": reason}
        ],
    }
    if tokens is not None:
        told["usage"] = {
            "prompt_tokens": tokens // 2,
            "completion_tokens": tokens - tokens // 2,
            "total_tokens": tokens,
        }
    return Answer(body=json.dumps(told).encode(), paid=True)


def streamed(text: str, *, tokens: int | None = 100, pieces: int = 3, newline: str = "\n") -> Answer:
    """The same as a stream that nobody asked for."""
    size = max(1, -(-len(text) // pieces))
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": text[at : at + size]} for at in range(0, len(text), size)]
    events: list[Any] = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if tokens is not None:
        events.append(
            {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": tokens - 1, "total_tokens": tokens}}
        )
    lines = [": a comment", *(f"data: {json.dumps(event)}" for event in events), "data: [DONE]"]
    body = "".join(f"{line}{newline}{newline}" for line in lines).encode()
    return Answer(body=body, kind="text/event-stream; charset=utf-8", paid=True)


def complains(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    """A refusal in OpenAI's shape."""
    body = json.dumps({"error": {"message": message, "type": "error", "param": None, "code": code}}).encode()
    return Answer(status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


#: what a question gets, or what makes it of the question
Deed = Answer | Callable[[Question], Answer]


class Endpoint:
    """The server, on any free port; `tls`: with a certificate that nobody knows."""

    def __init__(
        self, answers: Callable[[Question], str] = lambda _: "{}", *, late: float = 0.0, tls: bool = False
    ) -> None:
        self.answers = answers
        self.late = late
        self.models: tuple[str, ...] | Answer = ("tiny",)
        self.questions: list[Question] = []
        self.paid: list[Question] = []
        self.most_at_once = 0
        #: when each question for an answer came, and when that was sent, in seconds of the monotonic clock
        self.spans: list[tuple[float, float]] = []
        self.port = 0
        self._tls = tls
        self._next: list[Deed] = []
        self._whenever: list[tuple[str, Deed]] = []
        self._always: Deed | None = None
        self.under_way = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listens = threading.Event()
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    @property
    def asked(self) -> list[Question]:
        """The questions for an answer, without those about models."""
        return [question for question in self.questions if question.method == "POST"]

    def then(self, *deeds: Deed) -> None:
        """Do these with the next questions, one each."""
        self._next += deeds

    def whenever(self, word: str, deed: Deed) -> None:
        """Do this with every question that holds this word."""
        self._whenever.append((word, deed))

    def always(self, deed: Deed | None) -> None:
        """Do this with every question for which nothing else is to be done; null: answer it."""
        self._always = deed

    def well(self) -> None:
        """Let nothing go wrong any more."""
        self._next, self._whenever, self._always = [], [], None

    def over_no_socket(self) -> httpx.AsyncBaseTransport:
        """A way here with no socket in between, in whatever time there is."""
        return _NoSocket(self)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listens.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        loop = self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        trust = None
        if self._tls:
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trust.load_cert_chain(CERTIFICATE)
        server = loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=trust, limit=2**22)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._listens.set()
        loop.run_forever()
        server.close()
        for writer in tuple(self._connections):
            writer.transport.abort()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; tell whether the connection stays."""
        begin = await reader.readexactly(1)
        if begin == b"\x16":  # somebody would speak TLS
            return False
        head = (begin + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        question = Question(method=method, path=path, headers=headers, body=json.loads(body) if body else {})
        came = time.monotonic()
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            answer = self.answer(question)
            if answer.pause or (answer.paid and self.late):
                await asyncio.sleep(answer.pause or self.late)
        finally:
            self.under_way -= 1
            if method == "POST":
                self.spans.append((came, time.monotonic()))
        return await self._send(answer, writer, reader)

    def answer(self, question: Question) -> Answer:
        """What answers a question."""
        self.questions.append(question)
        if question.method == "GET":
            if isinstance(self.models, Answer):
                return self.models
            rows = [{"id": name, "object": "model"} for name in self.models]
            return Answer(body=json.dumps({"object": "list", "data": rows}).encode())
        deed: Deed | None = next((deed for word, deed in self._whenever if word in question.words), None)
        if deed is None and self._next:
            deed = self._next.pop(0)
        deed = deed or self._always or (lambda asked: said(self.answers(asked)))
        answer = deed if isinstance(deed, Answer) else deed(question)
        if answer.paid:
            self.paid.append(question)
        return answer

    @staticmethod
    async def _send(answer: Answer, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> bool:
        if answer.silent:
            await reader.read()
            return False
        wire = answer.wire
        if answer.drip:
            for at in range(len(wire)):
                writer.write(wire[at : at + 1])
                await writer.drain()
                await asyncio.sleep(answer.drip)
            return True
        writer.write(wire if answer.cut_after is None else wire[: answer.cut_after])
        with suppress(OSError):
            await writer.drain()
        return answer.cut_after is None and not answer.raw


class _NoSocket(httpx.AsyncBaseTransport):
    """The way to an endpoint in memory."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        question = Question(
            method=request.method,
            path=request.url.path,
            headers=dict(request.headers),
            body=json.loads(body) if body else {},
        )
        self._endpoint.under_way += 1
        self._endpoint.most_at_once = max(self._endpoint.most_at_once, self._endpoint.under_way)
        try:
            answer = self._endpoint.answer(question)
            with anyio.move_on_after(float("inf") if answer.silent else answer.pause or self._endpoint.late):
                await anyio.sleep_forever()
        finally:
            self._endpoint.under_way -= 1
        if answer.cut_after is not None:
            raise httpx.ReadError("the connection was closed")
        headers = {"content-type": answer.kind, **answer.headers}
        return httpx.Response(answer.status, headers=headers, stream=httpx.ByteStream(answer.body))


# -- texts, and pairs of them

_WORDS: Final = [
    f"{one}{other}"
    for one in ("otter", "river", "stone", "copper", "winter", "garden", "marble", "candle", "thunder", "velvet")
    for other in ("gate", "field", "lamp", "hill", "song")
]
_PASSAGE: Final = re.compile(r"<passage>\n(.*?)\n</passage>", re.DOTALL)


def a_text(sentences: int, seed: int = 0) -> str:
    """A text in which every sentence says something of its own, a paragraph each."""
    return "".join(f"{a_sentence(number, seed)}\n\n" for number in range(sentences))


def a_sentence(number: int, seed: int = 0) -> str:
    """A sentence of some hundred bytes."""
    drawn = random.Random(f"{seed}.{number}")
    words = drawn.sample(_WORDS, 12)
    what = f"{words[0]} of {' '.join(words[1:])}"
    return f"Entry {seed}x{number} tells that the {what} is {drawn.randrange(10**9)} miles wide."


def entries_of(question: Question) -> tuple[str, ...]:
    """The entries of the passage that is asked about, by which it is known."""
    found = _PASSAGE.search(question.words)
    return entries_in(found[1] if found else "")


def entries_in(text: str) -> tuple[str, ...]:
    """The entries that a text has."""
    return tuple(re.findall(r"Entry (\S+) tells", text))


def pairs_of(question: Question) -> str:
    """What a good model answers: a pair of each entry of the passage."""
    found = _PASSAGE.search(question.words)
    pairs = []
    for line in (found[1] if found else "").splitlines():
        if entry := re.match(r"(Entry (\S+)) tells that the (.*) is (\d+ miles wide)\.$", line):
            asked = f"How wide is the {entry[3]} of entry {entry[2]}?"
            pairs.append({"question": asked, "answer": f"It is {entry[4]}.", "evidence": line})
    return json.dumps({"facts": [], "pairs": pairs})
