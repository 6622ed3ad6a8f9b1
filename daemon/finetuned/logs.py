"""The log, set up once: a console for people, JSON lines for machines, and no secrets in either.

1. Nothing that is logged can break the program: every value becomes plain, short, harmless text before it is
   written, and a stream that is full or closed loses lines, not the daemon.
2. Secrets are redacted twice: by the name of the key, and by what a value looks like.
3. What is set here holds for loggers that were bound before: `configure` may be called again on a reload.
4. The libraries' own logging and Python's warnings come through here too, from warning on.
"""

from __future__ import annotations

import json
import logging
import math
import re
import reprlib
import shutil
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, WrappedLogger

from finetuned.model import shown

#: an event: its name under `event`, and what is known about it
Event = MutableMapping[str, Any]

REDACTED: Final = "[redacted]"
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "exception": 40, "critical": 50}
_DEEPEST: Final = 5
_WIDEST: Final = 100
_LONGEST: Final = 8000

#: a key is split into words (`api_key`, `X-Api-Key`, `apiKey`); one of these words makes its value a secret
_WORD: Final = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+")
_SECRET_WORDS: Final = frozenset(
    {"apikey", "auth", "authorization", "cookie", "credential", "credentials", "key", "passphrase", "password"}
    | {"passwd", "secret", "token"}
)
#: ... but for where a secret lies, which is no secret
_PLACE_WORDS: Final = frozenset({"file", "path"})
_SECRETS: Final = re.compile(
    r"""(?P<url>://) [^/@\s]+ (?=@)
      | (?P<key>(?:api[_-]?key|token|authorization|password|secret)["']?\s*[=:]\s*(?:(?:bearer|basic)\s+)?)
        (?: "[^"]*" | '[^']*' | [^\s"',;&}]+ )
      | (?P<bearer>\bbearer\s+) [^\s"',;}]+
      | (?<![A-Za-z0-9]) hl-[^\s"',;&<>)\]}]+""",
    re.IGNORECASE | re.VERBOSE,
)
_COLORS: Final = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[1;31m"}
_PLAIN_AGAIN: Final = "\x1b[0m"


def configure(*, level: str, format: str, terminal: bool, stream: TextIO, no_color: bool = False) -> None:  # noqa: A002 - as in `[log] format`
    """Say what is logged (`level`: debug, info, warning, error), how (`format`: auto, console, json) and where.

    `terminal` tells that `stream` is one: `auto` is a console there, JSON lines elsewhere. Only a terminal gets
    colours, and not if `no_color` (the caller read NO_COLOR).
    """
    console = terminal if format == "auto" else format == "console"
    if console:
        _desk.render = (_console_plain if no_color else _console_in_color) if terminal else _console
    else:
        _desk.render = _json
    _desk.stream = stream
    set_level(level)
    _take_over_logging()


def set_level(level: str) -> None:
    """Log from `level` on, at once and everywhere."""
    _desk.chosen = _desk.level = _LEVELS[level]


def tells_debug() -> bool:
    """Whether debug events are written at all."""
    return _desk.level <= _LEVELS["debug"]


def toggle_debug() -> bool:
    """Switch between debug and the level that was set; tell whether debug is on now."""
    _desk.level = _desk.chosen if _desk.level == _LEVELS["debug"] else _LEVELS["debug"]
    return _desk.level == _LEVELS["debug"]


def get(**ids: object) -> FilteringBoundLogger:
    """A logger that says `ids` with each event."""
    return cast("FilteringBoundLogger", structlog.get_logger(**ids))


def redacted(text: str) -> str:
    """`text` without what looks like a secret."""
    return _SECRETS.sub(lambda match: (match["url"] or match["key"] or match["bearer"] or "") + REDACTED, text)


class _Desk:
    """Where every event passes, and what `configure` sets."""

    def __init__(self) -> None:
        self.level = self.chosen = _LEVELS["warning"]
        self.render: Callable[[Event], str] = _console
        self.stream: TextIO | None = None
        self._lock = threading.Lock()

    def __call__(self, _: WrappedLogger, method: str, event: Event) -> str:
        """The last processor: an event becomes a line, or is dropped for its level."""
        level = _LEVELS.get(method, _LEVELS["info"])
        if level < self.level:
            raise structlog.DropEvent
        return self.line(method, event)

    def line(self, method: str, event: Event) -> str:
        """The event as a line: time and level first, then its name, then what was bound."""
        traced = _traced(event.pop("exc_info", None))
        head = {"timestamp": "", "level": "error" if method == "exception" else method}
        _stamp(None, method, head)
        plain = {"event": _plain(event.pop("event", "")), **_plain_dict(event, 0), **head}
        if traced:
            plain["exception"] = _block(traced)
        return self.render({name: plain.pop(name) for name in (*head, "event")} | plain)

    def write(self, line: str) -> None:
        """Write a line, or lose it: the log must not end what it tells of."""
        stream = self.stream or sys.stderr
        try:
            with self._lock:
                try:
                    stream.write(f"{line}\n")
                except UnicodeEncodeError:  # a terminal that knows ASCII only
                    stream.write(line.encode("ascii", "backslashreplace").decode("ascii") + "\n")
                stream.flush()
        except (OSError, ValueError):  # full, closed, or nobody reads it any more
            return

    msg = log = debug = info = warning = warn = error = exception = critical = fatal = failure = err = write


class _Bridge(logging.StreamHandler[TextIO]):
    """Hands the records of the libraries to the desk, and says so of a record that can't be read."""

    def format(self, record: logging.LogRecord) -> str:
        event: Event = {"event": record.getMessage(), "logger": record.name, "exc_info": record.exc_info}
        return _desk.line(record.levelname.lower(), event)

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= _desk.level:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        _desk.write(_desk.line("warning", {"event": "log_record_broken", "logger": record.name}))


class _Lines:
    """The desk as a stream for the bridge, which ends its lines by itself."""

    def write(self, text: str) -> None:
        _desk.write(text.rstrip("\n"))

    def flush(self) -> None:
        """Nothing is held back."""


def _take_over_logging() -> None:
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    if not any(isinstance(handler, _Bridge) for handler in root.handlers):
        bridge = _Bridge(cast("TextIO", _Lines()))
        bridge.setLevel(logging.WARNING)
        root.addHandler(bridge)


def _traced(exc_info: object) -> str:
    """The traceback that `exc_info` asks for, without locals; empty if it names no exception."""
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        exc_info = exc_info[1]
    elif exc_info is True:
        exc_info = sys.exc_info()[1]
    return "".join(traceback.format_exception(exc_info)) if isinstance(exc_info, BaseException) else ""


def _plain(value: object, depth: int = 0) -> Any:
    """`value` as something that JSON can say, made harmless; nothing it holds can raise."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if depth < _DEEPEST and type(value) is dict:
        return _plain_dict(value, depth + 1)
    if depth < _DEEPEST and type(value) in {list, tuple, set, frozenset}:
        return [_plain(item, depth + 1) for item in list(cast("list[object]", value))[:_WIDEST]]
    return _safe(_text(value))


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


def _plain_dict(values: MutableMapping[Any, Any], depth: int) -> dict[str, Any]:
    plain = {}
    for key, value in list(values.items())[:_WIDEST]:
        name = key if isinstance(key, str) else str(_plain(key, _DEEPEST))
        plain[_safe(name)] = REDACTED if _is_secret(name) and value else _plain(value, depth)
    return plain


def _is_secret(name: str) -> bool:
    words = {word.lower() for word in _WORD.findall(name)}
    return bool(words & _SECRET_WORDS) and not words & _PLACE_WORDS


def _safe(text: str) -> str:
    safe = shown(redacted(text[: 2 * _LONGEST]))
    return safe if len(safe) <= _LONGEST else f"{safe[:_LONGEST]}... ({len(text)} characters)"


def _block(text: str) -> str:
    """A text of several lines, each made harmless."""
    return "\n".join(shown(line) for line in redacted(text).rstrip("\n").split("\n"))


def _json(event: Event) -> str:
    return json.dumps(event)


def _console(event: Event) -> str:
    """Time, level, name, then what is known: one line, and a traceback below it."""
    said = {"timestamp", "level", "event", "exception"}
    known = " ".join(f"{name}={_worded(value)}" for name, value in event.items() if name not in said)
    line = f"{event['timestamp']} {event['level']:<8} {event['event']!s:<24} {known}".rstrip()
    return f"{line}\n{event['exception']}" if "exception" in event else line


def _console_plain(event: Event) -> str:
    """The same, folded between words to the width of the terminal, and the time in seconds.

    The first line is as wide as the terminal: it takes the place of whatever another program shows there for now, the
    line of `drop --wait` say.
    """
    width = max(40, shutil.get_terminal_size().columns)
    trace = event.pop("exception", None)
    event["timestamp"] = f"{event['timestamp'][:19]}Z"
    folding = textwrap.TextWrapper(width - 1, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    first, *rest = folding.wrap(_console(event))
    return "\n".join([first.ljust(width - 1), *rest, *([trace] if trace else [])])


def _console_in_color(event: Event) -> str:
    color = _COLORS.get(event["level"])
    line = _console_plain(event)
    return f"{color}{line}{_PLAIN_AGAIN}" if color else line


def _worded(value: object) -> str:
    """A value beside its key: quoted if it could be taken for more than one."""
    if isinstance(value, str):
        quote = not value or any(mark in value for mark in " =\"'")
        return '"' + value.replace('"', '\\"') + '"' if quote else value
    return json.dumps(value, ensure_ascii=False)


_repr: Final = reprlib.Repr()  # it survives a __repr__ that raises
_repr.maxother = 500
_stamp: Final = structlog.processors.TimeStamper(fmt="iso", utc=True)
_desk: Final = _Desk()

structlog.configure(
    processors=[structlog.contextvars.merge_contextvars, _desk],
    wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
    logger_factory=lambda *_: _desk,
    cache_logger_on_first_use=False,
)
