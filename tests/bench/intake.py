"""Intake: thousands of small files dropped at one instant, until every one of them is claimed for a job.

The clock starts when the files are ready. The baseline copies and hashes the same files, and brings nothing to disk,
while a claim brings every file to disk (fsync), and the ledger thrice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from served import a_place
from table import Row
from workshop import BIG_JOBS, Options, ran, say, wait_for

SETTLE = 1.0


def measure(options: Options) -> Iterator[Row]:
    """With jobs as large as they are by default, and with large ones."""
    for what, more in (("jobs of 11", ""), ("jobs of 500", BIG_JOBS)):
        with a_place(options, folder=f'settle = "{SETTLE:g}s"\n{more}', poll="2s") as (helix, place):
            helix.held = True
            with place.daemon():
                ready = place.drop_many(options.files) + SETTLE
                place.wait_claimed(options.files)
                took = time.monotonic() - ready
                wait_for(lambda h=helix: h.jobs, "request")
                first = helix.jobs[0].began - ready
            say(f"{what}: all claimed after {took:.1f} s; first request after {first:.3f} s")
            yield Row(
                what=f"intake of {options.files:,} files, {what}: ready → claimed",
                measured=[took],
                unit="s",
                baseline="cp -r, then sha256sum",
                against=[_plain(place.root, place.pile.folder(options.files))],
                size=options.files,
            )


def _plain(root: Path, made: Path) -> float:
    copy = root / "copy"
    took = ran(["cp", "-r", str(made), str(copy)]).seconds
    took += ran(["sh", "-c", 'find "$0" -type f -print0 | xargs -0 sha256sum', str(copy)]).seconds
    shutil.rmtree(copy)
    return took
