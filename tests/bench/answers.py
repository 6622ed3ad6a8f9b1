"""Answers: how long `status` and `--help` take, over the ledger of thousands of files and a running daemon."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

from served import a_place
from table import Row
from workshop import BIG_JOBS, Options, ran

FOLDER = f'settle = "500ms"\n{BIG_JOBS}'
STATUS_BOUND_MS = 250.0
HELP_BOUND_MS = 100.0
COUNT = "select count(*) from finished_jobs"
BY_PYTHON = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])"


def measure(options: Options) -> Iterator[Row]:
    """In turns, so that noise meets all alike."""
    with a_place(options, folder=FOLDER) as (_, place), place.daemon():
        place.drop_many(options.files)
        place.wait_learned(options.files)
        there = shutil.which("sqlite3") is not None
        sqlite = ["sqlite3"] if there else [sys.executable, "-c", BY_PYTHON]
        commands = {
            "status": place.command("status"),
            "status --json": place.command("status", "--json"),
            "--help": place.command("--help"),
            "python": [sys.executable, "-c", "pass"],
            "sqlite": [*sqlite, str(place.ledger), COUNT],
        }
        took: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(1 + 2 * options.runs):
            for name, words in commands.items():
                took[name].append(ran(words).seconds * 1000)
    took = {name: figures[1:] for name, figures in took.items()}  # the first one read the disk
    sqlite_name = "sqlite3, count of finished_jobs" if there else "python's sqlite3 (no sqlite3 here), the same count"
    for name, bound in (("status", STATUS_BOUND_MS), ("status --json", STATUS_BOUND_MS), ("--help", HELP_BOUND_MS)):
        yield Row(
            what=f"`{name}`",
            measured=took[name],
            unit="ms",
            baseline="python -c pass",
            against=took["python"],
            bound=bound,
        )
    yield Row(
        what="`status`, against the ledger asked directly",
        measured=took["status"],
        unit="ms",
        baseline=sqlite_name,
        against=took["sqlite"],
        bound=STATUS_BOUND_MS,
    )
