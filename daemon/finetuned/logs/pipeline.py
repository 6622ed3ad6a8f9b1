"""The pipeline of the log, set up once: what becomes of an event on its way to a line, or to an entry of the journal.

1. Nothing that is logged can break the program: every value becomes plain, short, harmless text before it is
   written, and a stream that is full or closed loses lines, not the daemon.
2. Secrets are redacted twice: by the name of the key, and by what a value looks like.
3. Our events go through structlog to one logger of the standard library, whose level and handler hold for loggers that
   were bound before: `configure` may be called again on a reload.
4. The libraries' own logging and Python's warnings come through the same handler, from warning on.
"""

from __future__ import annotations

import json
import logging
import math
import reprlib
import shutil
import sys
import textwrap
import traceback
from collections.abc import Mapping
from typing import Any, Final, TextIO, cast

import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter
from structlog.stdlib import BoundLogger, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from finetuned.logs.journal import Journal
from finetuned.paths import escape
from finetuned.redaction import REDACTED, names_secret, redact

_DEEPEST: Final = 5
_WIDEST: Final = 100
_LONGEST: Final = 8000
_COLORS: Final = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
_RESET: Final = "\x1b[0m"
#: the event of a library's record that can't be formatted
_BROKEN: Final = "log_record_broken"


def configure(
    *,
    level: str,
    format: str,  # noqa: A002 - as in `[log] format`
    terminal: bool,
    stream: TextIO,
    no_color: bool = False,
    journal: str | None = None,
) -> None:
    """Set what is logged (`level`: debug, info, warning, error), how (`format`: auto, console, json) and where.

    `terminal` tells that `stream` is one: `auto` is a console there, JSON lines elsewhere. Only a terminal gets
    colours, and not if `no_color` (the caller read NO_COLOR). `journal` is the socket of systemd's journal, if `stream`
    leads there: `auto` is a console for it, too.
    """
    console = terminal or journal is not None if format == "auto" else format == "console"
    if _handler.journal is not None:
        _handler.journal.close()
    _handler.journal, _handler.terminator = None, "\n"
    if journal is not None:
        _handler.journal, _handler.terminator = Journal(journal, _bare if console else _json), ""
        _handler.setFormatter(_formatter(_handler.journal.render))
    elif not console:
        _handler.setFormatter(_formatter(_json))
    elif not terminal:
        _handler.setFormatter(_formatter(_console))
    else:
        _handler.setFormatter(_formatter(_folded if no_color else _colored))
    _handler.stream = stream
    _handler.chosen = logging.getLevelNamesMapping()[level.upper()]
    _set_level(_handler.chosen)
    _root.addHandler(_handler)
    logging.captureWarnings(capture=True)


def tells_debug() -> bool:
    """Tell whether debug events are written at all."""
    return _ours.isEnabledFor(logging.DEBUG)


def toggle_debug() -> bool:
    """Switch between debug and the level that was set; tell whether debug is on now."""
    _set_level(_handler.chosen if tells_debug() else logging.DEBUG)
    return tells_debug()


def get(**ids: object) -> BoundLogger:
    """Make a logger that says `ids` with each event."""
    return cast("BoundLogger", structlog.get_logger(**ids))


def _set_level(level: int) -> None:
    _ours.setLevel(level)
    _root.setLevel(max(level, logging.WARNING))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines, or loses them: the log must not end what it tells of."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # its parent's would keep what standard error is now
        self._stream: TextIO | None = None
        self.journal: Journal | None = None
        #: the level that was set, while debug is switched on
        self.chosen = logging.WARNING

    @property
    def stream(self) -> TextIO:
        """The stream that was set; until then standard error, as it is at the time."""
        return self._stream or sys.stderr

    @stream.setter
    def stream(self, stream: TextIO | None) -> None:
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        """Send it to the journal, if there is one. Escape what the stream's encoding does not have: it may be ASCII."""
        text = super().format(record)
        if self.journal is not None:
            text = self.journal.send(text)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Name a record that can't be formatted; a stream that is full or closed takes neither line."""
        if record.msg is not _BROKEN and not isinstance(sys.exception(), OSError):
            self.handle(logging.makeLogRecord({"name": record.name, "levelname": "WARNING", "msg": _BROKEN}))


def _formatter(render: Processor) -> ProcessorFormatter:
    """Make the end of the pipeline: a library's record becomes an event such as ours, and each event a line."""
    return ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *_PREPARED],
        processors=[ProcessorFormatter.remove_processors_meta, render],
    )


