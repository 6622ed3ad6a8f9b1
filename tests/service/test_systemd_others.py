"""More than one service at a machine, the ledger of an older release, and copies of a ledger."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from finetuned.ledger.audit import audit
from finetuned.ledger.queries import Reader
from finetuned.ledger.schema import SCHEMA_VERSION
from support.box import Box
from support.installed import MEMBER, STRANGER, UNITS, Service
from support.older import ARCHIVES, FORMERLY, OlderLedger
from support.process import Sandbox, wait_for

AService = Callable[..., Service]
OTTER = "The otter is a mammal. It eats nine fish a day."
STONE = "The stone is grey. It came from a river."


def test_two_instances_know_nothing_of_each_other(a_service: AService) -> None:
    """Each has its configuration, key, folder and ledger; one that is stopped leaves the other at work."""
    single, work = a_service(), a_service(name="work")
    for service in (single, work):
        service.systemctl("start")
    work.drop("otter.txt", OTTER)
    work.learns(["otter.txt"])
    assert single.states() == {}
    single.systemctl("stop")
    work.drop("stone.txt", STONE)
    work.learns(["otter.txt", "stone.txt"])
    assert "otter.txt" in work.finetuned("files")


def test_an_instance_with_the_folders_of_another_is_refused(a_service: AService) -> None:
    """Two ledgers never share a folder: the second tries in vain, and says who is in the way."""
    single, work = a_service(), a_service(name="work")
    single.systemctl("start")
    work.write(work.config, work.inside(work.config).read_text("utf-8").replace(work.notes, single.notes))
    work.systemctl("start", check=False)
    wait_for(lambda: "another finetuned" in work.said(), "words about the other")
    assert work.show("ExecMainStatus") == "75"


@pytest.fixture
def older(a_service: AService, box: Box, tmp_path: Path) -> tuple[Service, OlderLedger]:
    """A service whose ledger and folder are those of 0.1.0, killed while a job ran; the server has its session."""
    archive = next(path for path in ARCHIVES if path.name.startswith("running."))
    left = OlderLedger(archive, tmp_path / "left")
    server = Sandbox(tmp_path / "left")
    service = a_service(server)
    left.move(FORMERLY[1], server.url)
    left.move(FORMERLY[0], "/srv/finetuned")
    shutil.copytree(tmp_path / "left/notes", service.inside(service.notes), dirs_exist_ok=True)
    shutil.copytree(tmp_path / "left/state", box.state, dirs_exist_ok=True)
    box.run("chown", "-R", "finetuned:finetuned", service.notes, service.state)
    yield service, left
    server.close()


def test_an_upgrade_in_place(older: tuple[Service, OlderLedger]) -> None:
    """The new version starts, keeps a copy of the ledger as it was, brings it up to date, and ends what was begun."""
    service, left = older
    sessions = service.sessions_on_server()
    service.systemctl("start")
    service.learns(name for name, *_ in left.end["files"])
    assert service.sessions_on_server() == sessions
    (told,) = service.journal("FINETUNED_EVENT=ledger_upgraded")
    backup = service.box.state / Path(told["FINETUNED_BACKUP"]).name
    with closing(sqlite3.connect(f"file:{backup}?immutable=1", uri=True)) as copy:
        assert copy.execute("pragma user_version").fetchone()[0] == 5
        assert copy.execute("select state from jobs").fetchone()[0] == "running"


def test_the_way_back_is_refused_with_words(a_service: AService) -> None:
    """A ledger that a newer version wrote is left as it is, and the journal says what to do."""
    service = a_service()
    service.systemctl("start")
    service.systemctl("stop")
    with closing(sqlite3.connect(service.box.state / "ledger.db")) as newer:
        newer.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    service.systemctl("start", check=False)
    assert "newer" in service.said()
    service.systemctl("stop")
    with closing(sqlite3.connect(service.box.state / "ledger.db")) as newer:
        assert newer.execute("pragma user_version").fetchone()[0] == SCHEMA_VERSION + 1
        newer.execute(f"pragma user_version = {SCHEMA_VERSION}")


def test_the_timer_copies_the_ledger_while_the_daemon_works(a_service: AService) -> None:
    """The copy is whole, for the group to read, and has what was learned; the service itself may do nothing else."""
    service = a_service()
    service.systemctl("start")
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])
    at_once = "[Timer]\nOnCalendar=\nRandomizedDelaySec=0\nOnActiveSec=0\n"
    service.write(f"{UNITS}/finetuned-backup.timer.d/now.conf", at_once)
    service.box.run("systemctl", "daemon-reload")
    service.box.run("systemctl", "start", "finetuned-backup.timer")
    backups = service.box.state / "backups"
    (copy,) = wait_for(lambda: backups.exists() and list(backups.glob("ledger-*.db")), "copy")
    service.box.run("systemctl", "stop", "finetuned-backup.timer")
    service.box.run("rm", "-r", f"{UNITS}/finetuned-backup.timer.d")
    with Reader.open(str(copy)) as reader:
        assert audit(reader.connection) == []
        assert [row["state"] for row in reader.files()] == ["learned"]
    service.box.run("test", "-r", f"{service.state}/backups/{copy.name}", user=MEMBER)
    assert "Permission denied" in service.box.run("ls", f"{service.state}/backups", user=STRANGER, check=False)
    wait_for(
        lambda: service.box.run("systemctl", "is-active", "finetuned-backup", check=False) == "inactive\n", "its end"
    )
    assert service.box.run("systemctl", "show", "-P", "Result", "finetuned-backup") == "success\n"


def test_root_lays_a_copy_in_the_ledgers_place(a_service: AService) -> None:
    """The daemon, another user, goes on with it."""
    service = a_service()
    service.systemctl("start")
    service.drop("otter.txt", OTTER)
    service.learns(["otter.txt"])
    copy = f"{service.state}/copy.db"
    service.finetuned("backup", copy, user="finetuned")
    service.drop("stone.txt", STONE)
    service.learns(["otter.txt", "stone.txt"])
    assert "holds" in service.finetuned("restore", copy, user="root", check=False)
    service.systemctl("stop")
    service.finetuned("restore", copy, user="root")
    service.systemctl("start")
    wait_for(lambda: list(service.states()) == ["otter.txt"], "restored ledger")
