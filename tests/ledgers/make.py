"""`PYTHONPATH=CHECKOUT/tests VENV/bin/python tests/ledgers/make.py OUT [CASE…]`: ledgers of an older release.

CHECKOUT is a checkout of that release and VENV an environment with it (`VENV/bin/pip install 'CHECKOUT[dev]'`), OUT a
folder for its ledgers, such as `tests/ledgers/v5`. Real daemons of that release work with its own stand-in server below
`/srv/stones`, which must not be there: it is made, and removed. It also needs the ports 18585 and 18586, and takes
five minutes. What is made is committed, as later releases cannot make it: no test runs this.

Each case gives one archive:

- `state/` as the daemon left it: the ledger, after a kill with its log (`-wal`), and the requests that lie there. Not
  its lock, whose note is about the files of another disk, and not `-shm`, which SQLite makes anew.
- `finetuned.toml`, the configuration.
- `answers.json`: what that release answers to what `asked.py` asks, of this very copy.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

from asked import answers
from cases import CASES, ROOT

from support.cli import call
from support.process import environment


def make(name: str, archive: Path) -> None:
    """Play a case, and keep what it leaves."""
    ROOT.mkdir()
    try:
        CASES[name]()
        pack(archive)
        unpack(archive)
        said = answers(str(ROOT / "state" / "ledger.db"), printed)
        unpack(archive)  # whoever asks leaves a trace beside the ledger
        pack(archive, json.dumps(said, indent=1, ensure_ascii=False).encode())
    finally:
        shutil.rmtree(ROOT)


def pack(archive: Path, said: bytes = b"") -> None:
    """Write what lies below ROOT to the archive, and the answers to it."""
    with tarfile.open(archive, "w:xz") as tar:
        for name in ("state", "finetuned.toml"):
            tar.add(ROOT / name, name, filter=_entry)
        if said:
            entry = tarfile.TarInfo("answers.json")
            entry.size = len(said)
            tar.addfile(entry, io.BytesIO(said))


def _entry(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return None if entry.name.endswith((".lock", "-shm")) else entry


def unpack(archive: Path) -> None:
    """Lay what is in the archive, and nothing else, below ROOT."""
    shutil.rmtree(ROOT)
    ROOT.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(ROOT, filter="data")


def printed(*words: str) -> Any:
    """What a command prints, read."""
    return call("--config", str(ROOT / "finetuned.toml"), *words).json


def main() -> None:
    """Make the cases that are named, or all."""
    out, *names = sys.argv[1:]
    os.environ.update(environment())
    Path(out).mkdir(exist_ok=True)
    for name in names or CASES:
        archive = Path(out) / f"{name}.tar.xz"
        make(name, archive)
        print(f"{name}: {archive.stat().st_size} bytes")


if __name__ == "__main__":
    main()
