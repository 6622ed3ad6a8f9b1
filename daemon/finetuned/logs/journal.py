"""The journal of systemd: each event is an entry with fields of its own, at its own priority.

1. A field is called FINETUNED_<KEY>, so that none is taken for one of the journal's own. The message is the line that
   is written elsewhere, without the time and the level, which the journal has.
2. What the socket of the journal does not take goes to standard error, which leads to the journal, too: line by line,
   each with its priority in front.
3. While the journal stands still entries are lost, not the daemon: the first one waits for it, those after that do not.
"""

from __future__ import annotations

import json
import os
import re
import select
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

from structlog.typing import EventDict, Processor, WrappedLogger

if TYPE_CHECKING:
    from logging_journald import JournaldTransport

#: where the journal listens
SOCKET: Final = "/run/systemd/journal/socket"
#: how long an entry waits for a journal that took the one before, in seconds
_PATIENCE: Final = 1.0
#: by level, the journal's priority
_PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
#: what an entry has in fields of the journal, or in its message
_KNOWN: Final = {"timestamp", "level", "exception"}


def leads_to_journal(stream: TextIO, told: str | None) -> bool:
    """Tell whether a stream is the one of which systemd `told` in $JOURNAL_STREAM that it leads to the journal."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return told == f"{found.st_dev}:{found.st_ino}"


class Journal:
    """The end of the log's pipeline: renders an event as a message, and sends it with the event's fields."""

    def __init__(self, address: str, render: Processor) -> None:
        from logging_journald import JournaldTransport  # noqa: PLC0415 - 10 ms that only a service should cost

        self._render = render
        self._fields: list[tuple[str, str]] = []
        self._priority = _PRIORITIES["info"]
        self._took = True  # the entry before
        self._transport: JournaldTransport | None = None
        with suppress(OSError):  # a service that may not open such sockets
            self._transport = JournaldTransport(address, connected=False)
            self._transport.socket.setblocking(False)

    def render(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        """Render the event, and keep its fields until it is sent: under the lock of the handler."""
        self._priority = _PRIORITIES.get(event["level"], _PRIORITIES["info"])
        self._fields = list(_fields(event))
        message = self._render(logger, method, event)
        return message if isinstance(message, str) else ""

    def send(self, message: str) -> str:
        """Send what was rendered; return what is left to write to standard error: nothing, or its lines."""
        entry = [("MESSAGE", message), ("PRIORITY", str(self._priority)), ("SYSLOG_IDENTIFIER", "finetuned")]
        try:
            if self._transport is not None:
                self._offer(self._transport, [*entry, *self._fields])
                return ""
        except OSError:
            pass
        return "".join(f"<{self._priority}>{line}\n" for line in message.split("\n"))

    def _offer(self, transport: JournaldTransport, fields: Sequence[tuple[str, str]]) -> None:
        """Send an entry; while the journal takes none, lose it. Raises OSError if it does not listen."""
        for wait in (_PATIENCE if self._took else 0.0, 0.0):
            try:
                transport.send(fields)
            except BlockingIOError:
                self._took = False
                select.select([], [transport.socket], [], wait)
            else:
                self._took = True
                return

    def close(self) -> None:
        """Let go of the socket."""
        if self._transport is not None:
            self._transport.socket.close()


def _fields(event: EventDict) -> Iterator[tuple[str, str]]:
    for key, value in event.items():
        name = re.sub("[^A-Z0-9_]", "_", key.upper())[:50]
        if key not in _KNOWN and value is not None:
            yield f"FINETUNED_{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
