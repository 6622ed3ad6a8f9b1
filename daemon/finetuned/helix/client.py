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
from functools import partial
from typing import Final, TypeVar
from urllib.parse import quote

import anyio
import httpx

from finetuned import __version__
from finetuned.errors import KeyRefused, Refused
from finetuned.helix import outcome
from finetuned.helix.answers import Answer, Keeper, NoRoom
from finetuned.helix.body import Body, InThread
from finetuned.helix.hearing import HearingTransport
from finetuned.helix.outcome import CHECK_KEY
from finetuned.helix.speech import Speech
from finetuned.model import shown
from finetuned.pieces import MAX_ANSWER_BYTES, NotThat, Pieces
from finetuned.settings import HelixSettings

T = TypeVar("T")
#: hears the pieces of an answer as they come
Heard = Callable[[bytes], None]
CONNECTIONS: Final = 8  # a request costs three times as much with 32 of them
#: shorter than what servers grant (uvicorn: 5 s), so that we never write into a connection they just closed
IDLE_SECONDS: Final = 2.0
ANSWER_WITHIN_SECONDS: Final = 600.0
#: how long an answer that has begun may take at any pace, and what must come on average after that, in bytes a second
FIRST_SECONDS: Final = 60.0
SLOWEST_PACE: Final = 16 * 1024
ERROR_BYTES: Final = 64 * 1024
KEY_BYTES: Final = 8 * 1024
_BROKEN: Final = (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError)


class Key:
    """The API key: from `file`, or from `fallback()` where no file is named. Its text shows nowhere."""

    __slots__ = ("_fallback", "_file", "_value")

    def __init__(self, file: str, fallback: Callable[[], str | None]) -> None:
        self._file = file
        self._fallback = fallback
        self._value: str | None = None

    def __repr__(self) -> str:
        return f"Key(file={shown(self._file)!r})"

    def current(self) -> str:
        """The key as it was read last; raises KeyRefused if there is none."""
        return self._value or self.read()

    def read(self) -> str:
        """The key, read again; raises KeyRefused if there is none that could be sent."""
        self._value = None
        text = (self._of_file() if self._file else self._fallback() or "").strip()
        if not text:
            raise KeyRefused("there is no API key", remedy=CHECK_KEY)
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise KeyRefused("the API key holds characters that no key has", remedy=CHECK_KEY)
        self._value = text
        return text

    def _of_file(self) -> str:
        try:
            with open(self._file, "rb") as file:
                raw = file.read(KEY_BYTES)
        except OSError as error:
            raise KeyRefused(
                f"the API key cannot be read from {shown(self._file)}: {error.strerror}", remedy=CHECK_KEY
            ) from error
        utf16 = raw[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}  # editors of Windows save so, with a mark
        return raw.decode("utf-16" if utf16 else "utf-8-sig", "replace")


def new_http(settings: HelixSettings) -> httpx.AsyncClient:
    """The connections to the server: few, direct, no redirects; to be closed by the caller."""
    trusted = httpx.create_ssl_context(trust_env=False)
    trusted.load_default_certs()  # a server at home has a certificate of the machine's own authority
    return httpx.AsyncClient(
        # waiting for one of our own connections is no fault of the server's
        timeout=httpx.Timeout(settings.timeout, pool=None),
        transport=HearingTransport(trusted, connections=CONNECTIONS, idle_seconds=IDLE_SECONDS),
        follow_redirects=False,
        trust_env=False,
    )


def segment(text: str) -> str:
    """One part of a URL's path; raises Refused for what would lead elsewhere."""
    if text in {"", ".", ".."} or "\0" in text:
        raise Refused(f"{shown(text)!r} cannot be part of an address")
    return quote(text, safe="", errors="surrogateescape")


