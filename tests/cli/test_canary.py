"""`doctor --canary`, and what else an on-call person asks `doctor`: disks, the clock, backups."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.cli import folder_checks
from finetuned.cli.output import Row
from finetuned.runtime import SystemRuntime
from finetuned.times import iso
from service.conftest import a_home, sandbox
from support import disks
from support.cli import Desk, MakeDesk
from support.process import PATIENCE, Home, environment, wait_for

__all__ = ["a_home", "sandbox"]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_checks, "EVENTS_WITHIN", 0.05)


def told(desk: Desk, subject: str, *words: str) -> list[Row]:
    """What doctor finds about one thing."""
    return [row for row in desk("doctor", *words, "--json").json if row["subject"] == subject]


def canaries(rows: list[Row]) -> list[Row]:
    """What is said of canaries."""
    return [row for row in rows if "canary" in row["words"]]


class TestCanary:
    """A file that only tells that it was seen."""

    def test_events_arrive(self, a_home: Callable[..., Home]) -> None:
        """The real daemon sees it long before its next sweep; nothing is left in the folder, nothing is sent."""
        home = a_home()
        home.config.write_text(home.config.read_text().replace('sweep = "500ms"', 'sweep = "20s"'))
        home.start()
        wait_for(home.is_watched, "daemon at work")
        (found,) = canaries(home.rows("doctor", "--canary"))
        assert (found["subject"], found["level"]) == ("folder notes", "ok")
        assert "after it was dropped, by an event; nothing was sent to the server" in found["words"]
        assert sorted(os.listdir(home.notes)) == []
        assert home.sessions_on_server() == 0
        assert home.states() == {}
        events = [event for event in home.rows("events") if event["cause"] == "canary"]
        assert [(e["subject"], e["became"], e["detail"]) for e in events] == [
            ("daemon", "done", "a canary was seen in notes")
        ] * 2

    def test_only_sweeps_see_it(self, a_home: Callable[..., Home]) -> None:
        """Where no event tells (here: the user has no watches left) it is seen, and said to be by a sweep."""
        home = a_home()
        home.config.write_text(home.config.read_text().replace('sweep = "500ms"', 'sweep = "3s"'))
        _, within = disks.limited("max_inotify_instances", 0)
        command = [*within, sys.executable, "-m", "finetuned", "--config", str(home.config), "run"]
        daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        try:
            wait_for(home.is_watched, "daemon at work")
            (found,) = canaries(home.rows("doctor", "--canary"))
        finally:
            daemon.terminate()
            assert daemon.wait(PATIENCE) == 0
        assert found["level"] == "warning"
        assert "after it was dropped, by a sweep: no event told it; nothing was sent to the server" in found["words"]

    def test_a_daemon_that_does_not_see_it_is_a_problem(
        self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that hangs, say: here only its lock is there."""
        desk = make_desk()
        desk.config.write_text(f'{desk.config.read_text()}[watch]\nsweep = "100ms"\n')
        desk.run()
        monkeypatch.setattr("finetuned.cli.canary.SLACK", 0.2)
        with desk.daemon():
            (found,) = canaries(told(desk, "folder notes", "--canary"))
        assert found["level"] == "problem"
        assert found["words"].startswith("the daemon did not see a canary that was dropped there within ")
        assert [name for name in os.listdir(desk.place.notes) if "canary" in name] == []

    def test_without_a_daemon_none_is_dropped(self, make_desk: MakeDesk) -> None:
        """It says so."""
        desk = make_desk()
        desk.run()
        (found,) = canaries(told(desk, "folder notes", "--canary"))
        assert (found["level"], found["remedy"]) == ("warning", "start the daemon first")
        assert canaries(told(desk, "folder notes")) == []


class TestMachine:
    """Disks, clock, log, backups."""

    def test_room_is_told_once_a_disk(self, make_desk: MakeDesk) -> None:
        """The ledger's and the folders' disk are one here."""
        desk = make_desk(folder=[{}, {}])
        desk.run()
        (found,) = told(desk, "disk")
        assert found["level"] == "ok"
        assert found["words"].endswith(f"left where {os.path.dirname(desk.place.ledger_path)} lies")

    @pytest.mark.parametrize(
        ("size", "words"), [("32m", "only 3"), ("1g,nr_inodes=500", " more files can be made where ")]
    )
    def test_little_room_is_a_warning(self, make_desk: MakeDesk, tmp_path: Path, size: str, words: str) -> None:
        """Before it is none: in bytes, and in files."""
        with disks.small_disk(tmp_path / "desk0" / "state", size):
            desk = make_desk()
            desk.run()
            (found, other) = told(desk, "disk")
        assert (found["level"], other["level"]) == ("warning", "ok")
        assert words in found["words"]

    def test_a_clock_that_was_set_back_is_told(self, make_desk: MakeDesk) -> None:
        """By what happened last, as far as it lies ahead."""
        desk = make_desk()
        desk.to_the_present()
        desk.run()
        assert told(desk, "clock") == []
        desk.write("update events set at = ?", iso(SystemRuntime().now() + 7300))
        (found,) = told(desk, "clock")
        assert found["level"] == "warning"
        assert ", which is 2h 01m ahead" in found["words"]

    def test_the_age_of_the_newest_backup(self, make_desk: MakeDesk) -> None:
        """Where the nightly timer puts them; nothing is said where there is no such place."""
        desk = make_desk()
        desk.run()
        assert told(desk, "backups") == []
        folder = Path(desk.place.ledger_path).parent / "backups"
        folder.mkdir()
        (found,) = told(desk, "backups")
        assert (found["level"], found["words"]) == ("warning", f"there is none in {folder}")
        for name, age in (("ledger-1.db", 9), ("ledger-2.db", 3)):
            assert desk("backup", str(folder / name)).code == 0
            at = SystemRuntime().now() - age * 86400
            os.utime(folder / name, (at, at))
        (found,) = told(desk, "backups")
        assert (found["level"], found["words"]) == (
            "warning",
            f"the newest in {folder} is ledger-2.db, 3d 00h old",
        )
        assert desk("backup", str(folder / "ledger-3.db")).code == 0
        (found,) = told(desk, "backups")
        assert found["level"] == "ok"

    def test_what_a_killed_backup_left_beside_the_others(self, make_desk: MakeDesk) -> None:
        """It is named with the command that removes it."""
        desk = make_desk()
        desk.run()
        folder = Path(desk.place.ledger_path).parent / "backups"
        folder.mkdir()
        assert desk("backup", str(folder / "ledger-1.db")).code == 0
        part = folder / ".ledger-0.db.0123456789ab.part"
        part.touch()
        broken, newest = told(desk, "backups")
        assert (broken["level"], newest["level"]) == ("warning", "ok")
        assert "1 backup" in broken["words"]
        assert broken["remedy"] == f"rm {part}*"

    def test_a_log_that_is_not_folded_in_is_told(self, make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
        """Somebody reads for long."""
        monkeypatch.setattr("finetuned.cli.machine_checks.LONG_LOG", 1000)
        desk = make_desk()
        desk.run()
        with desk.ledger(), closing(sqlite3.connect(desk.place.ledger_path)) as db:
            db.execute("update daemon set version = 'x'")
            db.commit()
            found = [row for row in told(desk, "ledger") if "its log has grown to" in row["words"]]
        assert [row["level"] for row in found] == ["warning"]
