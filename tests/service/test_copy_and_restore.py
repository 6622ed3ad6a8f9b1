"""What the reference says about copying and restoring the ledger, each line tried."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from support.process import Home, wait_for

PAGE = Path(__file__).parents[2] / "daemon/finetuned/docs/reference.md"


def lines(title: str) -> list[str]:
    """The commands below a title of the page."""
    section = PAGE.read_text("utf-8").split(f"\n### {title}\n")[1].split("\n### ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return block.strip().split("\n")


def states_in(copy: Path) -> list[str]:
    """What became of the jobs, as a copy knows it."""
    with closing(sqlite3.connect(f"file:{copy}?immutable=1", uri=True)) as db:
        return [row[0] for row in db.execute("select state from jobs")]


def test_every_line_of_the_page(a_home: Callable[..., Home]) -> None:
    """Each copy has the job in it while the daemon runs; restored after a kill, the ledger is whole and as it was."""
    home = a_home()
    (home.root / ".finetuned").symlink_to(home.ledger.parent)
    home.start()
    wait_for(home.is_watched, "daemon at work")
    home.drop("stone.txt", "The stone is grey. It came from a river.")
    home.ended()
    for line in lines("Copy it by hand"):
        subprocess.run(["/bin/sh", "-c", line], cwd=home.root, check=True)
    copies = [home.root / name for name in ("copy.db", "compact.db", "same.db")]
    assert [states_in(copy) for copy in copies] == [["done"]] * 3
    home.drop("otter.txt", "The otter swims. It eats nine fish a day.")
    home.ended(2)
    home.kill()
    for line in lines("Restore it by hand"):
        subprocess.run(["/bin/sh", "-c", line], cwd=home.root, check=True)
    home.start("--until-idle")
    assert home.wait() == 0
    assert home.states() == {"stone.txt": "learned"}
    home.audit()


def test_a_backup_while_it_runs_and_the_way_back(a_home: Callable[..., Home], tmp_path: Path) -> None:
    """The real daemon at work, killed; restored it goes on, and what it learned since is not sent again."""
    home = a_home()
    home.start()
    wait_for(home.is_watched, "daemon at work")
    home.drop("stone.txt", "The stone is grey. It came from a river.")
    home.ended()
    backup = tmp_path / "backup.db"
    assert home.finetuned("backup", str(backup)).returncode == 0
    assert states_in(backup) == ["done"]
    home.drop("otter.txt", "The otter swims. It eats nine fish a day.")
    home.ended(2)
    refused = home.finetuned("restore", str(backup))
    assert (refused.returncode, refused.stdout) == (75, "")
    home.kill()
    assert home.finetuned("restore", str(backup)).returncode == 0
    home.start("--until-idle")
    assert home.wait() == 0
    assert home.states() == {"stone.txt": "learned"}
    assert home.sessions_on_server() == 2
    home.audit()


def test_a_copy_laid_over_it_after_a_kill_is_refused_with_the_commands_that_help(a_home: Callable[..., Home]) -> None:
    """The real daemon, a real kill, `cp`: nothing is undone in silence; what the words say to do works."""
    home = a_home()
    home.start()
    wait_for(home.is_watched, "daemon at work")
    home.drop("stone.txt", "The stone is grey. It came from a river.")
    home.ended()
    copy = home.root / "copy.db"
    with closing(sqlite3.connect(home.ledger)) as db, closing(sqlite3.connect(copy)) as to:
        db.backup(to)
    home.drop("otter.txt", "The otter swims. It eats nine fish a day.")
    home.ended(2)
    home.kill()
    subprocess.run(["cp", copy, home.ledger], check=True)
    refused = home.finetuned("run", "--until-idle")
    assert refused.returncode == 1
    assert f"{home.ledger}-wal and {home.ledger}-shm" in refused.stderr
    found = re.search(r"(mv .*-wal\.old; rm -f [^ ]*-shm)", refused.stderr)
    assert found
    assert found[1] in home.says("doctor")
    subprocess.run(["/bin/sh", "-c", found[1]], check=True)
    home.start("--until-idle")
    assert home.wait() == 0
    assert home.states() == {"stone.txt": "learned"}
    home.audit()
