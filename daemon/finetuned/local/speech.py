"""An answer of a model that comes word by word, as `/chat/completions` streams it.

1. An event is a line `data: {…}`; what is new is the first choice's `delta.content`. An endpoint may answer whole,
   whatever it was asked for.
2. The answer may take as long as it comes; only a silence of `PATIENCE` seconds ends it.
3. What is not an answer has its outcome, as every other call of this room (`outcome`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
import httpx
import msgspec

from finetuned import __version__
from finetuned.errors import Refused, ReplyLost
from finetuned.local import outcome, said
from finetuned.local.outcome import Called, Head
from finetuned.local.said import Complaint, Ending, NotAnAnswer

#: how long nothing may be heard, in seconds: a large model is loaded first
PATIENCE: Final = 600.0
#: the longest answer that is read, in bytes
LONGEST: Final = 8 * 1024 * 1024
_DATA: Final = b"data:"

OnText = Callable[[str], None]


class Speech:
    """Takes the bytes of an answer, and tells its words as they come."""

    def __init__(self, on_text: OnText) -> None:
        self.text = ""
        self.complaint: Complaint | None = None
        self.whole = b""
        self._on_text = on_text
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """Take the next bytes."""
        self.whole += piece
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line(line.strip())

    def end(self) -> None:
        """Take what no line's end came after."""
        self._line(self._rest.strip())
        self._rest = b""

    def _line(self, line: bytes) -> None:
        if not line.startswith(_DATA):
            return
        try:
            event = msgspec.json.decode(line.removeprefix(_DATA))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # [DONE], or what is none of ours
        if isinstance(event, dict) and event.get("error"):
            self.complaint = said.complaint_of(event)
        words = _words(event)
        if words:
            self.text += words
            self._on_text(words)


def _words(event: Any) -> str:
    """Read what is new in an event; empty if nothing is."""
    choices = event.get("choices") if isinstance(event, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    delta = choice.get("delta") if isinstance(choice, dict) else None
    words = delta.get("content") if isinstance(delta, dict) else None
    return words if isinstance(words, str) else ""


async def say(http: httpx.AsyncClient, called: Called, question: Mapping[str, Any], on_text: OnText) -> str:
    """Ask for an answer, word by word; return it whole. Raises ServerError."""
    headers = {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
    headers |= {"Content-Type": "application/json", "User-Agent": f"finetuned/{__version__}"}
    if called.key:
        headers["Authorization"] = f"Bearer {called.key}"
    body = msgspec.json.encode({"model": called.model, "stream": True, **question})
    request = http.build_request(
        "POST", called.url, content=body, headers=headers, timeout=httpx.Timeout(PATIENCE, connect=10.0)
    )
    speech = Speech(on_text)
    try:
        response = await http.send(request, stream=True, auth=None, follow_redirects=False)
        try:
            async for piece in response.aiter_raw():
                speech.take(piece)
                if len(speech.whole) > LONGEST:
                    raise outcome.too_long(called, LONGEST)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()
    except httpx.ReadTimeout as error:
        words = f"{called.named}: nothing was heard for {PATIENCE / 60:g} minutes"
        raise ReplyLost(words, remedy="see what the model's server is busy with") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise outcome.broken(called, error) from error
    speech.end()
    return _answer(called, Head(status=response.status_code, headers=dict(response.headers)), speech, on_text)


def _answer(called: Called, head: Head, speech: Speech, on_text: OnText) -> str:
    """Return what was said. Raises ServerError."""
    if not 200 <= head.status < 300:
        raise outcome.refused(called, head, said.complaint(speech.whole))
    if speech.complaint is not None:
        words = called.said(speech.complaint.words)
        raise ReplyLost(f"{called.named}: the answer broke off: {words}", remedy="the endpoint's log says more")
    if speech.text or "event-stream" in head.headers.get("content-type", ""):
        return speech.text
    try:
        found = said.reply(speech.whole, is_stream=False, asked_bytes=0)
    except NotAnAnswer as error:
        raise outcome.odd(called, head, speech.whole, str(error)) from error
    if isinstance(found, Complaint):
        raise ReplyLost(f"{called.named}: {called.said(found.words)}", remedy="the endpoint's log says more")
    if found.ending is Ending.REFUSED:
        raise Refused(f"{called.named}: the model refuses to answer: {called.said(found.text)}")
    on_text(found.text)
    return found.text
