"""From one release to the next on a real machine: 0.1.0 as it was installed then, and this version laid over it."""

from __future__ import annotations

import io
import re
import signal
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from finetuned.ledger.audit import audit
from finetuned.ledger.queries import Reader
from finetuned.ledger.schema import SCHEMA_VERSION
from finetuned.sandbox import DEFAULT_KEY
from support.box import CHECKOUT, Box
from support.installed import CONFIG, PROGRAM, UNITS, blocks, follow
from support.process import Sandbox, wait_for

#: the commit that is 0.1.0
RELEASE: Final = "dfd793f"
OLDER: Final = "/opt/older"
NOTES: Final = "/srv/finetuned/notes"
TEXT: Final = "The {} is a mammal. It lives outside, and eats nine fish a day."


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sandbox]:
    """A server that is slow enough for a job to be seen while it runs."""
    running = Sandbox(tmp_path, speed=4)
    yield running
    running.close()


def install_release(machine: Box, url: str) -> None:
    """Install 0.1.0 of git's history as its own unit tells, and start the service."""
    words = ["git", "-C", str(CHECKOUT), "archive", "--format=tar", RELEASE]
    archive = subprocess.run(words, capture_output=True, check=False)
    if archive.returncode != 0:
        pytest.skip(f"{RELEASE} is not in this checkout's history")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(machine.root / OLDER.lstrip("/"), filter="data")
    machine.run("rm", "-r", "/opt/finetuned")
    follow(machine, "/usr/bin/python3 -m venv /opt/finetuned\n/opt/finetuned/bin/pip install -q .", place=OLDER)
    unit = machine.root / OLDER.lstrip("/") / "systemd/finetuned.service"
    follow(
        machine, "\n".join(re.findall("^#   (.*)$", unit.read_text("utf-8"), re.MULTILINE)), place=f"{OLDER}/systemd"
    )
    config = machine.root / CONFIG.lstrip("/")
    text = config.read_text("utf-8").replace('#linger = "30s"', 'linger = "0s"')
    config.write_text(re.sub("^url = .*$", f'url = "{url}"', text, flags=re.MULTILINE), "utf-8")
    (machine.root / "etc/finetuned/helix-api-key").write_text(DEFAULT_KEY, "utf-8")
    machine.run("usermod", "-aG", "finetuned", "ann")
    machine.run("systemctl", "restart", "finetuned")


def said(machine: Box, *words: str) -> str:
    """What a command of the installed version answers a member of the group."""
    return machine.run(PROGRAM, *words, user="ann", check=False)


def drop(machine: Box, name: str) -> None:
    """Have a member of the group drop a file."""
    line = f"echo '{TEXT.format(name)}' > .part && mv .part {name}.txt"
    machine.run("sh", "-c", f"cd {NOTES} && {line}", user="ann")


def learned(machine: Box, name: str) -> None:
    """Wait until the file is learned."""
    wait_for(lambda: "learned" in said(machine, "why", f"{NOTES}/{name}.txt"), f"learned {name}")


def journal(machine: Box) -> str:
    """What the service, and systemd of it, said."""
    return machine.run("journalctl", "--output=cat", "--unit=finetuned")


def schema_of(path: Path) -> int:
    """The number of a ledger's schema."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return int(db.execute("pragma user_version").fetchone()[0])


def test_an_upgrade_of_what_was_installed_and_the_way_back(machine: Box, server: Sandbox, tmp_path: Path) -> None:
    """The job under way goes on, nothing is sent twice; 0.1.0 refuses the new ledger, and works on with the copy."""
    upgrade, back = blocks()["Upgrade, and the way back"]
    ledger, copy = machine.state / "ledger.db", machine.state / "ledger.db.v5.backup"

    def sessions() -> list[Path]:
        return list((tmp_path / "sandbox/sessions").iterdir())

    install_release(machine, server.url)
    assert said(machine, "--version").strip().endswith("0.1.0")
    for name in ("otter", "heron"):
        drop(machine, name)
        learned(machine, name)
    drop(machine, "stone")
    wait_for(lambda: "running" in said(machine, "jobs"), "job under way")
    server.signal(signal.SIGSTOP)

    follow(machine, upgrade)
    assert said(machine, "--version").strip().endswith("0.2.0")
    assert f"{copy.name}" in journal(machine)
    assert (schema_of(copy), schema_of(ledger)) == (5, SCHEMA_VERSION)
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as db:
        assert [state for (state,) in db.execute("select state from jobs order by id")] == ["done", "done", "running"]
    server.signal(signal.SIGCONT)
    learned(machine, "stone")
    assert len(sessions()) == 3
    with Reader.open(str(ledger)) as reader:
        assert audit(reader.connection) == []

    drop_in = machine.root / f"{UNITS}/finetuned.service.d/older.conf".lstrip("/")
    drop_in.parent.mkdir()
    drop_in.write_text(f"[Service]\nEnvironment=PYTHONPATH={OLDER}/daemon\n", "utf-8")
    follow(machine, "systemctl daemon-reload\nsystemctl restart --no-block finetuned")
    wait_for(lambda: "was written by a newer finetuned" in journal(machine), "refusal")
    follow(machine, "systemctl stop finetuned")
    assert schema_of(ledger) == SCHEMA_VERSION
    drop_in.unlink()

    follow(machine, back, place=OLDER)
    assert said(machine, "--version").strip().endswith("0.1.0")
    learned(machine, "stone")
    drop(machine, "hare")
    learned(machine, "hare")
    assert len(sessions()) == 4
    assert "Traceback" not in journal(machine)
