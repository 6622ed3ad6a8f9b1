"""What we tell people to do can be done: every command, option and key that our words name is real."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click
import pytest

from finetuned.cli.main import COMMANDS, cli
from finetuned.settings import keys

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "daemon/finetuned").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "daemon/finetuned/docs").glob("*.md"))]
#: what stands for something that is only known when the words are said
SOMETHING = "\N{HORIZONTAL ELLIPSIS}"
#: a command is in backticks, begins its words or a line of code, or follows a colon
ADVISED = re.compile(r"(?:`|^ *|: |\$ |\(|; )finetuned (?:--config \S+ )?([a-z-]+)([^`;,\n()]*)", re.MULTILINE)
#: what finetuned does, in a sentence that begins with its name
PROSE = {"alone", "makes", "overwrites", "reads", "refused", "sends", "tells"}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
SECTIONS = sorted({key.section for key in keys()})
TABLED = re.compile(rf"\[({'|'.join(SECTIONS)})\] ([a-z_]+)\b")
SET = re.compile(r"(?<![\w.\-])((?:[a-z]+\.)?[a-z_]+) = (?:\"|true|false|[0-9])")
KNOWN = {(key.section, key.name) for key in keys()}
NAMES = {name for _, name in KNOWN} | {f"{section}.{name}" for section, name in KNOWN}


@cache
def texts(source: Path) -> list[str]:
    """Every string of a module that people may read, its parts that are filled in as an ellipsis."""
    nodes = list(ast.walk(ast.parse(source.read_text("utf-8"))))
    documented = (ast.Module, ast.ClassDef)
    dull = {id(node.body[0].value) for node in nodes if isinstance(node, documented) and has_words(node)}
    dull |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    found = []
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(p.value) if isinstance(p, ast.Constant) else SOMETHING for p in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in dull:
            found.append(node.value)
    return found


def has_words(node: ast.Module | ast.ClassDef) -> bool:
    """Whether it begins with a docstring."""
    return bool(node.body) and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)


def no_sql(source: Path) -> bool:
    """Whether a module's strings hold none: there a column is set like a key."""
    return not source.is_relative_to(ROOT / "daemon/finetuned/ledger")


def words(wanted: Callable[[Path], bool] = bool) -> list[tuple[str, str]]:
    """Where it stands, and each text for people: of the program, and of the pages."""
    told = [(source.name, text) for source in filter(wanted, SOURCES) for text in texts(source)]
    pages = [(page.name, page.read_text("utf-8")) for page in PAGES if page.name != "changes.md"]
    return [*told, *pages]


def command(name: str) -> click.Command | None:
    """A command of ours."""
    return cli.get_command(click.Context(cli), name) if name in COMMANDS else None


def test_every_command_that_we_advise_is_one() -> None:
    """`finetuned X` in a message, in help or on a page can be typed, options and all."""
    wrong, found = [], 0
    for where, text in words():
        for name, rest in ADVISED.findall(text):
            found += 1
            known = command(name)
            options = {option for p in known.params for option in p.opts} if known else set()
            if name in PROSE and known is None:
                continue
            if known is None or not set(OPTION.findall(rest)) <= options | {"--help", "--config", "--debug"}:
                wrong.append((where, name, rest))
    assert wrong == []
    assert found > 50


def test_every_key_that_we_advise_is_one() -> None:
    """`[section] key`, and `key = value`, can be written into the configuration of this version."""
    tabled = [(where, *found) for where, text in words() for found in TABLED.findall(text)]
    assert [found for found in tabled if found[1:] not in KNOWN] == []
    written = [(where, name) for where, text in words(no_sql) for name in SET.findall(text)]
    assert [(where, name) for where, name in written if name not in NAMES] == []
    assert len(tabled) > 10
    assert len(written) > 10


@pytest.mark.parametrize("text", ["to do: finetuned rewind notes", "`finetuned review j --really`", "finetuned pauze"])
def test_advice_that_cannot_be_followed_is_noticed(text: str) -> None:
    """The test above sees what it is to see."""
    ((name, rest),) = ADVISED.findall(text)
    known = command(name)
    assert known is None or set(OPTION.findall(rest)) - {option for p in known.params for option in p.opts}
