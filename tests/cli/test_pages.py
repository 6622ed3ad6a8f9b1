"""`help`, `version`, and words that are no command."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

import finetuned
from finetuned.cli.main import COMMANDS
from finetuned.cli.pages import pages
from support.cli import call

DOCS = Path(finetuned.__file__).parent / "docs"


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        ("staus", "status or stats"),
        ("stat", "status or stats"),
        ("doktor", "doctor"),
        ("event", "events"),
        ("chek", "check"),
    ],
)
def test_a_mistyped_command_is_told_with_what_was_meant(typed: str, command: str) -> None:
    """As a mistyped key of the configuration is; it is a mistake of usage."""
    answer = call(typed)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"finetuned: there is no command {typed}\n  to do: did you mean {command}?")


def test_what_is_like_no_command_gets_the_list() -> None:
    """Nothing is guessed, and nothing reaches the terminal that it should not."""
    answer = call("\x1b[31mxyzzy")
    assert (answer.code, "did you mean" in answer.err, "\x1b" in answer.err) == (2, False, False)
    assert "`finetuned help` lists the commands" in answer.err


@pytest.mark.parametrize("words", [["version"], ["-V"], ["-v"], ["--version"]])
def test_the_version(words: list[str]) -> None:
    """Asked for in any of the usual ways."""
    assert call(*words) == (0, f"finetuned {finetuned.__version__}\n", "")


def test_help_lists_commands_and_pages() -> None:
    """Every one of them, with a few words."""
    out = call("help").out
    for name, (_, words) in COMMANDS.items():
        assert f"  {name} " in out, name
        assert " ".join(words.split()[:3]) in " ".join(out.split())
    for path in DOCS.glob("*.md"):
        assert f"  {path.stem} " in out


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_of_a_command_is_its_own(name: str) -> None:
    """The same words as `COMMAND --help`; `-h` too."""
    own = call(name, "--help").out
    assert own.startswith(f"Usage: finetuned {name} ")
    assert call(name, "-h").out == own
    assert call("help", name).out.startswith(own)


def test_a_page_is_plain_in_a_pipe() -> None:
    """The Markdown it is written in, without what generates its parts."""
    out = call("help", "troubleshooting").out
    assert out.startswith("# ")
    assert call("help", "troubleshooting.md").out == out
    assert "[[[cog" not in call("help", "reference").out
    assert all(call("help", name).code == 0 for name in pages())


def test_a_page_is_laid_out_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the terminal's width, without the signs of Markdown."""
    monkeypatch.setenv("COLUMNS", "80")
    out = click.unstyle(call("help", "guarantees", terminal=True).out)
    assert "**" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(pages()))
def test_no_word_of_a_page_is_cut_on_a_terminal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long word in a narrow column goes on in the next line: `$XDG_STATE_HOME/finetune…` helps nobody."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "2000")
    text = call("help", f"{name}.md").out
    assert click.unstyle(call("help", f"{name}.md", terminal=True).out).count("…") == text.count("…")


@pytest.mark.parametrize(("columns", "row_by_row"), [("80", True), ("100", False)])
def test_a_table_of_many_columns_is_told_row_by_row(
    columns: str, row_by_row: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight columns of a word each, in eighty letters, would be read by nobody."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", "5000")
    out = click.unstyle(call("help", "figures", terminal=True).out)
    assert ("\n  bound: " in out) is row_by_row
    assert all(len(line) <= int(columns) for line in out.splitlines())


def test_a_link_to_a_page_names_the_command_that_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who reads in a terminal can follow a path of the source."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "2000")
    out = click.unstyle(call("help", "troubleshooting", terminal=True).out)
    assert ("finetuned help reference" in " ".join(out.split()), "reference.md" in out) == (True, False)
    assert "../systemd" not in click.unstyle(call("help", "service", terminal=True).out)


def test_a_page_goes_through_a_pager_with_its_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is longer than the screen; `less` is left to find out by itself whether it may show colours."""
    paged: list[tuple[str, object]] = []
    monkeypatch.setattr(click, "echo_via_pager", lambda text, color=None: paged.append((text, color)))
    monkeypatch.setenv("LINES", "20")
    assert call("help", "troubleshooting", terminal=True).out == ""
    ((text, colour),) = paged
    assert ("\x1b[" in text, colour) == (True, None)
    monkeypatch.setenv("NO_COLOR", "1")
    call("help", "troubleshooting", terminal=True)
    assert "\x1b" not in paged[-1][0]
    monkeypatch.setenv("LINES", "2000")
    assert "why FILE" in click.unstyle(call("help", "troubleshooting", terminal=True).out)


def test_a_name_of_both_shows_both() -> None:
    """`files` is a command and a page."""
    out = call("help", "files").out
    assert out.startswith("Usage: finetuned files ")
    assert "\n# " in out


def test_a_mistyped_page_is_told_too() -> None:
    """Pages and commands are one list."""
    answer = call("help", "troubleshoting")
    assert (answer.code, "did you mean troubleshooting?" in answer.err) == (2, True)