class Wire:
    """Requests to one server; see the top for what comes of them. Long answers are kept in the folder `spool`."""

    def __init__(
        self, http: httpx.AsyncClient, *, url: str, key: Key, in_thread: InThread, spool: str | None = None
    ) -> None:
        base = httpx.URL(url)
        # no user, no password: they would show in messages, and httpx would send them in the key's place
        origin = f"{base.scheme}://{base.netloc.decode('ascii')}"
        self._base = origin + base.path.rstrip("/").removesuffix("/api/v1") + "/api/v1"
        self._http = http
        self._key = key
        self._in_thread = in_thread
        self._spool = spool
        self._one_long = anyio.Lock()

    async def read(
        self,
        method: str,
        path: str,
        parse: Callable[[Pieces], T],
        *,
        body: Callable[[], Body] | None = None,
        optional: bool = False,
        harmless: bool = False,
        patience: float | None = None,
    ) -> T:
        """What `parse` makes of the answer; `path` begins with /, `body` makes a fresh body for each try.

        `optional`: not every server has the call. `harmless`: it starts nothing, and may be repeated. `patience`: how
        many seconds the server may be silent, if it is not what the connections allow.
        """
        answer = await self.ask(method, path, body=body, optional=optional, harmless=harmless, patience=patience)
        try:
            return await self.digest(answer, parse)
        except NotThat as error:
            raise outcome.odd(answer, str(error), optional=optional, harmless=harmless) from error
        finally:
            answer.close()

    async def digest(self, answer: Answer, work: Callable[[Pieces], T]) -> T:
        """What `work` makes of the answer. Long ones are read beside the loop, one at a time. Raises NotThat."""
        if answer.written is None:
            return work(answer.pieces())
        async with self._one_long:
            return await self._in_thread(lambda: work(answer.pieces()))

    async def hear(self, path: str, speech: Speech, *, body: Callable[[], Body], patience: float) -> None:
        """Post, and hear the answer out as it comes."""
        answer = await self.ask("POST", path, body=body, patience=patience, heard=speech.heard)
        try:
            speech.end(answer.all_of_it())
        except NotThat as error:
            raise outcome.odd(answer, str(error), optional=False) from error
        finally:
            answer.close()
        if speech.complaint:
            raise outcome.complained(answer, speech.complaint, self._key.current())

    async def ask(
        self,
        method: str,
        path: str,
        *,
        body: Callable[[], Body] | None = None,
        optional: bool = False,
        harmless: bool = False,
        patience: float | None = None,
        heard: Heard | None = None,
    ) -> Answer:
        """An answer of the 200s, whose pieces are `heard` as they come; everything else is raised. Close it."""
        key = await self._in_thread(self._key.current)
        once = partial(self._once, method, path, body, harmless=harmless, patience=patience, heard=heard)
        answer = await once(key)
        if answer.status == 401:
            fresh = await self._in_thread(self._key.read)
            if fresh != key:
                key = fresh
                answer = await once(key)
        if not 200 <= answer.status < 300:
            raise outcome.refused(answer, key, optional=optional)
        return answer

    async def _once(
        self,
        method: str,
        path: str,
        make: Callable[[], Body] | None,
        key: str,
        *,
        harmless: bool,
        patience: float | None,
        heard: Heard | None,
    ) -> Answer:
        body = make() if make else Body("", ())
        url = f"{self._base}{path}"
        request = self._request(method, url, body, key, patience)
        head_within = min(ANSWER_WITHIN_SECONDS, request.extensions["timeout"]["read"] + FIRST_SECONDS)
        with anyio.CancelScope() as scope:
            body.on_whole = lambda: _limit(scope, head_within)
            if body.whole:
                _limit(scope, head_within)
            try:
                return await self._exchange(request, body, heard, scope)
            except _BROKEN as error:
                raise outcome.broken(method, url, error, whole=body.whole, harmless=harmless) from error
            finally:
                await body.aclose()
        raise outcome.broken(method, url, None, whole=body.whole, harmless=harmless)

    async def _exchange(
        self, request: httpx.Request, body: Body, heard: Heard | None, patience: anyio.CancelScope
    ) -> Answer:
        response = await self._http.send(request, stream=True)
        if body.whole:
            _limit(patience, ANSWER_WITHIN_SECONDS)
        method, url = request.method, str(request.url)
        keeper = Keeper(self._spool, self._in_thread)
        try:
            most = MAX_ANSWER_BYTES if response.is_success else ERROR_BYTES
            complete = await _read(response, most, keeper, heard if response.is_success else None, patience)
            await keeper.end()
        except BaseException as error:
            keeper.close()
            if isinstance(error, NoRoom):
                raise outcome.no_room(method, url, str(error)) from error
            raise
        finally:
            await response.aclose()
        if response.is_success and not complete:
            keeper.close()
            raise outcome.too_long(method, url)
        return Answer(
            method=method,
            url=url,
            status=response.status_code,
            headers=dict(response.headers),
            body=keeper.body,
            whole=body.whole,
            sent_bytes=body.length,
            written=keeper.written,
        )

    def _request(self, method: str, address: str, body: Body, key: str, patience: float | None) -> httpx.Request:
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
        if method != "GET":
            headers["Content-Length"] = str(body.length)
        timeout = self._http.timeout.as_dict()
        if patience is not None:
            timeout["read"] = patience
        return httpx.Request(method, url, headers=headers, stream=body, extensions={"timeout": timeout})


def _limit(patience: anyio.CancelScope, seconds: float) -> None:
    patience.deadline = anyio.current_time() + seconds


async def _read(
    response: httpx.Response, most: int, keeper: Keeper, heard: Heard | None, patience: anyio.CancelScope
) -> bool:
    """Give the answer's bytes to `keeper`, `most` of them at most; whether that was all of it.

    It must come at a bearable pace, or else whoever lets it drip would hold us for as long as he likes. Words, which
    are `heard`, come as slowly as they are found.
    """
    begun, last = anyio.current_time(), patience.deadline
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
            if heard is not None:
                heard(piece)
            else:
                patience.deadline = min(last, begun + FIRST_SECONDS + keeper.length / SLOWEST_PACE)
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
