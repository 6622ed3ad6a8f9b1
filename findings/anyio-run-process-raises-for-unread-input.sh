#!/usr/bin/env bash
# anyio 4.16.0, Linux, 2026-11-29.
# A program is given text on its standard input, reads none of it, and ends well: `true`, or a check that needs only its
# first line.
# One would guess: `anyio.run_process(…, input=…)` returns the exit code and the output, as `subprocess.run(…, input=…)`
#   does, for which a program may leave its input unread.
# Seen: it raises BrokenResourceError once the input is larger than a pipe holds. The exit code 0, and whatever the
#   program printed, are lost.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'anyio==4.16.0' 'trio==0.31.0'
cat > "$work/try.py" <<'P'
"""Give 1 MiB to a program that prints a word and ends."""
import subprocess
import sys

import anyio

COMMAND, INPUT = ["sh", "-c", "echo well"], b"a line\n" * 150_000
plain = subprocess.run(COMMAND, input=INPUT, stdout=subprocess.PIPE)
print("subprocess.run:", plain.returncode, plain.stdout)


def chain(error):
    """Name the innermost error."""
    return chain(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else type(error).__name__


async def run():
    try:
        done = await anyio.run_process(COMMAND, input=INPUT)
        return f"{done.returncode} {done.stdout}"
    except Exception as error:
        return chain(error)


seen = {name: anyio.run(run, backend=name) for name in ("asyncio", "trio")}
print("anyio.run_process:", seen)
sys.exit(plain.returncode != 0 or set(seen.values()) != {"BrokenResourceError"})
P
"$work/venv/bin/python" "$work/try.py"
