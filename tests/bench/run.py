"""The benchmarks: `python tests/bench/run.py [NAME…]` prints a Markdown table, one row a figure.

They measure real processes and take some minutes each; they want a machine that does little else. With `--json FILE`
each row is kept there as it comes, so that they may be measured one by one: `figures.json` is the page's. It exits
with 1 if a row does not hold.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import answers
import batches
import burst
import dispatch
import files
import flight
import flood
import idle
import intake
import making
import pairs
import polling
import queries
import scale
import soak
import startstop
import strain
import upload
from table import HEADER, MISSED, Machine, Table, commit_here
from workshop import Options, say

import hooks

BENCHMARKS = {
    "dispatch": dispatch.measure,
    "idle": idle.measure,
    "startstop": startstop.measure,
    "upload": upload.measure,
    "pairs": pairs.measure,
    "batches": batches.measure,
    "intake": intake.measure,
    "files": files.measure,
    "burst": burst.measure,
    "answers": answers.measure,
    "flood": flood.measure,
    "flight": flight.measure,
    "hooks": hooks.measure,
    "making": making.measure,
    "polling": polling.measure,
    "queries": queries.measure,
    "scale": scale.measure,
    "soak": soak.measure,
    "strain": strain.measure,
}

FILES = "`answers`, `files`, `idle`, `intake`, `queries`, `scale`, `strain`"


#: the sizes of which something is promised
PROMISED: dict[str, tuple[dict[str, int], ...]] = {
    "files": ({"files": 20_000}, {"files": 1_000_000}),
    "flight": ({"jobs": 2_000}, {"jobs": 10_000}),
    "scale": ({"files": 100_000},),
    "strain": ({"files": 1_000_000},),
}


def measure(names: Sequence[str], options: Options, kept: Path | None, *, promised: bool) -> bool:
    """Measure these, print each row, and keep it; tell whether all hold."""
    table, commit, hold = Table.read(kept) if kept else Table(), commit_here(), True
    machine = Machine.here(Path(options.directory or tempfile.gettempdir()))
    print(HEADER, flush=True)
    for name in names:
        load = os.getloadavg()[0]
        say(f"{name}: load {load:.1f}, {machine}")
        for sizes in PROMISED.get(name, ({},)) if promised else ({},):
            for row in BENCHMARKS[name](replace(options, **sizes)):
                line = table.add(name, row, commit=commit, machine=machine, load=load)
                print(line, flush=True)
                hold &= MISSED not in line
                if kept:
                    table.write(kept)
    return hold


def main() -> int:
    """Measure what was asked for, all by default."""
    parser = argparse.ArgumentParser(description="The figures that finetuned promises, measured.")
    parser.add_argument("name", nargs="*", help=f"any of {', '.join(BENCHMARKS)}")
    parser.add_argument("--runs", type=int, help="how often what is short is measured")
    parser.add_argument("--seconds", type=float, help="how long `idle` and `scale` watch an idle daemon")
    parser.add_argument("--files", type=int, help=f"how many files {FILES} use")
    parser.add_argument("--jobs", type=int, help="how many jobs `flight` has under way")
    parser.add_argument("--pairs", type=int, help="how many pairs `pairs` stores")
    parser.add_argument("--size", type=int, help="how large a file `upload` sends, in MiB")
    parser.add_argument("--kills", type=int, help="how many daemons `soak` kills")
    parser.add_argument("--phase", choices=idle.PHASES, help="the one phase that `idle` measures")
    parser.add_argument("--directory", help="where the files are made (default: the temporary directory)")
    parser.add_argument("--promised", action="store_true", help="at each size of which something is promised: hours")
    parser.add_argument("--json", type=Path, help="where the rows are kept; those of other names there stay")
    parser.set_defaults(**asdict(Options()))
    chosen = vars(parser.parse_args())
    names, kept, promised = chosen.pop("name"), chosen.pop("json"), chosen.pop("promised")
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's background job starts deaf to it
        signal.signal(number, signal.default_int_handler)
    try:
        return 0 if measure(names or list(BENCHMARKS), Options(**chosen), kept, promised=promised) else 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
