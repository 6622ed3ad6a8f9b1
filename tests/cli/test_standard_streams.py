"""Standard output that takes nothing: whoever asked hears of it, whatever the command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.cli import Desk


@pytest.fixture(scope="module")
def desk(lasting_desk: Desk) -> Desk:
    """A desk with a file that was learned."""
    lasting_desk.place.drop("fox.txt", "Foxes are red. They run.")
    lasting_desk.run()
    return lasting_desk


def shell(desk: Desk, redirected: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, as a shell starts it."""
    command = [sys.executable, "-m", "finetuned", "--config", str(desk.config), *words]
    line = ["/bin/sh", "-c", f'exec "$@" {redirected}', "sh", *command]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "words",
    [
        ["jobs"],
        ["pairs", "--jsonl"],
        ["files", "--csv"],
        ["export", "--format", "openai"],
        ["export", "--format", "parquet"],
        ["sql", "select 1"],
        ["help"],
        ["--version"],
        ["sandbox", "--port", "0"],
        ["browse", "--port", "0"],
    ],
    ids=" ".join,
)
def test_closed_standard_output_is_an_error(desk: Desk, words: list[str]) -> None:
    """Nothing was written: no script may take that for an empty list."""
    ended = shell(desk, ">&-", *words)
    assert (ended.returncode, ended.stderr) == (1, "finetuned: standard output: Bad file descriptor\n")


def test_a_full_disk_behind_standard_output_is_an_error(desk: Desk) -> None:
    """It is found out when the last of it is written."""
    ended = shell(desk, ">/dev/full", "jobs", "--json")
    assert (ended.returncode, ended.stderr) == (1, "finetuned: standard output: No space left on device\n")


def test_what_says_nothing_needs_no_standard_output(desk: Desk) -> None:
    """An empty table is told on standard error, which may be closed: what is said there is for people alone."""
    assert shell(desk, ">&-", "jobs", "--state", "failed").returncode == 0
    assert shell(desk, ">&- 2>&-", "jobs", "--state", "failed").returncode == 0
    assert shell(desk, "2>&-", "export", "--format", "csv").returncode == 0
