"""Words that a command cannot take: what is off, why, and what to do, as in every other error."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from finetuned import cli
from finetuned.cli.main import COMMANDS
from support.cli import call


@pytest.mark.parametrize(
    ("words", "what", "because", "todo"),
    [
        (["jobs", "--nope"], "finetuned: jobs has no option --nope", "", "`finetuned jobs --help` tells"),
        (["jobs", "--stat", "x"], "finetuned: jobs has no option --stat", "", "did you mean --state? "),
        (["jobs", "--config", "x"], "finetuned: jobs has no option --config", "", "write it before the command: "),
        (["--nope"], "finetuned: there is no option --nope", "", "`finetuned help` tells"),
        (["--confg", "x", "jobs"], "finetuned: there is no option --confg", "", "did you mean --config? "),
        (["--config"], "option '--config' requires an argument", "", "`finetuned help` tells"),
        (["why"], "finetuned: why lacks PATH|ID", "", "`finetuned why --help` tells"),
        (["image", "x"], "finetuned: image lacks --output FILE", "", "`finetuned image --help` tells"),
        (["completion"], "finetuned: completion lacks SHELL", "", "there are: bash, zsh, fish; "),
        (
            ["jobs", "--sort", "x"],
            "finetuned: jobs cannot take this --sort KEY",
            "'x' is not one of",
            "there are: created",
        ),
        (
            ["jobs", "--limit", "0"],
            "finetuned: jobs cannot take this --limit N",
            "0 is not in",
            "a whole number from 1 on; ",
        ),
        (["browse", "--port", "-1"], "finetuned: browse cannot take this --port", "-1 is not in", "from 0 to 65535; "),
        (
            ["sandbox", "--speed", "x"],
            "finetuned: sandbox cannot take this --speed X",
            "'x' is not a valid float",
            "`finetuned",
        ),
        (
            ["export", "--format", "csv", "--split", "7"],
            "cannot take this --split SHARE",
            "7.0 is not",
            "between 0 and 1; ",
        ),
        (
            ["pairs", "--worst"],
            "finetuned: pairs: option '--worst' requires an argument",
            "",
            "`finetuned pairs --help`",
        ),
        (
            ["backup", "a", "red", "fox"],
            "got unexpected extra arguments (red fox)",
            "",
            "put what has blanks in it into quotes",
        ),
    ],
)
def test_what_click_refuses_is_told_as_all_else(words: list[str], what: str, because: str, todo: str) -> None:
    """One line what, the cause where there is one, one line what to do; exit code 2, and nothing else."""
    answer = call(*words)
    assert (answer.code, answer.out) == (2, "")
    first, *causes, last = answer.err.splitlines()
    assert what in first
    assert last.startswith("  to do: ")
    assert todo in last
    assert [cause.startswith(f"  because: {because}") for cause in causes] == [True] * bool(because)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_where_its_options_stand(name: str) -> None:
    """Whatever the command, an option that it lacks leads to its help."""
    answer = call(name, "--no-such-option")
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == f"  to do: `finetuned {name} --help` tells what it takes"


def test_no_words_at_all_are_answered_with_the_help() -> None:
    """Where nothing was asked, nothing is off."""
    answer = call()
    assert (answer.code, answer.err.startswith("Usage: finetuned ")) == (2, True)


def test_our_own_mistakes_of_usage_have_a_way_out_too() -> None:
    """Wherever a command refuses its words, it says what to do."""
    without, found = [], 0
    for path in Path(cli.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UsageError":
                found += 1
                if "remedy" not in {word.arg for word in node.keywords}:
                    without.append(f"{path.name}:{node.lineno}")
    assert found > 50
    assert without == []
