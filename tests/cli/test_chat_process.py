"""Talks that go on, and answers that grow or break off: with servers of both dialects on sockets."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from finetuned.cli.main import main
from finetuned.sandbox import DEFAULT_KEY
from support.cli import Answer, Terminal, call
from support.process import Home, Sandbox, environment, home_that_learned, wait_for

HELLO = "[simulated] This is the sandbox: no model runs here. You said: "


class Typed(Terminal):
    """A standard input that says it is a terminal."""


@pytest.fixture(scope="module", params=["form", "learn"])
def sandbox(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A running stand-in server that answers at once, nearly, in each of its dialects."""
    with closing(Sandbox(tmp_path_factory.mktemp("talks"), speed=5.0, dialect=request.param)) as running:
        yield running


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Home:
    """A ledger with a job that has trained."""
    return home_that_learned(tmp_path_factory.mktemp("talks"), sandbox.url)


@pytest.fixture
def chat(home: Home, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Runs `chat` with what is typed, or comes through a pipe."""
    monkeypatch.setenv("FINETUNED_API_KEY", DEFAULT_KEY)

    def run(*words: str, typed: str = "", piped: io.TextIOBase | None = None, terminal: bool = True) -> Answer:
        monkeypatch.setattr("sys.stdin", piped or Typed(typed))
        return call("--config", str(home.config), "chat", *words, terminal=terminal)

    return run


Chat = Callable[..., Answer]


class TestTalk:
    """`chat` without a text, on a terminal."""

    def test_it_goes_on_from_line_to_line(self, chat: Chat, home: Home) -> None:
        """In one session, which is named at the end; empty lines say nothing."""
        before = home.sessions_on_server()
        answer = chat(typed="good day\n\n  \nand now?\n")
        assert answer.code == 0
        assert answer.out == f"> {HELLO}good day\n> > > {HELLO}and now?\n> "
        assert home.sessions_on_server() == before + 1
        assert re.fullmatch(r"Ctrl-D .*\n\nto go on: finetuned chat --session [\w-]+ \.\.\.\n", answer.err)

    def test_it_goes_on_where_it_was(self, chat: Chat, home: Home) -> None:
        """A session that is named is gone on with."""
        first = chat("good day", "--json", terminal=False).json["session_id"]
        before = home.sessions_on_server()
        answer = chat("--session", first, typed="and now?\n")
        assert (answer.code, first in answer.err) == (0, True)
        assert home.sessions_on_server() == before

    def test_with_a_jobs_model_every_turn_is_with_it(self, chat: Chat, home: Home) -> None:
        """It knows its texts in the second turn as in the first, and its pairs stay as they were."""
        (job,) = home.jobs()
        answer = chat("--job", job["id"], typed="How many fish a day?\nWhat is the otter?\n")
        said = [line.removeprefix("> ") for line in answer.out.splitlines()]
        assert said == ["[simulated] It eats nine fish a day.", "[simulated] The otter is a mammal.", ""]
        assert "to go on" not in answer.err

    def test_what_is_answered_may_go_to_a_file(self, chat: Chat) -> None:
        """The output has the answers, and the prompt is beside it."""
        answer = chat(typed="good day\n", terminal=False)
        assert answer.out == f"{HELLO}good day\n"
        assert answer.err.count("> ") == 2

    def test_nobody_wants_objects_of_a_talk(self, chat: Chat) -> None:
        """`--json` is one object of one turn."""
        assert chat("--json").code == 2

    def test_a_talk_of_nothing(self, chat: Chat, home: Home) -> None:
        """Whoever ends it at once has begun no session."""
        before = home.sessions_on_server()
        answer = chat(typed="")
        assert (answer.code, "to go on" in answer.err) == (0, False)
        assert home.sessions_on_server() == before


class TestPipe:
    """`chat` whose text comes through a pipe."""

    @pytest.mark.parametrize("words", [(), ("-",)])
    def test_the_text_is_what_comes_in(self, chat: Chat, words: tuple[str, ...]) -> None:
        """All of it, but the line end that every tool puts behind it."""
        answer = chat(*words, piped=io.StringIO("two\nlines\n"), terminal=False)
        assert (answer.code, answer.out) == (0, f"{HELLO}two\nlines\n")

    def test_a_text_that_is_named_counts(self, chat: Chat) -> None:
        """What comes in beside it is left alone."""
        assert chat("named", piped=io.StringIO("piped"), terminal=False).out == f"{HELLO}named\n"

    @pytest.mark.parametrize(
        ("piped", "what"),
        [(b"", "nothing to say"), (b"\n", "nothing to say"), (b"caf\xe9", "not UTF-8")],
    )
    def test_what_cannot_be_said(self, chat: Chat, piped: bytes, what: str) -> None:
        """It is refused in words, as a usage error."""
        answer = chat(piped=io.TextIOWrapper(io.BytesIO(piped), encoding="utf-8"), terminal=False)
        assert (answer.code, what in answer.err, "because" in answer.err) == (2, True, False)

    def test_no_standard_input(self, home: Home, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process may have none."""
        monkeypatch.setattr("sys.stdin", None)
        assert call("--config", str(home.config), "chat").code == 2


class Writes(Terminal):
    """A terminal that remembers how often it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str, /) -> int:
        self.pieces.append(text)
        return super().write(text)


class TestGrowing:
    """Answers that come word by word, or do not come."""

    @pytest.fixture
    def at(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Home]]:
        """Starts a server of the learn dialect with faults."""
        monkeypatch.setenv("FINETUNED_API_KEY", DEFAULT_KEY)
        running: list[Sandbox] = []

        def start(*faults: str, dialect: str = "learn", speed: float = 5.0) -> Home:
            running.append(Sandbox(tmp_path, dialect=dialect, speed=speed, faults=faults))
            return Home(tmp_path, running[-1].url)

        yield start
        for server in running:
            server.close()

    def test_each_word_is_written_when_it_comes(self, at: Callable[..., Home], monkeypatch: pytest.MonkeyPatch) -> None:
        """And none of them twice, although the session is looked at in the end."""
        seen = Writes()
        monkeypatch.setattr("sys.stdout", seen)
        with suppress(SystemExit):
            main(["--config", str(at().config), "chat", "one two three"])
        assert seen.getvalue() == f"{HELLO}one two three\n"
        assert len(seen.pieces) > 10

    @pytest.mark.parametrize("terminal", [True, False])
    def test_an_answer_that_breaks_off_is_found_in_its_session(self, at: Callable[..., Home], terminal: bool) -> None:
        """Its words are there once, and so is what was said."""
        home = at("broken-off:1")
        answer = call("--config", str(home.config), "chat", "one two three", terminal=terminal)
        assert (answer.code, answer.out) == (0, f"{HELLO}one two three\n")
        assert home.sessions_on_server() == 1

    def test_a_first_turn_that_is_lost_is_not_said_again(self, at: Callable[..., Home]) -> None:
        """Nobody knows its session; it is told to whoever may ask again."""
        home = at("reply-lost:1")
        words = ("--config", str(home.config), "chat")
        lost = call(*words, "one")
        assert (lost.code, "nothing is sent twice by itself" in lost.err) == (69, True)
        assert home.sessions_on_server() == 1

    def test_a_lost_turn_of_a_talk_is_found(self, at: Callable[..., Home], tmp_path: Path) -> None:
        """Where the talk goes on in a known session nothing is lost, not even a first word."""
        home = at()
        words = ("--config", str(home.config), "chat")
        first = call(*words, "one", "--json").json["session_id"]
        other = Sandbox(tmp_path, dialect="learn", speed=5.0, faults=("reply-lost:1",))
        with closing(other):
            home.config.write_text(home.config.read_text().replace(home.url, other.url))
            answer = call(*words, "two", "--session", first)
        assert (answer.code, answer.out) == (0, f"{HELLO}two\n")

    @pytest.mark.parametrize("dialect", ["form", "learn"])
    def test_ctrl_c_ends_an_answer_and_not_the_talk(self, at: Callable[..., Home], dialect: str) -> None:
        """What came of it stays on the screen; the next line is answered; no colour where none is wanted."""
        home = at(dialect=dialect, speed=0.3)
        with closing(Screen("--config", str(home.config), "chat")) as screen:
            screen.waits()
            screen.type("one two three\n")
            screen.shows("simulated] This")
            screen.interrupt()
            screen.shows("not waited for")
            assert "three" not in screen.seen.partition("[simulated]")[2]
            screen.waits()
            screen.type("still there?\n")
            screen.shows("You said: still there?")
            screen.waits()
            screen.type("\x04")
            assert screen.ends() == 0
        if dialect == "form":  # it names the session before the answer begins
            assert home.sessions_on_server() == 1
        assert re.search(r"\x1b\[[0-9;]*m", screen.seen) is None
        assert "thinking" in screen.seen
        assert "to go on: finetuned chat --session" in screen.seen

    def test_ctrl_c_ends_what_is_asked_once(self, at: Callable[..., Home]) -> None:
        """With the code of an interrupt, and no traceback."""
        home = at(dialect="form", speed=0.3)
        with closing(Screen("--config", str(home.config), "chat", "one two three")) as screen:
            screen.shows("simulated] This")
            screen.interrupt()
            assert screen.ends() == 130
        assert "Traceback" not in screen.seen


class Screen:
    """A command on a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self.seen = ""
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "finetuned", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(TERM="xterm"),
            start_new_session=True,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def shows(self, text: str) -> None:
        """Wait until it is seen."""
        wait_for(lambda: text in self._read(), f"{text!r} on the screen")

    def waits(self) -> None:
        """Wait until a line may be typed."""
        wait_for(lambda: self._read().endswith("> "), "prompt")

    def ends(self) -> int:
        """Wait until the command has ended; its code."""
        wait_for(lambda: (self._read(), self._process.poll())[1] is not None, "end of the command")
        self._read()
        return self._process.wait(10)

    def close(self) -> None:
        """Nothing is left of it."""
        self._process.kill()
        self._process.wait(10)
        os.close(self._master)

    def _read(self) -> str:
        with suppress(BlockingIOError, OSError):
            while piece := os.read(self._master, 65536):
                self.seen += piece.decode("utf-8", "replace")
        return self.seen
