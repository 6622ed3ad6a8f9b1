"""Who may ask the daemon of another user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from finetuned.daemon.requests import Request, leave_request, requests_folder
from support.people import GROUP, only_root


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
