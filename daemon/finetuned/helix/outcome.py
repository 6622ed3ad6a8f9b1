"""Which of the three outcomes it is: the one place where failures of the wire get their names.

1. **Refused**: the server said no, in words that we know or with 403 and most of the 400s. Nothing happened. A 413
   is said by a proxy in front of it, of a request's size (`TooLarge`).
2. **Unreachable**: it certainly never took effect. Connect errors; anything that breaks before the last piece of
   a body was handed over; 429, and 503 with Retry-After; 401; and every failure of a GET, which has no effect.
3. **ReplyLost**: it may have taken effect. Whatever else befalls a request that changes something: other 5xx,
   time-outs, cut answers, and a 200 that is not the answer that was asked for. The last is often a web page: the
   server hands routes that it does not know to its frontend. Nothing was started then, but that cannot be proved
   from here; the words say what to check, and the list of sessions shows the truth.
4. A call that not every server has (`optional`) is different: a page, a 404 or a 405 there means that the server
   does not have it, which is a refusal.
5. So is one that may be repeated (`Effect.REPEATABLE`): what breaks it, or a page in its place, leaves nothing behind.
   An error of the server's is not taken so lightly: it might come for ever, and somebody counts.
6. Each error names the request, the cause and the remedy; server's words are cut, escaped and without our key.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, Self

import httpx

from finetuned.errors import (
    Busy,
    KeyRefused,
    KnownRefusal,
    NoSuchCall,
    NotFound,
    NotKept,
    NotTheServer,
    Refusal,
    Refused,
    ReplyLost,
    ServerError,
    TooLarge,
    Unreachable,
)
from finetuned.helix import wire
from finetuned.helix.answers import Answer
from finetuned.helix.call import Call, Effect
from finetuned.paths import escape
from finetuned.pieces import MAX_ANSWER_BYTES

SAID_CHARS: Final = 300
_TITLE: Final = re.compile(r"<title>([^<]+)", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]*>")
BUSY_SECONDS: Final = 30.0
LONGEST_BUSY_SECONDS: Final = 3600.0

RAISE_LIMIT: Final = "raise client_max_body_size in the proxy in front of the server, or lower folder.max_bytes"
_CHECK_URL: Final = "check helix.url and helix.dialect; `finetuned doctor` tells more"
_CHECK_TLS: Final = "check the server's certificate, and whether helix.url begins with http:// or https://"
_NO_SUCH_CALL: Final = "this server has no such call"
#: the library's errors that mean: not a byte of the request left us
_NOT_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.InvalidURL,
)


class Remedy(StrEnum):
    """What to do about a failure while a daemon tries again by itself; `by_hand` is for a person without one."""

    by_hand: str

    CHECK_KEY = (
        (
            "put a valid key into the file that helix.api_key_file names: it is read again by itself; or into "
            "FINETUNED_API_KEY, or for a system service into /etc/finetuned/helix-api-key, and restart the daemon"
        ),
        "put a valid key into helix.api_key_file or FINETUNED_API_KEY",
    )
    CHECK_SERVER = (
        "check that the server runs and that helix.url is right; it is tried again by itself",
        "check that the server runs and that helix.url is right; `finetuned doctor` tells more",
    )
    LOOK_FIRST = (
        "nothing to do: the server is asked what became of it before anything is sent again",
        "the server may have got it, and nothing is sent twice by itself: try again if you want",
    )
    LATER = ("nothing to do: it is asked again later", "the server is busy: try again later")
    NO_ROOM = (
        "free some space on the ledger's disk; it is asked again by itself",
        "free some space where temporary files lie (TMPDIR)",
    )

    def __new__(cls, value: str, by_hand: str) -> Self:
        """Make a member that is its first text."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.by_hand = by_hand
        return member


