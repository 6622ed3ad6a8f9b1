"""Real programs bring files on real file systems: `python tests/transports/run.py [WORD…]` prints a table of outcomes.

Outside the gate: it needs root, and the programs that it tries (one that is missing is named and left out). A WORD
picks the rows that hold it. `--write` puts the table into the page that ships with the program. It ends with 1 if a
promise was broken: a half learned though there was a sign that it was one, a text missed, lost, or learned twice.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from filesystems import FILE_SYSTEMS, FileSystem, mounted
from programs import ON_EACH, PROGRAMS, Case
from rig import Missing, Outcome, Rig

PAGE: Final = Path(__file__).parents[2] / "daemon/finetuned/docs/transports.md"
HEADER: Final = "| program | version | way | file system | sign that it is not whole | outcome |\n" + "| --- " * 6 + "|"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A case on a file system; None: where the temporary files lie."""

    case: Case
    kind: FileSystem | None

    @property
    def where(self) -> str:
        """The file system's name."""
        return self.kind.name if self.kind else "the disk"

    def __str__(self) -> str:
        return f"{self.case.program} {self.case.way} {self.where}"


def trials() -> Iterator[Trial]:
    """Every program on the disk, and a few on every file system."""
    yield from (Trial(case=case, kind=None) for case in PROGRAMS)
    yield from (Trial(case=case, kind=kind) for kind in FILE_SYSTEMS for case in ON_EACH)


def tried(trial: Trial) -> tuple[str, bool]:
    """Run one trial: its row, and whether every promise was kept."""
    root = Path(tempfile.mkdtemp(prefix="finetuned-transport-"))
    try:
        with mounted(trial.kind, root) if trial.kind else nullcontext(None) as place:
            rig = Rig(root, folder=place / "notes" if place else None, linger=trial.case.linger)
            with rig.watched():
                trial.case.bring(rig)
                outcome = rig.outcome()
    except Missing as error:
        return _row(trial, f"not run: {error}"), True
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        return _row(trial, f"**not run to its end**: {str(error).splitlines()[0][:200]}"), False
    finally:
        shutil.rmtree(root, ignore_errors=True)
    kept = _kept(trial.case, outcome)
    return _row(trial, str(outcome) if kept else f"**{outcome}**"), kept


def _kept(case: Case, outcome: Outcome) -> bool:
    broken = outcome.missed or outcome.lost or outcome.again
    return not broken and not (case.sign and (outcome.halves or outcome.refused))


def _row(trial: Trial, outcome: str) -> str:
    case = trial.case
    cells = (case.program, _version(case.version), case.way, trial.where, case.sign or "none", outcome)
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _version(words: Sequence[str]) -> str:
    """The first number with a dot that a program tells of itself."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root"},
        )  # fmt: skip
    except OSError:
        return ""
    found = re.search(r"\d+\.\d[\w.]*", done.stdout + done.stderr)
    return found[0] if found else ""


def write(rows: Sequence[str]) -> None:
    """Put the table into the page, and when and where it was made."""
    text = PAGE.read_text("utf-8")
    made = f"Run on {datetime.now(UTC):%Y-%m-%d}, Linux {platform.release()}, Python {platform.python_version()}.\n\n"
    table = "\n".join([HEADER, *rows])
    begin, end = "<!-- outcomes -->\n", "<!-- end of outcomes -->\n"
    head, _, rest = text.partition(begin)
    PAGE.write_text(f"{head}{begin}{made}{table}\n{end}{rest.partition(end)[2]}", "utf-8")


def main() -> int:
    """Try what was asked for, all by default."""
    parser = argparse.ArgumentParser(description="What real programs do with a drop folder.")
    parser.add_argument("word", nargs="*", help="only rows that hold one of these words")
    parser.add_argument("--at-once", type=int, default=6, help="how many trials run at a time")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    chosen = parser.parse_args()
    wanted = [t for t in trials() if not chosen.word or any(word in str(t) for word in chosen.word)]
    kept, rows, printing = [], [], threading.Lock()

    def one(trial: Trial) -> tuple[str, bool]:
        found = tried(trial)
        with printing:
            print(found[0], flush=True)
        return found

    print(HEADER, flush=True)
    with ThreadPoolExecutor(chosen.at_once) as pool:
        for row, fine in pool.map(one, wanted):
            rows.append(row)
            kept.append(fine)
    if chosen.write:
        write(rows)
    broken = kept.count(False)
    print(f"{len(kept)} trials, {broken} in which a promise was broken", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
