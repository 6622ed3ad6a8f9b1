"""`completion`: what a shell offers, asked as Click's script asks, and in the shells that this machine has."""

from __future__ import annotations

import io
import os
import pty
import select
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from finetuned.cli.main import cli
from support.cli import Desk, MakeDesk, call
from support.process import environment, wait_for


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """A desk with two folders and a job."""
    desk = make_desk(folder=[{}, {}])
    desk.place.drop("otter.txt")
    desk.run()
    return desk


def offered(line: str) -> list[str]:
    """What the last word of a line may become, as Click asks for it."""
    *before, last = line.split(" ")
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
        found = BashComplete(cli, {}, "finetuned", "_FINETUNED_COMPLETE").get_completions(before[1:], last)
    assert out.getvalue() == ""
    return [item.value for item in found]


def test_ids_states_folders_topics_and_files(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each word is completed by what it can be, whatever stands before it."""
    job = desk.place.jobs()[0]["id"]
    monkeypatch.setenv("FINETUNED_CONFIG", str(desk.config))
    for before in ("job", "cancel", "review", "retry", "why", "files --job", "events --follow --job", "chat hi --job"):
        assert offered(f"finetuned {before} {job[:9]}") == [job], before
    assert offered(f"finetuned cancel {job} n") == []
    assert set(offered("finetuned jobs --state do")) == {"done", "doubtful"}
    assert offered("finetuned files --state done,le") == ["done,learned"]
    assert offered("finetuned jobs --state done,do") == ["done,doubtful"]
    for before in ("jobs --folder", "pause", "flush", "drop x --folder", "stats --folder"):
        assert offered(f"finetuned {before} notes") == ["notes", "notes1"], before
    assert offered("finetuned help trou") == ["troubleshooting"]
    assert offered("finetuned even") == ["events"]
    assert offered("finetuned jobs --sort fi") == ["finished", "files"]
    for before in ("why", "files", "pairs --file", "drop", "backup", "--config"):
        assert offered(f"finetuned {before} /tm") == ["/tm"], before


def test_the_configuration_of_the_line_is_asked(desk: Desk) -> None:
    """As the command will; what cannot be read offers nothing, and says nothing."""
    job = desk.place.jobs()[0]["id"]
    assert offered(f"finetuned --config {desk.config} job no") == [job]
    assert offered("finetuned --config /nothing job no") == []
    Path(desk.place.ledger_path).write_bytes(b"no ledger" * 999)
    assert offered(f"finetuned --config {desk.config} job no") == []
    assert offered(f"finetuned --config {desk.config} pause no") == ["notes", "notes1"]


def test_a_shell_that_is_not_known() -> None:
    """The three that are stand in the answer."""
    answer = call("completion", "tcsh")
    assert (answer.code, all(shell in answer.err for shell in ("bash", "zsh", "fish"))) == (2, True)


def _finetuned(desk: Desk) -> dict[str, str]:
    """An environment in which `finetuned` is this one, with the desk's configuration."""
    here = Path(sys.executable).parent
    own = {name: value for name, value in environment().items() if not name.startswith("COVERAGE")}
    return own | {"PATH": f"{here}:{os.environ['PATH']}", "FINETUNED_CONFIG": str(desk.config)}


def _by_bash(env: dict[str, str], typed: str) -> str:
    script = (
        'eval "$(finetuned completion bash)"; complete -p finetuned >&2; '
        f"COMP_WORDS=({typed}); COMP_CWORD=2; _finetuned_completion finetuned; echo ${{COMPREPLY[@]}}"
    )
    said = subprocess.run(["bash", "--norc", "-c", script], env=env, capture_output=True, text=True, check=True)
    assert "-F _finetuned_completion finetuned" in said.stderr
    return said.stdout


def _by_fish(env: dict[str, str], typed: str) -> str:
    script = f"finetuned completion fish | source; complete -C '{typed}'"
    return subprocess.run(["fish", "-c", script], env=env, capture_output=True, text=True, check=True).stdout


def _by_zsh(env: dict[str, str], typed: str) -> str:
    """Type on a terminal, with a tab at the end; zsh completes nowhere else."""
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=theirs, stdout=theirs, stderr=theirs, env=env | {"TERM": "xterm"},
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        told = ""

        def tells(words: str) -> bool:
            nonlocal told
            if select.select([mine], [], [], 0)[0]:
                told += os.read(mine, 65536).decode("utf-8", "replace")
            return words in told

        try:
            os.write(mine, b"autoload -Uz compinit; compinit -u -D; ")
            os.write(mine, b"eval \"$(finetuned completion zsh)\"; echo re'ad'y\n")
            wait_for(lambda: tells("\nready"), "zsh")
            told = ""
            os.write(mine, f"{typed}\t".encode())
            wait_for(lambda: tells(" \x08") or tells("\x07") or len(told) > len(typed) + 4, "an answer")
        finally:
            process.kill()
    os.close(mine)
    return told.replace(typed, typed.rsplit(maxsplit=1)[-1], 1)


SHELLS = {"bash": _by_bash, "fish": _by_fish, "zsh": _by_zsh}


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
def test_a_real_shell_completes_an_id(desk: Desk, shell: str) -> None:
    """By the line that the help says, in each shell that this machine has."""
    job = desk.place.jobs()[0]["id"]
    assert job in SHELLS[shell](_finetuned(desk), f"finetuned job {job[:9]}")
