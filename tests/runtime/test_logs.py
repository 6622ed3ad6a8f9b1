"""The log: harmless lines, no secrets, and nothing that is logged breaks anything."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import warnings

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from finetuned import logs
from finetuned.redaction import redact


class Broken:
    """A value that can't even be shown."""

    def __repr__(self):
        raise RuntimeError


class BrokenError(Exception):
    """An exception that can't say what it is."""

    def __str__(self):
        raise RuntimeError

    structlog.contextvars.clear_contextvars()


def fail(text):
    """Raise, with `text` in the message."""
    raise ValueError(text)


def configured(*, level="info", form="json", terminal=False, **more):
    """A stream that the log is written to."""
    stream = io.StringIO()
    logs.configure(level=level, format=form, terminal=terminal, stream=stream, **more)
    return stream


def said(stream):
    """What was logged, as JSON lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_a_json_line():
    """Time in UTC, level, name, then what is known, with the ids that were bound once."""
    stream = configured()
    logs.get(job="notes-1").bind(folder="notes").info("job_sealed", files=3, group=None, part=0.5)
    (event,) = said(stream)
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "level": "info", "event": "job_sealed", "job": "notes-1", "folder": "notes", "files": 3, "group": None,
        "part": 0.5,
    }  # fmt: skip


def test_an_event_is_a_line_for_people():
    """The same on a console: what could be taken for two values is quoted."""
    stream = configured(form="console")
    logs.get(job="notes-1").info("job_sealed", files=3, reason='two "words"', empty="", more=["a"])
    time, line = stream.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert line.split() == [
        "info", "job_sealed", "job=notes-1", "files=3", 'reason="two', '\\"words\\""', 'empty=""', 'more=["a"]',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "terminal", "no_color", "seen"),
    [
        ("auto", True, False, "color"),
        ("auto", True, True, "plain"),
        ("auto", False, False, "json"),
        ("console", False, False, "plain"),
        ("console", True, False, "color"),
        ("json", True, False, "json"),
    ],
)
def test_the_form_follows_the_terminal(form, terminal, no_color, seen):
    """Colour only on a terminal, and not where it is unwanted; JSON where nobody looks."""
    stream = configured(form=form, terminal=terminal, no_color=no_color)
    logs.get().error("it_broke")
    logs.get().info("it_went_on")
    text = stream.getvalue()
    assert text.startswith("{") == (seen == "json")
    assert ("\x1b[31m" in text) == (seen == "color")
    assert ("\x1b" in text.splitlines()[1]) is False


@pytest.mark.parametrize("no_color", [True, False])
def test_a_line_fits_the_terminal(monkeypatch, no_color):
    """It is folded between words; its first line covers what another program showed there; a traceback stays whole."""
    monkeypatch.setenv("COLUMNS", "80")
    stream = configured(form="console", terminal=True, no_color=no_color)
    words = "the server says so, at length, and again, and once more, and then it says it all from the beginning"
    logs.get(job="notes-20261123-052311-7fka").info("job_failed", detail=words)
    first, *rest = stream.getvalue().splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ info     job_failed ", first)
    assert len(first) == 79
    assert all(line.startswith("    ") and len(line) < 80 for line in rest)
    assert words in " ".join(" ".join([first, *rest]).split())
    try:
        fail("x" * 100)
    except ValueError:
        logs.get().exception("broken")
    assert f"ValueError: {'x' * 100}" in stream.getvalue()


@pytest.mark.parametrize(
    "name",
    ["key", "api_key", "apiKey", "X-Api-Key", "token", "access_token", "Authorization", "password", "secret"],
)
def test_a_secret_s_name_hides_its_value(name):
    """Wherever the key is, its value is not shown."""
    stream = configured()
    logs.get().info("asked", **{name: "sesame"}, headers={name: "sesame", "deeper": [{name: b"sesame"}]})
    assert "sesame" not in stream.getvalue()
    assert stream.getvalue().count("[redacted]") == 3


@pytest.mark.parametrize("name", ["api_key_file", "tokens", "monkey", "keys", "author"])
def test_a_harmless_name_hides_nothing(name):
    """Counts, places and words that only sound alike are shown."""
    stream = configured()
    logs.get().info("read", **{name: "plain"})
    assert said(stream)[0][name] == "plain"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("hl-sesame", "[redacted]"),
        ("key hl-sesame/+=, then", "key [redacted], then"),
        ("Bearer sesame", "Bearer [redacted]"),
        ("{'authorization': 'Bearer sesame'}", "{'authorization': [redacted]}"),
        ("authorization: Bearer sesame", "authorization: Bearer [redacted]"),
        ('password = "open sesame"', "password = [redacted]"),
        ("GET /x?access_token=sesame&page=2", "GET /x?access_token=[redacted]&page=2"),
        ("http://me:sesame@host/x", "http://[redacted]@host/x"),
        ("http://host/x@y", "http://host/x@y"),
        ("xhl-plain", "xhl-plain"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, safe):
    """In values, in the event itself, in exceptions, in bytes."""
    assert redact(text) == safe
    stream = configured()
    logs.get().info(text, value=text, raw=text.encode(), error=ValueError(text), nested=[(text,)])
    try:
        fail(text)
    except ValueError:
        logs.get().exception("it_broke")
    assert ("sesame" in stream.getvalue()) == ("sesame" in safe)
    assert said(stream)[0]["value"] == safe


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_name_can_not_harm_the_terminal(form):
    """Control characters, direction marks and bytes that are no text appear escaped, on one line."""
    stream = configured(form=form)
    logs.get().info("file_seen", path="a\n\x1b[2J\u202e\udcff", **{"k\x1b": 1})
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    for escape in (r"\n", r"\x1b[2J", r"\u202e", r"\xff"):
        assert escape.replace("\\", "\\\\" if form == "json" else "\\") in text


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "value",
    [
        Broken(), BrokenError(), float("nan"), float("-inf"), 10**6000, b"\xff\x00", {Broken(): Broken()},
        {1: 2}, {"a", "b"}, object(), logging.INFO, 1 << 70, "\ud800", range(3), type, "x" * 20_000,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_no_value_breaks_the_log(value, form):
    """Whatever is logged, a line comes out, and it is short."""
    stream = configured(form=form)
    logs.get().info("seen", value=value)
    logs.get().info(value, exc_info=[value])
    assert len(stream.getvalue().splitlines()) == 2
    assert len(stream.getvalue()) < 20_000
    if form == "json":
        assert "value" in said(stream)[0]


def test_a_value_that_holds_itself_ends():
    """Depth and width have their bounds."""
    value = []
    value.append(value)
    stream = configured()
    logs.get().info("seen", value=value, wide=list(range(1000)))
    assert len(said(stream)[0]["wide"]) == 100


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.text(), JUNK)
def test_every_line_is_strict_json(event, value):
    """No NaN, no bare newline, whatever was logged."""
    stream = configured()
    logs.get().info(event, v=value)
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line, parse_constant=fail)
    json.dumps(said, allow_nan=False)
    assert {"timestamp", "level", "event", "v"} == said.keys()


def test_an_exception_comes_without_locals():
    """A traceback may be read by more people than the values it passed through."""
    stream = configured(form="console")

    def measure(hidden):
        fail(len(hidden))

    try:
        measure("in-a-local".swapcase())
    except ValueError as error:
        logs.get().exception("it_broke")
        logs.get().error("it_broke", exc_info=error)
        logs.get().error("it_broke", exc_info=sys.exc_info())
    text = stream.getvalue()
    assert text.count("ValueError: 10") == 3
    assert "IN-A-LOCAL" not in text


def test_an_exception_that_can_not_speak_is_told_of():
    """Even then there is a line and a traceback."""
    stream = configured(form="console")
    logs.get().error("it_broke", exc_info=BrokenError())
    assert "BrokenError: <exception str() failed>" in stream.getvalue().splitlines()[-1]


def test_an_exception_s_lines_are_harmless():
    """Its lines stay lines, all else is escaped."""
    stream = configured(form="console")
    try:
        fail("bad \x1b[2J name")
    except ValueError:
        logs.get().exception("it_broke")
    assert r"ValueError: bad \x1b[2J name" in stream.getvalue().splitlines()


def test_the_level_holds_for_loggers_that_were_bound_before():
    """A reload or a signal changes it everywhere at once."""
    stream = configured(level="warning")
    log = logs.get(job="x")
    log.info("unheard")
    logs.configure(level="info", format="json", terminal=False, stream=stream)
    log.info("heard")
    log.debug("unheard")
    assert logs.toggle_debug() is True
    log.debug("heard_too")
    assert logs.toggle_debug() is False
    log.debug("unheard")
    assert [event["event"] for event in said(stream)] == ["heard", "heard_too"]


def test_the_stream_holds_for_loggers_that_were_bound_before():
    """A second `configure` takes the old loggers along."""
    log = logs.get()
    configured()
    stream = configured(form="console")
    log.info("heard")
    assert "heard" in stream.getvalue()


def test_the_libraries_speak_through_us():
    """Their warnings and Python's come as our lines; what they say below that does not."""
    stream = configured(level="debug")
    logging.getLogger("httpx").warning("slow %s", "hl-sesame")
    logging.getLogger("httpx").info("unheard")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        configured_again = configured(level="debug")
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (slow,) = said(stream)
    assert (slow["level"], slow["event"], slow["logger"]) == ("warning", "slow [redacted]", "httpx")
    (warning,) = said(configured_again)
    assert warning["logger"] == "py.warnings"
    assert "DeprecationWarning: old ways" in warning["event"]


