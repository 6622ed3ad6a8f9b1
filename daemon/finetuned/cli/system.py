"""`init --system`: make finetuned a systemd service of this machine, step by step.

1. What is so already is left alone, so it may be run again: after a new folder in the configuration, after an upgrade.
2. A file of ours that somebody changed is kept beside the new one (`.old`, an earlier one `.old.~1~`); the
   configuration is never written over.
3. `--dry-run` lists the same steps and does none of them, whoever asks.
4. Where files are learned on this machine the unit has what trainings need (`local.conf`), and else it has not.
5. The unit may write to the folders of the configuration, and to one that left it until its last job has ended.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from finetuned.cli import wiring
from finetuned.cli.terminal import harmless, print_data, say
from finetuned.errors import FinetunedError, LedgerError
from finetuned.model import Value
from finetuned.settings import Settings

CONFIGURATION: Final = "/etc/finetuned/finetuned.toml"
KEY: Final = "/etc/finetuned/helix-api-key"
#: … where the unit has it if the configuration names no other place
LEDGER: Final = "/var/lib/finetuned/ledger.db"
UNITS: Final = "/etc/systemd/system"
USERS: Final = "/etc/sysusers.d/finetuned.conf"
PLACES: Final = "/etc/tmpfiles.d/finetuned.conf"
#: where the shipped folder lies
FIRST: Final = "/srv/finetuned/notes"
#: what the shipped unit may write; other folders need a line of their own in this file
WRITABLE: Final = ("/srv/finetuned", "/var/lib/finetuned")
DROP_IN: Final = f"{UNITS}/finetuned.service.d/folders.conf"
LOCAL: Final = f"{UNITS}/finetuned.service.d/local.conf"
_OURS: Final = "# Written by `finetuned init --system`"
SERVICE: Final = "finetuned.service"
#: where the units think that the program is
SHIPPED_PROGRAM: Final = "/opt/finetuned/bin/finetuned"
#: the oldest systemd whose settings the units use
OLDEST: Final = 252
#: what the unit hides from the daemon
HOMES: Final = ("/home", "/root", "/run/user")
HIDDEN: Final = (*HOMES, "/tmp", "/var/tmp")  # noqa: S108 - they are refused, not used


class Step(Value, frozen=True):
    """One step: `keep` what is there (there is nothing to do), `write` a file, or `run` a command."""

    verb: str
    what: str
    act: Callable[[], None] | None = None


def set_up(*, dry_run: bool) -> None:
    """Do what is needed, or list it. Raises FinetunedError: it cannot be done here, or a step failed."""
    program = _program()
    _check_systemd()
    if not dry_run and os.geteuid() != 0:
        raise FinetunedError(
            "only root can make a system service",
            remedy=f"sudo {shlex.quote(program)} init --system; with --dry-run it only shows what it would do",
        )
    for step in _steps(program):
        for line in step.what.splitlines():
            print_data(f"{step.verb:5} {harmless(line)}")
        if step.act is not None and not dry_run:
            step.act()
    _say_what_next(program, dry_run=dry_run)


def _steps(program: str) -> Iterator[Step]:
    """Give each step once the ones before it are done."""
    yield from _written(USERS, _shipped("finetuned.sysusers").read_text())
    yield _run("systemd-sysusers", USERS)
    yield from _written(PLACES, _shipped("finetuned.tmpfiles").read_text())
    yield _run("systemd-tmpfiles", "--create", PLACES)
    if os.path.exists(CONFIGURATION):
        yield Step(verb="keep", what=CONFIGURATION)
    else:
        yield from _written(CONFIGURATION, _shipped("finetuned.toml").read_text())
    for unit in sorted(_shipped().iterdir(), key=lambda found: found.name):
        if unit.name.endswith((".service", ".timer")):
            yield from _written(f"{UNITS}/{unit.name}", unit.read_text().replace(SHIPPED_PROGRAM, program))
    settings = _settings()
    folders = [rules.path for rules in settings.folders]
    for path in folders:
        if path != FIRST:  # that one is made with the places
            yield from _folder(path)
    ledger = settings.ledger.path or LEDGER
    yield from _for_trainings(settings)
    published = [settings.trainer.publish] if settings.trainer.publish else []
    elsewhere = _elsewhere([*folders, *_busy_in(ledger), os.path.dirname(ledger), *published])
    if elsewhere:
        yield from _written(DROP_IN, _drop_in(elsewhere))
    elif (_read(DROP_IN) or "").startswith(_OURS):
        yield _run("rm", DROP_IN)
    yield _run("systemctl", "daemon-reload")
    yield _run("systemctl", "enable", "--now", SERVICE)


def _for_trainings(settings: Settings) -> Iterator[Step]:
    """Plan what the unit lets trainings do; that goes again where nothing is trained any more."""
    text = _shipped("local.conf").read_text()
    if "local" in settings.services:
        yield from _written(LOCAL, text)
    elif _read(LOCAL) == text:
        yield _run("rm", LOCAL)


def _written(path: str, text: str) -> Iterator[Step]:
    """Plan a file of ours with this text; one of another text is kept beside it."""
    there = _read(path)
    if there == text:
        yield Step(verb="keep", what=path)
        return
    if there is not None:
        yield _run("mv", "--backup=numbered", path, f"{path}.old")

    def write() -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        os.rename(f"{path}.new", path)
        folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(folder)
        os.close(folder)

    yield Step(verb="write", what=path, act=write)


def _read(path: str) -> str | None:
    """Read a file, if it is there."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _folder(path: str) -> Iterator[Step]:
    """Plan a drop folder for the group, as the first one is. One that is there already is somebody's, and stays so.

    In a place that is a person's it is that person's too, as tmpfiles.d wants it, and so without the sticky bit, by
    which only they could move what is theirs.
    """
    if os.path.isdir(path):
        yield Step(verb="keep", what=f"{path} (the user finetuned must be able to write there)")
        return
    above = os.path.dirname(path)
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    owner = os.stat(above).st_uid
    lines = [line.replace(FIRST, _quoted(path)) for line in _lines_of_the_first_folder()]
    if owner != 0:
        lines = [line.replace("3770 finetuned", f"2770 {owner}") for line in lines]
    yield _run("systemd-tmpfiles", "--create", "-", given="".join(lines))


