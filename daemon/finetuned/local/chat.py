"""A client for chats: one question, one answer, at any endpoint that speaks `/chat/completions`.

1. A question is sent once. Nothing is sent again by itself, but what was refused for a field that it need not have: a
   schema, or how long its lists may be, a limit of its length, a temperature. That is left out then, and in every later
   question (`_Fields`).
2. The key comes from a file, read anew once that changes; it goes to the one address there is, and follows no redirect.
3. An answer may have 8 MiB, as a stream too, and takes `timeout` at most. What is longer or later is given up.
4. What comes of it is a `Reply`, or an outcome (`outcome`). Libraries' exceptions end here.
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, Final, cast

import anyio
import httpx
import msgspec
from msgspec.structs import replace

from finetuned import __version__
from finetuned.backend import CallEnd, OnEnd, call_end, not_counted
from finetuned.errors import KeyRefused, NotTheServer, Refused, ServerError, Unreachable
from finetuned.local import outcome, said
from finetuned.local.key import KeyFile
from finetuned.local.machine import Machine
from finetuned.local.outcome import Called, Head
from finetuned.local.said import Complaint, Ending, NotAnAnswer, Reply
from finetuned.model import Value

ANSWER_BYTES: Final = 8 * 1024 * 1024
ERROR_BYTES: Final = 64 * 1024
CONNECT_SECONDS: Final = 10.0
#: how long a question about the endpoint itself may take: its models
LOOK_SECONDS: Final = 15.0
#: shorter than what servers grant (uvicorn: 5 s), so that we never write into a connection they just closed
IDLE_SECONDS: Final = 2.0
#: the longest answer that is asked for, in tokens, if nobody knows how long it will be
ANSWER_TOKENS: Final = 4096
_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # an answer's size is what was counted, not what it swells to
    "Connection": "keep-alive",
    "User-Agent": f"finetuned/{__version__}",
}
#: an answer has its own limit
_TIMEOUT: Final = httpx.Timeout(None, connect=CONNECT_SECONDS)
_BROKEN: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ssl.SSLError)

Messages = Sequence[Mapping[str, str]]


class Endpoint(Value, frozen=True):
    """Where a model answers. `setting` is what its keys begin with in the configuration, for people.

    `timeout`: how long an answer may take, in seconds.
    """

    url: str
    model: str
    api_key_file: str = ""
    timeout: float = 120.0
    setting: str = "maker."


class _Fields:
    """The fields of a question that it need not have, as far as the endpoint is known to take them."""

    #: field -> what a complaint about it says
    NAMES: Final[Mapping[str, re.Pattern[str]]] = {
        "response_format": re.compile(
            r"response_?format|json_?schema|structured|grammar|guided|max_?items", re.IGNORECASE
        ),
        "max_tokens": re.compile(r"max_(?:completion_)?tokens|in the completion", re.IGNORECASE),
        "temperature": re.compile(r"temperature", re.IGNORECASE),
    }

    def __init__(self) -> None:
        self._left_out: set[str] = set()
        self._limit = "max_tokens"
        self._counts = True
        self._most = sys.maxsize

    def of(self, schema: Mapping[str, Any] | None, tokens: int) -> dict[str, Any]:
        """Give the fields for a question whose answer may have so many tokens."""
        found: dict[str, Any] = {"temperature": 0.2, "max_tokens": min(tokens, self._most)}
        if schema is not None:
            kept = dict(schema) if self._counts else _uncounted(schema)
            shape = {"name": "answer", "strict": True, "schema": kept}
            found["response_format"] = {"type": "json_schema", "json_schema": shape}
        kept = {name: value for name, value in found.items() if name not in self._left_out}
        if "max_tokens" in kept and self._limit != "max_tokens":
            kept[self._limit] = kept.pop("max_tokens")
        return kept

    def learn(self, sent: Mapping[str, Any], status: int, complaint: Complaint) -> bool:
        """Leave out what a complaint is about; tell whether the question that was `sent` is another one now."""
        words = f"{complaint.words} {complaint.code}"
        if status not in {400, 422, 500, 501}:
            return False
        if "max_tokens" in sent and "max_completion_tokens" in words and self._limit == "max_tokens":
            self._limit = "max_completion_tokens"
            return True
        if sent.get(self._limit, 0) > ANSWER_TOKENS and self.NAMES["max_tokens"].search(words):
            self._most = ANSWER_TOKENS  # a limit that fits into its context is better than none
            return True
        if _counts(sent) and self.NAMES["response_format"].search(words):
            self._counts = False  # that may be all that it does not take of a schema
            return True
        names = {"max_tokens" if name == self._limit else name for name in sent} & set(self.NAMES)
        found = {name for name in names if self.NAMES[name].search(words)} & names
        if found <= self._left_out:
            # others that were under way learned the same: it is sent as they know it now, once
            return bool(found)
        self._left_out |= found
        return True


def _uncounted(schema: Any) -> Any:
    """Leave out how long the lists of a schema may be: not everybody takes that."""
    if not isinstance(schema, Mapping):
        return schema
    return {name: _uncounted(inner) for name, inner in schema.items() if name != "maxItems"}


def _counts(sent: Mapping[str, Any]) -> bool:
    """Tell whether a question was sent with a schema that says how long its lists may be."""
    return "response_format" in sent and _uncounted(sent) != sent


class Chat:
    """One endpoint, and one model there.

    Questions go straight to the library's transport: of what its client does for each (cookies, redirects, credentials,
    addresses that are put together) nothing is of use here, and it took a quarter of the time.
    """

    def __init__(
        self, way: httpx.AsyncBaseTransport, endpoint: Endpoint, machine: Machine, on_end: OnEnd = not_counted
    ) -> None:
        self.endpoint: Final = endpoint
        self._way = way
        self._machine = machine
        self._on_end = on_end
        self._base = endpoint.url.rstrip("/").removesuffix("/chat/completions")
        self._key = KeyFile(endpoint.api_key_file, f"{endpoint.setting}api_key_file")
        self._fields = _Fields()
        self._called = Called(
            method="POST",
            url=f"{self._base}/chat/completions",
            model=endpoint.model,
            setting=endpoint.setting,
            timeout=endpoint.timeout,
        )

    async def ask(
        self,
        messages: Messages,
        schema: Mapping[str, Any] | None = None,
        is_over: Callable[[], bool] = lambda: False,
        *,
        tokens: int = ANSWER_TOKENS,
    ) -> Reply:
        """Ask a question, and return its answer, of so many `tokens` at most. Raises ServerError, see `outcome`.

        Once it `is_over` no other request is sent, should the endpoint want the question in another form.
        """
        with self._counted("POST"):
            return await self._ask(messages, schema, is_over, tokens)

    async def _ask(
        self, messages: Messages, schema: Mapping[str, Any] | None, is_over: Callable[[], bool], tokens: int
    ) -> Reply:
        asked_bytes = sum(len(message.get("content", "").encode("utf-8", "replace")) for message in messages)
        tries = len(_Fields.NAMES) + 4
        while True:
            tries -= 1
            fields = self._fields.of(schema, tokens)
            words = msgspec.json.encode({"model": self.endpoint.model, "messages": messages, "stream": False, **fields})
            called, head, body = await self._exchange("POST", "/chat/completions", words)
            found = self._read(called, head, body, asked_bytes)
            if isinstance(found, Reply):
                return found
            head = replace(head, status=found.status or head.status)
            if not tries or not self._fields.learn(fields, head.status, found):
                raise await self._refusal(called, head, found)
            if is_over():
                raise Unreachable(f"{called.named}: it was stopped before it was asked in another form")

    async def models(self) -> tuple[str, ...]:
        """List the names of the endpoint's models; none if it has no such list. Raises ServerError."""
        with self._counted("GET"):
            return await self._models()

    async def _models(self) -> tuple[str, ...]:
        called, head, body = await self._exchange("GET", "/models", b"", within=LOOK_SECONDS)
        if not 200 <= head.status < 300:
            complaint = said.complaint(body)
            raise outcome.refused(called, head, complaint)
        if head.is_page:
            raise outcome.odd(called, head, body, "a page")
        return said.models(body)

    async def look(self) -> str:
        """Say whether the endpoint is there, and lists the model; that costs nothing. Raises ServerError."""
        try:
            names = await self.models()
        except (NotTheServer, Refused):  # it need not have a list
            names = ()
        if not names:
            return f"something answers at {self._base}; it lists no models"
        has = "lists" if self.endpoint.model in names else "does not list"
        return f"{self._base} {has} the model {self.endpoint.model}"

    async def probe(self) -> str:
        """Ask for a small answer in JSON, and say in words how that went. Raises ServerError."""
        schema = {
            "type": "object",
            "properties": {"answer": {"type": "string"}},
            "required": ["answer"],
            "additionalProperties": False,
        }
        question = 'Answer with this JSON object and nothing else: {"answer": "yes"}'
        begun = anyio.current_time()
        reply = await self.ask([{"role": "user", "content": question}], schema)
        took = anyio.current_time() - begun
        if reply.ending is Ending.REFUSED:
            raise Refused(f"{self._called.named}: the model refuses to answer at all", remedy="try another model")
        in_json = _is_object(reply.text)
        how = "in JSON" if in_json else "but not in JSON: its answers are read as far as they go"
        kept = "with a schema" if in_json else "it was sent a schema, and passed over it"
        shape = kept if "response_format" in self._fields.of(schema, 0) else "without a schema, which it does not take"
        counts = "; it counts no tokens: they are estimated" if reply.estimated else ""
        return f"{self.endpoint.model} answers {how} ({shape}, {took:.1f} s{counts})"

    def _read(self, called: Called, head: Head, body: bytes, asked_bytes: int) -> Reply | Complaint:
        """Read an answer, or what is wrong. Raises ServerError for what is neither."""
        if not 200 <= head.status < 300:
            return said.complaint(body)
        is_stream = "event-stream" in head.headers.get("content-type", "")
        try:
            found = said.reply(body, is_stream=is_stream, asked_bytes=asked_bytes)
        except NotAnAnswer as error:
            raise outcome.odd(called, head, body, str(error)) from error
        if isinstance(found, Complaint) and found.status is None:
            return replace(found, status=500)  # it said 200, and then that it failed
        return found

    async def _refusal(self, called: Called, head: Head, complaint: Complaint) -> ServerError:
        """Name the outcome of a complaint; what the endpoint has is looked up if the model is not there."""
        error = outcome.refused(called, head, complaint)
        if type(error) is not NotTheServer or head.status < 400:
            if isinstance(error, KeyRefused):
                return KeyRefused(str(error), begun=True, remedy=self._key.remedy)
            return error
        try:
            names = await self._models()
        except ServerError:
            return error
        return outcome.refused(called, head, complaint, names)

    async def _exchange(
        self, method: str, path: str, body: bytes, *, within: float | None = None
    ) -> tuple[Called, Head, bytes]:
        """Send a request; return how its answer begins, and the answer. Raises ServerError."""
        key = "" if self._key.is_none else await self._machine.in_thread(self._key.current)
        called = replace(self._called, method=method, url=f"{self._base}{path}", key=key)
        try:
            with anyio.move_on_after(within or self.endpoint.timeout):
                head, answer = await self._once(called, body)
                return called, head, answer
        except _BROKEN as error:
            raise outcome.broken(called, error) from error
        raise outcome.broken(called, None)

    @contextmanager
    def _counted(self, method: str) -> Iterator[None]:
        """Tell whoever counts how this ends."""
        begun, end = anyio.current_time(), CallEnd.STOPPED
        try:
            yield
            end = CallEnd.ANSWERED
        except ServerError as error:
            end = call_end(error)
            raise
        finally:
            self._on_end(method, end, anyio.current_time() - begun)

    async def _once(self, called: Called, body: bytes) -> tuple[Head, bytes]:
        headers = dict(_HEADERS)
        if called.key:
            headers["Authorization"] = f"Bearer {called.key}"
        if body:
            headers["Content-Type"] = "application/json"
        extensions = {"timeout": _TIMEOUT.as_dict()}
        request = httpx.Request(
            called.method, _address(called.url), content=body or None, headers=headers, extensions=extensions
        )
        response = await self._way.handle_async_request(request)
        try:
            good = response.is_success
            most = ANSWER_BYTES if good else ERROR_BYTES
            answer, complete = await _read_up_to(response, most)
        finally:
            await response.aclose()
        if good and not complete:
            raise outcome.too_long(called, most)
        return Head(status=response.status_code, headers=dict(response.headers)), answer