def broken(call: Call, url: str, error: Exception | None, *, whole: bool) -> ServerError:
    """Name the outcome of a request whose answer did not come; no error means that we lost patience."""
    what = f"{call.method} {url}: {_words(error) if error else 'no complete answer in time'}"
    begun = not isinstance(error, _NOT_SENT)
    if begun and not whole:
        what += f" while the request was on its way; a proxy may allow less: {RAISE_LIMIT}"
    safe = call.effect is not Effect.ONCE or not whole or isinstance(error, _NOT_SENT)
    remedy: str = Remedy.CHECK_SERVER if safe else Remedy.LOOK_FIRST
    if error is not None and _is_tls(error):
        remedy = _CHECK_TLS
    return Unreachable(what, begun=begun, remedy=remedy) if safe else ReplyLost(what, remedy=remedy)


def refused(answer: Answer, key: str) -> ServerError:
    """Name the outcome of a status that is none of the 200s."""
    what = f"{answer.named}: {_status(answer, key)}"
    kind = wire.refusal(answer.status, answer.body.decode("utf-8", "replace"))
    if kind is not None:
        return _known(kind, what)
    if answer.status == 401:
        return KeyRefused(what, begun=True, remedy=Remedy.CHECK_KEY)
    if answer.status == 413 and answer.sent_bytes:
        return TooLarge(what, size=answer.sent_bytes, remedy=RAISE_LIMIT)
    if answer.status == 429 or (answer.status == 503 and "retry-after" in answer.headers):
        return Busy(what, after=_seconds(answer.headers), remedy=Remedy.LATER)
    if answer.status < 500:
        return _below_500(answer, what)
    lost = ReplyLost(what, answered=True, remedy=Remedy.LOOK_FIRST)
    safe = answer.call.effect is Effect.NONE or not answer.whole
    return Unreachable(what, answered=True, begun=True, remedy=Remedy.CHECK_SERVER) if safe else lost


def odd(answer: Answer, why: str) -> ServerError:
    """Name the outcome of a 200 that is not the answer that was asked for."""
    what = f"{answer.named}: answers "
    what += "with a web page" if answer.is_page else f"with something else ({escape(why)[:SAID_CHARS]})"
    if answer.call.optional and answer.is_page:
        return NoSuchCall(what, remedy=_NO_SUCH_CALL)
    what += "; is the URL right, is the dialect right?"
    if answer.call.effect is not Effect.ONCE:
        return NotTheServer(what, begun=True, remedy=_CHECK_URL)
    return ReplyLost(what, answered=True, remedy=_CHECK_URL)


def complained(answer: Answer, words: str, key: str) -> ServerError:
    """Name the outcome of an answer that the server broke off in the middle, in its own words."""
    what = f"{answer.named}: the answer broke off: {_said(words.encode(), key)}"
    return ReplyLost(what, answered=True, remedy="the server's words say why")


def too_long(call: Call, url: str) -> ServerError:
    """Name the outcome of an answer that is too long to be read."""
    what = f"{call.method} {url}: the answer is longer than {MAX_ANSWER_BYTES // (1024 * 1024)} MiB"
    if call.effect is not Effect.NONE:
        return ReplyLost(what, remedy=Remedy.LOOK_FIRST)
    # asked again, it would be as long: no reason to leave the whole server alone
    is_list = httpx.URL(url).path.endswith("/sessions")
    remedy = f"no Helix answers so; {_CHECK_URL}" if is_list else "delete the session if nobody needs it"
    return Refused(f"{what}, and is not read", remedy=remedy)


def no_room(call: Call, url: str, why: str) -> ServerError:
    """Name the outcome of an answer that we cannot keep, for the disk is full or fails."""
    what = f"{call.method} {url}: the answer is long and cannot be kept: {why}"
    return (
        NotKept(what, remedy=Remedy.NO_ROOM) if call.effect is Effect.NONE else ReplyLost(what, remedy=Remedy.NO_ROOM)
    )


_REMEDIES: Final[Mapping[Refusal, str]] = {
    Refusal.NO_PAIRS: "there are no pairs yet",
    Refusal.ACTIVE: "nothing to do: a runner works on it",
    Refusal.TOO_MANY: "let fewer jobs run at a time (helix.max_in_flight), or delete sessions that wait for ever",
    Refusal.CUT: "the form arrived in part and created nothing; what lies between us and the server?",
    Refusal.FORM: "the server wants another form; check helix.dialect",
    Refusal.TOO_MUCH: "make smaller jobs (folder.max_chunks): the server's plan allows no more at a time",
    Refusal.NO_UPLOAD: "the server wants an upload to learn from; check helix.dialect",
}