def _harmless(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Make an event plain: time, level and name first, then what is known, then the lines of a traceback."""
    meta = {name: event.pop(name) for name in ("_record", "_from_structlog") if name in event}
    trace = event.pop("exception", None)
    head = {name: event.pop(name, "") for name in ("timestamp", "level", "event")}
    plain = _plain_dict({**head, **event}, 0)
    if trace:
        plain["exception"] = "\n".join(map(escape, redact(_text(trace)).rstrip("\n").split("\n")))
    return plain | meta


def _plain(value: object, depth: int = 0) -> Any:
    """Make `value` something that JSON can say, and harmless; nothing it holds can raise."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if depth < _DEEPEST and type(value) is dict:
        return _plain_dict(value, depth + 1)
    if depth < _DEEPEST and type(value) in {list, tuple, set, frozenset}:
        return [_plain(item, depth + 1) for item in list(cast("list[object]", value))[:_WIDEST]]
    return _safe(_text(value))


def _plain_dict(values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    plain = {}
    for key, value in list(values.items())[:_WIDEST]:
        name = key if isinstance(key, str) else str(_plain(key, _DEEPEST))
        plain[_safe(name)] = REDACTED if names_secret(name) and value else _plain(value, depth)
    return plain


def _number(value: float) -> int | float | str:
    if isinstance(value, int):  # Python refuses to write very long numbers
        return int.__int__(value) if value.bit_length() <= 63 else f"about 2 to the {value.bit_length()}"
    return float.__float__(value) if math.isfinite(value) else float.__repr__(value)


def _text(value: object) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, BaseException):
        return "".join(traceback.format_exception_only(value)).strip()
    return _repr.repr_instance(value, 1)


def _safe(text: str) -> str:
    safe = escape(redact(text[: 2 * _LONGEST]))
    return safe if len(safe) <= _LONGEST else f"{safe[:_LONGEST]}... ({len(text)} characters)"


def _folded(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Render an event for a terminal: folded between words to its width, and the time in seconds.

    The first line is as wide as the terminal: it takes the place of whatever another program shows there for now, such
    as the line of `drop --wait`.
    """
    event["timestamp"] = f"{event['timestamp'][:19]}Z"
    line, newline, trace = _console(logger, method, event).partition("\n")
    width = max(40, shutil.get_terminal_size().columns)
    folding = textwrap.TextWrapper(width - 1, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    first, *rest = folding.wrap(line)
    return "\n".join([first.ljust(width - 1), *rest]) + newline + trace


def _colored(logger: WrappedLogger, method: str, event: EventDict) -> str:
    color = _COLORS.get(event["level"])
    line = _folded(logger, method, event)
    return f"{color}{line}{_RESET}" if color else line


def _bare(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Render an event without its time and its level."""
    return _named(logger, method, {key: value for key, value in event.items() if key not in {"timestamp", "level"}})


def _worded(value: object) -> str:
    """Write a value beside its key: quoted if it could be taken for more than one."""
    if isinstance(value, str):
        quote = not value or any(mark in value for mark in " =\"'")
        return '"' + value.replace('"', '\\"') + '"' if quote else value
    return json.dumps(value, ensure_ascii=False)


def _column(name: str, width: int) -> Column:
    """Make a column without the name of its key."""
    return Column(name, KeyValueColumnFormatter(None, "", "", str, width))


_repr: Final = reprlib.Repr()  # it survives a __repr__ that raises
_repr.maxother = 500
_PREPARED: Final[tuple[Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _harmless,
)
_json: Final = structlog.processors.JSONRenderer()
#: one line: time, level, name, then what is known; a traceback below it
_console: Final = ConsoleRenderer(
    columns=[
        _column("timestamp", 0),
        _column("level", 8),
        _column("event", 24),
        Column("", KeyValueColumnFormatter("", "", "", _worded)),
    ],
    sort_keys=False,
)
#: … and the same without time and level
_named: Final = ConsoleRenderer(
    columns=[_column("event", 0), Column("", KeyValueColumnFormatter("", "", "", _worded))], sort_keys=False
)
_root: Final = logging.getLogger()
_ours: Final = logging.getLogger("finetuned")
_handler: Final = _Handler()

_handler.setFormatter(_formatter(_console))
_ours.addHandler(_handler)
_ours.propagate = False  # the root has the same handler
_ours.setLevel(logging.WARNING)
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.contextvars.merge_contextvars,
        *_PREPARED,
        ProcessorFormatter.wrap_for_formatter,
    ],
    wrapper_class=BoundLogger,
    logger_factory=lambda *_: _ours,
)
