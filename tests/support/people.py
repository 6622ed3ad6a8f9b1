"""Several people at one folder: this process is one of them for a while, and root has laid its rights down."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: the daemon's user, somebody who drops files, and the group they share
DAEMON = 61_001
DROPPER = 61_002
GROUP = 61_000


def only_root() -> None:
    """Skip a test for whoever can't act for several users."""
    if os.geteuid() != 0:
        pytest.skip("only root can act for several users")


@contextmanager
def acting_as(uid: int, *groups: int, umask: int = 0o022) -> Iterator[None]:
    """Be this user, in the shared group and these."""
    was, before = os.getgroups(), os.umask(umask)
    os.setgroups([GROUP, *groups])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(was)
        os.umask(before)


@contextmanager
def shared_place(mode: int = 0o2770) -> Iterator[Path]:
    """A directory of the daemon's with `notes` in it: root's, of the shared group."""
    only_root()
    with tempfile.TemporaryDirectory() as top:
        os.chown(top, DAEMON, GROUP)
        os.chmod(top, 0o755)  # noqa: S103 - both users must come through
        notes = Path(top, "notes")
        notes.mkdir()
        os.chown(notes, 0, GROUP)
        os.chmod(notes, mode)
        yield Path(top)