def _known(kind: Refusal, what: str) -> Refused:
    if kind is Refusal.NOT_FOUND:
        return NotFound(what, remedy="it is gone, or the key belongs to somebody else")
    return KnownRefusal(what, kind=kind, remedy=_REMEDIES[kind], quota=wire.quota(what))


def _below_500(answer: Answer, what: str) -> ServerError:
    match answer.status:
        case 403:
            return Refused(what, remedy="the key may not do this here; whose session is it?")
        case 404 | 405 if answer.call.optional:
            return NoSuchCall(what, remedy=_NO_SUCH_CALL)
        case 404 | 405:
            return NotTheServer(what, begun=True, remedy=_CHECK_URL)
        case 408 | 425:  # it says itself that it did not have the request
            return Unreachable(what, begun=True, remedy=Remedy.CHECK_SERVER)
        case status if status < 400:
            return NotTheServer(f"{what}: sends us on to {_elsewhere(answer)}", begun=True, remedy=_CHECK_URL)
        case _:
            return Refused(what, remedy="the server's words say why")


def _is_tls(error: Exception) -> bool:
    return any(isinstance(one, ssl.SSLError) or "[SSL" in str(one) for one in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Walk from an error to what it was made of: the library often keeps the words inside."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):  # one for each address of a name: IPv4 comes last
            error = error.exceptions[-1]
            continue
        error = error.__cause__ or error.__context__


def _of_the_system(error: Exception) -> str | None:
    """Find the system's own words (`Connection refused`), for which the library has a summary."""
    found = next((one.errno for one in _causes(error) if isinstance(one, OSError) and (one.errno or 0) > 0), None)
    return None if found is None else os.strerror(found)


def _words(error: Exception) -> str:
    """Say what went wrong, for people: the library's own words are often empty."""
    words = escape(next((str(one) for one in _causes(error) if str(one)), ""))[:SAID_CHARS]
    if _is_tls(error):
        return f"no secure connection: {words}"
    match error:
        case httpx.ConnectTimeout():
            return "no connection in time"
        case httpx.PoolTimeout():
            return "all of our own connections are taken"
        case httpx.ConnectError():
            return f"no connection: {_of_the_system(error) or words}"
        case httpx.TimeoutException():
            return "no answer in time"
        case _:
            return f"the connection broke: {words or type(error).__name__}"


def _status(answer: Answer, key: str) -> str:
    """Join the status and the server's words, which often begin with the status."""
    said = _said(answer.body, key)
    return said if said.startswith(f"{answer.status} ") else f"{answer.status} {said}".rstrip()


def _said(body: bytes, key: str) -> str:
    """Make the server's words one harmless line, without our key; of a web page its title, or what people read."""
    text = body.decode("utf-8", "replace").replace(key, "…")
    if text.lstrip()[:1] == "<":
        title = _TITLE.search(text)
        text = title[1] if title else _TAG.sub(" ", text)
    return escape(" ".join(text[: 2 * SAID_CHARS].split())[:SAID_CHARS])


def _seconds(headers: Mapping[str, str]) -> float:
    """Read how long a server wants to be left alone, within reason; dates are taken by its own clock."""
    raw = headers.get("retry-after", "").strip()
    if raw.isascii() and raw.isdigit():
        wanted = float(raw[:9])
    else:
        at, now = date_of(raw), date_of(headers.get("date", ""))
        wanted = (at - now).total_seconds() if at and now else BUSY_SECONDS
    return min(max(wanted, 1.0), LONGEST_BUSY_SECONDS)


def date_of(text: str) -> datetime | None:
    """Read a date of a header; null if it is none."""
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year that no date has
        return None
    return at if at.tzinfo else None


def _elsewhere(answer: Answer) -> str:
    # httpx read it before us: what is no URL never comes as far as here
    return escape(httpx.URL(answer.headers.get("location", "")).host) or "another path"
