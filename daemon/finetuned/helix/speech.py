"""An answer that comes word by word: events, each a piece of a completion (from the server's public source).

1. An event is a line `data: {…}`: the session's id in the place of the completion's, and what is new in the first
   choice's `delta.content`. The first event often has no choices. The end is the connection's; `[DONE]` is not sent.
2. Once events go out no status can say that something went wrong: the server's complaint is a line among them.
3. A server may answer whole, whatever it was asked for: that is a completion, or the session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from finetuned.helix import wire
from finetuned.pieces import Pieces

#: a line that is longer is no piece of an answer, in bytes
LONGEST_LINE: Final = 1024 * 1024
_DATA: Final = b"data:"
#: what else an event may say, and a comment
_OTHER: Final = (b":", b"event:", b"id:", b"retry:")


class Speech:
    """Takes the bytes of an answer, and tells its words as they come."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.session_id = ""
        self.complaint = ""
        self._on_text = on_text
        self._rest = b""

    def take(self, piece: bytes) -> None:
        """Take the next bytes of the answer."""
        *lines, rest = (self._rest + piece).split(b"\n")
        self._rest = rest[: LONGEST_LINE + 1]  # what is cut stays too long, whatever follows
        for line in lines:
            self._line(line.strip())

    def end(self, whole: Pieces) -> None:
        """Make an end: that was the whole answer. Raises `NotThat` if it names no session."""
        self._line(self._rest.strip())
        if not self.session_id:
            self.session_id = wire.spoken_in(whole)

    def _line(self, line: bytes) -> None:
        if line.startswith(_DATA):
            if len(line) <= LONGEST_LINE:
                self._event(line.removeprefix(_DATA))
        elif line and self.session_id and not line.startswith(_OTHER):
            self.complaint = self.complaint or line.decode("utf-8", "replace")

    def _event(self, data: bytes) -> None:
        try:
            said = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        if not isinstance(said, dict):
            return
        ident = said.get("id")
        if not self.session_id and isinstance(ident, str) and wire.safe_id(ident):
            self.session_id = ident
        if said.get("error"):
            self.complaint = self.complaint or str(said["error"])
        words = _words(said.get("choices"))
        if words:
            self._on_text(words)


def _words(choices: Any) -> str:
    """Read what is new in an event; empty if nothing is."""
    choice = choices[0] if isinstance(choices, list) and choices else None
    delta = choice.get("delta") if isinstance(choice, dict) else None
    words = delta.get("content") if isinstance(delta, dict) else None
    return words if isinstance(words, str) else ""