#: an address is taken apart once
_address: Final = lru_cache(maxsize=16)(httpx.URL)


async def _read_up_to(response: httpx.Response, most: int) -> tuple[bytes, bool]:
    """Read so many bytes of an answer; tell whether that was all of it."""
    answer = bytearray()
    complete = True
    try:
        async for piece in response.aiter_raw():
            if not complete:
                continue
            answer += piece[: most + 1 - len(answer)]
            if len(answer) > most:
                complete = False
                # closed, it fails at its next read, which ends the library's generators one within the other; trio
                # complains about generators that are just left
                await response.aclose()
    except _BROKEN:
        if complete:
            raise
    return bytes(answer[:most]), complete


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


class _OneEach(httpx.AsyncBaseTransport):
    """A transport of its own for each connection, the last used first.

    The library's pool looks at each of its connections before each request: with many of them, that takes longest.
    """

    def __init__(self, trusted: ssl.SSLContext) -> None:
        self._trusted = trusted
        self._free: list[httpx.AsyncHTTPTransport] = []
        self._all: list[httpx.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        one = self._free.pop() if self._free else self._another()
        try:
            response = await one.handle_async_request(request)
        except BaseException:
            self._free.append(one)
            raise
        answer = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _Lent(answer, partial(self._free.append, one))
        return response

    def _another(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=IDLE_SECONDS)
        self._all.append(httpx.AsyncHTTPTransport(verify=self._trusted, trust_env=False, limits=limits))
        return self._all[-1]

    async def aclose(self) -> None:
        for one in self._all:
            await one.aclose()


class _Lent(httpx.AsyncByteStream):
    """An answer whose connection is given back once it is closed."""

    def __init__(self, answer: httpx.AsyncByteStream, give_back: Callable[[], None]) -> None:
        self._answer = answer
        self._give_back: Callable[[], None] | None = give_back

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._answer.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._answer.aclose()
        finally:
            if self._give_back is not None:
                self._give_back()
                self._give_back = None


def new_way(url: str) -> httpx.AsyncBaseTransport:
    """Make the way to an endpoint: direct, a connection for each request at a time; to be closed."""
    if url.startswith("https:"):
        trusted = httpx.create_ssl_context(trust_env=False)
        trusted.load_default_certs()  # an endpoint at home has a certificate of the machine's own authority
    else:
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody: authorities that are never asked cost 2 MB
    return _OneEach(trusted)


def new_http(url: str) -> httpx.AsyncClient:
    """Make a client that goes the same way, and follows no redirects; to be closed."""
    return httpx.AsyncClient(timeout=_TIMEOUT, transport=new_way(url), follow_redirects=False, trust_env=False)
