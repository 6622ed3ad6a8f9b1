"""`flush`: have what waits sealed now, and tell what became of it.

1. Files that just settle are waited for, as long as that takes when nobody writes to them: who types this after `cp`
   means them too, and one job is cheaper than two.
2. Then one request is left for the daemon; the answer is what became of the files by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import click

from finetuned.amounts import counted
from finetuned.cli import completions, wiring
from finetuned.cli.arguments import folder_named
from finetuned.cli.output import Row
from finetuned.cli.terminal import print_line, quoted
from finetuned.lifecycle import FileState

if TYPE_CHECKING:
    from finetuned.runtime import Runtime

#: how much longer than `settle` files may take to settle, in seconds
_SLACK: Final = 1.5
_OPEN: Final = frozenset({FileState.SETTLING, FileState.WAITING})


@click.command("flush")
@click.argument("folder", required=False, shell_complete=completions.folders)
@click.pass_context
def flush_command(ctx: click.Context, folder: str | None) -> None:
    """Make jobs of the files that wait in FOLDER, or in every folder, without waiting for more (`linger`).

    Files that were just dropped are taken too, once they have settled.
    """
    import anyio

    from finetuned.cli.requests import ask_daemon, new_request
    from finetuned.ledger.lock import is_held
    from finetuned.runtime import SystemRuntime

    settings = wiring.load(ctx)
    name = None if folder is None else folder_named(settings, folder).name
    path = wiring.ledger_path(settings)
    if not is_held(path):
        ctx.exit(ask_daemon(ctx, [new_request("flush", folder=name)]))
    patience = _SLACK + max(
        one.quiet_time for one in wiring.drop_folders(settings).values() if name in {None, one.name}
    )
    ctx.exit(anyio.run(flush, path, name, patience, SystemRuntime()))


async def flush(ledger_path: str, folder: str | None, patience: float, runtime: Runtime) -> int:
    """Have what lies in the folder (null: in any) sealed, and tell what became of it; the exit code."""
    from finetuned.cli.requests import ANSWER_WITHIN, leave, new_request, outcomes, tell
    from finetuned.ledger.queries import Reader

    with Reader.open(ledger_path) as reader:
        files = [file["id"] for file in reader.unsealed(folder)]
    await _until(ledger_path, files, lambda row: row["state"] != "settling", runtime, patience)
    request = new_request("flush", folder=folder)
    leave(ledger_path, [request])
    answers = await outcomes(ledger_path, [request], runtime, ANSWER_WITHIN)
    if answers.get(request.id, {}).get("became") != "done":
        return tell(ledger_path, [request], answers)
    rows = await _until(ledger_path, files, lambda row: row["state"] not in _OPEN, runtime, ANSWER_WITHIN)
    for words in _become(rows):
        print_line(words)
    return 0


async def _until(
    ledger_path: str, files: Sequence[int], is_so: Callable[[Row], bool], runtime: Runtime, within: float
) -> list[Row]:
    """Tell what became of the files once something is true of all of them, or so many seconds have passed."""
    from finetuned.cli.poller import until
    from finetuned.ledger.queries import Reader

    rows: list[Row] = []

    def look() -> bool:
        with Reader.open(ledger_path) as reader:
            rows[:] = reader.become(files)
        return all(map(is_so, rows))

    await until(look, runtime, within)
    return rows


def _become(rows: Sequence[Row]) -> list[str]:
    """Tell how many files were sealed into how many jobs, and what became of the others, a line each."""
    if not rows:
        return ["Nothing is waiting."]
    said = []
    jobs = {row["job_id"] for row in rows if row["job_id"] is not None}
    sealed = sum(row["job_id"] is not None for row in rows)
    if sealed:
        named = f": {jobs.pop()}" if len(jobs) == 1 else "."
        said.append(f"{counted(sealed, 'file')} sealed into {counted(len(jobs) or 1, 'job')}{named}")
    others = [row for row in rows if row["job_id"] is None]
    for state, count in Counter(row["state"] for row in others).items():
        first = next(row["path"] for row in others if row["state"] == state)
        said.append(f"{counted(count, 'file')} not sealed ({state}): finetuned why {quoted(first)}")
    return said
