"""Which outcome it is when an endpoint does not answer as it should: the one place where its failures get their names.

1. **Unreachable** (and its kinds): the whole endpoint is left alone for a while, and nothing that waits is at fault:
   no connection, no such model, a key or a quota that does not do, a page in the place of an answer, a gateway that
   finds nobody behind it. `Busy` says for how long.
2. **ReplyLost**: this request came to nothing, perhaps by its own fault, and may have cost something: it broke, it took
   too long, the endpoint failed at it. It may be tried again, and somebody counts.
3. **Refused**: what was asked will never be answered so: its content is refused, or it is too long for the model.
4. Each error names the request, the cause and the remedy; the endpoint's words are cut, escaped and without the key.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from finetuned.errors import Busy, KeyRefused, NotTheServer, Refused, ReplyLost, ServerError, Unreachable
from finetuned.local.said import Complaint
from finetuned.model import Value
from finetuned.paths import escape
from finetuned.redaction import redact

SAID_CHARS: Final = 300
NAMED_MODELS: Final = 8
LONGEST_BUSY_SECONDS: Final = 24 * 3600.0
#: a gateway's own answers: nobody was behind it
_GATEWAY: Final = frozenset({502, 503, 504, 520, 521, 522, 523, 524, 529, 530})
_TITLE: Final = re.compile(r"<title>([^<]+)", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]*>")

_NO_SUCH_MODEL: Final = re.compile(
    r"model_not_found|(?:unknown|invalid|no such) model|model\b.{0,200}?"
    r"(?:not found|not exist|not available|not loaded|unknown|no access|not a valid)",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LARGE: Final = re.compile(r"request too large|context_length_exceeded|exceed_context", re.IGNORECASE)
_TOO_LONG: Final = re.compile(
    r"context[ _]?(?:length|size|window|limit)|maximum (?:context|model|sequence)|too many (?:input )?tokens"
    r"|(?:prompt|input|request|message)s? (?:is|are) too (?:long|large)"
    r"|string_above_max_length|max_model_len|longer than the",
    re.IGNORECASE,
)
_CONTENT: Final = re.compile(
    r"content_?(?:filter|policy)|content management policy|content policy|safety (?:system|filter|policy)"
    r"|(?:flagged|blocked|rejected).{0,60}(?:safety|moderation|polic)|moderation_blocked",
    re.IGNORECASE | re.DOTALL,
)
_QUOTA: Final = re.compile(
    r"insufficient[_ ](?:quota|balance|credits?|funds)|exceeded your current quota|billing|out of credits"
    r"|payment required",
    re.IGNORECASE,
)


class Called(Value, frozen=True):
    """A request for people: `setting` names the table of the configuration that it was made by."""

    method: str
    url: str
    model: str
    setting: str
    key: str = ""
    timeout: float = 0.0

    @property
    def named(self) -> str:
        """Its line."""
        return f"{self.method} {self.url}"

    @property
    def check_url(self) -> str:
        """Say what to do about an address at which something else answers."""
        return f"check {self.setting}url, which mostly ends with /v1; `finetuned doctor` tells more"

    def said(self, words: str) -> str:
        """Make the endpoint's words one harmless line, without our key; of a web page its title."""
        text = words.replace(self.key, "…") if self.key else words
        if text.lstrip()[:1] == "<":
            title = _TITLE.search(text)
            text = title[1] if title else _TAG.sub(" ", text)
        return escape(redact(" ".join(text[: 4 * SAID_CHARS].split())[:SAID_CHARS]))


class Head(Value, frozen=True):
    """How an answer begins."""

    status: int
    headers: Mapping[str, str]

    @property
    def is_page(self) -> bool:
        """Whether it says that it is a web page."""
        return "html" in self.headers.get("content-type", "")


def refused(called: Called, head: Head, complaint: Complaint, names: Sequence[str] | None = None) -> ServerError:
    """Name the outcome of a status that is none of the 200s. `names`: the endpoint's models, if it lists them."""
    words = f"{complaint.words} {complaint.code}"
    what = f"{called.named}: {head.status} {called.said(complaint.words)}".rstrip()
    return (
        _of_the_account(called, head, what, words)
        or _of_the_question(called, head, what, words)
        or _of_the_address(called, head, what, words, names)
        or _of_the_moment(called, head, what)
    )


def _of_the_account(called: Called, head: Head, what: str, words: str) -> ServerError | None:
    """Name what is wrong with the key, or with what is paid for."""
    if head.status in {401, 403}:
        return KeyRefused(what, begun=True, remedy=f"{called.setting}api_key_file: the endpoint does not take it")
    if head.status == 402 or (head.status in {400, 429} and _QUOTA.search(words)):
        remedy = "see to your account with the provider: it is asked again by itself, and nothing is lost"
        return Unreachable(what, answered=True, begun=True, remedy=remedy)
    return None


def _of_the_question(called: Called, head: Head, what: str, words: str) -> ServerError | None:
    """Name what will never be answered."""
    if head.status == 413 or _TOO_LARGE.search(words) or (head.status != 429 and _TOO_LONG.search(words)):
        remedy = f"lower {called.setting}chunk_bytes, or serve the model with a larger context"
        return Refused(what, remedy=remedy)
    if head.status < 500 and _CONTENT.search(words):
        return Refused(what, remedy="the endpoint refuses this content: another model may not")
    return None


