"""The benchmarks: `python tests/bench/run.py [NAME…]` prints a Markdown table, one row a figure.

They measure real processes and take some minutes in all; they want a machine that does little else.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

import answers
import burst
import dispatch
import files
import flight
import flood
import idle
import intake
import polling
import queries
import scale
import soak
import startstop
import upload
from workshop import HEADER, Options, say

import hooks

BENCHMARKS = {
    "dispatch": dispatch.measure,
    "idle": idle.measure,
    "startstop": startstop.measure,
    "upload": upload.measure,
    "intake": intake.measure,
    "files": files.measure,
    "burst": burst.measure,
    "answers": answers.measure,
    "flood": flood.measure,
    "flight": flight.measure,
    "hooks": hooks.measure,
    "polling": polling.measure,
    "queries": queries.measure,
    "scale": scale.measure,
    "soak": soak.measure,
}


def main() -> int:
    """Measure what was asked for, all by default."""
    parser = argparse.ArgumentParser(description="The figures that finetuned promises, measured.")
    parser.add_argument("name", nargs="*", help=f"any of {', '.join(BENCHMARKS)}")
    parser.add_argument("--runs", type=int, default=10, help="how often what is short is measured")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long `idle` watches an idle daemon")
    parser.add_argument(
        "--files",
        type=int,
        default=10_000,
        help="how many files `answers`, `files`, `idle`, `intake`, `queries`, `scale` use",
    )
    parser.add_argument("--kills", type=int, default=1000, help="how many daemons `soak` kills")
    parser.add_argument("--directory", help="where the files are made (default: the temporary directory)")
    chosen = parser.parse_args()
    if unknown := set(chosen.name) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    options = Options(
        runs=chosen.runs,
        seconds=chosen.seconds,
        files=chosen.files,
        kills=chosen.kills,
        directory=chosen.directory,
    )
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell's background job starts deaf to it
        signal.signal(number, signal.default_int_handler)
    try:
        print(HEADER, flush=True)
        for name in chosen.name or BENCHMARKS:
            say(f"{name}: load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            for row in BENCHMARKS[name](options):
                print(row, flush=True)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