def test_a_library_s_broken_record_is_named():
    """A record that can't be formatted is told of, and raises nothing."""
    stream = configured()
    library = logging.getLogger("httpx")
    record = library.makeRecord("httpx", logging.WARNING, "", 0, "%d", ("no number",), None)
    handler = next(h for h in logging.getLogger().handlers if type(h).__module__ == "finetuned.logs.pipeline")
    handler.handle(record)  # not through the root: the test runner listens there too, and is strict
    (event,) = said(stream)
    assert (event["event"], event["logger"]) == ("log_record_broken", "httpx")


def test_the_libraries_obey_the_level():
    """Who wants errors only gets errors only."""
    stream = configured(level="error")
    logging.getLogger("httpx").warning("unheard")
    logging.getLogger("httpx").error("heard")
    assert [event["event"] for event in said(stream)] == ["heard"]


def test_the_handler_is_added_once():
    """A reload does not double the lines."""
    configured()
    stream = configured()
    logging.getLogger("httpx").error("heard")
    assert len(said(stream)) == 1


def test_a_stream_that_is_closed_loses_lines_only():
    """The log must not end the daemon."""
    configured().close()
    logs.get().error("unheard")


def test_a_stream_that_knows_ascii_only_gets_escapes():
    """Letters that it can't write are escaped instead of lost."""
    raw = io.BytesIO()
    logs.configure(level="info", format="console", terminal=False, stream=io.TextIOWrapper(raw, "ascii"))
    logs.get().info("file_seen", path="grün")
    assert b"path=gr\\xfcn" in raw.getvalue()


def test_before_it_is_set_up_only_warnings_are_heard():
    """A command that never sets the log up keeps its standard output clean."""
    program = "from finetuned import logs; logs.get().info('unheard'); logs.get().warning('heard')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    assert " heard" in ended.stderr
    assert "unheard" not in ended.stderr


def test_context_is_said_too():
    """What was bound to the context is part of each event."""
    stream = configured()
    structlog.contextvars.bind_contextvars(job="x")
    logs.get().info("seen")
    assert said(stream)[0]["job"] == "x"
