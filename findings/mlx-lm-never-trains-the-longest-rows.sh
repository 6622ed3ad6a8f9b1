#!/usr/bin/env bash
# mlx-lm 0.32.2, mlx 0.32.4, Linux on CPU, 2026-11-29.
# A data set of 7 rows is trained in batches of 4, over and over, until the iterations are done.
# One would guess: a row that is left over from one pass is in a batch of the next, or the last batch is a smaller one.
# Seen: rows are sorted by length and cut into whole batches once. The 3 longest rows are in none, however many passes
#   are made: they are never trained, and nothing says so.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'mlx[cpu]==0.32.4' 'mlx-lm==0.32.2'
cat > "$work/try.py" <<'P'
"""Count which of 7 rows are in the first 100 batches of 4."""
import sys
from itertools import islice

from mlx_lm.tuner.trainer import iterate_batches  # where `mlx_lm lora` takes its batches from

ROWS = [([number] * (10 + number), 0) for number in range(1, 8)]  # tokens, and where the answer begins
seen = set()
for batch, _ in islice(iterate_batches(ROWS, 4, 64, loop=True, seed=0), 100):
    seen |= {int(row[0]) for row in batch}
print("trained:", sorted(seen), "of", list(range(1, 8)))
sys.exit(seen != {1, 2, 3, 4})
P
"$work/venv/bin/python" "$work/try.py"
