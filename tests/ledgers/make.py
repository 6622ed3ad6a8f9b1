"""`PYTHONPATH=CHECKOUT/tests VENV/bin/python tests/ledgers/make.py OUT [CASE…]`: ledgers of an older release.

CHECKOUT is a checkout of that release and VENV an environment with it (`VENV/bin/pip install 'CHECKOUT[dev]'`), OUT a
folder for its ledgers, such as `tests/ledgers/v5`. Real daemons of that release work with its own stand-in server below
`/srv/stones`, which must not be there: it is made, and removed. It also needs the ports 18585 and 18586, and takes
five minutes. What is made is committed, as later releases cannot make it: no test runs this.

Each case gives one archive:

- `state/` as the daemon left it: the ledger, after a kill with its log (`-wal`), and the requests that lie there. Not
  its lock, whose note is about the files of another disk, and not `-shm`, which SQLite makes anew.
- `notes/`, the folder, `sandbox/`, what the server knows, and `finetuned.toml`, the configuration.
- `answers.json`: what that release answers to what `asked.py` asks, of this very copy.
- `end.json`: what comes of everything when that release goes on with it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

from asked import answers, end
from cases import CASES, LONG, PORT, ROOT

from support.cli import call
from support.process import Home, Sandbox, environment, wait_for


def make(name: str, archive: Path) -> None:
    """Play a case, and keep what it leaves."""
    ROOT.mkdir()
    try:
        CASES[name]()
        pack(archive)
        unpack(archive)
        said = answers(str(ROOT / "state" / "ledger.db"), printed)
        unpack(archive)  # a question leaves its trace beside the ledger
        came_to = goes_on()
        unpack(archive)
        pack(archive, answers=said, end=came_to)
    finally:
        shutil.rmtree(ROOT)


def pack(archive: Path, **told: Any) -> None:
    """Write what lies below ROOT to the archive, and what was told of it."""
    with tarfile.open(archive, "w:xz") as tar:
        for path in sorted(ROOT.iterdir()):
            tar.add(path, path.name, filter=_entry)
        for name, said in told.items():
            text = json.dumps(said, indent=1, ensure_ascii=False).encode()
            entry = tarfile.TarInfo(f"{name}.json")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))


def _entry(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return None if entry.name.endswith((".lock", "-shm", ".log")) else entry


def unpack(archive: Path) -> None:
    """Lay what is in the archive, and nothing else, below ROOT."""
    shutil.rmtree(ROOT)
    ROOT.mkdir()
    with tarfile.open(archive) as tar:
        tar.extractall(ROOT, filter="data")


def goes_on() -> dict[str, Any]:
    """What comes of it when another daemon of that release works on it until nothing is left to do."""
    config = (ROOT / "finetuned.toml").read_text("utf-8")
    with closing(sqlite3.connect(ROOT / "state" / "ledger.db")) as db:
        spoken = db.execute("select coalesce(max(dialect), 'form') from servers").fetchone()[0]
    server = Sandbox(ROOT, port=PORT, dialect=spoken)
    home = Home(ROOT, server.url)
    home.config.write_text(config.replace(f'lost_answer_settle = "{LONG}"', 'lost_answer_settle = "300ms"'), "utf-8")
    made = len(list((ROOT / "sandbox" / "sessions").iterdir()))
    try:
        wait_for(lambda: home.sessions_on_server() == made, "server that lists them all")  # as it will for ever
        home.start("--until-idle")
        home.wait()
        return end(printed, home.sessions_on_server())
    finally:
        home.close()
        server.close()


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
