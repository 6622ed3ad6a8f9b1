"""`run` says to a person what it does."""

from __future__ import annotations

import os
from contextlib import redirect_stderr, suppress

import pytest

from finetuned.cli.process import greet
from finetuned.cli.wiring import load_file
from finetuned.errors import ConfigurationError
from support.cli import MakeDesk, Terminal


def test_what_it_watches_where_to_drop_and_how_to_stop(make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder by name and place, the command, the signal; in lines that fit."""
    monkeypatch.setenv("COLUMNS", "80")
    desk = make_desk(folder=[{}, {"include": ["*.rst"]}])
    monkeypatch.chdir(desk.place.root)
    seen = Terminal()
    with redirect_stderr(seen):
        greet(desk.place.settings)
    lines = seen.getvalue().splitlines()
    assert lines[:2] == ["Watching the folder notes: notes (*.txt *.md)", "Watching the folder notes1: notes1 (*.rst)"]
    words = " ".join(seen.getvalue().split())
    assert "finetuned drop --wait --folder notes FILE" in words
    assert f"Ctrl-C, or kill {os.getpid()}" in words
    assert max(map(len, lines)) <= 80


def test_a_log_gets_no_words(make_desk: MakeDesk, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody sits, there is the log alone."""
    greet(make_desk().place.settings)
    assert capsys.readouterr().err == ""


def test_a_file_that_is_half_written_is_refused_or_understood(make_desk: MakeDesk) -> None:
    """Cut off anywhere, it is a mistake with its line, or a configuration of what is there: a reload may meet it."""
    desk = make_desk(folder=[{"linger": "1h"}, {"include": ["*.rst"]}], helix={"max_in_flight": 7})
    whole = desk.config.read_bytes()
    understood = set()
    for end in range(len(whole) + 1):
        desk.config.write_bytes(whole[:end])
        with suppress(ConfigurationError):
            understood.add(len(load_file(str(desk.config)).folders))
    assert understood == {1, 2}
