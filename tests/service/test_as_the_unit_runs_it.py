"""What the unit forbids costs nobody a right: the group of a folder can mend what failed, and may ask."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from finetuned.daemon.requests import Request, leave_request, requests_folder
from support import restricted
from support.people import GROUP, only_root
from support.process import Home, Sandbox, environment


def test_the_groups_rights_do_not_need_a_set_group_id_bit(tmp_path: Path, sandbox: Sandbox) -> None:
    """Under RestrictSUIDSGID= the bit cannot be set; what it comes with is given all the same."""
    if not restricted.can_be_had():
        pytest.skip("the filter of system calls is written for x86-64")
    only_root()
    home = Home(tmp_path, sandbox.url)
    os.chown(home.notes, 0, GROUP)
    os.chmod(home.notes, 0o2770)  # noqa: S103 - a folder for a group
    (home.notes / "bad.txt").write_bytes(b"caf\xe9")
    (home.notes / "good.txt").write_text("The otter is a mammal. It eats fish.")
    words = [sys.executable, "-m", "support.restricted", "--config", str(home.config), "run", "--until-idle"]
    own = environment(PYTHONPATH=str(Path(__file__).parents[1]))
    done = subprocess.run(words, env=own, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, home.states()) == (0, {"bad.txt": "refused", "good.txt": "learned"}), done.stderr
    assert "requests_stuck" not in done.stderr
    for made in (home.notes / "failed", home.notes / "failed" / "refused", home.notes / "done"):
        found = made.stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode) & 0o070) == (GROUP, 0o070), made
    requests = Path(requests_folder(str(home.ledger)))
    assert stat.S_IMODE(requests.stat().st_mode) & 0o070 == 0o070


def test_a_request_can_be_read_by_the_folders_group(tmp_path: Path) -> None:
    """Whoever asks belongs to that group; the daemon may be another user of it."""
    only_root()
    ledger = str(tmp_path / "ledger.db")
    folder = Path(requests_folder(ledger))
    folder.mkdir()
    os.chown(folder, 0, GROUP)
    leave_request(ledger, Request(id="f", verb="flush"), "1")
    (left,) = folder.iterdir()
    assert (left.stat().st_gid, stat.S_IMODE(left.stat().st_mode)) == (GROUP, 0o640)
