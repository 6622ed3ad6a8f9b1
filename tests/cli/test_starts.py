"""What a command loads before it does anything: most of the time that people wait for a short one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from finetuned.cli.main import COMMANDS
from support.cli import Desk, desks

#: what writes, plans, waits, and speaks to the server or the folders, and what that loads
OF_THE_DAEMON = {"anyio", "asyncio", "httpx", "multiprocessing", "starlette", "structlog", "watchfiles"}
OF_THE_DAEMON |= {f"finetuned.{room}" for room in ("daemon", "facts", "folders.watches", "helix", "plan", "runtime")}
OF_THE_DAEMON |= {"finetuned.ledger.writer", "rich", "sqlite_utils"}
#: with all that reads
HEAVY = OF_THE_DAEMON | {"finetuned.folders", "finetuned.ledger", "finetuned.settings", "sqlite3"}
#: what a mistake, a search, a change of the ledger, files or a talk with the server need, and what Python has itself
SELDOM = {"difflib", "filecmp", "shutil", "finetuned.backend", "finetuned.ledger.store", "finetuned.words"}
SELDOM |= {"typing_extensions"}


def without_coverage() -> dict[str, str]:
    """The environment of a process that loads nothing but its own: coverage imports, too."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def loaded(*words: str) -> set[str]:
    """The modules that a process has loaded at the end of this command."""
    code = f"import sys; from finetuned.cli.main import main\ntry: main({words!r})\nfinally: print('\\n', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=without_coverage()
    )
    assert done.returncode in {0, 3}, done.stderr  # 3: no daemon runs
    return set(done.stdout.splitlines()[-1].split())


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk whose daemon has learned a file, and ended."""
    with desks(tmp_path_factory.mktemp("starts")) as make:
        desk = make()
        desk.place.drop("otter.txt")
        desk.run()
        yield desk


@pytest.mark.parametrize("words", ["help", "--help", *(f"{name} --help" for name in COMMANDS if name != "sandbox")])
def test_help_loads_only_what_it_shows(words: str) -> None:
    """A command loads what it works with when it is called; only the sandbox's help has to load its server's faults."""
    needless = HEAVY & loaded(*words.split())
    assert not needless


@pytest.mark.parametrize(
    "words",
    [
        *(["status"], ["jobs"], ["job", "notes"], ["files"], ["pairs"], ["pairs", "--search", "otter"], ["events"]),
        *(["stats"], ["sql", "select 1"], ["export", "--format", "openai"]),
    ],
    ids=" ".join,
)
def test_what_reads_loads_nothing_that_writes(words: list[str], desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's writer, the planner and the server's client took half of the time of each listing."""
    monkeypatch.chdir(desk.place.root)
    needless = OF_THE_DAEMON & loaded("--config", str(desk.config), *words)
    assert not needless


@pytest.mark.parametrize("words", ["--help", "status", "jobs", "job notes", "files", "pairs", "events"])
def test_a_listing_loads_nothing_that_was_not_asked_for(words: str, desk: Desk) -> None:
    """Each of these took a millisecond or two, and together a tenth of what people waited for."""
    needless = SELDOM & loaded("--config", str(desk.config), *words.split())
    assert not needless


def test_why_plans_only_for_what_waits(desk: Desk) -> None:
    """Of a path the folder's own rules tell what it is; what was learned waits for nothing."""
    (path,) = (file["path"] for file in desk("files", "--json").json)
    needless = OF_THE_DAEMON & loaded("--config", str(desk.config), "why", path)
    assert not needless


def test_why_of_nothing_reads_and_moves_no_file(desk: Desk) -> None:
    """To hash what lies somewhere, and to rename it, takes two libraries of C, which take their time to load."""
    path = desk.place.notes / "never.txt"
    needless = (OF_THE_DAEMON | SELDOM | {"ctypes", "hashlib"}) & loaded("--config", str(desk.config), "why", str(path))
    assert not needless


@pytest.mark.parametrize("words", [["--help"], ["status"]], ids=" ".join)
def test_click_is_loaded_without_what_it_hardly_uses(words: list[str], desk: Desk) -> None:
    """Python's parser, which `inspect` loads, is a fifth of what they load; they say what they say with it, too."""
    process = [sys.executable, "-X", "importtime", "-m", "finetuned", "--config", str(desk.config), *words]
    done = subprocess.run(process, capture_output=True, text=True, check=False, env=without_coverage())
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "click.core" in modules
    assert not {"ast", "inspect"} & modules
    code = (
        f"import inspect, uuid; from finetuned.cli.main import main; main({['--config', str(desk.config), *words]!r})"
    )
    whole = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=without_coverage()
    )
    assert (done.returncode, done.stdout) == (whole.returncode, whole.stdout)
    assert done.stdout
