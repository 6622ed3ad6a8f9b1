"""A real disk under the ledger fills up while the real daemon works, or is read-only when it starts."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import disks
from support.process import Home, wait_for

GREY = "The stone number {} is grey. It came from a river."


@pytest.fixture
def home(tmp_path: Path, a_home: Callable[..., Home]) -> Iterator[Home]:
    """A home whose ledger has a small disk for itself."""
    with disks.small_disk(tmp_path / "home" / "state", "16m"):
        made = a_home(folder="max_files = 3")
        yield made
        made.close()


def drop(home: Home, *numbers: int) -> None:
    """Put files into the folder."""
    for n in numbers:
        (home.notes / f"{n}.txt").write_text(GREY.format(n))


def learned(home: Home) -> int:
    """How many files are."""
    return list(home.states().values()).count("learned")


def test_the_daemon_waits_says_so_and_goes_on(home: Home, tmp_path: Path) -> None:
    """Nothing is lost and nothing sent twice; the log, systemd, `status` and `doctor` tell."""
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(tmp_path / "notify"))
    systemd.settimeout(60)
    home.start(NOTIFY_SOCKET=str(tmp_path / "notify"))
    drop(home, 1, 2)
    wait_for(lambda: learned(home) == 2, "two learned files")
    with disks.full(home.ledger.parent):
        drop(home, *range(3, 30))
        wait_for(lambda: b"ledger_stuck" in home.log.read_bytes(), "word of it in the log")
        while not systemd.recv(1000).startswith(b"STATUS=nothing new is begun: the ledger"):
            pass
        systemd.close()  # who does not read would hold up who tells
        status = home.finetuned("status", "--json")
        assert status.returncode == 1
        assert "full" in json.loads(status.stdout)["ledger"]["stuck_because"]
        assert "nothing new is begun" in home.finetuned("status").stdout
        doctor = home.finetuned("doctor")
        assert doctor.returncode == 1
        assert "its disk is full" in doctor.stdout
        why = json.loads(home.finetuned("why", str(home.notes / "29.txt"), "--json", check=True).stdout)
        assert "begins nothing new" in (why["waits_for"] or "") or why["state"] in {"unknown", "learned"}
        assert home.still_runs()
    wait_for(lambda: learned(home) == 29, "the others, learned")
    assert home.stop() == 0
    home.audit()
    assert home.sessions_on_server() == len(home.jobs())
    assert {job["attempt"] for job in home.jobs()} == {1}
    assert "going_on" in home.finetuned("events").stdout
    assert json.loads(home.finetuned("status", "--json").stdout)["ledger"]["stuck_because"] is None


def test_a_start_on_such_a_disk_is_one_clear_line(home: Home) -> None:
    """There is nothing to go on with yet: it ends, and says what to do."""
    with disks.full(home.ledger.parent):
        ended = home.finetuned("run", "--until-idle")
        assert ended.returncode == 1
        assert "to do: free some space on its disk" in ended.stderr
        assert "mv " not in ended.stderr
    assert home.finetuned("run", "--until-idle").returncode == 0
    with disks.read_only(home.ledger.parent):
        ended = home.finetuned("run", "--until-idle")
        assert ended.returncode == 1
        assert "to do: mount its disk writable" in ended.stderr
    home.audit()
