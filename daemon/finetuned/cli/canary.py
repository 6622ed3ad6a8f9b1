"""`doctor --canary`: a file is dropped that only says that it was seen, and how soon it was is told.

Two are dropped, one after the other. The first may be met by any sweep. The next sweep comes in its full time after
that one, however late the second is dropped: if that is seen clearly sooner after the first, an event has told of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import anyio

from finetuned.amounts import span
from finetuned.cli.findings import ok, problem, warning
from finetuned.cli.output import Row
from finetuned.cli.poller import until
from finetuned.ledger.queries import Reader
from finetuned.runtime import SystemRuntime
from finetuned.times import instant

if TYPE_CHECKING:
    from finetuned.folders.folder import DropFolder

#: how long a canary may take beyond two sweeps, in seconds
SLACK: Final = 5.0
#: what share of the time between two sweeps is clearly less than that
_SOONER: Final = 0.8
_FREE: Final = "nothing was sent to the server"


def examined(folder: DropFolder, ledger_path: str, *, runs: bool, sweep: float) -> Iterator[Row]:
    """Tell whether the daemon, if one runs, sees what is dropped, and by what; it is swept every `sweep` seconds.

    Raises LedgerError, Away, OSError.
    """
    subject = f"folder {folder.name}"
    if not runs:
        yield warning(subject, "no canary was dropped: no daemon runs that could see it", "start the daemon first")
        return
    within = 2 * sweep + SLACK
    first_seen_at: float | None = None
    for _ in range(2):
        seen = anyio.run(_dropped_and_seen, folder, ledger_path, within)
        if seen is None:
            words = f"the daemon did not see a canary that was dropped there within {span(within)}; {_FREE}"
            yield problem(subject, words, "look at finetuned status, and at the daemon's log")
            return
        dropped_at, seen_at = seen
        words = f"the daemon saw a canary {span(max(0.0, seen_at - dropped_at))} after it was dropped, by"
        if first_seen_at is None:
            first_seen_at = seen_at
        elif seen_at - first_seen_at < _SOONER * sweep:
            yield ok(subject, f"{words} an event; {_FREE}")
        else:
            remedy = "nothing is lost, but it takes up to [watch] sweep; finetuned status may say why"
            yield warning(subject, f"{words} a sweep: no event told it; {_FREE}", remedy)


async def _dropped_and_seen(folder: DropFolder, ledger_path: str, within: float) -> tuple[float, float] | None:
    """Drop a canary; when that was, and when the daemon saw it, or None."""
    from finetuned.folders.canaries import dropped_canary

    runtime = SystemRuntime()
    seen: list[float] = []

    def is_seen() -> bool:
        with Reader.open(ledger_path) as reader:
            event = reader.answer(canary)
        seen.extend([] if event is None else [instant(event["at"])])
        return bool(seen)

    with dropped_canary(folder) as canary:
        dropped_at = runtime.now()
        await until(is_seen, runtime, within)
    return (dropped_at, seen[0]) if seen else None
