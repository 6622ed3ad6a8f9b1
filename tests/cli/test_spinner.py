"""The line that says what is waited for: it shares its terminal with the log of a daemon."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import anyio
import pytest

from finetuned import logs
from finetuned.cli.terminal import Spinner
from finetuned.runtime import SystemRuntime, Wake
from support.cli import Terminal


def screen(text: str) -> list[str]:
    """What a terminal shows after this was written to it, of the controls that are used here."""
    rows, column = [""], 0
    at = 0
    while at < len(text):
        char = text[at]
        if text.startswith("\x1b[K", at):
            rows[-1] = rows[-1][:column]
            at += 2
        elif char == "\r":
            column = 0
        elif char == "\n":
            rows.append("")
            column = 0
        else:
            rows[-1] = rows[-1][:column] + char + rows[-1][column + 1 :]
            column += 1
        at += 1
    return [row.rstrip() for row in rows]


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")


def test_a_log_line_does_not_run_through_it() -> None:
    """A daemon in the same terminal writes while it is shown: its line is whole, and the spinner stands below it."""
    seen = Terminal()
    logs.configure(level="info", format="console", terminal=True, stream=seen, no_color=True)
    with redirect_stderr(seen):
        spinner = Spinner("1 × notes-20261128-053648-ny3p running, generate_questions 45 % and some more words")
        with spinner:
            logs.get().info("job_running", job="a")
            spinner.show("2 × waiting")
            *above, last = screen(seen.getvalue())
    assert len(above) == 1
    assert above[0].endswith("job_running              job=a")
    assert last[2:] == "2 × waiting"


def test_what_stays_stands_above_it() -> None:
    """Lines one after the other, and at the end nothing of the spinner."""
    seen = Terminal()
    with redirect_stderr(seen), Spinner("waiting") as spinner:
        spinner.line("a.txt: learned")
        spinner.line("b.txt: learned")
        assert screen(seen.getvalue())[:2] == ["a.txt: learned", "b.txt: learned"]
    assert screen(seen.getvalue()) == ["a.txt: learned", "b.txt: learned", ""]


def test_it_is_one_line() -> None:
    """However much there is to say; else a terminal would scroll with each turn."""
    seen = Terminal()
    with redirect_stderr(seen), Spinner("x" * 200):
        assert max(map(len, screen(seen.getvalue()))) < 80


def test_it_turns() -> None:
    """Somebody who looks sees that it is alive."""
    seen = Terminal()

    async def work() -> None:
        with Spinner("thinking") as spinner:
            async with spinner.turning(SystemRuntime()):
                with anyio.fail_after(60):
                    while len(frames()) < 3:
                        await SystemRuntime().wait(Wake(), 0.05)

    def frames() -> set[str]:
        return {frame.split()[0] for frame in seen.getvalue().split("\r\x1b[K") if frame.strip()}

    with redirect_stderr(seen):
        anyio.run(work)


@pytest.mark.parametrize(("stream", "term"), [(io.StringIO(), "xterm"), (Terminal(), "dumb")])
def test_elsewhere_only_what_stays_is_said(stream: io.StringIO, term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, and a terminal that cannot erase."""
    monkeypatch.setenv("TERM", term)
    with redirect_stderr(stream), Spinner("waiting") as spinner:
        spinner.show("still waiting")
        spinner.line("a.txt: learned")
    assert stream.getvalue() == "a.txt: learned\n"
