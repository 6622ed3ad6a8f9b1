"""Files of our own by which a folder is tried: hidden, so that no sweep, watch or claim heeds them."""

from __future__ import annotations

import os
import re
from typing import Final

#: how the names of probes begin
_PROBE: Final = ".finetuned-probe"
#: the one probe of the daemon: should a kill leave it behind, the next one takes it away
OWN: Final = f"{_PROBE}.part"
#: a name that a daemon tells of when it sees it
_CANARY: Final = re.compile(r"finetuned-canary-[0-9a-f]{12}")


def is_probe(path: str) -> bool:
    """Tell whether a file or folder is one of our probes."""
    return path.rpartition("/")[2].startswith(_PROBE)


def fresh_probe() -> str:
    """Name a probe that disturbs no other, nor the daemon's."""
    return f"{_PROBE}-{os.urandom(6).hex()}.part"


def fresh_canary() -> str:
    """Make the id of a canary; behind a dot it is its name."""
    return f"finetuned-canary-{os.urandom(6).hex()}"


def canary_of(name: str) -> str | None:
    """Return the id of a canary by its name; None if it is none."""
    return name[1:] if name.startswith(".finetuned-canary-") and _CANARY.fullmatch(name[1:]) else None


def make_probe(name: str, folder: int) -> int:
    """Make an empty probe in the open `folder`; return its descriptor, to write to. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.open(name, flags if name == OWN else flags | os.O_EXCL, 0o600, dir_fd=folder)
