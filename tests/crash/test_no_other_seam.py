"""The seams are all there are: strace sees what the real daemon does, and none of it lies beside a seam."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support import counted
from support.process import Home, environment

AHome = Callable[..., Home]
CALLS = {
    "fsync": "fsync",
    "fdatasync": "fdatasync",
    "syncfs": "syncfs",
    "sync": "sync",
    "rename": "rename",
    "renameat": "rename",
    "renameat2": "rename",
    "link": "link",
    "linkat": "link",
    "symlink": "symlink",
    "symlinkat": "symlink",
    "unlink": "unlink",
    "unlinkat": "unlink",
    "rmdir": "rmdir",
    "mkdir": "mkdir",
    "mkdirat": "mkdir",
    "connect": "connect",
    "sendto": "send",
}
#: names of `os` for the same deed
SAME = {"replace": "rename", "remove": "unlink"}
#: what SQLite makes, brings to disk and removes by itself, in a commit or a change of mode, and the folder it lies in
SQLITES = re.compile(r"/state(?:/ledger\.db(-wal|-journal|-shm)?)?[>\"]")
LINE = re.compile(r"(?P<call>\w+)\((?P<what>.*)\) += ")
MARK = re.compile(r"\"/seam/(?P<kind>\w+)/(?P<side>begin|end)\"")


@dataclass
class Thread:
    """What one thread did, read line by line."""

    marked: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    beside: list[str] = field(default_factory=list)
    inside: Counter[str] = field(default_factory=Counter)

    def read(self, line: str) -> None:
        """One system call."""
        mark, found = MARK.search(line), LINE.match(line)
        if mark:
            kind = SAME.get(mark["kind"], mark["kind"])
            self.inside[kind] += 1 if mark["side"] == "begin" else -1
            self.marked[kind] += mark["side"] == "begin"
        elif found and found["call"] in CALLS:
            self._did("rmdir" if "AT_REMOVEDIR" in line else CALLS[found["call"]], line)

    def _did(self, kind: str, line: str) -> None:
        own = SQLITES.search(line) if kind in {"fdatasync", "unlink"} else None
        if kind in {"connect", "send"}:
            if "127.0.0.1" in line or re.search(r'"(GET|PUT|POST|DELETE) /', line):
                self._count("request", kind, line)
        elif own:
            seam = next((kind for kind in ("commit", "fold") if self.inside[kind]), "pragma")
            self._count(seam, f"{seam} {own[1] or ''}", line)
        else:
            self._count(kind, kind, line)

    def _count(self, seam: str, deed: str, line: str) -> None:
        self.seen[deed] += 1
        if not self.inside[seam]:
            self.beside.append(line)


def traced(home: Home, folder: Path) -> Iterator[Thread]:
    """Run the daemon until it is idle, and read what each of its threads did."""
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    folder.mkdir()
    words = ["strace", "-ff", "--seccomp-bpf", "-y", "-s", "200", "-o", str(folder / "thread")]
    words += ["-e", f"trace={','.join(f'?{call}' for call in [*CALLS, 'access', 'faccessat', 'faccessat2'])}"]
    words += [sys.executable, counted.__file__, "--config", str(home.config), "run", "--until-idle"]
    own = environment(PYTHONPATH=str(Path(counted.__file__).parents[1]), PYTHONDONTWRITEBYTECODE="1")
    own = {name: value for name, value in own.items() if not name.startswith("COVERAGE_")}  # it has files of its own
    done = subprocess.run(words, env=own, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for path in folder.iterdir():
        thread = Thread()
        text = path.read_text(errors="replace")
        for line in text.rpartition('"/seam/life/begin"')[2].splitlines():  # what Python does at its start is not ours
            thread.read(line)
        yield thread


@pytest.mark.parametrize("rules", ["", 'after = "keep"', 'ready_file = "{name}.ok"'])
def test_strace_finds_no_other_seam(a_home: AHome, tmp_path: Path, rules: str) -> None:
    """Every system call that changes or syncs a file, or speaks to the server, lies in a seam of its kind."""
    home = a_home(folder=rules)
    for name, text in (("a.txt", "The stone is grey."), ("b.txt", "The stone is grey."), ("c.txt", "caf\udce9")):
        (home.notes / name).write_bytes(text.encode(errors="surrogateescape"))
        (home.notes / f"{name}.ok").touch()
    (home.notes / "sub").mkdir()
    (home.notes / "sub" / "d.txt").write_text("The otter swims. It eats fish.")
    (home.notes / "sub" / "d.txt.ok").touch()
    threads = list(traced(home, tmp_path / "traces"))
    assert [line for thread in threads for line in thread.beside] == []
    marked, seen = (sum((each(t) for t in threads), Counter()) for each in (lambda t: t.marked, lambda t: t.seen))
    for kind in ("fsync", "rename", "unlink", "mkdir", "rmdir"):
        assert marked[kind] == seen[kind] > 0, kind
    # the head of the log is brought to disk by itself, once, and anew after each folding: over a connection of its own
    # all that is there is folded in, and then what came to it
    assert marked["fold"] % 2 == 0
    assert marked["commit"] + 1 + marked["fold"] // 2 == seen["commit -wal"]
    assert marked["request"] == seen["send"] >= seen["connect"] > 0
    print(dict(marked), dict(seen))
