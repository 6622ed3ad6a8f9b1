"""`run` says to a person what it does."""

from __future__ import annotations

import os
from contextlib import redirect_stderr

import pytest

from finetuned.cli.run import greet
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