def _lines_of_the_first_folder() -> list[str]:
    text = _shipped("finetuned.tmpfiles").read_text()
    return [line for line in text.splitlines(keepends=True) if f" {FIRST} " in line]


def _elsewhere(paths: Iterable[str]) -> list[str]:
    """Choose the paths that the shipped unit may not write, each once."""
    return [path for path in dict.fromkeys(paths) if not _within(path, WRITABLE)]


def _busy_in(path: str) -> list[str]:
    """List the folders of which the ledger at `path` has work left; none where there is none that can be read."""
    from finetuned.ledger.queries import Reader

    try:
        with Reader.open(path) as reader:
            return reader.busy_folders()
    except LedgerError:
        return []


def _drop_in(paths: Sequence[str]) -> str:
    """Write what lets the unit write to places elsewhere, if they are there. Of homes it sees those places alone."""
    at_home = [path for path in paths if _within(path, HOMES)]
    lines = [f"{_OURS}, which removes it, too: folders outside of /srv/finetuned.", "[Service]"]
    lines += [f"ReadWritePaths={_quoted(f'-{path}')}" for path in paths if path not in at_home]
    if at_home:
        lines += ["ProtectHome=tmpfs", *(f"BindPaths={_quoted(f'-{path}')}" for path in at_home)]
    return "".join(f"{line}\n" for line in lines)


def _quoted(path: str) -> str:
    """Write a path as a word of a unit or of tmpfiles.d. Source: systemd.syntax(7)."""
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'


def _run(*words: str, given: str | None = None) -> Step:
    """Plan a command, with a text on its standard input if one is given."""
    shown = shlex.join(words)
    if given is not None:
        shown += f" <<'END'\n{given}END"

    def act() -> None:
        done = subprocess.run(words, input=given, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            told = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            raise FinetunedError(
                f"`{harmless(shlex.join(words))}` failed: {harmless(told)}",
                remedy="what was done so far stays; mend it, and run `finetuned init --system` again",
            )

    return Step(verb="run", what=shown, act=act)


def _settings() -> Settings:
    """Read the configuration of the service before anything starts with it. Raises ConfigurationError."""
    import tomllib

    from finetuned.settings import parse

    if os.path.exists(CONFIGURATION):
        return wiring.load_file(CONFIGURATION)
    return parse(tomllib.loads(_shipped("finetuned.toml").read_text()), base=os.path.dirname(CONFIGURATION))


def _shipped(name: str = "") -> Traversable:
    """Find a file of `systemd/`: it ships with the package; in a checkout it lies at the top."""
    package = resources.files("finetuned")
    folder = package / "systemd"
    if not folder.is_dir():
        folder = resources.files("finetuned").joinpath("..", "..", "systemd")
    return folder / name if name else folder


def _program() -> str:
    """Find where this program lies, which a service must be able to reach. Raises FinetunedError."""
    program = os.path.join(sys.prefix, "bin", "finetuned")
    for path in (program, os.path.realpath(sys.executable)):
        if _within(path, HIDDEN):
            raise FinetunedError(
                f"{harmless(path)} lies where a service may not look",
                remedy="install it outside homes: /usr/bin/python3 -m venv /opt/finetuned, then "
                "/opt/finetuned/bin/pip install finetuned, then /opt/finetuned/bin/finetuned init --system",
            )
    return program


def _say_what_next(program: str, *, dry_run: bool) -> None:
    if dry_run:
        say("Nothing was changed. Without --dry-run, and as root, this is done.")
        return
    with open(KEY, "rb") as file:
        keyless = not file.read(1)
    ask = f"  systemd-ask-password Key: > {KEY}"
    key = f"{ask}   the server's key (that file is empty)\n" if keyless else ""
    say(
        "Next:\n"
        f"{key}"
        f"  editor {CONFIGURATION}              the server's address, the folders\n"
        "  systemctl restart finetuned                      after a new key or an upgrade\n"
        "  finetuned init --system, and restart it          after a new folder\n"
        "  usermod -aG finetuned NAME                       NAME may drop files, and ask\n"
        f"  {f'{program} status':<47}  what it does"
    )


def _check_systemd() -> None:
    """Raise FinetunedError where there is no systemd, or one that is too old."""
    if shutil.which("systemctl") is None:
        raise FinetunedError("there is no systemd on this machine", remedy="run the daemon by hand: finetuned run")
    told = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout.split()
    version = told[1] if len(told) > 1 else ""
    if version.isdecimal() and int(version) < OLDEST:
        raise FinetunedError(f"systemd {version} is too old for the units", remedy=f"they need {OLDEST} or later")


def _within(path: str, tops: Sequence[str]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)
