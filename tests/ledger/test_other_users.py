"""Programs of another user read the ledger: while a daemon uses it, after it stopped, after it was killed.

The files are the daemon's and of the shared group, with the modes that the daemon gives them; their folder can be read
by the group, and no more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import call
from support.people import DAEMON, DROPPER, GROUP, acting_as, shared_place

#: a daemon's connection: it writes a job, tells that it did, and goes on until its input ends
WRITES = f"""
import os, sys, tempfile
from finetuned.ledger.writer import Ledger
from support.lives import Life
with tempfile.TemporaryDirectory() as folder:  # all that is to be imported is, before this is another user
    Ledger.open(folder + "/ledger.db").close()
os.umask(0o022); os.setgroups([{GROUP}]); os.setegid({GROUP}); os.seteuid({DAEMON})
ledger = Ledger.open(sys.argv[1])
life = Life(ledger)
life.trains(life.runs(life.claims(life.waits("/srv/notes/a.txt"), job_id="notes-1"), "ses-1"))
print("ready", flush=True)
sys.stdin.read()
ledger.close()
"""
QUERY = "select job_id, path from pairs_with_source where current order by ordinal limit 1"
SEARCH = "select count(*) from qa_pairs_fts where qa_pairs_fts match 'about'"
#: what a program begins with that becomes another user
BECOMES = f"""
import os, sqlite3, sys
os.setgroups([{GROUP}] if sys.argv.pop(1) == "group" else []); os.setgid({DROPPER}); os.setuid({DROPPER})
"""
ASKS = f"""{BECOMES}
db = sqlite3.connect(sys.argv[1], uri=True)
for query in sys.argv[2:]:
    print(*db.execute(query).fetchone(), sep="|")
"""
READS_FOR_LONG = f"""{BECOMES}
rows = sqlite3.connect(sys.argv[1], uri=True).execute(sys.argv[2])
print(rows.fetchone()[0], flush=True)
sys.stdin.read()
print(len(rows.fetchall()))
"""
#: without what measures coverage, which could not write as another user
OWN = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
FOUND = "notes-1|/srv/notes/a.txt\n2\n"


class Writer:
    """The daemon's process."""

    def __init__(self, path: Path) -> None:
        tests = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITES, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=OWN | {"PYTHONPATH": str(tests)},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def end(self, *, killed: bool) -> None:
        """Stop it, or kill it."""
        if killed:
            self._process.kill()
        if self._process.returncode is None:
            self._process.communicate(timeout=30)


@pytest.fixture
def ledger() -> Iterator[tuple[Path, Writer]]:
    """A ledger that a daemon uses, in a folder that its group may only read."""
    with shared_place() as top:
        state = top / "state"
        state.mkdir()
        os.chown(state, DAEMON, GROUP)
        state.chmod(0o2750)
        writer = Writer(state / "ledger.db")
        yield state / "ledger.db", writer
        writer.end(killed=True)


def asked(address: str, *queries: str, of: str = "group") -> subprocess.CompletedProcess[str]:
    """Ask as another user, who is of the group or of `none`."""
    words = [sys.executable, "-c", ASKS, of, address, *queries]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=OWN)


@pytest.mark.parametrize("stage", ["used", "stopped", "killed"])
def test_a_group_reads_the_ledger(ledger: tuple[Path, Writer], stage: str) -> None:
    """Opened as a reader does and as if one could write; it cannot write, and who is of no group reads nothing."""
    path, writer = ledger
    if stage != "used":
        writer.end(killed=stage == "killed")
    before = sorted(file.name for file in path.parent.iterdir())
    assert {file.stat().st_mode & 0o777 for file in path.parent.glob("ledger.db*")} == {0o640}
    for address in (f"file:{path}?mode=ro", f"file:{path}"):
        found = asked(address, QUERY, SEARCH)
        assert (found.stdout, found.stderr) == (FOUND, "")
    assert "unable to open" in asked(f"file:{path}?mode=ro", QUERY, of="none").stderr
    written = asked(f"file:{path}", "delete from jobs returning id")
    assert (written.returncode, "readonly" in written.stderr) == (1, True)
    assert sorted(file.name for file in path.parent.iterdir()) == before


def test_so_do_commands(ledger: tuple[Path, Writer], tmp_path: Path) -> None:
    """The group asks in SQL, and searches; where it may not read, it is told what would let it."""
    path, _ = ledger
    config = path.parents[1] / "finetuned.toml"
    config.write_text(f'[ledger]\npath = "{path}"\n[[folder]]\nname = "notes"\npath = "{tmp_path}"\n')

    def asks() -> tuple[object, int]:
        rows = call("--config", str(config), "sql", QUERY, "--jsonl").lines
        return rows, call("--config", str(config), "pairs", "--search", "about", "--jsonl").out.count("\n")

    found = [{"job_id": "notes-1", "path": "/srv/notes/a.txt"}], 2
    assert asks() == found  # from here on all that is to be imported is
    with acting_as(DROPPER):
        assert asks() == found
    path.parent.chmod(0o700)
    with acting_as(DROPPER):
        refused = call("--config", str(config), "sql", QUERY)
    assert (refused.code, "may not be read by you" in refused.err, "join its group" in refused.err) == (1, True, True)


def test_who_reads_for_long_is_in_no_ones_way(ledger: tuple[Path, Writer]) -> None:
    """A daemon stops beside a reader of another user, who goes on reading what there was."""
    path, writer = ledger
    words = [sys.executable, "-c", READS_FOR_LONG, "group", f"file:{path}?mode=ro", "select id from qa_pairs"]
    reader = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=OWN)
    assert reader.stdout is not None
    assert reader.stdout.readline() == "1\n"
    writer.end(killed=False)
    assert reader.communicate(timeout=30)[0] == "1\n"
    found = asked(f"file:{path}?mode=ro", QUERY, SEARCH)
    assert (found.stdout, found.stderr) == (FOUND, "")
