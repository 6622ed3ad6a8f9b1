"""The one door to the wire: a request goes out, and a value or one of three outcomes comes back.

1. `outcome` says which of the three; this room sends, reads, and maps the library's exceptions, nothing else.
2. The key goes with each request to the one server there is, and never follows a redirect. After a 401 it is read
   again; if it changed, the request is sent once more: a 401 had no effect.
3. An answer may have 64 MiB (`answers` tells where it is kept). Its head may come a minute later than a server may be
   silent, whatever says “go on” until then; it must be complete within ten minutes, and come at 16 KiB a second after
   its first minute. An upload may take as long as each of its pieces is
   taken in time.
"""

from __future__ import annotations

import codecs
import ssl
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote

import anyio
import httpx
from msgspec.structs import replace

from finetuned import __version__
from finetuned.backend import CallEnd, OnEnd, call_end, not_counted
from finetuned.errors import KeyRefused, Refused, ServerError
from finetuned.helix import outcome
from finetuned.helix.answers import Answer, Keeper, NoRoom
from finetuned.helix.body import Body
from finetuned.helix.call import Call
from finetuned.helix.disk import Disk
from finetuned.helix.outcome import Remedy
from finetuned.helix.speech import Speech
from finetuned.helix.transport import EarlyAnswerTransport
from finetuned.paths import escape
from finetuned.pieces import MAX_ANSWER_BYTES, NotThat, Pieces
from finetuned.settings import HelixSettings

T = TypeVar("T")
#: requests at a time that make nothing: however many sessions are followed, what is sent waits behind none of them
LOOKS: Final = 6
CONNECTIONS: Final = LOOKS + 6  # a request costs three times as much with 32 of them
#: shorter than what servers grant (uvicorn: 5 s), so that we never write into a connection they just closed
IDLE_SECONDS: Final = 2.0
ANSWER_WITHIN_SECONDS: Final = 600.0
#: how long an answer that has begun may take at any pace, and what must come on average after that, in bytes a second
FIRST_SECONDS: Final = 60.0
SLOWEST_PACE: Final = 16 * 1024
ERROR_BYTES: Final = 64 * 1024
KEY_BYTES: Final = 8 * 1024
_BROKEN: Final = (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError)


class ApiKey:
    """The API key: from `file`, or from `fallback()` where no file is named. Its text shows nowhere."""

    __slots__ = ("_fallback", "_file", "_value")

    def __init__(self, file: str, fallback: Callable[[], str | None]) -> None:
        self._file = file
        self._fallback = fallback
        self._value: str | None = None

    def __repr__(self) -> str:
        return f"ApiKey(file={escape(self._file)!r})"

    @property
    def known(self) -> str | None:
        """The key as it was read last; null if it was not, or there is none."""
        return self._value

    def current(self) -> str:
        """Return the key as it was read last. Raises KeyRefused if there is none."""
        return self._value or self.read()

    def read(self) -> str:
        """Read the key again. Raises KeyRefused if there is none that could be sent."""
        self._value = None
        text = (self._of_file() if self._file else self._fallback() or "").strip()
        if not text:
            raise KeyRefused("there is no API key", remedy=Remedy.CHECK_KEY)
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise KeyRefused("the API key holds characters that no key has", remedy=Remedy.CHECK_KEY)
        self._value = text
        return text

    def _of_file(self) -> str:
        try:
            with open(self._file, "rb") as file:
                raw = file.read(KEY_BYTES)
        except OSError as error:
            raise KeyRefused(
                f"the API key cannot be read from {escape(self._file)}: {error.strerror}", remedy=Remedy.CHECK_KEY
            ) from error
        utf16 = raw[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}  # editors of Windows save so, with a mark
        return raw.decode("utf-16" if utf16 else "utf-8-sig", "replace")


