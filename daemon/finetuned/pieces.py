"""JSON that may be longer than memory, read value by value from blocks of bytes.

1. What is read whole is bounded (`MAX_VALUE_CHARS`); a longer value of a list is passed over, and `TOO_LONG` stands in
   its place. So memory is bounded by one value, whatever the length of the text, and whatever is in it.
2. A value is decoded by the standard library, whose decoder tells where it ends; values of a list whose end is known,
   by msgspec. (`ijson` was weighed: 700,000 pairs take it 0.8 s and not 1.3, but 23 without its compiled part; and a
   text of 60 MB is one value to it, too.)
3. What is no JSON is found out at the latest at its end: the first values are not to be believed before `end`.
4. A lone surrogate, which JSON can spell and no database takes, is no text.
5. Most texts are short: what is there already, and in which no value can be too long, is decoded at once, in a tenth of
   the time. So are the values of a long list that end alike in one block, in a third. Whatever is odd about it is found
   out value by value.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from io import BytesIO
from typing import Any, Final

import msgspec

#: a text longer than this is not read at all: two hundred thousand pairs of usual length, where a job makes hundreds
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
#: a value that is longer is not read: two texts of a mebibyte each, with room for escapes
MAX_VALUE_CHARS: Final = 4 * 1024 * 1024
BLOCK_BYTES: Final = 128 * 1024
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NO_STRUCTURE: Final = re.compile(r'[^"\[\]{}]*')
_NUMBER: Final = re.compile(r"[-+.0-9eE]*")
_DEPTHS: Final = {'"': 0, "[": 1, "{": 1, "]": -1, "}": -1}
#: what may follow the last letter, digit or quote of a value, and how much of it is looked at
_ENDING: Final = "]} \t\n\r"
_ENDING_CHARS: Final = 64
#: what stands in a string, up to its end, or to the end of what was read
_IN_STRING: Final = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_ESCAPED_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SPELT_SURROGATE: Final = re.compile(_ESCAPED_SURROGATE.pattern.encode())


class NotThat(ValueError):
    """The answer is not what was asked for; the words say what is missing."""


class TooLong(Enum):
    """The type of `TOO_LONG`."""

    TOO_LONG = "a value that is too long to be read"


#: stands in the place of a value that is too long to be read
TOO_LONG: Final = TooLong.TOO_LONG


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)
#: refuses whatever the other refuses, and some more: half of a character, a number that is too large
_LIST: Final = msgspec.json.Decoder(list[Any])


class HalfCharacter(NotThat):
    """A value holds a lone surrogate."""


class Pieces:
    """The values of one JSON text in their order; each is to be read, or passed over, before the next.

    `read` gives up to so many of its bytes, none at the end; it is asked for `block` bytes at least.
    """

    def __init__(self, read: Callable[[int], bytes], *, block: int = BLOCK_BYTES) -> None:
        self._read = read
        self._block = block
        self.kept = 0
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text = ""
        self._at = 0
        self._gone = 0  # characters that were dropped before the text
        self._ended = False
        self._singly_to = 0  # up to there the text is read value by value
        self._short = b""

    @classmethod
    def of(cls, body: bytes) -> Pieces:
        """Read the values of a text that is there already. Raises NotThat."""
        if len(body) > MAX_ANSWER_BYTES:
            raise NotThat(f"an answer has at most {MAX_ANSWER_BYTES} bytes")
        pieces = cls(BytesIO(body).read)
        if len(body) <= MAX_VALUE_CHARS:
            pieces._short = body
        return pieces

    def at_once(self) -> Any:
        """Decode all of a short text that is sound; null: it is to be read value by value."""
        if not self._short or _SPELT_SURROGATE.search(self._short):
            return None
        try:
            return _DECODER.decode(self._short.decode())
        except (ValueError, RecursionError):
            return None

    def value(self) -> Any:
        """Read the next value, whole, or `TOO_LONG`. Raises NotThat."""
        self._next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                length = len(self._text) - self._at
                if length > MAX_VALUE_CHARS:
                    return self._pass_over()
                if not self._more(min(length, MAX_VALUE_CHARS + 1 - length)):  # twice as much, up to the bound
                    raise NotThat(f"it is not JSON: {error}") from error
                continue
            if self._goes_on(end) and self._more():
                continue
            if end - self._at > MAX_VALUE_CHARS:
                value = TOO_LONG
            begun, self._at = self._at, end
            if value is not TOO_LONG and _ESCAPED_SURROGATE.search(self._text, begun, end):
                _check(value)
            return value

    def keep(self) -> Any:
        """Read the next value, to keep it: its characters are counted in `kept`."""
        self._next()
        begun = self._place
        value = self.value()
        self.kept += self._place - begun
        return value

    def items(self, *, lenient: bool = False) -> Iterator[Any]:
        """Yield the values of the next value, which is a list: each whole, or `TOO_LONG`. Raises NotThat.

        `lenient`: one that holds half a character is null, and costs the others nothing.
        """
        if self._place == 0 and isinstance(rows := self.at_once(), list):
            self._text, self._short, self._ended = "", b"", True
            yield from rows
            return
        for _ in self.elements():
            self._next()
            begun = self._place
            try:
                value = self.value()
            except HalfCharacter:
                if not lenient:
                    raise
                value = None
            yield value
            yield from self._alike(begun)

    def _alike(self, begun: int) -> Sequence[Any]:
        """Read further values of a list, after the one that begins there, up to the last in the text that ends alike.

        Between brackets of their own they are a list only if the text was cut where a value ends.
        """
        if self._place < self._singly_to or begun < self._gone or self._text[self._at : self._at + 1] != ",":
            return ()
        tail = self._text[max(begun - self._gone, self._at - _ENDING_CHARS) : self._at]
        ending = tail[len(tail.rstrip(_ENDING)) :]
        end = self._text.rfind(f"{ending},", self._at + 1, self._at + BLOCK_BYTES) + len(ending)
        if ending and end > self._at:
            with suppress(msgspec.MsgspecError, RecursionError):
                values = _LIST.decode(f"[{self._text[self._at + 1 : end]}]")
                self._at = end
                return values
        self._singly_to = self._gone + len(self._text)
        return ()

    def elements(self) -> Iterator[None]:
        """Pass over the next value, a list, for a caller who reads each of its values as it likes. Raises NotThat."""
        self._take("[")
        if self._next() == "]":
            self._at += 1
            return
        while True:
            yield
            if self._take(",", "]") == "]":
                return

    def members(self) -> Iterator[str]:
        """Yield the keys of the next value, an object, for a caller who reads each one's value. Raises NotThat."""
        self._take("{")
        if self._next() == "}":
            self._at += 1
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise NotThat("it is not JSON: a key is a string")
            self._take(":")
            yield key
            if self._take(",", "}") == "}":
                return

    def begins(self) -> str:
        """Return the first character of the next value: `{`, `[`, `"`, …; empty at the end of the text."""
        return self._next()

    def end(self) -> None:
        """Raise NotThat if that was not all."""
        if self._next():
            raise NotThat("it is not JSON: something follows its end")

    def _next(self) -> str:
        """Pass over white space; the character that follows, empty at the end."""
        while True:
            if self._text[self._at : self._at + 1] > " ":
                return self._text[self._at]
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _take(self, *wanted: str) -> str:
        found = self._next()
        if found not in wanted:
            raise NotThat(f"it is not JSON of that shape: {' or '.join(wanted)} is missing")
        self._at += 1
        return found

    def _more(self, most: int = 0) -> bool:
        """Read on, a block or `most` bytes, whatever is more; False at the end."""
        if self._ended:
            return False
        wanted, got = max(self._block, most), bytearray()
        while not self._ended and len(got) < wanted:
            piece = self._read(wanted - len(got))
            got += piece
            self._ended = not piece
        try:
            self._text = self._text[self._at :] + self._decode(got, self._ended)
        except UnicodeDecodeError as error:
            raise NotThat(f"it is not JSON: {error.reason}") from error
        self._gone += self._at
        self._at = 0
        return True

    def _goes_on(self, end: int) -> bool:
        """Tell whether a value that seems to end here, where nothing more was read, may be a number that goes on."""
        if self._text[end : end + 1] in {",", "]", "}"}:
            return False
        rest = _NUMBER.match(self._text, end)
        return rest is not None and rest.end() == len(self._text)

    def _pass_over(self) -> TooLong:
        """Pass over a value that is too long; one that is not, and could not be decoded, is no JSON."""
        if self._next() not in _DEPTHS:
            raise NotThat("it is not JSON")
        begun, depth = self._place, 0
        inside = False  # a string
        while True:
            found = (_IN_STRING if inside else _NO_STRUCTURE).match(self._text, self._at)
            self._at = found.end() if found else self._at
            mark = self._text[self._at : self._at + 1]
            if mark in {"", "\\"}:  # the block ends here, or in the middle of an escape
                if not self._more():
                    raise NotThat("it is not JSON: it ends in the middle of a value")
                continue
            self._at += 1
            depth += 0 if inside else _DEPTHS[mark]
            inside = mark == '"' and not inside
            if depth <= 0 and not inside:
                break
        if self._place - begun <= MAX_VALUE_CHARS:
            raise NotThat("it is not JSON")
        return TOO_LONG

    @property
    def _place(self) -> int:
        """How many characters lie behind us."""
        return self._gone + self._at


def _check(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise HalfCharacter("it is not JSON: it holds half a character") from error
