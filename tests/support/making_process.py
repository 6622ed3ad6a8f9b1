"""A process that makes the pairs of one run and ends: `python -m support.making_process LEDGER URL REQUESTS TEXT…`.

It is the daemon's maker, its ledger and its clocks, with nothing around them; the run is named as its first text.
"""

from __future__ import annotations

import os
import sys

import anyio

from finetuned.daemon.ledger_queue import LedgerQueue
from finetuned.daemon.paid_work import PaidWork
from finetuned.ledger.writer import Ledger
from finetuned.local.maker import opened
from finetuned.runtime import SystemRuntime
from finetuned.settings.local import MakerSettings

RUN = "a-job.1"


async def make(ledger: Ledger, url: str, requests: int, texts: list[str]) -> None:
    """Make what is left to be made."""
    runtime = SystemRuntime()
    settings = MakerSettings(url=url, model="tiny", chunk_bytes=600, max_requests=requests)
    notes = PaidWork(ledger.chunks, LedgerQueue(ledger, runtime).run)
    async with opened(notes, settings, runtime) as maker:
        await maker.make(RUN, {os.path.basename(path): path for path in texts}, lambda _: None)


def main(ledger_path: str, url: str, requests: str, *texts: str) -> None:
    """Make what is left to be made."""
    ledger = Ledger.open(ledger_path)
    anyio.run(make, ledger, url, int(requests), list(texts), backend=os.environ.get("LOOP", "asyncio"))
    ledger.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
