#!/usr/bin/env bash
# distilabel 1.5.3 with datasketch 1.6.5, Linux, 2026-11-29.
# MinHashDedup with tokenizer="ngrams" compares texts by the runs of n characters that they share (5 unless it is told),
# and marks what is a near-duplicate of a text that it keeps.
# One would guess: a text shorter than n is compared as it is, or kept, or refused.
# Seen: it has no run, and so it is like every other text without one: of the answers "1066", "Bonn", "Yes" and "No" the
#   first is kept, and the three others are marked as its duplicates. With n = 2 all four are kept.
# Ends with 1 if that changes. Needs python3 and the package index.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q 'distilabel==1.5.3' 'datasketch==1.6.5' 'requests==2.32.5'
cat > "$work/try.py" <<'P'
"""Mark the duplicates among six answers, two of which are the same."""
import sys

from distilabel.pipeline import Pipeline
from distilabel.steps import MinHashDedup

ANSWERS = ["In the river.", "1066", "Bonn", "Yes", "No", "In the river."]


def kept(**told):
    with Pipeline("answers"):
        step = MinHashDedup(tokenizer="ngrams", **told)
    step.load()
    rows = next(step.process([{"text": answer} for answer in ANSWERS]))
    return [row["text"] for row in rows if row["keep_row_after_minhash_filtering"]]


seen = [kept(), kept(n=2)]
print(*seen, sep="\n")
sys.exit(seen != [["In the river.", "1066"], ["In the river.", "1066", "Bonn", "Yes", "No"]])
P
HF_HUB_OFFLINE=1 HF_HOME="$work/home" "$work/venv/bin/python" -W ignore "$work/try.py"