def new_http(settings: HelixSettings) -> httpx.AsyncClient:
    """Make the connections to the server: few, direct, no redirects; to be closed by the caller."""
    if settings.url.startswith("https:"):
        trusted = httpx.create_ssl_context(trust_env=False)
        trusted.load_default_certs()  # a server at home has a certificate of the machine's own authority
    else:
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody: authorities that are never asked cost 2 MB
    return httpx.AsyncClient(
        # waiting for one of our own connections is no fault of the server's
        timeout=httpx.Timeout(settings.timeout, pool=None),
        transport=EarlyAnswerTransport(trusted, connections=CONNECTIONS, idle_seconds=IDLE_SECONDS),
        follow_redirects=False,
        trust_env=False,
    )


def segment(text: str) -> str:
    """Quote one part of a URL's path. Raises Refused for what would lead elsewhere."""
    if text in {"", ".", ".."} or "\0" in text:
        raise Refused(f"{escape(text)!r} cannot be part of an address")
    return quote(text, safe="", errors="surrogateescape")


class Wire:
    """Calls to one server; see the top for what comes of them."""

    def __init__(
        self, http: httpx.AsyncClient, *, url: str, key: ApiKey, disk: Disk, on_end: OnEnd = not_counted
    ) -> None:
        base = httpx.URL(url)
        # no user, no password: they would show in messages, and httpx would send them in the key's place
        origin = f"{base.scheme}://{base.netloc.decode('ascii')}"
        self._base = origin + base.path.rstrip("/").removesuffix("/api/v1") + "/api/v1"
        self._http = http
        self._key = key
        self._on_end = on_end
        self._one_long = anyio.Lock()
        self._looks = anyio.Semaphore(LOOKS, fast_acquire=True)
        self._date = ""
        self.disk: Final = disk

    @property
    def server_time(self) -> float | None:
        """The server's time when it answered last, in seconds since 1970; null if it did not tell."""
        date = outcome.date_of(self._date)
        return None if date is None else date.timestamp()

    async def read(self, call: Call, parse: Callable[[Pieces], T]) -> T:
        """Ask, and return what `parse` makes of the answer. Raises ServerError."""
        answer = await self.ask(call)
        try:
            return await self.digest(answer, parse)
        except NotThat as error:
            raise outcome.odd(answer, str(error)) from error
        finally:
            answer.close()

    async def digest(self, answer: Answer, work: Callable[[Pieces], T]) -> T:
        """Return what `work` makes of the answer. Long ones are read in a thread, one at a time. Raises NotThat."""
        if answer.written is None:
            return work(answer.pieces())
        async with self._one_long:
            return await self.disk.in_thread(lambda: work(answer.pieces()))

    async def listen(self, call: Call, speech: Speech) -> None:
        """Ask, and hear the answer out as it comes. Raises ServerError."""
        answer = await self.ask(replace(call, on_piece=speech.take))
        try:
            speech.end(answer.pieces())
        except NotThat as error:
            raise outcome.odd(answer, str(error)) from error
        finally:
            answer.close()
        if speech.complaint:
            raise outcome.complained(answer, speech.complaint, self._key.current())

    async def ask(self, call: Call) -> Answer:
        """Return an answer of the 200s, to be closed; everything else is raised as ServerError."""
        begun, end = anyio.current_time(), CallEnd.STOPPED
        try:
            async with nullcontext() if call.method == "POST" else self._looks:
                begun = anyio.current_time()  # to wait for others of ours is no time of the server's
                answer = await self._ask(call)
            end = CallEnd.ANSWERED
        except ServerError as error:
            end = call_end(error)
            raise
        finally:
            self._on_end(call.method, end, anyio.current_time() - begun)
        return answer

    async def _ask(self, call: Call) -> Answer:
        key = self._key.known
        if key is None:
            key = await self.disk.in_thread(self._key.read)
        answer = await self._once(call, key)
        if answer.status == 401:
            fresh = await self.disk.in_thread(self._key.read)
            if fresh != key:
                key = fresh
                answer = await self._once(call, key)
        if not 200 <= answer.status < 300:
            raise outcome.refused(answer, key)
        return answer

    async def _once(self, call: Call, key: str) -> Answer:
        body = Body(call.body, self.disk)
        url = f"{self._base}{call.path}"
        request = self._request(call, url, body, key)
        head_within = min(ANSWER_WITHIN_SECONDS, request.extensions["timeout"]["read"] + FIRST_SECONDS)
        with anyio.CancelScope() as scope:
            body.on_whole = partial(_limit, scope, head_within)
            if body.whole:
                body.on_whole()
            try:
                return await self._exchange(call, request, body, scope)
            except _BROKEN as error:
                raise outcome.broken(call, url, error, whole=body.whole) from error
            finally:
                await body.aclose()
        raise outcome.broken(call, url, None, whole=body.whole)

    async def _exchange(self, call: Call, request: httpx.Request, body: Body, deadline: anyio.CancelScope) -> Answer:
        response = await self._http.send(request, stream=True)
        self._date = "" if "age" in response.headers else response.headers.get("date", "")  # a cache's is older
        if body.whole:
            _limit(deadline, ANSWER_WITHIN_SECONDS)
        url, good = str(request.url), response.is_success
        keeper = Keeper(self.disk)
        try:
            most = MAX_ANSWER_BYTES if good else ERROR_BYTES
            complete = await _read(response, most, keeper, call.on_piece if good else None, deadline)
            await keeper.end()
        except BaseException as error:
            keeper.close()
            if isinstance(error, NoRoom):
                raise outcome.no_room(call, url, str(error)) from error
            raise
        finally:
            await response.aclose()
        if good and not complete:
            keeper.close()
            raise outcome.too_long(call, url)
        return Answer(
            call=call,
            url=url,
            status=response.status_code,
            headers=dict(response.headers),
            body=keeper.body,
            whole=body.whole,
            sent_bytes=body.length,
            written=keeper.written,
        )

    def _request(self, call: Call, address: str, body: Body, key: str) -> httpx.Request:
        url = httpx.URL(address)
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Accept": "*/*",
            "Accept-Encoding": "identity",  # an answer's size is what was counted, not what it swells to
            "User-Agent": f"finetuned/{__version__}",
            "Authorization": f"Bearer {key}",
        }
        if body.content_type:
            headers["Content-Type"] = body.content_type
        if call.method != "GET":
            headers["Content-Length"] = str(body.length)
        timeout = self._http.timeout.as_dict()
        if call.patience is not None:
            timeout["read"] = call.patience
        return httpx.Request(call.method, url, headers=headers, stream=body, extensions={"timeout": timeout})


def _limit(scope: anyio.CancelScope, seconds: float) -> None:
    scope.deadline = anyio.current_time() + seconds


async def _read(
    response: httpx.Response,
    most: int,
    keeper: Keeper,
    on_piece: Callable[[bytes], None] | None,
    scope: anyio.CancelScope,
) -> bool:
    """Give the answer's bytes to `keeper`, `most` of them at most; tell whether that was all of it.

    It must come at a bearable pace, or a server that lets it drip would hold us for as long as it likes. Words, which
    `on_piece` hears, come as slowly as they are found.
    """
    begun, last = anyio.current_time(), scope.deadline
    enough = False
    full: NoRoom | None = None
    try:
        async for piece in response.aiter_bytes():
            if enough:
                continue
            enough = keeper.length + len(piece) > most
            try:
                await keeper.add(piece[: most - keeper.length])
            except NoRoom as error:
                full, enough = error, True
            if on_piece is not None:
                on_piece(piece)
            else:
                scope.deadline = min(last, begun + FIRST_SECONDS + keeper.length / SLOWEST_PACE)
            if enough:
                # closed, it fails at its next read, which ends the library's generators one within the other; trio
                # complains about generators that are just left
                await response.aclose()
    except _BROKEN:
        if not enough:
            raise
    if full is not None:
        raise full
    return not enough
