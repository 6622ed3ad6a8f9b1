"""Intake: thousands of small files dropped at one instant, until every one of them is claimed for a job.

The clock starts when the files are ready. The baseline copies and hashes the same files, and brings nothing to disk,
while a claim brings every file to disk (fsync), and the ledger thrice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from tiny_helix import TinyHelix
from workshop import Options, Pile, Place, Row, say, scratch, timed, wait_for

SETTLE = 1.0
CLAIMED = "select coalesce(sum(files), 0) from jobs where claimed_at is not null"


def measure(options: Options) -> Iterator[Row]:
    """With jobs as large as they are by default, and with large ones."""
    for what, more in (("jobs of 11", ""), ("jobs of 500", "max_files = 500\nmax_chunks = 100000")):
        with scratch(options) as root, TinyHelix() as helix:
            helix.held = True
            place = Place(root, helix.url, folder=f'settle = "{SETTLE:g}s"\n{more}', poll="2s")
            pile = Pile(root)
            with place.daemon():
                ready = pile.drop_many(place.notes, options.files) + SETTLE
                wait_for(lambda p=place: p.ask(CLAIMED) == options.files, "claim of all", every=0.1)
                took = time.monotonic() - ready
                wait_for(lambda h=helix: h.jobs, "request")
                first = helix.jobs[0].began - ready
            say(f"{what}: all claimed after {took:.1f} s; first request after {first:.3f} s")
            yield Row(
                what=f"intake of {options.files:,} files, {what}: ready → claimed",
                measured=[options.files / took],
                unit="files/s",
                baseline="cp -r, then sha256sum",
                against=[options.files / _plain(root, pile.folder(options.files))],
            )


def _plain(root: Path, made: Path) -> float:
    copy = root / "copy"
    took = timed(["cp", "-r", str(made), str(copy)])
    took += timed(["sh", "-c", 'find "$0" -type f -print0 | xargs -0 sha256sum', str(copy)])
    shutil.rmtree(copy)
    return took
