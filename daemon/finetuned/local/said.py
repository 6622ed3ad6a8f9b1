"""What an endpoint for chats says, as values: the text of an answer, what it cost, how it ended; or its complaint.

1. It is read as it comes: JSON, or the events of a stream that nobody asked for.
2. Tokens are the endpoint's own count; one that tells none is estimated, and that is said (`estimated`).
3. Nothing here raises but `NotAnAnswer`, whatever the bytes are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from finetuned.model import Value

#: bytes of text for each token of an estimate: fewer than most models need for English, about right for other scripts
TOKEN_BYTES: Final = 3
#: the most tokens that one answer is believed to have cost
MOST_TOKENS: Final = 2**31 - 1
#: what is no JSON, or bottomless
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DATA: Final = b"data:"


class NotAnAnswer(Exception):
    """The bytes are not what such an endpoint answers; `str()` says why."""


class Ending(StrEnum):
    """How an answer ended."""

    WHOLE = "whole"
    CUT = "cut"  # it became too long
    REFUSED = "refused"  # on content; the text says why, if anything does


class Reply(Value, frozen=True):
    """An answer: its text, the tokens of question and answer, and whether those were `estimated`."""

    text: str
    tokens: int
    estimated: bool
    ending: Ending = Ending.WHOLE


class Complaint(Value, frozen=True):
    """What an endpoint says is wrong: its words on one line, and the code that it gives, if any."""

    words: str
    code: str = ""
    status: int | None = None


def estimated_tokens(size: int) -> int:
    """Estimate the tokens of `size` bytes of text (UTF-8); rather too many than too few."""
    return -(-size // TOKEN_BYTES)


def reply(body: bytes, *, is_stream: bool, asked_bytes: int) -> Reply | Complaint:
    """Read an answer to `asked_bytes` of text. Raises NotAnAnswer."""
    told = _Told()
    for event in _events(body) if is_stream or body.lstrip()[:5] in {b"data:", b"event"} else [body]:
        try:
            value = msgspec.json.decode(event)
        except UNREADABLE as error:
            raise NotAnAnswer(f"it is no JSON ({error})") from error
        if not isinstance(value, dict):
            raise NotAnAnswer("it is no JSON object")
        if value.get("error"):
            return complaint_of(value)
        told.take(value)
    return told.reply(asked_bytes)


def complaint(body: bytes) -> Complaint:
    """Read what stands in an answer that is none of the 200s."""
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        return Complaint(words=body.decode("utf-8", "replace"))
    return complaint_of(value)


def complaint_of(value: Any) -> Complaint:
    """Read a complaint: `{"error": {"message", "code"}}`, `{"error": "…"}`, `{"detail"}`, or whatever it is."""
    if not isinstance(value, dict):
        return Complaint(words=_text(value))
    inside = value.get("error", value)
    if not isinstance(inside, dict):
        return Complaint(words=_text(inside), code=_text(value.get("code")))
    words = next((inside[key] for key in ("message", "detail", "error", "msg") if inside.get(key)), inside)
    code, kind = inside.get("code"), inside.get("type")
    number = code if isinstance(code, int) and not isinstance(code, bool) else None
    return Complaint(words=_text(words), code=" ".join(_text(one) for one in (code, kind) if one), status=number)


def models(body: bytes) -> tuple[str, ...]:
    """Read the names in a list of models; none if it is no such list."""
    try:
        value = msgspec.json.decode(body) if body.strip() else {}
    except UNREADABLE:
        return ()
    rows = value.get("data") or value.get("models") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        return ()
    names = (row.get("id") or row.get("name") if isinstance(row, dict) else row for row in rows)
    return tuple(name for name in names if isinstance(name, str) and name)


def _events(body: bytes) -> Iterator[bytes]:
    """Split a stream into what its events hold."""
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = [line[len(_DATA) :].strip() for line in block.split(b"\n") if line.startswith(_DATA)]
        data = b"\n".join(lines)
        if data and data != b"[DONE]":
            yield data


class _Told:
    """What was told so far of an answer, whole or in pieces."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._reason = ""
        self._tokens: int | None = None
        self._answered = False

    def take(self, value: Mapping[str, Any]) -> None:
        self._add(value.get("usage"))
        choices = value.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return
        self._answered = True
        choice = choices[0]
        self._reason = _text(choice.get("finish_reason")) or self._reason
        message = choice.get("message") or choice.get("delta")
        if isinstance(message, dict):
            self._texts.append(_content(message.get("content")))
            self._refusals.append(_text(message.get("refusal")))
        else:
            self._texts.append(_text(choice.get("text")))

    def _add(self, usage: object) -> None:
        if not isinstance(usage, dict):
            return
        prompt, completion, total = (count(usage.get(f"{what}_tokens")) for what in ("prompt", "completion", "total"))
        self._tokens = max(prompt + completion, total) or self._tokens

    def reply(self, asked_bytes: int) -> Reply:
        if not self._answered:
            raise NotAnAnswer("it holds no choices")
        text, refusal = "".join(self._texts), "".join(self._refusals)
        ending = Ending.WHOLE
        if refusal or self._reason == "content_filter":
            ending = Ending.REFUSED
        elif self._reason in {"length", "max_tokens"}:
            ending = Ending.CUT
        estimate = estimated_tokens(asked_bytes) + estimated_tokens(len(text.encode("utf-8", "replace")))
        known = self._tokens
        return Reply(
            text=refusal or text, tokens=estimate if known is None else known, estimated=known is None, ending=ending
        )


def count(value: object) -> int:
    """Read a number of tokens; none is larger than a ledger can add up."""
    return min(value, MOST_TOKENS) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _content(value: object) -> str:
    """Join the text of an answer that may come in parts."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) if isinstance(part, dict) else _text(part) for part in value)
    return _text(value)


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8", "replace")