def _of_the_address(
    called: Called, head: Head, what: str, words: str, names: Sequence[str] | None
) -> ServerError | None:
    """Name what says that something else is there, or another model."""
    if 300 <= head.status < 400:
        elsewhere = escape(_host(head.headers.get("location", "")))
        return NotTheServer(f"{what}: sends us on to {elsewhere}", begun=True, remedy=called.check_url)
    if head.status in {404, 405} or (head.status in {400, 422} and _NO_SUCH_MODEL.search(words)):
        return no_model(called, what, names)
    return None


def _of_the_moment(called: Called, head: Head, what: str) -> ServerError:
    """Name what may be otherwise next time, or not."""
    if head.status == 429 or (head.status == 503 and "retry-after" in head.headers):
        return busy(what, head.headers)
    if head.status in _GATEWAY:
        remedy = f"check that the model is served at {called.setting}url; it is tried again by itself"
        return Unreachable(what, answered=True, begun=True, remedy=remedy)
    if head.status in {400, 422, 451}:
        return Refused(what, remedy="the endpoint's words say why")
    return ReplyLost(what, answered=True, remedy="it is tried again; the endpoint's log says more")


def no_model(called: Called, what: str, names: Sequence[str] | None) -> ServerError:
    """Name the outcome of a request for a model that is not there, or at an address where no chats are answered."""
    if not names:
        return NotTheServer(what, begun=True, remedy=f"check {called.setting}model; and {called.check_url}")
    if called.model in names:
        return NotTheServer(what, begun=True, remedy=f"it lists the model, but does not answer; {called.check_url}")
    listed = ", ".join(escape(name) for name in names[:NAMED_MODELS])
    more = f" and {len(names) - NAMED_MODELS} more" if len(names) > NAMED_MODELS else ""
    return NotTheServer(what, begun=True, remedy=f"set {called.setting}model to one that is there: {listed}{more}")


def busy(what: str, headers: Mapping[str, str]) -> ServerError:
    """Name the outcome of an endpoint that wants to be left alone; for how long, if it says so."""
    after = _seconds(headers)
    remedy = "nothing to do: it is asked again later"
    if after is None:
        return Unreachable(what, answered=True, begun=True, remedy=remedy)
    return Busy(what, after=after, remedy=remedy)


def odd(called: Called, head: Head, body: bytes, why: str) -> ServerError:
    """Name the outcome of a 200 that is no answer of such an endpoint."""
    if head.is_page or body.lstrip()[:1] == b"<":
        title = called.said(body[: 16 * 1024].decode("utf-8", "replace"))
        what = f"{called.named}: answers with a web page ({title})"
        return NotTheServer(what, begun=True, remedy=called.check_url)
    said = called.said(body[:2000].decode("utf-8", "replace"))
    return ReplyLost(f"{called.named}: answers something else: {why}: {said}", answered=True, remedy=called.check_url)


def too_long(called: Called, most: int) -> ServerError:
    """Name the outcome of an answer that goes on and on."""
    what = f"{called.named}: the answer is longer than {most // (1024 * 1024)} MiB, and was not read to its end"
    return ReplyLost(what, answered=True, remedy="a model that repeats itself for ever does so: try another one")


def broken(called: Called, error: Exception | None) -> ServerError:
    """Name the outcome of a request whose answer did not come; no error means that we lost patience."""
    what = f"{called.named}: {_words(error) if error else f'no whole answer within {called.timeout:g} s'}"
    served = f"check that the model is served at {called.setting}url; it is tried again by itself"
    if error is None:
        return ReplyLost(what, remedy=f"raise {called.setting}timeout if the model needs longer")
    if _is_tls(error):
        remedy = f"check the endpoint's certificate, and whether {called.setting}url begins with http:// or https://"
        return Unreachable(what, remedy=remedy)
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)):
        return NotTheServer(what, remedy=called.check_url)
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)):
        return Unreachable(what, remedy=served)
    return ReplyLost(what, remedy=served)


def _is_tls(error: Exception) -> bool:
    return any(isinstance(one, ssl.SSLError) or "[SSL" in str(one) for one in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error to what it was made of: the library often keeps the words inside."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[-1]
            continue
        error = error.__cause__ or error.__context__


def _words(error: Exception) -> str:
    """Say what went wrong, for people: the library's own words are often empty."""
    number = next((one.errno for one in _causes(error) if isinstance(one, OSError) and (one.errno or 0) > 0), None)
    words = escape(next((str(one) for one in _causes(error) if str(one)), ""))[:SAID_CHARS]
    if _is_tls(error):
        return f"no secure connection: {words}"
    match error:
        case httpx.ConnectTimeout():
            return "no connection in time"
        case httpx.ConnectError():
            return f"no connection: {words if number is None else os.strerror(number)}"
        case _:
            return f"the connection broke: {words or type(error).__name__}"


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Read how long an endpoint wants to be left alone; dates are taken by its own clock. Null: it does not say."""
    raw = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", raw, re.ASCII):
        return min(max(float(raw[:12]), 0.1), LONGEST_BUSY_SECONDS)
    at, now = _date(raw), _date(headers.get("date", ""))
    return min(max((at - now).total_seconds(), 0.1), LONGEST_BUSY_SECONDS) if at and now else None


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year that no date has
        return None
    return at if at.tzinfo else None


def _host(address: str) -> str:
    try:
        return httpx.URL(address).host or "another path"
    except httpx.InvalidURL:
        return "something that is no address"
