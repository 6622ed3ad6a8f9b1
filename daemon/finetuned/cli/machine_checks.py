"""What `doctor` finds out about the machine: what keeps the ledger from being written, and what was left beside it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from finetuned.cli.findings import problem, warning
from finetuned.cli.output import Row
from finetuned.ledger import why_stuck


def of_the_ledgers_place(path: str) -> Iterator[Row]:
    """Tell why the ledger cannot be written, and of a restore that was killed before it was done."""
    from finetuned.ledger.restore import UNFINISHED

    stuck = why_stuck(path)
    if stuck is not None:
        yield problem("ledger", str(stuck), stuck.remedy)
    part = f"{path}{UNFINISHED}"
    if os.path.exists(part):
        remedy = f"finetuned restore FILE once more; or go on with the old one: rm {shlex.quote(part)}"
        yield warning("ledger", "a restore was broken off; the ledger from before it is in use", remedy)
